"""Bars built from trades, in event time: one second, one minute and N prints, for every instrument at once.

A time bar is closed by the first trade of a later window, or once the event time of the whole stream (the
*watermark*, the newest stamp of any trade or quote) has passed its end by ``late_after_ms``; due bars are
looked for when the watermark enters a new second. So the bars are a function of the ticks and their order, and
of nothing else.

A print whose window has been closed is *late*, and counted: it moves nothing but that bar, which is written once more
as a REVISION while it is the last of its kind; an older one stays as it is. Within an open window open and close go
by event time, whatever the order of arrival. A print whose conditions forbid it to move prices adds its volume only.

A bar in whose window data are missing, as HEALTH ticks say, is GAPPED. A bar that was asked for afterwards (BACKFILL)
is written as a REVISION that is REPAIRED. What follows from a bar, indicators and features, is never taken back.

Records: ``b`` is a BUILDER_DTYPE, ``row`` a STATE_DTYPE, ``p`` a PARAMETERS_DTYPE, ``tick`` a TICK_DTYPE record.
``bars`` is BAR_DTYPE with a power of two of rows; the bar of sequence ``at`` is written to row ``at`` modulo that.
"""

import math
from typing import Any

import numpy as np

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
from hft_engine.kernel import kernel
from hft_engine.records import BarFlag, BarKind, TickFlag, TickKind

BARS_A_TRADE_MAX = 3  # a trade can close a bar of each kind

_SECOND, _MINUTE, _TICKS = int(BarKind.SECOND), int(BarKind.MINUTE), int(BarKind.TICKS)
_MINUTE_NS = 60 * SECOND_NS
_NO_PRICE, _GAPPED, _REVISION = int(BarFlag.NO_PRICE), int(BarFlag.GAPPED), int(BarFlag.REVISION)
_FILLED_IN = int(BarFlag.REPAIRED | BarFlag.REVISION)
_BAR_SECOND, _BAR_MINUTE = int(TickKind.BAR_SECOND), int(TickKind.BAR_MINUTE)
_UNFIT, _BACKFILL = int(TickFlag.UNFIT), int(TickFlag.BACKFILL)


@kernel()
def _open(b: Any, start_ns: int, end_ns: int, hole: int) -> None:
    b.gapped = hole
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


@kernel(forceinline=True)
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


@kernel(forceinline=True)
def _add_volume(b: Any, price: float, size: float) -> None:
    b.volume += size
    b.notional += price * size
    b.trade_count += 1


@kernel()
def _copy(b: Any, kept: Any) -> None:
    kept.start_ns = b.start_ns
    kept.end_ns = b.end_ns
    kept.prints = b.prints
    kept.trade_count = b.trade_count
    kept.late_count = b.late_count
    kept.gapped = b.gapped
    kept.first_ns = b.first_ns
    kept.last_ns = b.last_ns
    kept.open = b.open
    kept.high = b.high
    kept.low = b.low
    kept.close = b.close
    kept.volume = b.volume
    kept.notional = b.notional


@kernel()
def _write(b: Any, kind: int, instrument: int, tick: Any, flags: int, bars: np.ndarray, at: int) -> None:
    out = bars[at & (len(bars) - 1)]
    out.source_sequence = tick.sequence
    out.ts_start_ns = b.start_ns
    out.ts_end_ns = b.end_ns
    out.ts_mono_ns = tick.ts_mono_ns
    out.instrument_id = instrument
    out.kind = kind
    out.flags = flags | (_NO_PRICE if b.prints == 0 else 0) | (_GAPPED if b.gapped != 0 else 0)
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


@kernel()
def _close(
    row: Any, b: Any, kind: int, instrument: int, tick: Any, p: Any, bars: np.ndarray, at: int
) -> None:
    """Write the bar, feed it to the bar indicators if it is of their kind, leave the builder without a window."""
    _write(b, kind, instrument, tick, 0, bars, at)
    if kind == _SECOND:
        _copy(b, row.second_before)
    elif kind == _MINUTE:
        _copy(b, row.minute_before)
    if kind == p.bar_kind and b.prints > 0:
        add_bar(row, b.high, b.low, b.close, p)
        row.new_bar = 1
    b.closed_ns = b.end_ns
    b.end_ns = 0
    b.prints = 0
    b.trade_count = 0
    b.late_count = 0


@kernel(forceinline=True)
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
    _open(b, start_ns, start_ns + span_ns, row.hole)
    return closed


@kernel(forceinline=True)
def _add_print(b: Any, tick: Any, moves_price: bool, adds_volume: bool) -> None:
    if moves_price:
        _move_price(b, tick.ts_venue_ns, tick.price)
    if adds_volume:
        _add_volume(b, tick.price, tick.size)


