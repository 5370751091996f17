"""Bars built from trades, in event time: one second, one minute and N prints, for every instrument at once.

A time bar is closed by the first trade of a later window, or once the event time of the whole stream (the
*watermark*, the newest stamp of any trade or quote) has passed its end by ``late_after_ms``; due bars are
looked for when the watermark enters a new second. So the bars are a function of the ticks and their order, and
of nothing else.

A print whose window has been closed is *late*: it moves neither prices nor volume of any bar, and is counted.
Within an open window open and close go by event time, whatever the order of arrival. A print whose conditions
forbid it to move prices adds its volume only.

Records: ``b`` is a BUILDER_DTYPE, ``row`` a STATE_DTYPE, ``p`` a PARAMETERS_DTYPE, ``tick`` a TICK_DTYPE record.
``bars`` is BAR_DTYPE with a power of two of rows; the bar of sequence ``at`` is written to row ``at`` modulo that.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from hft_engine.indicators.kernels import add_bar
from hft_engine.indicators.state import (
    C_INSTRUMENTS,
    C_SCAN_AT,
    C_SCAN_NEXT,
    C_WATERMARK,
    CLOCK_WORDS,
    NEVER_NS,
    SECOND_NS,
)
from hft_engine.records import BarFlag, BarKind

BARS_A_TRADE_MAX = 3  # a trade can close a bar of each kind

_SECOND, _MINUTE, _TICKS = int(BarKind.SECOND), int(BarKind.MINUTE), int(BarKind.TICKS)
_MINUTE_NS = 60 * SECOND_NS
_NO_PRICE = int(BarFlag.NO_PRICE)


@njit(nogil=True, error_model="numpy")
def _open(b: Any, start_ns: int, end_ns: int) -> None:
    b.start_ns = start_ns
    b.end_ns = end_ns
    b.prints = 0
    b.trade_count = 0
    b.open = math.nan
    b.high = math.nan
    b.low = math.nan
    b.close = math.nan
    b.volume = 0.0
    b.notional = 0.0


@njit(nogil=True, error_model="numpy")
def _move_price(b: Any, ts_ns: int, price: float) -> None:
    if b.prints == 0 or ts_ns < b.first_ns:
        b.open = price
        b.first_ns = ts_ns
    if b.prints == 0 or ts_ns >= b.last_ns:
        b.close = price
        b.last_ns = ts_ns
    b.high = price if b.prints == 0 else max(b.high, price)
    b.low = price if b.prints == 0 else min(b.low, price)
    b.prints += 1


@njit(nogil=True, error_model="numpy")
def _add_volume(b: Any, price: float, size: float) -> None:
    b.volume += size
    b.notional += price * size
    b.trade_count += 1


@njit(nogil=True, error_model="numpy")
def _write(b: Any, kind: int, tick: Any, bars: np.ndarray, at: int) -> None:
    out = bars[at & (len(bars) - 1)]
    out.source_sequence = tick.sequence
    out.ts_start_ns = b.start_ns
    out.ts_end_ns = b.end_ns
    out.ts_mono_ns = tick.ts_mono_ns
    out.kind = kind
    out.flags = _NO_PRICE if b.prints == 0 else 0
    out.open = b.open
    out.high = b.high
    out.low = b.low
    out.close = b.close
    out.volume = b.volume
    out.vwap = b.notional / b.volume if b.volume > 0.0 else math.nan
    out.trade_count = b.trade_count
    out.late_count = b.late_count
    out._reserved = 0
    out._pad = 0


@njit(nogil=True, error_model="numpy")
def _close(
    row: Any, b: Any, kind: int, instrument: int, tick: Any, p: Any, bars: np.ndarray, at: int
) -> None:
    """Write the bar, feed it to the bar indicators if it is of their kind, leave the builder without a window."""
    _write(b, kind, tick, bars, at)
    bars[at & (len(bars) - 1)].instrument_id = instrument
    if kind == p.bar_kind and b.prints > 0:
        add_bar(row, b.high, b.low, b.close, p)
        row.new_bar = 1
    b.closed_ns = b.end_ns
    b.end_ns = 0
    b.prints = 0
    b.trade_count = 0
    b.late_count = 0


@njit(nogil=True, error_model="numpy")
def _enter_window(
    row: Any, b: Any, kind: int, span_ns: int, tick: Any, p: Any, bars: np.ndarray, at: int
) -> int:
    """Bring a time builder to the trade's window. Returns how many bars that closed, or -1: the print is late."""
    if b.start_ns <= tick.ts_venue_ns < b.end_ns:  # most: the division below is spared
        return 0
    start_ns = tick.ts_venue_ns // span_ns * span_ns
    if start_ns < b.closed_ns or (b.end_ns != 0 and start_ns < b.start_ns):
        b.late_count += 1
        return -1
    closed = 0
    if b.end_ns != 0:
        _close(row, b, kind, tick.instrument_id, tick, p, bars, at)
        closed = 1
    _open(b, start_ns, start_ns + span_ns)
    return closed


