"""Beside the journal's writing: compress what is closed, delete what is too old or too much. Never waits for either."""

import subprocess
import sys
import time
from os import getpid
from pathlib import Path

from hft_engine.persistence.journal import retention
from hft_engine.persistence.journal.format import SEGMENT_SUFFIX
from hft_engine.persistence.journal.session import (
    index_path,
    segment_paths,
    session_dir,
    session_paths,
)
from hft_engine.persistence.journal.zstd_file import zstandard
from hft_engine.runtime.actor import ActorContext

HELPER = "hft_engine.persistence.journal.compression"
TEND_NS = 2_000_000_000  # how often it looks at its helper and for another segment
RETENTION_NS = 10_000_000_000
DAY_NS = 86_400_000_000_000
HELPER_STOP_S = (
    5.0  # it is killed at once; this long for the kernel to do it: 1 s was too short on a busy machine
)


class Housekeeper:
    """``tend`` now and then. A segment counts as closed when it has an index; the helper is one process at a time."""

    def __init__(self, ctx: ActorContext) -> None:
        self._ctx = ctx
        config = ctx.config.persistence
        self._zstd = config.journal_compress == "zstd"
        if self._zstd:
            zstandard("persistence.journal_compress: zstd")
        self._keep_bytes = config.journal_keep_mb * 1_000_000
        self._keep_ns = config.journal_keep_days * DAY_NS
        self._session = session_dir(ctx.data_dir, ctx.run_id)
        self._compressed = ctx.counter("journal_compressed")
        self._errors = ctx.counter("housekeeping_errors")
        self._deleted = ctx.counter("journal_deleted")
        self._helper: subprocess.Popen[str] | None = None
        self._segment = Path()  # that the helper works on
        self._refused: set[Path] = set()
        self._due_ns = self._retention_due_ns = 0
        self._sweep()

    def tend(self, now_ns: int) -> None:
        """``now_ns``: CLOCK_MONOTONIC."""
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + TEND_NS
        if now_ns >= self._retention_due_ns:
            self._retention_due_ns = now_ns + RETENTION_NS
            self.retain(time.time_ns())
        if self._helper is not None and self._helper.poll() is not None:
            self._end_helper(self._helper)
        if self._zstd and self._helper is None:
            self._compress_next()

    def retain(self, utc_ns: int) -> None:
        """Delete what the limits do not allow. Every deletion is an event and counted."""
        if not (self._keep_bytes or self._keep_ns):
            return
        oldest_ns = utc_ns - self._keep_ns if self._keep_ns else 0
        try:
            files = retention.segment_files(self._ctx.data_dir, self._session, self._keep_from())
            for file in retention.excess(files, self._keep_bytes, oldest_ns):
                if self._helper is not None and file.path == self._segment:
                    continue  # the next time
                retention.delete(file)
                self._deleted.add()
                why = (
                    "older than journal_keep_days" if file.modified_ns < oldest_ns else "over journal_keep_mb"
                )
                self._ctx.event("journal_deleted", f"{file.path}: {file.bytes:,} bytes, {why}")
        except OSError as error:
            self._tell(f"retention: {error.filename}: {error.strerror}")

    def close(self) -> None:
        """End the helper: what it had not finished, another run compresses. Raises nothing: more is closed after it."""
        if self._helper is None:
            return
        helper, self._helper = self._helper, None
        helper.kill()
        try:
            helper.communicate(timeout=HELPER_STOP_S)
        except subprocess.TimeoutExpired:
            self._tell(f"compression of {self._segment}: process {helper.pid} was killed and is not gone yet")
            return  # the next run sweeps up
        self._sweep()

    def _keep_from(self) -> int:
        ring = self._ctx.ring("ticks")
        floor = retention.floor_of(self._session)
        tail = max(ring.published - ring.capacity, 0)
        return tail if floor is None else min(tail, floor)

    def _compress_next(self) -> None:
        path = next((p for p in self._closed() if p not in self._refused), None)
        if path is None:
            return
        command = [sys.executable, "-m", HELPER, str(getpid()), str(path)]
        self._segment = path
        try:
            self._helper = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            self._refused.add(path)
            self._tell(f"{path}: not compressed: {error.strerror}")

    def _closed(self) -> list[Path]:
        paths = [p for session in session_paths(self._ctx.data_dir) for p in segment_paths(session)]
        return [p for p in paths if p.suffix == SEGMENT_SUFFIX and index_path(p).exists()]

    def _end_helper(self, helper: "subprocess.Popen[str]") -> None:
        said = helper.communicate()[1].strip()
        self._helper = None
        if helper.returncode == 0:
            self._compressed.add()
            return
        self._refused.add(
            self._segment
        )  # not again in this life: a disk that is full would be asked each second
        lines = said.splitlines()
        self._tell(lines[-1] if lines else f"{self._segment}: not compressed: {helper.returncode}")

    def _sweep(self) -> None:
        try:
            retention.sweep(self._ctx.data_dir)
        except OSError as error:
            self._tell(f"{error.filename}: {error.strerror}")

    def _tell(self, text: str) -> None:
        self._errors.add()
        self._ctx.log.error("%s", text)
        self._ctx.event("journal_housekeeping", text)
