"""What a tick says of its channel: when it came, how late, in which order. Facts only; ``judge`` says what they mean.

A cell whose state may change by what was seen is due at once; all others wait for their time (``due``).
"""

import math
from typing import Any

import numpy as np

from hft_engine.feed.health.cells import (
    CHANNELS,
    N_AUDITS,
    N_AUDITS_FAILED,
    N_CROSSED,
    N_KNOWN,
    N_MISSING,
    N_REORDERED,
    N_REPEATED,
    N_SUSPECTS,
    N_SUSPECTS_DROPPED,
    SEEN_BITS,
    T_BASE,
)
from hft_engine.kernel import kernel
from hft_engine.records import HealthCause, HealthChannel, HealthState, TickFlag, TickKind

_TRADE, _QUOTE, _LULD, _HEALTH = (
    int(kind) for kind in (TickKind.TRADE, TickKind.QUOTE, TickKind.LULD, TickKind.HEALTH)
)
_BAR_SECOND, _BAR_MINUTE = int(TickKind.BAR_SECOND), int(TickKind.BAR_MINUTE)
_OF_TRADE, _OF_QUOTE, _OF_BAR = (int(channel) for channel in HealthChannel)
_BACKFILL = int(TickFlag.BACKFILL)
_NO_PRICE = int(TickFlag.NO_PRICE_UPDATE | TickFlag.CONDITION_UNKNOWN)
_NO_VOLUME = int(TickFlag.NO_VOLUME_UPDATE)
# Conditions of a quote that say that nothing trades until RESUMED or a trade: news pending, the market-wide circuit
# breaker's three levels, a trading pause of the LULD plan; by Polygon's list (/v3/reference/conditions).
_HALTS, _RESUMED = (27, 36, 37, 38, 43), 16
_CONDITION = 0xFFFF  # bits of a quote's ``conditions`` that hold its condition + 1
_LIVE = int(HealthState.LIVE)
_BANDS, _PAUSE = int(HealthCause.BANDS), int(HealthCause.PAUSE)
_SEQUENCE, _AUDIT, _CONNECTION = (
    int(HealthCause.SEQUENCE),
    int(HealthCause.AUDIT),
    int(HealthCause.CONNECTION),
)
_SECOND_NS = 1_000_000_000
_MINUTE_NS, _DAY_NS = 60 * _SECOND_NS, 86_400 * _SECOND_NS
_LAG_SHARE = 1.0 / 16.0  # of a new delay in the running mean: some tens of ticks
_ONE = np.uint64(1)


@kernel()
def learn(m: Any, now_ns: int, limits: Any) -> None:
    """Move the learned quantile of the times between arrivals on; ``m``: a cell, or a venue.

    Robbins and Monro, "A stochastic approximation method", Annals of Mathematical Statistics 22 (1951), by factors:
    up by ``step * quantile`` when the time was longer, else down by ``step * (1 - quantile)``. What comes within
    ``resolution_ns`` of the first of a burst belongs to the burst: times are taken from burst to burst.
    """
    gap_ns = now_ns - m.burst_ns
    if m.burst_ns != 0:
        if gap_ns < limits.resolution_ns:
            m.last_mono_ns = max(m.last_mono_ns, now_ns)
            return
        m.gaps += 1
        if m.gaps <= limits.samples_min:
            m.cadence_ns = max(m.cadence_ns, float(gap_ns))
        elif gap_ns > m.cadence_ns:
            m.cadence_ns *= 1.0 + limits.step * limits.quantile
        else:
            m.cadence_ns *= 1.0 - limits.step * (1.0 - limits.quantile)
    m.burst_ns = m.last_mono_ns = now_ns


