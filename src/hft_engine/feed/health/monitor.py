"""The health monitor: reads the ticks published since the last time, and says what changed by HEALTH ticks."""

from collections.abc import Sequence

import numpy as np

from hft_engine.config.schema import HealthConfig
from hft_engine.feed.health import links
from hft_engine.feed.health.cells import (
    BOARD_DTYPE,
    CELL_DTYPE,
    CHANNELS,
    COUNTERS,
    FIRST_COUNTER,
    LIMITS_DTYPE,
    N_ROWS,
    N_SUSPECTS,
    N_UNOBSERVED,
    NEVER_NS,
    NOW_WORDS,
    ROWS_MAX,
    SUSPECT_DTYPE,
    SUSPECTS_MAX,
    T_BASE,
    T_MONO,
    T_OPEN,
    T_OPENED,
    T_UTC,
    VENUE_DTYPE,
    limits_of,
)
from hft_engine.feed.health.hours import Hours, hours_of
from hft_engine.feed.health.judge import sweep
from hft_engine.feed.health.observe import observe
from hft_engine.kernel import kernel
from hft_engine.records import TICK_DTYPE, HealthChannel, HealthState
from hft_engine.wiring import wire, wired

_CELLS, _DUE, _BOARDS, _VENUES, _LIMITS, _NOW, _SUSPECTS, _ROWS, _COUNTS = range(9)
_NONE = np.zeros(0, SUSPECT_DTYPE)


@kernel(cache=True)
def _watch(wiring: np.ndarray, slots: np.ndarray, begin: int, end: int) -> int:
    """Take ticks [begin, end) of ``slots`` up, then whatever is due. Returns the HEALTH ticks written."""
    cells, due = wired(wiring, _CELLS, CELL_DTYPE), wired(wiring, _DUE, np.int64)
    boards, venues = wired(wiring, _BOARDS, BOARD_DTYPE), wired(wiring, _VENUES, VENUE_DTYPE)
    limits, now = wired(wiring, _LIMITS, LIMITS_DTYPE)[0], wired(wiring, _NOW, np.int64)
    suspects, rows = wired(wiring, _SUSPECTS, SUSPECT_DTYPE), wired(wiring, _ROWS, TICK_DTYPE)
    counts = wired(wiring, _COUNTS, np.int64)
    observe(slots, begin, end, cells, due, boards, venues, limits, now, suspects, counts)
    now[N_ROWS] = 0
    sweep(cells, due, boards, venues, limits, now, rows, counts)
    return now[N_ROWS]


@kernel(cache=True)
def _link(wiring: np.ndarray, ids: np.ndarray, v: int, live: bool) -> None:
    cells, due = wired(wiring, _CELLS, CELL_DTYPE), wired(wiring, _DUE, np.int64)
    boards, venues = wired(wiring, _BOARDS, BOARD_DTYPE), wired(wiring, _VENUES, VENUE_DTYPE)
    limits, now = wired(wiring, _LIMITS, LIMITS_DTYPE)[0], wired(wiring, _NOW, np.int64)
    suspects, counts = wired(wiring, _SUSPECTS, SUSPECT_DTYPE), wired(wiring, _COUNTS, np.int64)
    if live:
        links.regain(ids, v, cells, due, boards, venues, limits, now, suspects, counts)
    else:
        links.lose(ids, v, cells, due, boards, venues)


@kernel(cache=True)
def _mend(wiring: np.ndarray, instrument: int, v: int) -> None:
    cells, due = wired(wiring, _CELLS, CELL_DTYPE), wired(wiring, _DUE, np.int64)
    boards, venues = wired(wiring, _BOARDS, BOARD_DTYPE), wired(wiring, _VENUES, VENUE_DTYPE)
    limits, now = wired(wiring, _LIMITS, LIMITS_DTYPE)[0], wired(wiring, _NOW, np.int64)
    links.mend(instrument, v, cells, due, boards, venues, limits, now)


