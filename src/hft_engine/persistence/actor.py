"""The persistence actor: ticks and signals into the journal; bars, signals, orders and fills into SQLite.

It resumes where its dead self had made things durable: on start each reader goes back to the first record that is
neither in the journal nor in the database; what is seen twice is written once (by sequence).
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hft_engine.persistence.feature_sample import FeatureSampler
from hft_engine.persistence.journal import JournalError, session_dir
from hft_engine.persistence.sinks.checkpoints import CheckpointSink
from hft_engine.persistence.sinks.housekeeping import Housekeeper
from hft_engine.persistence.sinks.journal import JournalSink, run_metadata
from hft_engine.persistence.sinks.store import BATCH_ROWS, StoreSink
from hft_engine.records import TickFlag, TickKind
from hft_engine.runtime import rundir
from hft_engine.runtime.actor import ActorContext, BaseActor, FatalError
from hft_engine.runtime.limits import STOP_DRAIN_S
from hft_engine.runtime.messages import Publish
from hft_engine.shm.ring import Ring

_BARS = [int(kind) for kind in (TickKind.BAR_SECOND, TickKind.BAR_MINUTE, TickKind.BAR_DAY)]

STORED = (
    "bars",
    "signals",
    "orders",
    "fills",
)  # rings with a table each; the last two where there is a strategy
TICKS_PER_CYCLE = 2_048  # a quarter of a megabyte: copied, summed and written in well under a millisecond


class Inlet:
    """One ring that is polled into a scratch array of its own."""

    def __init__(self, ctx: ActorContext, ring_name: str, records: int, counter: str) -> None:
        self.ring: Ring = ctx.ring(ring_name)
        self.reader = ctx.reader(ring_name)
        self._scratch = np.zeros(records, self.ring.dtype)
        self._seen = ctx.counter(counter)

    def poll(self) -> np.ndarray:
        """The next records, at most a scratch full, valid until the next poll."""
        count = self.ring.poll(self.reader, self._scratch, len(self._scratch))
        if count:
            self._seen.add(count)
        return self._scratch[:count]

    def resume(self, sequence: int) -> None:
        """Go back to ``sequence`` where the reader has already passed it."""
        self._seen.add(-self.ring.rewind(self.reader, sequence))

    @property
    def lag(self) -> int:
        return self.ring.lag(self.reader)

    @property
    def lapped(self) -> int:
        return self.ring.lapped(self.reader)

    @property
    def position(self) -> int:
        return self.ring.position(self.reader)


class PersistenceActor(BaseActor):
    """Reads ticks, bars, signals; where a strategy trades, orders and fills too.

    Either sink may be switched off, and either may fail without the other.
    """

    role = "persistence"
    counters = (
        "ticks",
        "bars",
        "signals",
        "orders",
        "fills",
        "journal_bytes",
        "journal_segments",
        "journal_failed",
        "unjournaled_ticks",
        "unjournaled_signals",
        "holes",
        "lapped_ticks",
        "lapped_signals",
        "journal_compressed",
        "journal_deleted",
        "housekeeping_errors",
        "commits",
        "sqlite_errors",
        "sqlite_failed",
        "rows_dropped",
        "stored_ticks",
        "checkpoints",
        "checkpoints_failed",
        "sampled_features",
        "lapped_features",
    )

    def on_start(self, ctx: ActorContext) -> None:
        """Raises FatalError for a data folder or database that cannot be used."""
        self._ctx = ctx
        run = run_metadata(ctx)
        self._ticks = Inlet(ctx, "ticks", TICKS_PER_CYCLE, "ticks")
        self._signals = Inlet(ctx, "signals", BATCH_ROWS, "signals")  # for both sinks
        stored = [name for name in STORED if name in ctx.rings and name != "signals"]
        self._stored = {name: Inlet(ctx, name, BATCH_ROWS, name) for name in stored}
        self._lapped = ctx.counter("lapped_ticks")
        self._lapped_signals = ctx.counter("lapped_signals")
        self._stored_ticks = ctx.counter("stored_ticks")  # outlives a death, as the rings do
        self._store = StoreSink(ctx, run) if ctx.config.persistence.sqlite else None
        self._journal = JournalSink(ctx, run) if ctx.config.persistence.journal else None
        self._housekeeper = self._make_housekeeper() if self._journal else None
        self._checkpoints = self._make_checkpoints()
        self._sampler = self._make_sampler()
        self._resume()

    def do_work(self) -> int:
        now_ns = time.monotonic_ns()
        work = self._take_ticks()
        if self._journal is not None:
            self._journal.flush_if_due(now_ns)
        if self._housekeeper is not None:
            self._housekeeper.tend(now_ns)
        if self._store is None or self._store.has_room:
            work += sum(self._take(inlet, name) for name, inlet in self._stored.items())
            work += self._take_signals()
        if self._store is not None:
            work += self._store.commit_if_due(now_ns)
            if self._store.has_all:
                self._stored_ticks.set(self._ticks.position)
        if self._checkpoints is not None:
            work += self._checkpoints.tend(now_ns)
        if self._sampler is not None:
            work += self._sampler.tend()
        self.more = work >= BATCH_ROWS
        return work

    def on_control(self, message: object) -> object:
        """``Publish``: an event goes into the database too."""
        if not isinstance(message, Publish):
            return super().on_control(message)
        if self._store is not None and self._store.store is not None and self._store.has_room:
            self._store.store.add_event(message.event)
        return None

    def on_stop(self) -> None:
        """Drain the rings, within the time an ordered stop grants, then flush and close."""
        try:
            self._drain(time.monotonic() + STOP_DRAIN_S)
            if self._checkpoints is not None:
                self._checkpoints.finish()
        finally:
            self._close()

    def next_stored(self, table: str) -> int:
        """One after the highest sequence of this run that the database has; 0 without a database."""
        store = self._store.store if self._store else None
        return store.next_sequence(table) if store is not None else 0

    def _make_checkpoints(self) -> CheckpointSink | None:
        """None where there is no journal to go on from, or no run that outlives this process."""
        if self._journal is None or not self._is_live:
            return None
        return CheckpointSink(self._ctx, self._session, self._make_durable)

    def _make_sampler(self) -> FeatureSampler | None:
        """None where none is wanted, or no journal that its vectors could be computed again from."""
        if not self._ctx.config.persistence.feature_sample or self._journal is None or not self._is_live:
            return None
        return FeatureSampler(self._ctx, self._session)

    @property
    def _is_live(self) -> bool:
        """Whether there is a run that outlives this process, with its rings in files."""
        return (self._ctx.run_dir / rundir.LOCK).exists()

    @property
    def _session(self) -> Path:
        return session_dir(self._ctx.data_dir, self._ctx.run_id)

    def _make_durable(self, bars: int, signals: int, ticks: int) -> bool:
        """Sync what the sinks hold. Whether that is every record below these sequences."""
        taken = self._stored["bars"].position >= bars and self._signals.position >= signals
        if not taken or self._journal is None or not self._journal.sync(ticks):
            return False
        return self._store is None or self._store.sync()

    def _resume(self) -> None:
        """Each reader goes back to the first record that one of the sinks still lacks."""
        store = self._store.store if self._store else None
        ticks_next = [self._journal.next_sequence] if self._journal else []
        signals_next = [self._journal.next_signal] if self._journal else []
        if store is not None:
            for name, inlet in self._stored.items():
                inlet.resume(store.next_sequence(name))
            signals_next.append(store.next_sequence("signals"))
            # What of the ticks is stored comes rarely, a venue's bar once a minute; a commit has all that was read.
            in_tables = max(store.next_sequence(table) for table in ("venue_bars", "health"))
            ticks_next.append(max(in_tables, self._stored_ticks.value))
        for inlet, wanted in ((self._ticks, ticks_next), (self._signals, signals_next)):
            inlet.resume(min((n for n in wanted if n is not None), default=inlet.ring.published))

    def _take_ticks(self) -> int:
        rows = self._ticks.poll()
        if not len(rows):
            return 0
        if self._journal is not None:
            self._journal.write(rows)
        if self._store is not None:
            self._add_venue_bars(rows)
            self._add_health(rows)
        self._lapped.set(self._ticks.lapped)
        return len(rows)

    def _add_venue_bars(self, rows: np.ndarray) -> None:
        kinds, filled_in = rows["kind"], rows["flags"] & TickFlag.BACKFILL != 0
        bars = rows[np.isin(kinds, _BARS) & ~filled_in]
        if len(bars):
            self._add("venue_bars", bars)

    def _add_health(self, rows: np.ndarray) -> None:
        told = rows[rows["kind"] == TickKind.HEALTH]
        if len(told):
            self._add("health", told)

    def _take_signals(self) -> int:
        rows = self._signals.poll()
        if not len(rows):
            return 0
        if self._journal is not None:
            self._journal.write_signals(rows)
        if self._store is not None:
            self._add("signals", rows)
        self._lapped_signals.set(self._signals.lapped)
        return len(rows)

    def _take(self, inlet: Inlet, table: str) -> int:
        rows = inlet.poll()
        if len(rows) and self._store is not None:
            self._add(table, rows)
        return len(rows)

    def _add(self, table: str, rows: np.ndarray) -> None:
        assert self._store is not None
        store = self._store.store
        if store is None or not self._store.has_room:
            self._store.drop(len(rows))
            return
        add: dict[str, Callable[[np.ndarray], None]] = {
            "bars": store.add_bars,
            "signals": store.add_signals,
            "orders": store.add_orders,
            "fills": store.add_fills,
            "venue_bars": store.add_venue_bars,
            "health": store.add_health,
        }
        add[table](rows)

    def _drain(self, deadline: float) -> None:
        while (left := self._lag()) and time.monotonic() < deadline:
            self.do_work()
        if left:
            self._ctx.event("persistence_undrained", f"stopped with {left} records unread in the rings")

    def _lag(self) -> int:
        return self._ticks.lag + self._signals.lag + sum(inlet.lag for inlet in self._stored.values())

    def _make_housekeeper(self) -> Housekeeper:
        try:
            return Housekeeper(self._ctx)
        except JournalError as error:
            raise FatalError(str(error)) from error

    def _close(self) -> None:
        if self._housekeeper is not None:
            self._housekeeper.close()
        if self._sampler is not None:
            self._sampler.close()
        if self._journal is not None:
            self._journal.close()
        if self._store is not None:
            self._store.close()