@kernel()
def suspect(
    suspects: np.ndarray, now: np.ndarray, counts: np.ndarray, instrument: int, venue: int, from_ns: int, to_ns: int,
    cause: int,
) -> None:  # fmt: skip
    """Bars of [from_ns, to_ns] may be wrong. One right after another of the same instrument is taken together."""
    n = now[N_SUSPECTS]
    if n > 0:
        last = suspects[n - 1]
        touches = last.from_ns <= to_ns and from_ns <= last.to_ns + _SECOND_NS
        if touches and last.instrument_id == instrument and last.venue == venue:
            last.from_ns, last.to_ns = min(last.from_ns, from_ns), max(last.to_ns, to_ns)
            return
    if n == len(suspects):
        counts[N_SUSPECTS_DROPPED] += 1
        return
    row = suspects[n]
    row.instrument_id, row.venue, row.from_ns, row.to_ns, row.cause = instrument, venue, from_ns, to_ns, cause
    now[N_SUSPECTS] = n + 1


@kernel()
def miss(cell: Any, from_ns: int, to_ns: int, cause: int, until_ns: int) -> None:
    """Something between two stamps has not come. Gaps that were not told yet are told as one."""
    if cell.untold != 0 and cell.gap_from_ns != 0:
        from_ns = min(from_ns, cell.gap_from_ns)
    cell.gap_from_ns, cell.gap_to_ns = from_ns, to_ns
    cell.gapped_until_ns = until_ns
    cell.gap_cause = cause
    cell.untold = 1


@kernel()
def _number(cell: Any, tick: Any, contiguous: bool, limits: Any, counts: np.ndarray) -> int:
    """Account for the venue's number. Returns 0 in order, 1 a gap before it, 2 behind a newer one, 3 came before.

    The window of numbers seen is that of RFC 4303 (3.4.3, anti-replay): exact as long as nothing comes more than
    SEEN_BITS numbers late.
    """
    number = tick.venue_sequence
    ahead = number - cell.sequence
    if cell.sequence == 0:
        cell.sequence, cell.seen = number, _ONE
        return 0
    if ahead > 0:
        cell.seen = (cell.seen << np.uint64(ahead)) | _ONE if ahead < SEEN_BITS else _ONE
        cell.sequence = number
        if ahead == 1 or not contiguous:
            return 0
        cell.missing += ahead - 1
        counts[N_MISSING] += ahead - 1
        return 1
    bit = _ONE << np.uint64(-ahead) if -ahead < SEEN_BITS else np.uint64(0)
    if cell.seen & bit:
        counts[N_REPEATED] += 1
        return 3
    cell.seen |= bit
    counts[N_REORDERED] += 1
    if contiguous and cell.missing > 0:
        cell.missing -= 1
        counts[N_MISSING] -= 1
    return 2


@kernel()
def _order(
    cell: Any,
    tick: Any,
    venue: Any,
    v: int,
    limits: Any,
    now: np.ndarray,
    suspects: np.ndarray,
    counts: np.ndarray,
) -> bool:
    """The tick's place among its channel's. Returns whether its cell is due."""
    instrument, stamp_ns = tick.instrument_id, tick.ts_venue_ns
    is_late = stamp_ns < cell.last_venue_ns and tick.kind == _TRADE
    is_late = is_late and stamp_ns < cell.last_venue_ns // _SECOND_NS * _SECOND_NS
    place = 0
    if tick.venue_sequence > 0:
        place = _number(cell, tick, venue.contiguous != 0, limits, counts)
    elif is_late:
        counts[N_REORDERED] += 1
    if place == 1:
        miss(cell, cell.last_venue_ns, stamp_ns, _SEQUENCE, tick.ts_mono_ns + limits.gapped_hold_ns)
        suspect(suspects, now, counts, instrument, v, cell.last_venue_ns, stamp_ns, _SEQUENCE)
        return True
    if (is_late or place >= 2) and tick.kind == _TRADE:
        suspect(suspects, now, counts, instrument, v, stamp_ns, stamp_ns, _SEQUENCE)
        if place == 3:  # its bar counts it twice
            miss(cell, stamp_ns, stamp_ns + 1, _SEQUENCE, tick.ts_mono_ns + limits.gapped_hold_ns)
            return True
    if place == 2 and cell.missing == 0 and cell.gap_cause == _SEQUENCE and cell.gapped_until_ns != 0:
        cell.gapped_until_ns = tick.ts_mono_ns  # all that was missing has come after all
        return True
    return False


