"""From facts to states: which one a cell is in, when it must be looked at again, and the tick that tells of a change.

Of several that hold the worst counts. A worse state is in force at once; a better one than LAGGING or worse only after
``recover_ns`` in which nothing spoke against it, so that states do not flap.
"""

from typing import Any

import numpy as np

from hft_engine.feed.health.cells import (
    CHANNELS,
    N_KNOWN,
    N_ROWS,
    N_TICKS,
    NEVER_NS,
    T_MONO,
    T_OPEN,
    T_OPENED,
    T_UTC,
    UNKNOWN_QUIET_NS,
)
from hft_engine.feed.health.observe import venue_delay
from hft_engine.kernel import kernel
from hft_engine.records import UNFIT_FROM, HealthCause, HealthChannel, HealthState, TickFlag, TickKind

_WAITING, _LIVE, _QUIET, _REPAIRED, _LAGGING, _GAPPED, _STALE, _HALTED = (int(state) for state in HealthState)
_UNFIT_FROM = int(UNFIT_FROM)
_DATA, _SILENCE, _LINE_SILENCE = (
    int(HealthCause.DATA),
    int(HealthCause.SILENCE),
    int(HealthCause.LINE_SILENCE),
)
_CLOSED, _LAG, _CONNECTION = int(HealthCause.CLOSED), int(HealthCause.LAG), int(HealthCause.CONNECTION)
_BACKFILLED, _ELAPSED, _RESUMED = (
    int(HealthCause.BACKFILL),
    int(HealthCause.ELAPSED),
    int(HealthCause.RESUMED),
)
_CROSSED, _NONE = int(HealthCause.CROSSED), int(HealthCause.NONE)
_OF_QUOTE, _BAR = int(HealthChannel.QUOTE), int(HealthChannel.BAR)
_HEALTH, _UNFIT = int(TickKind.HEALTH), int(TickFlag.UNFIT)


@kernel()
def limit_of(m: Any, factor: float, least_ns: int) -> int:
    """A silence of ``m`` (a cell or a venue) longer than this is one."""
    return max(least_ns, int(factor * m.cadence_ns))


@kernel()
def _quiet_limit(cell: Any, limits: Any) -> int:
    least_ns = limits.quiet_min_ns if cell.gaps >= limits.samples_min else UNKNOWN_QUIET_NS
    return limit_of(cell, limits.quiet_factor, least_ns)


@kernel()
def _lag(cell: Any, venue: Any) -> float:
    """Delay beyond the least one of the channel."""
    return cell.lag_ns - venue_delay(venue, cell.channel)


@kernel()
def _is_late(cell: Any, venue: Any, limit_ns: float, state: int) -> bool:
    """Once it is, until half the limit."""
    return _lag(cell, venue) > (0.5 * limit_ns if cell.state >= state else limit_ns)


@kernel()
def _stale_cause(cell: Any, board: Any, venue: Any, now: np.ndarray, limits: Any) -> int:
    """Why the cell is stale, NONE where it is not."""
    if board.connected == 0:
        return _CONNECTION
    mono_ns = now[T_MONO]
    if now[T_OPEN] != 0:
        silent_ns = mono_ns - max(cell.last_mono_ns, now[T_OPENED])
        if cell.gaps >= limits.samples_min and silent_ns > limit_of(
            cell, limits.stale_factor, limits.stale_min_ns
        ):
            return _SILENCE
        silent_ns = mono_ns - max(venue.last_mono_ns, now[T_OPENED])
        if venue.gaps >= limits.samples_min and silent_ns > limit_of(
            venue, limits.stale_factor, limits.stale_min_ns
        ):
            return _LINE_SILENCE
    if _is_late(cell, venue, limits.lag_stale_ns, _STALE):
        return _LAG
    if cell.channel == _OF_QUOTE and board.crossed_since_ns != 0:
        return _CROSSED if mono_ns - board.crossed_since_ns > limits.crossed_ns else _NONE
    return _NONE


@kernel()
def verdict(cell: Any, board: Any, venue: Any, now: np.ndarray, limits: Any) -> tuple[int, int]:
    """(state, cause) that the facts speak for."""
    if cell.last_mono_ns == 0:
        return _WAITING, _NONE
    if board.halt != 0:
        return _HALTED, board.halt
    stale = _stale_cause(cell, board, venue, now, limits)
    if stale != _NONE:
        return _STALE, stale
    mono_ns = now[T_MONO]
    if mono_ns < cell.gapped_until_ns:
        return _GAPPED, cell.gap_cause
    if _is_late(cell, venue, limits.lag_ns, _LAGGING):
        return _LAGGING, _LAG
    if mono_ns < cell.repaired_until_ns:
        return _REPAIRED, _BACKFILLED
    if mono_ns - cell.last_mono_ns > _quiet_limit(cell, limits):
        return _QUIET, _SILENCE if now[T_OPEN] != 0 else _CLOSED
    if cell.state == _HALTED:
        return _LIVE, _RESUMED
    return _LIVE, _ELAPSED if cell.state == _GAPPED else _DATA