@kernel()
def _revise(
    b: Any, kind: int, tick: Any, moves_price: bool, adds_volume: bool, bars: np.ndarray, at: int
) -> int:
    """A late print into the bar that was closed last, if it belongs there. Returns how many bars it wrote."""
    if not b.start_ns <= tick.ts_venue_ns < b.end_ns:
        return 0
    _add_print(b, tick, moves_price, adds_volume)
    _write(b, kind, tick.instrument_id, tick, _REVISION, bars, at)
    return 1


@kernel(forceinline=True)
def _add_to_tick_bar(
    row: Any, tick: Any, p: Any, moves_price: bool, adds_volume: bool, bars: np.ndarray, at: int
) -> int:
    b = row.ticks
    if b.prints == 0 and b.trade_count == 0:
        _open(b, tick.ts_venue_ns, tick.ts_venue_ns, row.hole)
    b.start_ns = min(b.start_ns, tick.ts_venue_ns)
    b.end_ns = max(b.end_ns, tick.ts_venue_ns)
    _add_print(b, tick, moves_price, adds_volume)
    if b.prints < p.ticks_per_bar:
        return 0
    _close(row, b, _TICKS, tick.instrument_id, tick, p, bars, at)
    return 1


@kernel(forceinline=True)
def _note_deadline(row: Any, instrument: int, p: Any, clock: np.ndarray) -> None:
    due = NEVER_NS
    if row.second.end_ns != 0:
        due = row.second.end_ns + p.late_after_ns
    if row.minute.end_ns != 0:
        due = min(due, row.minute.end_ns + p.late_after_ns)
    clock[CLOCK_WORDS + instrument] = due


@kernel(forceinline=True)
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
        written += _revise(row.second_before, _SECOND, tick, moves_price, adds_volume, bars, at)
    minute = _enter_window(row, row.minute, _MINUTE, _MINUTE_NS, tick, p, bars, at + written)
    if minute >= 0:
        written += minute
        _add_print(row.minute, tick, moves_price, adds_volume)
    else:
        written += _revise(row.minute_before, _MINUTE, tick, moves_price, adds_volume, bars, at + written)
    if second >= 0:
        written += _add_to_tick_bar(row, tick, p, moves_price, adds_volume, bars, at + written)
    _note_deadline(row, tick.instrument_id, p, clock)
    return written, second < 0, minute < 0


@kernel()
def _mark(b: Any, tick: Any) -> None:
    """A bar is gapped if the stretch that a HEALTH tick names reaches into it; one that is out says so when revised."""
    reaches = tick.gap_to_ns == 0 or b.start_ns < tick.gap_to_ns
    if b.end_ns != 0 and reaches and b.end_ns > tick.gap_from_ns:
        b.gapped = 1


@kernel()
def take_health(row: Any, tick: Any) -> None:
    """A HEALTH tick into its instrument: features from here on, and bars whose windows are not complete."""
    row.unfit = tick.flags & _UNFIT
    if tick.gap_from_ns == 0:
        return
    row.hole = 1 if tick.gap_to_ns == 0 else 0
    for b in (row.second, row.minute, row.second_before, row.minute_before):
        _mark(b, tick)
    if row.ticks.prints > 0 or row.ticks.trade_count > 0:
        row.ticks.gapped = 1


@kernel()
def is_backfill(tick: Any) -> bool:
    return tick.flags & _BACKFILL != 0 and (tick.kind == _BAR_SECOND or tick.kind == _BAR_MINUTE)


@kernel()
def write_backfill(row: Any, tick: Any, bars: np.ndarray, at: int) -> None:
    """A bar asked for afterwards, as the bar of sequence ``at``; prints that come still later do not revise it."""
    kept = row.second_before if tick.kind == _BAR_SECOND else row.minute_before
    if kept.start_ns == tick.ts_start_ns:
        kept.end_ns = 0
    out = bars[at & (len(bars) - 1)]
    out.source_sequence = tick.sequence
    out.ts_start_ns = tick.ts_start_ns
    out.ts_end_ns = tick.ts_venue_ns
    out.ts_mono_ns = tick.ts_mono_ns
    out.instrument_id = tick.instrument_id
    out.kind = _SECOND if tick.kind == _BAR_SECOND else _MINUTE
    out.flags = _FILLED_IN
    out.open = tick.open
    out.high = tick.high
    out.low = tick.low
    out.close = tick.close
    out.volume = tick.volume
    out.vwap = tick.vwap
    out.trade_count = tick.trade_count
    out.late_count = 0
    out._reserved = 0
    out._pad = 0


@kernel(forceinline=True)
def move_watermark(clock: np.ndarray, ts_ns: int) -> bool:
    """Event time goes on. Returns whether bars may be due (``close_due`` must then be called until it is done)."""
    if ts_ns > clock[C_WATERMARK]:
        clock[C_WATERMARK] = ts_ns
    return clock[C_WATERMARK] >= clock[C_SCAN_NEXT]


@kernel()
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


@kernel()
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