@kernel()
def _delay(cell: Any, tick: Any, venue: Any, channel: int, limits: Any, now: np.ndarray) -> None:
    """Running mean of the delay, and the least one of a window: the clocks' offset and the shortest way.

    By UTC as it was when we began: a step of our clock since then is no delay of the venue's.
    """
    delay_ns = float(tick.ts_mono_ns + now[T_BASE] - tick.ts_venue_ns)
    cell.lag_ns = delay_ns if cell.last_mono_ns == 0 else cell.lag_ns + (delay_ns - cell.lag_ns) * _LAG_SHARE
    if tick.ts_mono_ns >= venue.window_end_ns:
        venue.window_end_ns = tick.ts_mono_ns + limits.lag_window_ns
        for k in range(CHANNELS):
            venue.delay_before_ns[k] = venue.delay_ns[k]
            venue.delay_ns[k] = math.inf
    venue.delay_ns[channel] = min(venue.delay_ns[channel], delay_ns)


@kernel()
def _declared(board: Any, tick: Any) -> bool:
    """A halt that the quote's condition declares, or ends. Returns whether the instrument is due."""
    condition = np.int64(tick.conditions & np.uint64(_CONDITION)) - 1
    was = board.halt
    if condition in _HALTS:
        board.halt = _PAUSE
    elif condition == _RESUMED and was == _PAUSE:
        board.halt = board.limit_since_ns = 0
    return was != board.halt


@kernel()
def _quote(board: Any, tick: Any, limits: Any, counts: np.ndarray) -> bool:
    """Crossed prices, prices at a band, halts. Returns whether the instrument is due."""
    if tick.conditions != 0 and _declared(board, tick):
        return True
    was = board.crossed_since_ns
    if tick.bid > tick.ask:
        counts[N_CROSSED] += 1
        board.crossed_since_ns = was if was != 0 else tick.ts_mono_ns
    else:
        board.crossed_since_ns = 0
    due = (was != 0) != (board.crossed_since_ns != 0)
    if board.upper > 0.0 and board.bands_day == tick.ts_venue_ns // _DAY_NS:
        return _limit_state(board, tick, limits) or due
    return due


@kernel()
def _limit_state(board: Any, tick: Any, limits: Any) -> bool:
    """Limit state: the best bid at the upper band or the best offer at the lower one; 15 s of it: a trading pause."""
    if board.halt == _PAUSE:
        return False
    if board.limit_since_ns != 0 and tick.ts_venue_ns - board.limit_since_ns >= limits.limit_state_ns:
        board.halt = _PAUSE
        return True
    if not (tick.bid >= board.upper or tick.ask <= board.lower):
        board.limit_since_ns = 0
        due = board.halt != 0
        board.halt = 0
        return due
    if board.limit_since_ns == 0:
        board.limit_since_ns = tick.ts_venue_ns
        board.halt = _BANDS
        return True
    return False


@kernel()
def _trade(board: Any, tick: Any) -> bool:
    """Sum the minute; a trade that moves the price ends a pause. Returns whether the instrument is due."""
    stamp_ns = tick.ts_venue_ns
    if tick.flags & _NO_VOLUME == 0:
        if stamp_ns >= board.minute_ns + _MINUTE_NS:
            minute_ns = stamp_ns // _MINUTE_NS * _MINUTE_NS
            board.first_ns = board.first_ns if board.first_ns != 0 else stamp_ns
            board.minute_before_ns, board.volume_before = board.minute_ns, board.volume
            board.minute_ns, board.volume = minute_ns, 0.0
        if stamp_ns >= board.minute_ns:
            board.volume += tick.size
        elif stamp_ns >= board.minute_before_ns and board.minute_before_ns == board.minute_ns - _MINUTE_NS:
            board.volume_before += tick.size
    if board.halt == _PAUSE and tick.flags & _NO_PRICE == 0:
        board.halt = board.limit_since_ns = 0
        return True
    return False


