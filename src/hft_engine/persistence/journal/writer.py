"""The one writer of a run's journal: ticks in, checksummed blocks in bounded segment files out."""

import os
import time
from pathlib import Path

import numpy as np

from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import format as fmt
from hft_engine.persistence.journal.format import BlockKind, JournalError, SegmentMetadata
from hft_engine.persistence.journal.segment import SegmentReport, scan
from hft_engine.persistence.journal.session import segment_path, segment_paths


class JournalWriteError(JournalError):
    """The journal cannot be written any more. What it already holds stays readable."""


class JournalWriter:
    """Appends ticks to the session folder ``session``, from sequence ``next_sequence`` on.

    Every ``append`` hands its records to the kernel before it returns: the death of this process loses none.
    Power loss loses at most what came since the last ``fdatasync``, which ``flush_if_due`` runs every
    ``flush_ms``. After any error of a write or a sync the writer is done: a failed sync is never tried again,
    since the kernel may have dropped the pages (a later success would lie).

    ``segment_bytes`` bounds a segment, unless its header alone is longer. ``metadata.symbols`` is ignored:
    the header takes the symbols from ``instruments``. A writer that starts in a folder with segments goes on
    behind the last valid record, in a new segment; ``damaged`` then reports the last one if it is damaged.
    """

    def __init__(
        self,
        session: Path,
        metadata: SegmentMetadata,
        instruments: InstrumentTable,
        *,
        segment_bytes: int,
        flush_ms: int,
    ) -> None:
        self._session = session
        self._metadata = metadata
        self._instruments = instruments
        self._segment_bytes = segment_bytes
        self._flush_ns = flush_ms * 1_000_000
        self._fd = -1
        self._failure: JournalWriteError | None = None
        self._segment_size = 0
        self._blocks_in_segment = 0
        self._symbols_written = 0
        self._unsynced_since_ns = 0
        self.bytes_written = 0
        self.segments = 0
        self.holes = 0
        self.ticks_lapped = 0
        self.damaged: SegmentReport | None = None
        self._number, self.next_sequence = self._resume_point()
        self._open_segment()

    @property
    def failure(self) -> JournalWriteError | None:
        """Why nothing is written any more, or None."""
        return self._failure

    def append(self, rows: np.ndarray) -> int:
        """Write those of ``rows`` (``TICK_DTYPE``, sequences rising) not written yet; how many that were.

        A jump in the sequences becomes a hole. Raises JournalWriteError, then and ever after.
        """
        if not len(rows) or rows["sequence"][-1] < self.next_sequence:
            return 0
        if rows["sequence"][0] < self.next_sequence:
            rows = rows[np.searchsorted(rows["sequence"], self.next_sequence) :]
        self._append_instruments()
        for run in _contiguous_runs(rows):
            self._append_run(run)
        return len(rows)

    def flush_if_due(self, now_ns: int) -> bool:
        """Sync if unsynced bytes are older than the flush interval; ``now_ns`` is CLOCK_MONOTONIC."""
        due = self._unsynced_since_ns and now_ns - self._unsynced_since_ns >= self._flush_ns
        if due:
            self.flush()
        return bool(due)

    def flush(self) -> None:
        """Sync what was written to the disk. Raises JournalWriteError."""
        if not self._unsynced_since_ns:
            return
        self._refuse_failed()
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise self._fail(error) from error
        self._unsynced_since_ns = 0

    def close(self) -> None:
        """End the segment in order, sync, close. Nothing after a failure. Raises JournalWriteError."""
        if self._fd >= 0:
            self._end_segment()

    def _resume_point(self) -> tuple[int, int]:
        """Number of the next segment, and the sequence it starts with."""
        paths = segment_paths(self._session)
        for path in reversed(paths):
            report = scan(path)
            if report.damaged_at is not None:
                self.damaged = self.damaged or report
            if report.header is not None:
                return int(paths[-1].stem) + 1, report.next_sequence
        return (int(paths[-1].stem) + 1 if paths else 0), 0

    def _append_run(self, rows: np.ndarray) -> None:
        first = int(rows["sequence"][0])
        if first > self.next_sequence:
            self._append_hole(first)
        for start in range(0, len(rows), fmt.BLOCK_RECORDS_MAX):
            part = rows[start : start + fmt.BLOCK_RECORDS_MAX]
            self._append_block(fmt.encode_ticks(part))
            self.next_sequence = int(part["sequence"][-1]) + 1

    def _append_hole(self, end: int) -> None:
        self._append_block(fmt.encode_hole(self.next_sequence, end))
        self.holes += 1
        self.ticks_lapped += end - self.next_sequence
        self.next_sequence = end

    def _append_instruments(self) -> None:
        # A tick's symbol is in the table before the tick is on the ring, so writing the table's news first
        # means that a reader always knows the symbol of a tick it has read.
        if len(self._instruments) > self._symbols_written:
            new = self._instruments.symbols()[self._symbols_written :]
            self._append_block(fmt.encode_instruments(self._symbols_written, new))
            self._symbols_written += len(new)

    def _append_block(self, block: bytes) -> None:
        self._refuse_failed()
        full = self._segment_size + len(block) + fmt.BLOCK.size > self._segment_bytes
        if full and self._blocks_in_segment:
            self._end_segment()
            self._number += 1
            self._open_segment()
        self._write(block)
        self._blocks_in_segment += 1

    def _open_segment(self) -> None:
        path = segment_path(self._session, self._number)
        try:
            self._session.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise self._fail(error) from error
        symbols = tuple(self._instruments.symbols())
        metadata = SegmentMetadata(
            run_id=self._metadata.run_id,
            venue=self._metadata.venue,
            config_hash=self._metadata.config_hash,
            code_version=self._metadata.code_version,
            symbols=symbols,
        )
        self._segment_size = self._blocks_in_segment = 0
        self._write(fmt.encode_header(self._number, self.next_sequence, time.time_ns(), metadata))
        self._symbols_written = len(symbols)
        self.segments += 1

    def _end_segment(self) -> None:
        self._write(fmt.encode_block(BlockKind.END, 0, self.next_sequence))
        self.flush()
        os.close(self._fd)
        self._fd = -1

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:  # the kernel may take a part, for one just before the disk is full
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise self._fail(error) from error
        self._segment_size += len(data)
        self.bytes_written += len(data)
        self._unsynced_since_ns = self._unsynced_since_ns or time.monotonic_ns()

    def _refuse_failed(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: OSError) -> JournalWriteError:
        path = segment_path(self._session, self._number)
        self._failure = JournalWriteError(
            f"{path}: {error.strerror}: journalling stopped at sequence {self.next_sequence}; what was "
            "written stays readable. Free the disk (or move engine.data_dir) and restart the engine"
        )
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._unsynced_since_ns = 0
        return self._failure


def _contiguous_runs(rows: np.ndarray) -> list[np.ndarray]:
    """``rows`` split where the sequence jumps."""
    if rows["sequence"][-1] - rows["sequence"][0] == len(rows) - 1:
        return [rows]
    return np.split(rows, np.flatnonzero(np.diff(rows["sequence"]) != 1) + 1)
