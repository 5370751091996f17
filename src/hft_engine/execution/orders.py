"""An order's life: the gate, the way to the venue, open, then one of the final states. Pure.

    submit ─▶ REFUSED
          └─▶ ACCEPTED ──▶ PARTIAL ──▶ FILLED
                  └──────────┴──▶ CANCELLED, EXPIRED

Cancelling takes as long as sending: the order may be filled on the way.
"""

from typing import Any

from hft_engine.execution.book import mark_of, write_order
from hft_engine.execution.risk.gate import refusal
from hft_engine.execution.state import (
    A_CANCELLED,
    A_EXPIRED,
    A_NOW,
    A_ORDERS,
    A_REFUSED,
    A_WORKING,
    NOTHING,
    QUEUE_UNKNOWN,
)
from hft_engine.kernel import kernel
from hft_engine.records import OrderKind, OrderStatus, Refusal

_MARKET, _LIMIT = int(OrderKind.MARKET), int(OrderKind.LIMIT)
_ACCEPTED, _REFUSED = int(OrderStatus.ACCEPTED), int(OrderStatus.REFUSED)
_CANCELLED, _EXPIRED = int(OrderStatus.CANCELLED), int(OrderStatus.EXPIRED)
_NONE = int(Refusal.NONE)


@kernel()
def submit(
    b: Any,
    instrument: int,
    side: int,
    quantity: int,
    limit: int,
    expiry_ns: int,
    signal_sequence: int,
    signal_ns: int,
) -> int:
    """Send an order, effective after the latency. ``limit`` 0: at the market. Returns its id, negative if refused.

    A record says what became of it. ``expiry_ns`` 0: good until cancelled. ``signal_sequence`` -1: of no signal.
    """
    slot = _free_slot(b)
    order = b.working[slot]
    order.order_id = 0  # the slot stays free until the gate has let the order pass
    b.account[A_ORDERS] += 1
    order_id = b.account[A_ORDERS]
    order.signal_sequence, order.ts_signal_ns = signal_sequence, signal_ns
    order.instrument_id, order.side = instrument, side
    order.kind = _LIMIT if limit != 0 else _MARKET
    order.arrived, order.quantity, order.filled, order.limit = 0, quantity, 0, limit
    order.ts_arrival_ns = b.account[A_NOW] + b.terms[0].latency_ns
    order.ts_expiry_ns, order.ts_cancel_ns, order.ahead = expiry_ns, 0, QUEUE_UNKNOWN
    reason = refusal(b, order)
    order.order_id = order_id
    if reason != _NONE:
        b.account[A_REFUSED] += 1
        inside = 0 <= instrument < len(b.rows)
        write_order(b, order, _REFUSED, reason, mark_of(b.rows[instrument]) if inside else 0)
        order.order_id = 0
        return -order_id
    _open(b, order, slot)
    write_order(b, order, _ACCEPTED, _NONE, 0)
    return order_id


@kernel()
def _free_slot(b: Any) -> int:
    """A free slot. The gate keeps one free: ``working_max`` is less than the slots there are."""
    for slot in range(len(b.working)):
        if b.working[slot].order_id == 0:
            return slot
    return len(b.working) - 1


@kernel()
def _open(b: Any, order: Any, slot: int) -> None:
    # At the end of its instrument's list: orders are matched in the order in which they were sent.
    row = b.rows[order.instrument_id]
    order.next = NOTHING
    if row.first == 0:
        row.first = slot + 1
    else:
        last = row.first - 1
        while b.working[last].next != NOTHING:
            last = b.working[last].next
        b.working[last].next = slot
    b.account[A_WORKING] += 1
    _count_open(row, order, order.quantity)


@kernel()
def _count_open(row: Any, order: Any, quantity: int) -> None:
    if order.side > 0:
        row.open_buy += quantity
    else:
        row.open_sell += quantity


@kernel()
def close(b: Any, slot: int) -> None:
    """Take an order out of its instrument's list and free its slot."""
    order = b.working[slot]
    row = b.rows[order.instrument_id]
    if row.first == slot + 1:
        row.first = order.next + 1
    else:
        before = row.first - 1
        while b.working[before].next != slot:
            before = b.working[before].next
        b.working[before].next = order.next
    _count_open(row, order, order.filled - order.quantity)
    b.account[A_WORKING] -= 1
    order.order_id = 0


@kernel()
def count_filled(b: Any, order: Any, quantity: int) -> None:
    """A fill of ``quantity``: that much less is open."""
    order.filled += quantity
    _count_open(b.rows[order.instrument_id], order, -quantity)


@kernel()
def find(b: Any, order_id: int) -> int:
    """The slot of an open order, or NOTHING."""
    for slot in range(len(b.working)):
        if order_id > 0 and b.working[slot].order_id == order_id:
            return slot
    return NOTHING


@kernel()
def cancel(b: Any, order_id: int) -> bool:
    """Ask the venue to cancel; False where the order is not open (any more)."""
    slot = find(b, order_id)
    if slot == NOTHING:
        return False
    order = b.working[slot]
    if order.ts_cancel_ns == 0:
        order.ts_cancel_ns = b.account[A_NOW] + b.terms[0].latency_ns
    return True


@kernel()
def cancel_all(b: Any) -> None:
    """Cancel every open order here and now, as a kill switch does."""
    for slot in range(len(b.working)):
        if b.working[slot].order_id > 0:
            end_cancelled(b, slot)


@kernel()
def end_cancelled(b: Any, slot: int) -> None:
    write_order(b, b.working[slot], _CANCELLED, _NONE, 0)
    b.account[A_CANCELLED] += 1
    close(b, slot)


@kernel()
def end_expired(b: Any, slot: int) -> None:
    write_order(b, b.working[slot], _EXPIRED, _NONE, 0)
    b.account[A_EXPIRED] += 1
    close(b, slot)