@kernel()
def _audit(
    board: Any, tick: Any, v: int, limits: Any, now: np.ndarray, suspects: np.ndarray, counts: np.ndarray
) -> None:
    """Hold the venue's minute against the trades that came in it, if they were heard from its beginning on."""
    start_ns = tick.ts_start_ns
    if board.first_ns == 0 or board.first_ns > start_ns:
        return
    own = 0.0
    if start_ns == board.minute_ns:
        own = board.volume
    elif start_ns == board.minute_before_ns:
        own = board.volume_before
    elif start_ns < board.minute_ns:
        return  # too long ago to know
    counts[N_AUDITS] += 1
    if abs(own - tick.volume) > limits.audit_tolerance * tick.volume:
        counts[N_AUDITS_FAILED] += 1
        suspect(suspects, now, counts, tick.instrument_id, v, start_ns, start_ns + _MINUTE_NS - 1, _AUDIT)


@kernel()
def _channel(kind: int) -> int:
    if kind == _TRADE:
        return _OF_TRADE
    if kind == _QUOTE:
        return _OF_QUOTE
    return _OF_BAR if kind in (_BAR_SECOND, _BAR_MINUTE) else -1


@kernel()
def _venue_of(venues: np.ndarray, venue_id: int) -> int:
    for v in range(len(venues)):
        if venues[v].venue_id == venue_id:
            return v
    return -1


@kernel()
def take_bands(board: Any, tick: Any) -> None:
    board.upper, board.lower, board.bands_day = tick.upper, tick.lower, tick.ts_venue_ns // _DAY_NS


@kernel()
def observe(
    slots: np.ndarray,
    begin: int,
    end: int,
    cells: np.ndarray,
    due: np.ndarray,
    boards: np.ndarray,
    venues: np.ndarray,
    limits: Any,
    now: np.ndarray,
    suspects: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Ticks [begin, end) of a ring's ``slots``, all of them complete. Moves the cells' facts and what is due."""
    known = len(boards) // len(venues)
    for sequence in range(begin, end):
        tick = slots[sequence & (len(slots) - 1)]
        kind, instrument = tick.kind, tick.instrument_id
        if kind == _HEALTH or tick.flags & _BACKFILL != 0 or not 0 <= instrument < known:
            continue
        v = _venue_of(venues, tick.venue_id)
        if v < 0:
            continue
        board = boards[v * known + instrument]
        if board.unwanted != 0:
            continue
        channel = _channel(kind)
        if channel < 0:
            if kind == _LULD:
                take_bands(board, tick)
            continue
        at = (v * known + instrument) * CHANNELS + channel
        cell, venue = cells[at], venues[v]
        is_due = cell.state != _LIVE
        if cell.last_mono_ns == 0:
            cell.venue, cell.channel = v, channel
            now[N_KNOWN] = max(now[N_KNOWN], instrument + 1)
        if _order(cell, tick, venue, v, limits, now, suspects, counts):
            is_due = True
        _delay(cell, tick, venue, channel, limits, now)
        learn(venue, tick.ts_mono_ns, limits)
        learn(cell, tick.ts_mono_ns, limits)
        cell.last_venue_ns = max(cell.last_venue_ns, tick.ts_venue_ns)
        told = False
        if kind == _QUOTE:
            told = _quote(board, tick, limits, counts)
        elif kind == _TRADE:
            told = _trade(board, tick)
        elif kind == _BAR_MINUTE:
            _audit(board, tick, v, limits, now, suspects, counts)
        if told:
            for k in range(CHANNELS):
                due[at - channel + k] = 0
        elif is_due or cell.lag_ns - venue_delay(venue, channel) > 0.5 * limits.lag_ns:
            due[at] = 0


@kernel()
def venue_delay(venue: Any, channel: int) -> float:
    """The least delay of this window and the one before; inf before the first tick."""
    return min(venue.delay_ns[channel], venue.delay_before_ns[channel])
