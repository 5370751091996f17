"""The monitor in the feed: driven between turns, it writes HEALTH ticks onto the ring and tells people of them."""

import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec
import numpy as np

from hft_engine.feed.health.cells import COUNTERS, FIRST_COUNTER, GAUGES
from hft_engine.feed.health.hours import HoursError
from hft_engine.feed.health.monitor import HealthMonitor
from hft_engine.feed.health.worst import FILE, Worst
from hft_engine.feed.repair import repairer
from hft_engine.feed.repair.repairer import Repairer
from hft_engine.records import UNFIT_FROM, HealthCause, HealthChannel, HealthState
from hft_engine.runtime import rundir
from hft_engine.runtime.actor import ActorContext, FatalError
from hft_engine.shm.ring import Ring

PRESENT = (*GAUGES, "clock_offset_us")  # as it is now
COUNTED = (*COUNTERS, *repairer.COUNTED)
NAMED_MAX = 16  # instruments in the file of the worst
TOLD_MAX = 5  # and in an event
TOLD_EVERY_NS = 10_000_000_000  # between two events of the same kind
REPAIR_LOOK_NS = 10_000_000  # between two looks at what can be asked for, and at what was answered
TROUBLE_EVERY_NS = 60_000_000_000  # between two events of the same trouble with repairs
TROUBLES_MAX = 5  # different ones in that time: a vendor's texts may all differ
WRITTEN_EVERY_NS = 1_000_000_000
_NOBODY = np.zeros(0, np.int64)


class Link(Protocol):
    """A line, as the monitor sees it."""

    @property
    def venue_id(self) -> int: ...
    @property
    def is_live(self) -> bool: ...
    def instrument_ids(self) -> Iterable[int]:
        """What it brings, as far as is known."""
        ...


