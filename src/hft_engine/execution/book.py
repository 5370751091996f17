"""The account's arrays under one name, for kernels: ``b.rows``, ``b.account`` and so on, see ``state``."""

from typing import Any, NamedTuple

import numpy as np

from hft_engine.execution.state import A_NOW, A_ORDER_RECORDS, A_ORDERS_OUT, A_SOURCE
from hft_engine.kernel import kernel


class Book(NamedTuple):
    """The fields of ``state.AccountState``, in the same order."""

    rows: np.ndarray
    working: np.ndarray
    account: np.ndarray
    terms: np.ndarray
    holdings: np.ndarray
    orders: np.ndarray
    fills: np.ndarray
    samples: np.ndarray


@kernel()
def mark_of(row: Any) -> int:
    """What a position is valued by: the last trade, before the first one the middle of the quote; 0: nothing known."""
    if row.last > 0:
        return row.last
    if row.bid > 0 and row.ask > 0:
        return (row.bid + row.ask) >> 1
    return 0


@kernel()
def write_order(b: Any, order: Any, status: int, reason: int, price: int) -> None:
    """The record of an order whose status has changed. ``order``: WORKING_DTYPE."""
    out = b.orders[b.account[A_ORDERS_OUT]]
    out.sequence = b.account[A_ORDER_RECORDS]
    out.source_sequence = b.account[A_SOURCE]
    out.ts_venue_ns = b.account[A_NOW]
    out.order_id = order.order_id
    out.signal_sequence = order.signal_sequence
    out.instrument_id = order.instrument_id
    out.side = order.side
    out.kind = order.kind
    out.status = status
    out.reason = reason
    out.quantity = order.quantity
    out.filled = order.filled
    out.limit = order.limit
    out.ts_arrival_ns = order.ts_arrival_ns
    out.ts_expiry_ns = order.ts_expiry_ns
    out.price = price
    b.account[A_ORDERS_OUT] += 1
    b.account[A_ORDER_RECORDS] += 1
