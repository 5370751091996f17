"""The compiled entries of a trading account: ticks through it, and what a strategy may ask of it. Never waits.

``wiring``: the arrays of ``state.AccountState.arrays``, then TICK_DTYPE and SIGNAL_DTYPE rows (``hft_engine.wiring``).
"""

from typing import Any

import numpy as np

from hft_engine.execution.book import Book, mark_of
from hft_engine.execution.matching import match, see
from hft_engine.execution.orders import cancel, cancel_all, submit
from hft_engine.execution.portfolio import valuation
from hft_engine.execution.state import (
    A_CASH,
    A_CLOCK,
    A_FILLS_OUT,
    A_NOW,
    A_ORDERS_OUT,
    A_SAMPLE_DUE,
    A_SAMPLES_OUT,
    A_SOURCE,
    A_TICKS,
    A_WORKING,
    ROW_DTYPE,
    SAMPLE_DTYPE,
    TERMS_DTYPE,
    WORKING_DTYPE,
)
from hft_engine.kernel import kernel
from hft_engine.records import FILL_DTYPE, ORDER_DTYPE, SIGNAL_DTYPE, TICK_DTYPE, TickFlag, TickKind
from hft_engine.wiring import wired

_TRADE, _QUOTE, _HEALTH = int(TickKind.TRADE), int(TickKind.QUOTE), int(TickKind.HEALTH)
_UNFIT = int(TickFlag.UNFIT)
_TICKS, _SIGNALS = 8, 9  # in the wiring, behind the account's arrays


@kernel(forceinline=True)
def _book(wiring: np.ndarray) -> Any:
    return Book(
        wired(wiring, 0, ROW_DTYPE),
        wired(wiring, 1, WORKING_DTYPE),
        wired(wiring, 2, np.int64),
        wired(wiring, 3, TERMS_DTYPE),
        wired(wiring, 4, np.int64),
        wired(wiring, 5, ORDER_DTYPE),
        wired(wiring, 6, FILL_DTYPE),
        wired(wiring, 7, SAMPLE_DTYPE),
    )


@kernel(forceinline=True)
def _has_room(b: Any) -> bool:
    """Whether a tick may fill every open order, and a signal send one more."""
    a = b.account
    orders, fills = len(b.orders) - a[A_ORDERS_OUT], len(b.fills) - a[A_FILLS_OUT]
    working = a[A_WORKING]
    return orders > working + 1 and fills > working and a[A_SAMPLES_OUT] < len(b.samples)


@kernel()
def _sample(b: Any, ts_ns: int) -> None:
    every_ns = b.terms[0].equity_every_ns
    out = b.samples[b.account[A_SAMPLES_OUT]]
    out.ts_ns = ts_ns // every_ns * every_ns
    out.equity, out.gross, out.net = valuation(b)
    out.cash = b.account[A_CASH]
    b.account[A_SAMPLES_OUT] += 1
    b.account[A_SAMPLE_DUE] = out.ts_ns + every_ns


@kernel(forceinline=True)
def _step(b: Any, tick: Any) -> None:
    a = b.account
    if tick.kind == _HEALTH:  # no event of the market: its time stands
        a[A_SOURCE] = tick.sequence
        if 0 <= tick.instrument_id < len(b.rows):
            b.rows[tick.instrument_id].unfit = tick.flags & _UNFIT
        a[A_TICKS] += 1
        return
    ts_ns = tick.ts_venue_ns
    a[A_SOURCE], a[A_NOW] = tick.sequence, ts_ns
    if ts_ns > a[A_CLOCK]:
        a[A_CLOCK] = ts_ns
        if ts_ns >= a[A_SAMPLE_DUE]:
            _sample(b, ts_ns)
    if (tick.kind == _TRADE or tick.kind == _QUOTE) and 0 <= tick.instrument_id < len(b.rows):
        price = see(b, tick)
        if b.rows[tick.instrument_id].first != 0:
            match(b, tick, price)
    a[A_TICKS] += 1


@kernel(cache=True)
def advance(wiring: np.ndarray, begin: int, end: int, stop_on_fill: bool) -> int:
    """Ticks [begin, end) through the account; returns the first one not taken.

    Ends early where records wait that must be collected first, and, if asked to, after a tick that filled an order.
    """
    b, ticks = _book(wiring), wired(wiring, _TICKS, TICK_DTYPE)
    before = b.account[A_FILLS_OUT]
    for i in range(begin, end):
        if not _has_room(b):
            return i
        _step(b, ticks[i])
        if stop_on_fill and b.account[A_FILLS_OUT] != before:
            return i + 1
    return end


@kernel(cache=True)
def follow(
    wiring: np.ndarray, begin: int, end: int, first: int, last: int, quantity: int, short: bool
) -> tuple[int, int]:
    """The strategy ``follow``, compiled: ticks [begin, end) and the signals [first, last) that they caused.

    A buy signal asks for a position of ``quantity``, a sell signal for none, or with ``short`` for -quantity; what is
    missing to it, open orders counted, is sent at the market. Returns the first tick and signal not taken.
    """
    b = _book(wiring)
    ticks, signals = wired(wiring, _TICKS, TICK_DTYPE), wired(wiring, _SIGNALS, SIGNAL_DTYPE)
    i, k = begin, first
    while i < end:
        while k < last and signals[k].source_sequence < ticks[i].sequence and _has_room(b):
            _act(
                b, signals[k], quantity, short
            )  # of a tick that this reader was lapped by, or of the one before
            k += 1
        if not _has_room(b):
            break
        _step(b, ticks[i])
        i += 1
    while i == end and k < last and signals[k].source_sequence <= ticks[end - 1].sequence and _has_room(b):
        _act(b, signals[k], quantity, short)
        k += 1
    return i, k


@kernel()
def _act(b: Any, signal: Any, quantity: int, short: bool) -> None:
    if not 0 <= signal.instrument_id < len(b.rows):
        return
    row = b.rows[signal.instrument_id]
    wanted = quantity if signal.side > 0 else (-quantity if short else np.int64(0))
    missing = wanted - row.position - row.open_buy + row.open_sell
    if missing != 0:
        side = 1 if missing > 0 else -1
        submit(
            b,
            signal.instrument_id,
            side,
            abs(missing),
            0,
            signal.ts_expiry_ns,
            signal.sequence,
            signal.ts_venue_ns,
        )


@kernel(cache=True)
def send(
    wiring: np.ndarray,
    instrument: int,
    side: int,
    quantity: int,
    limit: int,
    expiry_ns: int,
    signal_sequence: int,
    signal_ns: int,
) -> int:
    """``orders.submit``; 0 where records must be collected first."""
    b = _book(wiring)
    if not _has_room(b):
        return 0
    return submit(b, instrument, side, quantity, limit, expiry_ns, signal_sequence, signal_ns)


@kernel(cache=True)
def call_off(wiring: np.ndarray, order_id: int) -> bool:
    """``orders.cancel``."""
    return cancel(_book(wiring), order_id)


@kernel(cache=True)
def call_off_all(wiring: np.ndarray) -> None:
    """``orders.cancel_all``: at once, without latency."""
    cancel_all(_book(wiring))


@kernel(cache=True)
def value(wiring: np.ndarray) -> tuple[int, int, int]:
    """``portfolio.valuation``."""
    return valuation(_book(wiring))


@kernel(cache=True)
def mark(wiring: np.ndarray, instrument: int) -> int:
    """``book.mark_of``."""
    return mark_of(_book(wiring).rows[instrument])
