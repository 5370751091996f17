"""The journal as the actor sees it: counted, and once failed, failed for good without failing the actor."""

import errno
import hashlib
import time

import msgspec
import numpy as np

from hft_engine import __version__
from hft_engine.config.redact import redacted
from hft_engine.config.schema import Config
from hft_engine.persistence import provenance
from hft_engine.persistence.journal import JournalWriteError, JournalWriter, SegmentMetadata, session_dir
from hft_engine.runtime.actor import ActorContext, FatalError
from hft_engine.runtime.latch import LatchError, TradingLatch

# Of the disk, not of the configuration: the engine goes on without its journal.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
HOLE_EVENT_NS = 1_000_000_000  # holes are counted each, told at most once a second


class JournalSink:
    """``write`` never raises for a disk that is full or broken: it tells once, then counts what is not written.

    What is not journalled cannot be proven later: with the journal's failure new orders are latched off.
    """

    def __init__(self, ctx: ActorContext, run: SegmentMetadata) -> None:
        self._ctx = ctx
        self._bytes = ctx.counter("journal_bytes")
        self._segments = ctx.counter("journal_segments")
        self._holes = ctx.counter("holes")
        self._failed = ctx.counter("journal_failed")
        self._unjournaled = ctx.counter("unjournaled_ticks")
        self._unjournaled_signals = ctx.counter("unjournaled_signals")
        self._latch = TradingLatch(ctx.data_dir)
        self._counted = (0, 0, 0)  # bytes, segments, holes of this writer already in the counters
        self._hole_event_due_ns = 0
        self._failed.set(0)
        self._prepare_latch()
        self._writer = self._open(run)
        self._count()

    @property
    def next_sequence(self) -> int | None:
        """The next tick to write; None once it has failed."""
        return self._writer.next_sequence if self._writer else None

    @property
    def next_signal(self) -> int | None:
        """The next signal to write; None once it has failed."""
        return self._writer.next_signal if self._writer else None

    def write(self, rows: np.ndarray) -> None:
        """``rows``: ``TICK_DTYPE``, copied before it returns."""
        if self._writer is None:
            self._unjournaled.add(len(rows))
            return
        before = self._writer.next_sequence
        try:
            self._writer.append(rows)
        except JournalWriteError as error:
            written = int(np.searchsorted(rows["sequence"], self._writer.next_sequence))
            self._unjournaled.add(len(rows) - written)
            self._fail(error)
            return
        self._tell_holes(before)
        self._count()

    def write_signals(self, rows: np.ndarray) -> None:
        """``rows``: ``SIGNAL_DTYPE``, copied before it returns."""
        if self._writer is None:
            self._unjournaled_signals.add(len(rows))
            return
        try:
            self._writer.append_signals(rows)
        except JournalWriteError as error:
            written = int(np.searchsorted(rows["sequence"], self._writer.next_signal))
            self._unjournaled_signals.add(len(rows) - written)
            self._fail(error)
            return
        self._count()

    def sync(self, ticks: int) -> bool:
        """Sync what was written. Whether every tick below ``ticks`` was, but for what is a hole."""
        if self._writer is None:
            return False
        try:
            self._writer.flush()
        except JournalWriteError as error:
            self._fail(error)
            return False
        return self._writer.next_sequence >= ticks

    def flush_if_due(self, now_ns: int) -> None:
        if self._writer is None:
            return
        try:
            self._writer.flush_if_due(now_ns)
        except JournalWriteError as error:
            self._fail(error)

    def close(self) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close()
            self._count()
        except JournalWriteError as error:
            self._fail(error)

    def _open(self, run: SegmentMetadata) -> JournalWriter | None:
        config = self._ctx.config.persistence
        try:
            writer = JournalWriter(
                session_dir(self._ctx.data_dir, self._ctx.run_id),
                run,
                self._ctx.instruments,
                segment_bytes=config.journal_segment_mb << 20,
                flush_ms=config.journal_flush_ms,
            )
        except JournalWriteError as error:
            if not _is_of_the_disk(error):
                raise FatalError(str(error)) from error
            self._fail(error)
            return None
        if writer.damaged:
            self._ctx.event("journal_damaged", f"{writer.damaged.path}: repair with {writer.damaged.remedy}")
        return writer

    def _fail(self, error: JournalWriteError) -> None:
        self._writer = None
        self._failed.set(1)
        self._ctx.log.error("%s", error)
        self._ctx.event("journal_failed", str(error))
        try:
            self._latch.latch(f"the journal failed: {error}")
        except LatchError as unlatched:
            self._ctx.log.critical("%s", unlatched)
            self._ctx.event("latch_failed", str(unlatched))

    def _prepare_latch(self) -> None:
        try:
            self._latch.prepare()
        except LatchError as error:  # a disk that is full already: latching makes do with an empty file
            self._ctx.log.warning("%s", error)

    def _tell_holes(self, before: int) -> None:
        assert self._writer is not None
        now_ns = time.monotonic_ns()
        if self._writer.holes > self._counted[2] and now_ns >= self._hole_event_due_ns:
            self._hole_event_due_ns = now_ns + HOLE_EVENT_NS
            text = f"ticks from {before} on were overwritten before they were journalled; raise rings.ticks"
            self._ctx.event("journal_hole", text)

    def _count(self) -> None:
        if self._writer is None:
            return
        now = (self._writer.bytes_written, self._writer.segments, self._writer.holes)
        counters = (self._bytes, self._segments, self._holes)
        for counter, value, before in zip(counters, now, self._counted, strict=True):
            counter.add(value - before)
        self._counted = now


def run_metadata(ctx: ActorContext) -> SegmentMetadata:
    """Which run, venue, configuration, models, code and machine the records come from."""
    return SegmentMetadata(
        run_id=ctx.run_id,
        venue="demo" if ctx.config.simulator is not None else ctx.config.feed.venue,
        config_hash=config_hash(ctx.config),
        code_version=__version__,
        config=redacted(ctx.config),
        models=provenance.models(ctx.config),
        code=provenance.code(),
        machine=provenance.machine(),
    )


def config_hash(config: Config) -> str:
    """SHA-256 over the configuration, with its secrets left out."""
    replace = msgspec.structs.replace
    publisher = replace(config.publisher, curve_secret_key=None)
    lines = {name: replace(line, api_key=None) for name, line in config.feed.lines.items()}
    public = replace(config, feed=replace(config.feed, api_key="", lines=lines), publisher=publisher)
    if public.simulator is not None:
        public = replace(public, simulator=replace(public.simulator, api_key=""))
    return hashlib.sha256(msgspec.json.encode(public, order="sorted")).hexdigest()


def _is_of_the_disk(error: JournalWriteError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in DISK_ERRORS
