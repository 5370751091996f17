"""What a fill does to an account: cash, position, cost, profit. In whole numbers, so it adds up exactly:

    cash      = start - sum(side * price * quantity) - fees
    equity    = cash + sum(position * mark)
              = start + sum(realised) + sum(position * mark - cost) - fees

Average cost: a fill that reduces a position takes the same share of its cost as of its quantity, rounded down to a
whole unit of money (what is rounded off stays in the cost of the rest); one that turns it round closes it first.
"""

from typing import Any

import numpy as np

from hft_engine.execution.book import mark_of
from hft_engine.execution.state import A_CASH, A_FEES, A_HELD, A_REALISED
from hft_engine.kernel import kernel


@kernel()
def fee_of(terms: Any, price: int, quantity: int) -> int:
    """Money for a fill, rounded up."""
    fee = quantity * terms.fee_rate + float(price) * quantity * terms.fee_share
    return int(np.ceil(fee - 1e-9))


@kernel()
def _part_of(cost: int, part: int, whole: int) -> int:
    """floor(cost * part / whole) without a product that overflows; 0 < part <= whole."""
    return cost // whole * part + cost % whole * part // whole


@kernel()
def apply_fill(b: Any, instrument: int, side: int, price: int, quantity: int, fee: int) -> int:
    """Move the account on; returns the profit or loss that was closed, before the fee."""
    row, account = b.rows[instrument], b.account
    _note_holding(b, row, instrument)
    held = row.position
    closing = min(quantity, abs(held)) if held * side < 0 else 0
    realised: Any = 0
    if closing > 0:
        removed = _part_of(row.cost, closing, abs(held))
        realised = -side * closing * price - removed
        row.cost -= removed
    row.cost += side * (quantity - closing) * price
    row.position = held + side * quantity
    row.realised += realised
    row.fees += fee
    row.traded += quantity
    row.fills += 1
    account[A_CASH] -= side * price * quantity + fee
    account[A_FEES] += fee
    account[A_REALISED] += realised
    return realised


@kernel()
def _note_holding(b: Any, row: Any, instrument: int) -> None:
    if row.held == 0:
        b.holdings[b.account[A_HELD]] = instrument
        b.account[A_HELD] += 1
        row.held = b.account[A_HELD]


@kernel()
def valuation(b: Any) -> tuple[int, int, int]:
    """(equity, gross, net): cash and positions at their marks; sums of the positions' values without and with sign."""
    gross, net = 0, 0
    for i in range(b.account[A_HELD]):
        row = b.rows[b.holdings[i]]
        value = row.position * mark_of(row)
        gross += abs(value)
        net += value
    return b.account[A_CASH] + net, gross, net
