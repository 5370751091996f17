"""Copies the stages' checkpoints from the run's directory to the session's, a few megabytes a duty cycle.

A file is given its name only when all that it stands for is durable: the journal up to its tick, the database up to
its bars and signals. So whoever goes on from it finds everything before it stored, and stores what comes after once.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import msgspec
import numpy as np

from hft_engine.persistence.checkpoints import (
    FACT_BYTES,
    HEAD,
    KEEP_FROM,
    KEPT,
    MAGIC,
    VERSION,
    Description,
    Part,
    checkpoint_paths,
    path_of,
)
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.checkpoint import SUFFIX, Checkpoint, CheckpointFile, write_durably
from hft_engine.runtime.durable import sync_folder
from hft_engine.runtime.faultpoints import fault_point
from hft_engine.shm.layout import PAGE_BYTES

DRAFT = "checkpoint.draft"
CHUNK_BYTES = 1 << 22  # a duty cycle: a millisecond or two
RETRY_NS = 10_000_000  # while a stage, or a sink, is not so far yet
PATIENCE = 4  # intervals; then what was begun is begun afresh
FIRST, SECOND = "indicators", "signals"  # in this order: see ``_follows``
# Facts that the two roles write; the roles' own enums may not be imported here.
F_TICKS, F_FEATURES, F_BARS, F_SOURCE = range(4)
F_DONE, F_SIGNALS = range(2)


class CheckpointSink:
    """``tend`` every duty cycle. ``make_durable(bars, signals, ticks)``: sync all sinks; whether they hold so much."""

    def __init__(
        self, ctx: ActorContext, session: Path, make_durable: Callable[[int, int, int], bool]
    ) -> None:
        self._ctx, self._session, self._make_durable = ctx, session, make_durable
        self._interval_ns = ctx.config.checkpoints.disk_ms * 1_000_000
        self._due_ns = time.monotonic_ns() + self._interval_ns
        self._kept, self._failed = ctx.counter("checkpoints"), ctx.counter("checkpoints_failed")
        self._steps: Steps | None = None
        _clear(session)

    def tend(self, now_ns: int) -> int:
        """Do the next piece, if it is time; returns 1 if one was done."""
        if not self._interval_ns or now_ns < self._due_ns:
            return 0
        try:
            if self._steps is None:
                self._steps = Steps(self._ctx, self._session, now_ns)
            elif now_ns - self._steps.begun_ns > PATIENCE * self._interval_ns:
                self._steps.abandon()
                self._steps = None
            elif self._steps.next(self._make_durable):
                self._done(now_ns)
            elif self._steps.waits:
                self._due_ns = now_ns + RETRY_NS
                return 0
        except OSError as error:
            self._give_up(error, now_ns)
        return 1

    def finish(self) -> None:
        """At an ordered stop, when the stages have left their last checkpoints: a whole file now."""
        if not self._interval_ns:
            return
        try:
            if self._steps is not None:
                self._steps.abandon()
            self._steps = Steps(self._ctx, self._session, time.monotonic_ns())
            while not self._steps.next(self._make_durable):
                if self._steps.waits:
                    self._steps.abandon()
                    return
            self._done(time.monotonic_ns())
        except OSError as error:
            self._give_up(error, time.monotonic_ns())

    def _done(self, now_ns: int) -> None:
        self._steps = None
        self._due_ns = now_ns + self._interval_ns
        self._kept.add()

    def _give_up(self, error: OSError, now_ns: int) -> None:
        if self._steps is not None:
            self._steps.abandon()
            self._steps = None
        if not self._failed.value:
            self._ctx.event("checkpoint_failed", f"{self._session}: {error.strerror}; it is tried again")
        self._failed.add()
        self._due_ns = now_ns + PATIENCE * self._interval_ns


class Steps:
    """One file, from the first byte to its name. ``waits``: nothing can be done before somebody else has."""

    def __init__(self, ctx: ActorContext, session: Path, now_ns: int) -> None:
        self._ctx, self._session, self.begun_ns = ctx, session, now_ns
        self._path = session / DRAFT
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        self._sources: dict[str, tuple[CheckpointFile, Checkpoint]] = {}
        self._parts: list[Part] = []
        self._facts: dict[str, np.ndarray] = {}
        self._at = 0  # bytes of the role in work that are written
        self._crc = 0
        os.lseek(self._fd, PAGE_BYTES, os.SEEK_SET)
        self.waits = False

    def next(self, make_durable: Callable[[int, int, int], bool]) -> bool:
        """Do a piece; whether it was the last. Raises OSError."""
        self.waits = False
        for role in (FIRST, SECOND):
            if role not in self._facts:
                self._begin(role)
                return False
            if self._at < self._size(role) and role == self._parts[-1].role:
                self._copy(role)
                return False
        first, second = self._facts[FIRST], self._facts[SECOND]
        if not make_durable(int(first[F_BARS]), int(second[F_SIGNALS]), int(first[F_TICKS])):
            self.waits = True
            return False
        self._give_name(int(first[F_TICKS]))
        return True

    def abandon(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._path.unlink(missing_ok=True)

    def _begin(self, role: str) -> None:
        file = CheckpointFile.attach(self._ctx.run_dir / f"{role}{SUFFIX}")
        newest = file.newest() if file is not None else None
        if file is None or newest is None or not self._follows(role, newest):
            self.waits = True
            return
        self._sources[role] = file, newest
        self._facts[role] = newest.facts.copy()
        self._parts.append(Part(role, file.key, len(newest.rows), file.row_bytes))
        self._at = 0
        self._write(self._facts[role].tobytes())
        if not file.still_holds(newest):
            self._restart()

    def _follows(self, role: str, checkpoint: Checkpoint) -> bool:
        """The rules must have seen every prediction of the ticks that the indicators' state has seen."""
        return role == FIRST or checkpoint.facts[F_DONE] > self._facts[FIRST][F_SOURCE]

    def _copy(self, role: str) -> None:
        file, checkpoint = self._sources[role]
        start = self._at - FACT_BYTES
        chunk = checkpoint.rows.reshape(-1)[start : start + CHUNK_BYTES].tobytes()
        if not file.still_holds(checkpoint):
            self._restart()
            return
        self._write(chunk)
        fault_point("checkpoint.disk.chunk")

    def _restart(self) -> None:
        """The stage has taken the buffer back meanwhile: from the newest one on again."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, PAGE_BYTES, os.SEEK_SET)
        self._crc = 0
        self._sources.clear()
        self._parts.clear()
        self._facts.clear()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        os.fdatasync(self._fd)  # in pieces: no duty cycle waits for all of it
        self._at += len(data)
        self._crc = google_crc32c.extend(self._crc, data)

    def _size(self, role: str) -> int:
        return next(part.bytes for part in self._parts if part.role == role)

    def _give_name(self, ticks: int) -> None:
        description = Description(VERSION, self._ctx.run_id, ticks, time.time_ns(), tuple(self._parts))
        text = msgspec.json.encode(description)
        head = HEAD.pack(MAGIC, len(text), google_crc32c.extend(self._crc, text))
        os.pwrite(self._fd, head + text, 0)
        fault_point("checkpoint.disk.headed")
        os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1
        fault_point("checkpoint.disk.synced")
        self._path.replace(path_of(self._session, ticks))
        fault_point("checkpoint.disk.renamed")
        sync_folder(self._session)
        self._let_go()

    def _let_go(self) -> None:
        """Of older files, and of journal segments that none of those kept needs."""
        paths = checkpoint_paths(self._session)
        for old in paths[:-KEPT]:
            old.unlink()
        first = int(paths[-KEPT:][0].stem.rpartition("-")[2])
        write_durably(self._session / KEEP_FROM, str(first).encode())


def _clear(session: Path) -> None:
    """The draft of an earlier life."""
    (session / DRAFT).unlink(missing_ok=True)
