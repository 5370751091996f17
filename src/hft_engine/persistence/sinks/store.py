"""The database as the actor sees it: committed on a clock, counted, and given up after enough failures."""

import time

from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import SegmentMetadata
from hft_engine.persistence.sinks.database import StoreError
from hft_engine.persistence.sinks.sqlite import SqliteStore
from hft_engine.runtime.actor import ActorContext, FatalError

# Committed early when this many wait, and taken from a ring at once: a quarter of a millisecond of SQLite, and 0.1 MB
# of Python's objects at most, so who was held up and has more to store does not keep more memory for ever.
BATCH_ROWS = 128
PENDING_ROWS_MAX = 4_096  # waiting while commits fail; no more is taken from the rings beyond it
FAILURES_MAX = 10  # commits in a row; then the database is given up until a restart
# Of the disk or of another program, not of the configuration: the engine goes on without its database.
PASSING_ERRORS = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_BUSY")


class StoreSink:
    """Adds to ``store``, commits when due. ``store`` is None once it was given up."""

    def __init__(self, ctx: ActorContext, run: SegmentMetadata) -> None:
        self._ctx = ctx
        self._commit_ns = ctx.config.persistence.sqlite_commit_ms * 1_000_000
        self._due_ns = 0
        self._failures = 0
        self._commits = ctx.counter("commits")
        self._errors = ctx.counter("sqlite_errors")
        self._failed = ctx.counter("sqlite_failed")
        self._dropped = ctx.counter("rows_dropped")
        self._failed.set(0)
        self.store: SqliteStore | None = self._open(run, ctx.instruments)

    @property
    def has_room(self) -> bool:
        """Whether more may be added: False while commits fail and enough is waiting."""
        return self.store is None or self.store.pending < PENDING_ROWS_MAX

    @property
    def has_all(self) -> bool:
        """Whether everything that was added is committed."""
        return self.store is not None and not self.store.pending

    def drop(self, count: int) -> None:
        """Count rows that there is nowhere to put."""
        self._dropped.add(count)

    def commit_if_due(self, now_ns: int) -> int:
        """Commit when the interval is over or a batch is full; returns how many rows."""
        if self.store is None or not self.store.pending:
            return 0
        full = self.store.pending >= BATCH_ROWS and not self._failures
        return self._commit(now_ns) if full or now_ns >= self._due_ns else 0

    def sync(self) -> bool:
        """Commit what waits and sync it to the disk. False while that fails; True too once the database is given up:
        then there is nothing to wait for.
        """
        if self.store is None:
            return True
        if self.store.pending:
            self._commit(time.monotonic_ns())
        if self.store is None or self.store.pending:
            return self.store is None
        self.store.sync()
        return True

    def close(self) -> None:
        if self.store is None:
            return
        try:
            self.store.close()
        except StoreError as error:
            self.drop(self.store.discard())
            self._tell(error)

    def _open(self, run: SegmentMetadata, instruments: InstrumentTable) -> SqliteStore | None:
        path = self._ctx.data_dir / self._ctx.config.persistence.sqlite_file
        rules = tuple(rule.name for rule in self._ctx.config.signals.rules)
        try:
            return SqliteStore(path, run, instruments, rules, self._ctx.config.execution)
        except StoreError as error:
            if not _is_passing(error):
                raise FatalError(str(error)) from error
            self._errors.add()
            self._failed.set(1)
            self._tell(error)
            return None

    def _commit(self, now_ns: int) -> int:
        assert self.store is not None
        self._due_ns = now_ns + self._commit_ns
        try:
            count = self.store.commit()
        except StoreError as error:
            self._fail(error)
            return 0
        self._failures = 0
        self._commits.add()
        return count

    def _fail(self, error: StoreError) -> None:
        self._failures += 1
        if self._failures == 1:
            self._tell(error)
        self._errors.add()
        if self._failures >= FAILURES_MAX:
            self._give_up()

    def _tell(self, error: StoreError) -> None:
        self._ctx.log.error("%s", error)
        self._ctx.event("sqlite_error", str(error))

    def _give_up(self) -> None:
        assert self.store is not None
        dropped = self.store.discard()
        self.drop(dropped)
        self._failed.set(1)
        text = f"no commit in {FAILURES_MAX} tries: bars and signals are not stored until a restart"
        self._ctx.event("sqlite_failed", f"{text} ({dropped} rows dropped)")
        self.store.abandon()
        self.store = None


def _is_passing(error: StoreError) -> bool:
    return str(getattr(error.__cause__, "sqlite_errorname", "")).startswith(PASSING_ERRORS)
