"""The paper venue: what a tick does to the market as the broker sees it, and to the orders that wait. Pure.

An order is dealt with at ticks of its own instrument, in this order: a cancel that has arrived, its expiry, its
arrival (event time of the tick at or after ``ts_arrival_ns``), then the market. It never meets the tick that it was
decided on.

market order   fills whole at the first such tick: at the quote's other side where one is known, else at the last
               trade plus (less) half the spread, rounded against it
limit order    on arrival, like a market order where that price is within its limit; else it waits and fills at it:
  through      whole, when a trade prints beyond it or the other side's quote moves beyond it
  estimate     also when the quote only reaches it; and by trades at its very price, once those have taken what
               stood in front of it: the size shown there when it came (or when its price became the best), all of
               it, none cancelled

Trades whose conditions forbid them to move the price fill nothing. Our own orders move no market.
"""

from typing import Any

import numpy as np

from hft_engine.execution.book import write_order
from hft_engine.execution.chain import link
from hft_engine.execution.orders import close, count_filled, end_cancelled, end_expired
from hft_engine.execution.portfolio import apply_fill, fee_of
from hft_engine.execution.state import (
    A_CASH,
    A_CHAIN,
    A_FILLS,
    A_FILLS_OUT,
    A_NOW,
    A_SOURCE,
    NOTHING,
    QUEUE_UNKNOWN,
)
from hft_engine.kernel import kernel
from hft_engine.records import Liquidity, OrderKind, OrderStatus, Refusal, TickFlag, TickKind

_TRADE, _QUOTE = int(TickKind.TRADE), int(TickKind.QUOTE)
_NO_PRICE = int(TickFlag.NO_PRICE_UPDATE) | int(TickFlag.CONDITION_UNKNOWN)
_TAKER, _MAKER = int(Liquidity.TAKER), int(Liquidity.MAKER)
_MARKET = int(OrderKind.MARKET)
_PARTIAL, _FILLED = int(OrderStatus.PARTIAL), int(OrderStatus.FILLED)
_NONE = int(Refusal.NONE)


@kernel()
def in_ticks(value: float, scale: float) -> int:
    """The nearest whole number of ticks; 0 for what is no positive finite number."""
    return int(np.floor(value * scale + 0.5)) if 0.0 < value < np.inf else 0


@kernel()
def see(b: Any, tick: Any) -> int:
    """Take a tick (TICK_DTYPE) into its instrument's row. Returns the price of a trade that may fill, else 0."""
    row, terms = b.rows[tick.instrument_id], b.terms[0]
    row.last_ns = tick.ts_venue_ns
    if tick.kind == _QUOTE:
        row.bid, row.ask = in_ticks(tick.bid, terms.price_scale), in_ticks(tick.ask, terms.price_scale)
        row.bid_size = in_ticks(tick.bid_size, terms.size_scale)
        row.ask_size = in_ticks(tick.ask_size, terms.size_scale)
        return 0
    if tick.flags & _NO_PRICE:
        return 0
    price = in_ticks(tick.price, terms.price_scale)
    if price > 0:
        row.last = price
    return price


@kernel()
def match(b: Any, tick: Any, price: int) -> None:
    """Every open order of the tick's instrument against it. ``price``: what ``see`` returned."""
    slot = b.rows[tick.instrument_id].first - 1
    while slot != NOTHING:
        following = b.working[slot].next
        _deal_with(b, slot, tick, price)
        slot = following


@kernel()
def _deal_with(b: Any, slot: int, tick: Any, price: int) -> None:
    order, now_ns = b.working[slot], tick.ts_venue_ns
    if 0 < order.ts_cancel_ns <= now_ns:
        end_cancelled(b, slot)
    elif 0 < order.ts_expiry_ns <= now_ns:
        end_expired(b, slot)
    elif order.arrived != 0:
        _meet(b, slot, tick, price)
    elif now_ns >= order.ts_arrival_ns:
        _arrive(b, slot, tick, price)