@kernel()
def _next_look(cell: Any, board: Any, venue: Any, now: np.ndarray, limits: Any) -> int:
    """When its state may change with nothing coming: mono."""
    mono_ns = now[T_MONO]
    if cell.better_since_ns != 0:
        return cell.better_since_ns + limits.recover_ns
    soonest = NEVER_NS
    opened_ns = now[T_OPENED]
    for until_ns in (
        cell.gapped_until_ns,
        cell.repaired_until_ns,
        cell.last_mono_ns + _quiet_limit(cell, limits),
        max(cell.last_mono_ns, opened_ns) + limit_of(cell, limits.stale_factor, limits.stale_min_ns),
        max(venue.last_mono_ns, opened_ns) + limit_of(venue, limits.stale_factor, limits.stale_min_ns),
        board.crossed_since_ns + limits.crossed_ns if board.crossed_since_ns != 0 else 0,
    ):
        if until_ns >= mono_ns:
            soonest = min(soonest, until_ns)
    return soonest + 1 if soonest != NEVER_NS else NEVER_NS


@kernel()
def _is_in_force(cell: Any, state: int, now: np.ndarray, limits: Any) -> bool:
    """Whether the cell's state becomes ``state`` now; remembers since when a better one is spoken for."""
    if state >= cell.state or cell.state < _LAGGING:
        cell.better_since_ns = 0
        return state != cell.state
    if cell.better_since_ns == 0:
        cell.better_since_ns = now[T_MONO]
    if now[T_MONO] - cell.better_since_ns < limits.recover_ns:
        return False
    cell.better_since_ns = 0
    return True


@kernel()
def _take_stock(cells: np.ndarray, at: int, board: Any, counts: np.ndarray) -> None:
    """The instrument's worst state at this venue. Bars count where there is neither trade nor quote."""
    first = at - cells[at].channel
    worst: Any = np.int64(0)
    for k in range(CHANNELS):
        if k != _BAR or worst == _WAITING:
            worst = max(worst, np.int64(cells[first + k].state))
    counts[board.worst] -= 1 if board.worst != _WAITING else 0
    counts[worst] += 1 if worst != _WAITING else 0
    board.worst = worst


@kernel()
def _is_unfit(boards: np.ndarray, known: int, instrument: int) -> bool:
    """Halted at one venue, or not fit at any that brings it."""
    brought, unfit = 0, 0
    for at in range(instrument, len(boards), known):
        worst = boards[at].worst
        if worst == _HALTED:
            return True
        brought += worst != _WAITING
        unfit += worst >= _UNFIT_FROM
    return unfit > 0 and unfit == brought


@kernel()
def _tell(
    cell: Any, before: int, instrument: int, unfit: bool, venue: Any, now: np.ndarray, rows: np.ndarray
) -> None:
    row = rows[now[N_ROWS]]
    now[N_ROWS] += 1
    row.ts_venue_ns, row.ts_recv_ns, row.ts_mono_ns = cell.last_venue_ns, now[T_UTC], now[T_MONO]
    row.venue_sequence = 0
    row.instrument_id = instrument
    row.kind, row.flags = _HEALTH, _UNFIT if unfit else 0
    row.venue_id = venue.venue_id
    row.health_state, row.health_before = cell.state, before
    row.health_channel, row.health_cause = cell.channel, cell.cause
    row.gap_from_ns, row.gap_to_ns = cell.gap_from_ns, cell.gap_to_ns
    row.lag_ns = np.int64(_lag(cell, venue))
    row.silence_ns = now[T_MONO] - cell.last_mono_ns
    row.missing = cell.missing
    cell.untold = 0
    if cell.gap_to_ns != 0:  # told, and over: what comes next is whole
        cell.gap_from_ns = cell.gap_to_ns = 0


@kernel()
def look(
    at: int,
    cells: np.ndarray,
    due: np.ndarray,
    boards: np.ndarray,
    venues: np.ndarray,
    limits: Any,
    now: np.ndarray,
    rows: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Judge one cell that is due; a change, or a gap that was not told yet, becomes the next of ``rows``."""
    cell = cells[at]
    instrument = at // CHANNELS % (len(boards) // len(venues))
    board, venue = boards[at // CHANNELS], venues[at // CHANNELS // (len(boards) // len(venues))]
    state, cause = verdict(cell, board, venue, now, limits)
    before = np.int64(cell.state)
    if _is_in_force(cell, state, now, limits):
        cell.state, cell.cause, cell.since_ns = state, cause, now[T_UTC]
        _take_stock(cells, at, board, counts)
    elif cell.untold == 0:
        due[at] = _next_look(cell, board, venue, now, limits)
        return
    _tell(
        cell, before, instrument, _is_unfit(boards, len(boards) // len(venues), instrument), venue, now, rows
    )
    counts[N_TICKS] += 1
    due[at] = _next_look(cell, board, venue, now, limits)


@kernel()
def sweep(
    cells: np.ndarray,
    due: np.ndarray,
    boards: np.ndarray,
    venues: np.ndarray,
    limits: Any,
    now: np.ndarray,
    rows: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Look at every cell whose time has come, until ``rows`` is full: the others stay due."""
    known = len(boards) // len(venues) * CHANNELS
    for v in range(len(venues)):
        for at in range(v * known, v * known + now[N_KNOWN] * CHANNELS):
            if due[at] <= now[T_MONO] and cells[at].last_mono_ns != 0:
                if now[N_ROWS] == len(rows):
                    return
                look(at, cells, due, boards, venues, limits, now, rows, counts)