class HealthWatch:
    """``venue_ids``: of all lines of the feed. The ring's writer is this thread. Raises FatalError for an unusable
    session.
    """

    def __init__(self, ctx: ActorContext, ring: Ring, venue_ids: Iterable[int]) -> None:
        config = ctx.config.feed
        self._ctx, self._ring = ctx, ring
        self._venue_ids = sorted(set(venue_ids))
        contiguous = config.sequence == "contiguous"
        try:
            self.monitor = HealthMonitor(
                config.health,
                ctx.instruments.capacity,
                [(venue_id, contiguous) for venue_id in self._venue_ids],
                ring.published,
            )
        except HoursError as error:
            raise FatalError(str(error)) from None
        self._publishes = config.health.ticks
        self._live: set[Link] = set()
        self._told_due_ns = self._gap_due_ns = self._write_due_ns = self._look_due_ns = (
            self._trouble_due_ns
        ) = 0
        self._troubles: set[str] = set()
        self._repairer = Repairer(config, ctx.instruments.symbol_of, self._tell_trouble)
        self._told_unfit = 0
        self._unwritten = self._untold = False
        self.dirty = False  # something changed since the owner took the counts
        self._path = ctx.run_dir / FILE if (ctx.run_dir / rundir.LOCK).exists() else None
        if ring.published > ring.start:
            self._remember(time.monotonic_ns())

    def tend(self, links: Sequence[Link], now_ns: int) -> None:
        """After the ticks that came were published. ``links``: all lines there are."""
        live = {link for link in links if link.is_live}
        if live != self._live:
            self._turn(links, live, now_ns)
        self._ctx.let_through()
        self.observe(now_ns)
        self._ctx.let_through()
        if now_ns >= self._look_due_ns:
            self._look_due_ns = now_ns + REPAIR_LOOK_NS
            self._look()
            self._ctx.let_through()
        self._fill(now_ns)
        if self._unwritten and now_ns >= self._write_due_ns:
            self._write_due_ns = now_ns + WRITTEN_EVERY_NS
            self._unwritten = False
            self._write()
        if self._untold and now_ns >= self._told_due_ns:
            self._untold = False
            self._tell(now_ns)

    def observe(self, now_ns: int) -> None:
        """The ticks that came since the last time."""
        count = self.monitor.watch(self._ring.slots, self._ring.published, now_ns, time.time_ns())
        if count:
            rows = self.monitor.rows[:count]
            if self._publishes:
                self._ring.publish_rows(rows)
            self._unwritten = self._untold = self.dirty = True
            self._tell_gaps(rows, now_ns)

    def missed(self, links: Sequence[Link], link: Link, now_ns: int) -> None:
        """Some of what this line brought just now was left out."""
        if link in self._live:
            ids, venue = self._ids(links, link), self._venue_ids.index(link.venue_id)
            self.monitor.lose(ids, venue)
            self.monitor.regain(ids, venue, now_ns, time.time_ns())

    def subscribed(self, before: Iterable[str], now: Iterable[str]) -> None:
        """The symbols of all lines are others now."""
        wanted, held = set(now), set(before)
        for symbol in held ^ wanted:
            instrument_id = self._ctx.instruments.find(symbol)
            if instrument_id is not None:
                self.monitor.want(instrument_id, symbol in wanted)
                self._unwritten = self.dirty = True

    def stop(self) -> None:
        self._repairer.stop()

    def present(self) -> tuple[int, ...]:
        """In the order of PRESENT."""
        delay_ns = self.monitor.delay_ns(0)
        return (*self.monitor.counts[:FIRST_COUNTER].tolist(), int((delay_ns or 0) // 1_000))

    def counted(self) -> list[int]:
        """In the order of COUNTED."""
        found: list[int] = self.monitor.counts[FIRST_COUNTER:].tolist()
        return [*found, *self._repairer.counted()]

    def _look(self) -> None:
        found = self.monitor.suspects()
        if len(found):
            self._repairer.suspect(found, self._venue_ids)
        if self._repairer.asks:
            self._repairer.tend(time.time_ns() - int(self.monitor.delay_ns(0) or 0))

    def _fill(self, now_ns: int) -> None:
        """One portion of what was answered."""
        rows = self._repairer.rows(now_ns, time.time_ns())
        if rows is not None:
            self._ring.publish_rows(rows)
            self.dirty = True
        for instrument_id, venue in self._repairer.mended():
            self.monitor.mend(instrument_id, venue)

    def _remember(self, now_ns: int) -> None:
        """An earlier life of the feed left ticks: what they taught is known, and since the last of them all is lost."""
        self.monitor.recall(self._ring.slots, self._ring.start, now_ns, time.time_ns())
        everything = np.arange(len(self._ctx.instruments), dtype=np.int64)
        for venue in range(len(self._venue_ids)):
            self.monitor.lose(everything, venue)

    def _turn(self, links: Sequence[Link], live: set[Link], now_ns: int) -> None:
        """Lines are live now, or not any more: their instruments, but for those that another brings."""
        before, self._live = self._live, live
        for link in before - live:
            venue = self._venue_ids.index(link.venue_id)
            others = [self._ids(links, other) for other in live if other.venue_id == link.venue_id]
            self.monitor.lose(np.setdiff1d(self._ids(links, link), np.concatenate([_NOBODY, *others])), venue)
        for link in live - before:
            ids = self._ids(links, link)
            self.monitor.regain(ids, self._venue_ids.index(link.venue_id), now_ns, time.time_ns())

    def _ids(self, links: Sequence[Link], link: Link) -> np.ndarray:
        if sum(other.venue_id == link.venue_id for other in links) == 1:
            return np.arange(len(self._ctx.instruments), dtype=np.int64)
        return np.unique(np.fromiter(link.instrument_ids(), np.int64))

    # ---- for people

    def _tell_gaps(self, rows: np.ndarray, now_ns: int) -> None:
        # of a connection the session itself tells
        found = rows[(rows["gap_to_ns"] != 0) & (rows["health_cause"] != HealthCause.CONNECTION)]
        if not len(found) or now_ns < self._gap_due_ns:
            return
        self._gap_due_ns = now_ns + TOLD_EVERY_NS
        names = self._names(np.unique(found["instrument_id"]).tolist())
        causes = ", ".join(sorted({HealthCause(int(cause)).name.lower() for cause in found["health_cause"]}))
        missing = f", {int(found['missing'].sum()):,} numbers" if found["missing"].any() else ""
        self._ctx.event("health", f"data are missing ({causes}{missing}) of {names}", fault=True)

    def _tell_trouble(self, text: str, is_last: bool) -> None:
        now_ns = time.monotonic_ns()
        if now_ns >= self._trouble_due_ns:
            self._trouble_due_ns = now_ns + TROUBLE_EVERY_NS
            self._troubles.clear()
        if is_last or (text not in self._troubles and len(self._troubles) < TROUBLES_MAX):
            self._troubles.add(text)
            self._ctx.event("repair", text, fault=True)

    def _tell(self, now_ns: int) -> None:
        unfit = int(self.monitor.counts[UNFIT_FROM:FIRST_COUNTER].sum())
        if unfit != self._told_unfit:
            self._told_due_ns = now_ns + TOLD_EVERY_NS
            self._told_unfit = unfit
            self._ctx.event("health", self._text(unfit))

    def _text(self, unfit: int) -> str:
        if not unfit:
            return "every instrument is fit again"
        worst = [each for each in self._worst() if HealthState[each.state.upper()] >= UNFIT_FROM]
        named = ", ".join(f"{each.symbol} {each.state} ({each.cause})" for each in worst[:TOLD_MAX])
        return f"{unfit:,} instruments give no signals: {named}{' ...' if unfit > TOLD_MAX else ''}"

    def _worst(self) -> list[Worst]:
        found = []
        for cell in self.monitor.worst(NAMED_MAX).tolist():
            row = self.monitor.cells[cell]
            symbol = self._ctx.instruments.symbol_of(self.monitor.instrument_of(cell))
            found.append(
                Worst(
                    symbol,
                    HealthChannel(int(row["channel"])).name.lower(),
                    HealthState(int(row["state"])).name.lower(),
                    HealthCause(int(row["cause"])).name.lower(),
                    int(row["since_ns"]),
                )
            )
        return found

    def _write(self) -> None:
        if self._path is None:
            return
        unfinished = self._path.with_suffix(".part")
        try:
            unfinished.write_bytes(msgspec.json.encode(self._worst()))
            unfinished.replace(self._path)
        except OSError as error:  # a full memory file system: the counters tell all the same
            self._ctx.log.warning("%s: %s", self._path, error)

    def _names(self, ids: list[int]) -> str:
        names = ", ".join(self._ctx.instruments.symbol_of(i) for i in ids[:TOLD_MAX])
        return f"{names} and {len(ids) - TOLD_MAX} more" if len(ids) > TOLD_MAX else names