class HealthMonitor:
    """Pure: told the time, and given the ring's slots as an array.

    ``venues``: (id, whether its numbers are contiguous) of each that may send. ``position``: the next tick to look at.
    ``counts``: int64 in the order of GAUGES and COUNTERS. ``rows``: after ``watch`` returned n, ``rows[:n]`` are to be
    published.
    Raises HoursError for a session that cannot be used.
    """

    def __init__(
        self,
        config: HealthConfig,
        instruments_max: int,
        venues: Sequence[tuple[int, bool]],
        position: int = 0,
    ) -> None:
        size = len(venues) * instruments_max
        self.counts = np.zeros(FIRST_COUNTER + len(COUNTERS), np.int64)
        self.rows = np.zeros(ROWS_MAX, TICK_DTYPE)
        self.position = position
        self.venues = np.zeros(len(venues), VENUE_DTYPE)
        self.venues["venue_id"] = [venue_id for venue_id, _ in venues]
        self.venues["contiguous"] = [contiguous for _, contiguous in venues]
        self.venues["delay_ns"] = self.venues["delay_before_ns"] = np.inf
        self.cells = np.zeros(size * CHANNELS, CELL_DTYPE)
        self.boards = np.zeros(size, BOARD_DTYPE)
        self.boards["connected"] = 1
        self._due = np.full(size * CHANNELS, NEVER_NS, np.int64)
        self._now = np.zeros(NOW_WORDS, np.int64)
        self._suspects = np.zeros(SUSPECTS_MAX, SUSPECT_DTYPE)
        self._hours: Hours = hours_of(config.session)
        self._hours_change_ns = 0
        self._instruments_max = instruments_max
        self._arrays = (
            self.cells, self._due, self.boards, self.venues, limits_of(config), self._now, self._suspects, self.rows,
            self.counts,
        )  # fmt: skip
        self._wiring = wire(self._arrays)

    def watch(self, slots: np.ndarray, published: int, mono_ns: int, utc_ns: int) -> int:
        """Ticks up to ``published``, then what the time has brought. Returns how many of ``rows`` to publish now."""
        self._set_time(mono_ns, utc_ns)
        begin = max(self.position, published - len(slots))
        self.counts[N_UNOBSERVED] += begin - self.position
        self.position = published
        return int(_watch(self._wiring, slots, begin, published))

    def recall(self, slots: np.ndarray, oldest: int, mono_ns: int, utc_ns: int) -> None:
        """In a new life of the feed: learn from the ticks that the ring still has, and count nothing of them."""
        self._set_time(mono_ns, utc_ns)
        counted = self.counts.copy()
        _watch(self._wiring, slots, max(oldest, self.position - len(slots)), self.position)
        self.counts[FIRST_COUNTER:] = counted[FIRST_COUNTER:]
        self._now[N_SUSPECTS] = 0

    def lose(self, ids: np.ndarray, venue: int) -> None:
        """No line brings instruments ``ids`` (int64) of ``venues[venue]`` any more."""
        _link(self._wiring, ids, venue, False)

    def regain(self, ids: np.ndarray, venue: int, mono_ns: int, utc_ns: int) -> None:
        """A line brings them (again)."""
        self._set_time(mono_ns, utc_ns)
        _link(self._wiring, ids, venue, True)

    def want(self, instrument_id: int, wanted: bool) -> None:
        """Whether anybody is subscribed to the instrument. One that is not has no health: it is as if it never came."""
        for venue in range(len(self.venues)):
            board = venue * self._instruments_max + instrument_id
            if wanted == (self.boards["unwanted"][board] == 0):
                continue
            worst = self.boards["worst"][board]
            self.counts[worst] -= worst != HealthState.WAITING
            self.boards[board] = np.zeros((), BOARD_DTYPE)
            self.boards["connected"][board], self.boards["unwanted"][board] = 1, not wanted
            first = board * CHANNELS
            self.cells[first : first + CHANNELS] = np.zeros((), CELL_DTYPE)
            self._due[first : first + CHANNELS] = NEVER_NS

    def mend(self, instrument_id: int, venue: int) -> None:
        """What was suspect of the instrument has been filled in."""
        _mend(self._wiring, instrument_id, venue)

    def suspects(self) -> np.ndarray:
        """SUSPECT_DTYPE[n]: windows found since the last time; they are forgotten with it."""
        if self._now[N_SUSPECTS] == 0:
            return _NONE
        found = self._suspects[: self._now[N_SUSPECTS]].copy()
        self._now[N_SUSPECTS] = 0
        return found

    def delay_ns(self, venue: int) -> float | None:
        """The least delay of the last windows by the UTC of now: our clock's offset from the venue's, the shortest way.

        Of trades and quotes; of bars where there are none. None before the first.
        """
        least = np.minimum(self.venues["delay_ns"][venue], self.venues["delay_before_ns"][venue])
        bar = int(HealthChannel.BAR)
        delay = float(least[:bar].min())
        delay = delay if np.isfinite(delay) else float(least[bar])
        now = self._now
        return delay + float(now[T_UTC] - now[T_MONO] - now[T_BASE]) if np.isfinite(delay) else None

    def worst(self, count: int) -> np.ndarray:
        """CELL_DTYPE rows' places of the worst cells, REPAIRED or worse, the worst first."""
        known = np.flatnonzero(self.cells["state"] >= HealthState.REPAIRED)
        order = np.lexsort((self.cells["since_ns"][known], -self.cells["state"][known].astype(np.int64)))
        return known[order][:count]

    def instrument_of(self, cell: int) -> int:
        return cell // CHANNELS % self._instruments_max

    def _set_time(self, mono_ns: int, utc_ns: int) -> None:
        now = self._now
        now[T_MONO], now[T_UTC] = mono_ns, utc_ns
        if now[T_BASE] == 0:
            now[T_BASE] = utc_ns - mono_ns
        if utc_ns < self._hours_change_ns:
            return
        is_open, self._hours_change_ns = self._hours.at(utc_ns)
        if is_open and not now[T_OPEN]:
            now[T_OPENED] = mono_ns
        now[T_OPEN] = is_open
        self._due[self.cells["last_mono_ns"] != 0] = 0


def warm() -> None:
    """Compile (or load from the cache) the kernels, with the types of a live run."""
    monitor = HealthMonitor(HealthConfig(session="always"), 2, [(0, False)])
    monitor.watch(np.zeros(8, TICK_DTYPE), 0, 0, 0)
    monitor.lose(np.zeros(1, np.int64), 0)
    monitor.regain(np.zeros(1, np.int64), 0, 0, 0)
    monitor.mend(0, 0)