@njit(nogil=True, error_model="numpy")
def _add_print(b: Any, tick: Any, moves_price: bool, adds_volume: bool) -> None:
    if moves_price:
        _move_price(b, tick.ts_venue_ns, tick.price)
    if adds_volume:
        _add_volume(b, tick.price, tick.size)


@njit(nogil=True, error_model="numpy")
def _add_to_tick_bar(
    row: Any, tick: Any, p: Any, moves_price: bool, adds_volume: bool, bars: np.ndarray, at: int
) -> int:
    b = row.ticks
    if b.prints == 0 and b.trade_count == 0:
        _open(b, tick.ts_venue_ns, tick.ts_venue_ns)
    b.start_ns = min(b.start_ns, tick.ts_venue_ns)
    b.end_ns = max(b.end_ns, tick.ts_venue_ns)
    _add_print(b, tick, moves_price, adds_volume)
    if b.prints < p.ticks_per_bar:
        return 0
    _close(row, b, _TICKS, tick.instrument_id, tick, p, bars, at)
    return 1


@njit(nogil=True, error_model="numpy")
def _note_deadline(row: Any, instrument: int, p: Any, clock: np.ndarray) -> None:
    due = NEVER_NS
    if row.second.end_ns != 0:
        due = row.second.end_ns + p.late_after_ns
    if row.minute.end_ns != 0:
        due = min(due, row.minute.end_ns + p.late_after_ns)
    clock[CLOCK_WORDS + instrument] = due


@njit(nogil=True, error_model="numpy")
def add_trade(
    row: Any,
    tick: Any,
    p: Any,
    moves_price: bool,
    adds_volume: bool,
    clock: np.ndarray,
    bars: np.ndarray,
    at: int,
) -> tuple[int, bool, bool]:
    """A trade into the three builders of its instrument.

    Returns (bars written, late for its second, late for its minute). A print late for its second is late for the
    bar of N prints too.
    """
    written = 0
    second = _enter_window(row, row.second, _SECOND, SECOND_NS, tick, p, bars, at)
    if second >= 0:
        written += second
        _add_print(row.second, tick, moves_price, adds_volume)
    else:
        row.ticks.late_count += 1
    minute = _enter_window(row, row.minute, _MINUTE, _MINUTE_NS, tick, p, bars, at + written)
    if minute >= 0:
        written += minute
        _add_print(row.minute, tick, moves_price, adds_volume)
    if second >= 0:
        written += _add_to_tick_bar(row, tick, p, moves_price, adds_volume, bars, at + written)
    _note_deadline(row, tick.instrument_id, p, clock)
    return written, second < 0, minute < 0


@njit(nogil=True, error_model="numpy")
def move_watermark(clock: np.ndarray, ts_ns: int) -> bool:
    """Event time goes on. Returns whether bars may be due (``close_due`` must then be called until it is done)."""
    if ts_ns > clock[C_WATERMARK]:
        clock[C_WATERMARK] = ts_ns
    return clock[C_WATERMARK] >= clock[C_SCAN_NEXT]


@njit(nogil=True, error_model="numpy")
def _close_due_of(
    row: Any, instrument: int, now_ns: int, tick: Any, p: Any, bars: np.ndarray, at: int
) -> int:
    written = 0
    if row.second.end_ns != 0 and row.second.end_ns + p.late_after_ns <= now_ns:
        _close(row, row.second, _SECOND, instrument, tick, p, bars, at)
        written = 1
    if row.minute.end_ns != 0 and row.minute.end_ns + p.late_after_ns <= now_ns:
        _close(row, row.minute, _MINUTE, instrument, tick, p, bars, at + written)
        written += 1
    return written


@njit(nogil=True, error_model="numpy")
def close_due(
    state: np.ndarray, clock: np.ndarray, tick: Any, p: Any, bars: np.ndarray, at: int, limit: int
) -> int:
    """Close the time bars that are due, at most ``limit`` (2 or more); returns how many.

    Where ``limit`` stopped it, ``clock[C_SCAN_AT]`` is not 0 and another call goes on from there.
    """
    now_ns = clock[C_WATERMARK]
    written = 0
    for i in range(clock[C_SCAN_AT], clock[C_INSTRUMENTS]):
        if clock[CLOCK_WORDS + i] > now_ns:
            continue
        if written + 2 > limit:
            clock[C_SCAN_AT] = i
            return written
        written += _close_due_of(state[i], i, now_ns, tick, p, bars, at + written)
        _note_deadline(state[i], i, p, clock)
    clock[C_SCAN_AT] = 0
    clock[C_SCAN_NEXT] = (now_ns // SECOND_NS + 1) * SECOND_NS
    return written