@kernel()
def _arrive(b: Any, slot: int, tick: Any, price: int) -> None:
    order = b.working[slot]
    taking = _taking_price(b.rows[order.instrument_id], order.side, b.terms[0])
    if taking > 0 and (order.kind == _MARKET or (taking - order.limit) * order.side <= 0):
        _fill(b, slot, taking, order.quantity - order.filled, _TAKER)
    elif order.kind != _MARKET:
        order.arrived = 1
        _queue_up(b.rows[order.instrument_id], order, b.terms[0])
        _meet(b, slot, tick, price)


@kernel()
def _taking_price(row: Any, side: int, terms: Any) -> int:
    """What an order that takes pays or gets now; 0: unknown."""
    quoted = row.ask if side > 0 else row.bid
    if quoted > 0:
        return quoted
    if row.last == 0:
        return 0
    worse = row.last * (1.0 + side * terms.half_spread)
    return int(np.ceil(worse - 1e-9)) if side > 0 else int(np.floor(worse + 1e-9))


@kernel()
def _queue_up(row: Any, order: Any, terms: Any) -> None:
    """What stands in front of a limit order that begins to wait."""
    own = row.bid if order.side > 0 else row.ask
    if terms.estimate_queue == 0 or own == 0:
        return
    if order.limit == own:
        order.ahead = row.bid_size if order.side > 0 else row.ask_size
    elif (order.limit - own) * order.side > 0:
        order.ahead = 0  # better than all that is shown


@kernel()
def _meet(b: Any, slot: int, tick: Any, price: int) -> None:
    """A waiting limit order and a tick."""
    order = b.working[slot]
    left = order.quantity - order.filled
    if tick.kind == _QUOTE:
        if _is_crossed(b.rows[order.instrument_id], order, b.terms[0]):
            _fill(b, slot, order.limit, left, _MAKER)
        elif order.ahead == QUEUE_UNKNOWN:
            _queue_up(b.rows[order.instrument_id], order, b.terms[0])
    elif price > 0:
        if (price - order.limit) * order.side < 0:
            _fill(b, slot, order.limit, left, _MAKER)
        elif price == order.limit and order.ahead != QUEUE_UNKNOWN:
            _take_turn(b, slot, in_ticks(tick.size, b.terms[0].size_scale))


@kernel()
def _is_crossed(row: Any, order: Any, terms: Any) -> bool:
    other = row.ask if order.side > 0 else row.bid
    beyond = (order.limit - other) * order.side
    return other > 0 and (beyond > 0 or (beyond == 0 and terms.estimate_queue != 0))


@kernel()
def _take_turn(b: Any, slot: int, size: int) -> None:
    """A trade of ``size`` at the order's price: first to those in front, what is left of it to the order."""
    order = b.working[slot]
    ours = min(size - order.ahead, order.quantity - order.filled)
    order.ahead = max(order.ahead - size, 0)
    if ours > 0:
        _fill(b, slot, order.limit, ours, _MAKER)


@kernel()
def _fill(b: Any, slot: int, price: int, quantity: int, liquidity: int) -> None:
    order = b.working[slot]
    fee = fee_of(b.terms[0], price, quantity)
    realised = apply_fill(b, order.instrument_id, order.side, price, quantity, fee)
    count_filled(b, order, quantity)
    whole = order.filled == order.quantity
    write_order(b, order, _FILLED if whole else _PARTIAL, _NONE, price)
    _write_fill(b, order, price, quantity, liquidity, fee, realised)
    if whole:
        close(b, slot)


@kernel()
def _write_fill(
    b: Any, order: Any, price: int, quantity: int, liquidity: int, fee: int, realised: int
) -> None:
    account = b.account
    out = b.fills[account[A_FILLS_OUT]]
    out.sequence = account[A_FILLS]
    out.source_sequence, out.ts_venue_ns = account[A_SOURCE], account[A_NOW]
    out.order_id, out.signal_sequence = order.order_id, order.signal_sequence
    out.instrument_id, out.side, out.liquidity = order.instrument_id, order.side, liquidity
    out.price, out.quantity, out.fee, out.realised = price, quantity, fee, realised
    out.position = b.rows[order.instrument_id].position
    out.cash = account[A_CASH]
    out.chain_hash = link(out, np.uint64(account[A_CHAIN]))
    account[A_CHAIN] = np.int64(out.chain_hash)
    account[A_FILLS] += 1
    account[A_FILLS_OUT] += 1
