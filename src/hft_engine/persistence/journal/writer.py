"""The one writer of a run's journal: ticks and signals in, checksummed blocks in bounded segment files out."""

from pathlib import Path

import msgspec
import numpy as np

from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import format as fmt
from hft_engine.persistence.journal.format import BlockKind, JournalError
from hft_engine.persistence.journal.metadata import SegmentMetadata, dtype_hashes
from hft_engine.persistence.journal.segment import scan
from hft_engine.persistence.journal.segment_writer import SegmentWriter
from hft_engine.persistence.journal.session import (
    DRAFT_SUFFIX,
    segment_number,
    segment_path,
    segment_paths,
)
from hft_engine.persistence.journal.tally import SegmentReport
from hft_engine.runtime.faultpoints import fault_point


class JournalWriteError(JournalError):
    """The journal cannot be written any more. What it already holds stays readable."""


class JournalWriter:
    """Appends to the session folder ``session``: ticks from ``next_sequence``, signals from ``next_signal`` on.

    Every ``append`` hands its records to the kernel before it returns: the death of this process loses none.
    Power loss loses at most what came since the last ``fdatasync``, which ``flush_if_due`` runs every
    ``flush_ms``. After any error of a write or a sync the writer is done: a failed sync is never tried again,
    since the kernel may have dropped the pages (a later success would lie).

    ``segment_bytes`` bounds a segment, unless its header alone is longer. Of ``metadata`` the writer sets
    ``symbols`` (from ``instruments``), ``first_signal`` and ``dtypes``. A writer that starts in a folder with segments
    goes on behind the last valid records, in a new segment; ``damaged`` then reports the last one if it is damaged.
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
        self._metadata = msgspec.structs.replace(metadata, dtypes=dtype_hashes())
        self._instruments = instruments
        self._segment_bytes = segment_bytes
        self._flush_ns = flush_ms * 1_000_000
        self._segment: SegmentWriter | None = None
        self._failure: JournalWriteError | None = None
        self._symbols_written = 0
        self._bytes_ended = 0
        self.segments = 0
        self.holes = 0
        self.ticks_lapped = 0
        self.signals_lapped = 0
        self.damaged: SegmentReport | None = None
        self._number, self.next_sequence, self.next_signal = self._resume_point()
        self._open_segment()

    @property
    def failure(self) -> JournalWriteError | None:
        """Why nothing is written any more, or None."""
        return self._failure

    @property
    def bytes_written(self) -> int:
        """By this writer, in whole headers and blocks."""
        return self._bytes_ended + (self._segment.size if self._segment else 0)

    @property
    def path(self) -> Path:
        """The segment that is being written."""
        return segment_path(self._session, self._number)

    def append(self, rows: np.ndarray) -> int:
        """Write those of ``rows`` (``TICK_DTYPE``, sequences rising) not written yet; how many that were.

        A jump in the sequences becomes a hole. Raises JournalWriteError, then and ever after.
        """
        rows = _from(rows, self.next_sequence)
        if not len(rows):
            return 0
        self._append_instruments()
        for part in _contiguous_runs(rows):
            first = int(part["sequence"][0])
            if first > self.next_sequence:
                self._append_hole(first)
            self._append_block(BlockKind.TICKS, len(part), first, fmt.ticks_payload(part))
            self.next_sequence = first + len(part)
        return len(rows)

    def append_signals(self, rows: np.ndarray) -> int:
        """Write those of ``rows`` (``SIGNAL_DTYPE``, sequences rising) not written yet; how many that were.

        A jump in the sequences is counted; it shows in the sequences. Raises JournalWriteError, then and ever after.
        """
        rows = _from(rows, self.next_signal)
        if not len(rows):
            return 0
        self._append_instruments()
        for part in _contiguous_runs(rows):
            first = int(part["sequence"][0])
            self._append_block(BlockKind.SIGNALS, len(part), first, fmt.signals_payload(part))
            self.signals_lapped += first - self.next_signal
            self.next_signal = first + len(part)
        return len(rows)

    def flush_if_due(self, now_ns: int) -> bool:
        """Sync if unsynced bytes are older than the flush interval; ``now_ns`` is CLOCK_MONOTONIC."""
        since_ns = self._segment.unsynced_since_ns if self._segment else 0
        due = bool(since_ns) and now_ns - since_ns >= self._flush_ns
        if due:
            self.flush()
        return due

    def flush(self) -> None:
        """Sync what was written to the disk; nothing after a failure. Raises JournalWriteError."""
        if self._segment is None:
            return
        try:
            self._segment.sync()
        except OSError as error:
            raise self._fail(error) from error

    def close(self) -> None:
        """End the segment in order, sync, close. Nothing after a failure. Raises JournalWriteError."""
        if self._segment is not None:
            self._end_segment()

    def _resume_point(self) -> tuple[int, int, int]:
        """Number of the next segment, and the next tick and signal."""
        for draft in self._session.glob(f"*{DRAFT_SUFFIX}"):
            draft.unlink(missing_ok=True)
        paths = segment_paths(self._session) if self._session.is_dir() else []
        number = segment_number(paths[-1]) + 1 if paths else 0
        for path in reversed(paths):
            report = scan(path)
            if report.damaged_at is not None:
                self.damaged = self.damaged or report
            if report.header is not None:
                return number, report.sums.next_sequence, report.sums.next_signal
        return number, 0, 0

    def _append_hole(self, end: int) -> None:
        first = self.next_sequence
        self._append_block(BlockKind.HOLE, min(end - first, 0xFFFFFFFF), first, fmt.HOLE.pack(first, end))
        self.holes += 1
        self.ticks_lapped += end - first
        self.next_sequence = end

    def _append_instruments(self) -> None:
        # A tick's symbol is in the table before the tick is on the ring, so writing the table's news first
        # means that a reader always knows the symbol of a tick it has read.
        if len(self._instruments) > self._symbols_written:
            new = self._instruments.symbols()[self._symbols_written :]
            self._append_block(
                BlockKind.INSTRUMENTS, len(new), self._symbols_written, msgspec.json.encode(new)
            )
            self._symbols_written += len(new)

    def _append_block(self, kind: BlockKind, count: int, first_sequence: int, payload: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        assert self._segment is not None
        end = self._segment.size + 2 * fmt.BLOCK.size + len(payload)  # its own head, and the END block's
        if end > self._segment_bytes and self._segment.blocks:
            self._end_segment()
            self._number += 1
            self._open_segment()
        try:
            self._segment.append(kind, count, first_sequence, payload)
        except OSError as error:
            raise self._fail(error) from error

    def _open_segment(self) -> None:
        symbols = tuple(self._instruments.symbols())
        metadata = msgspec.structs.replace(self._metadata, symbols=symbols, first_signal=self.next_signal)
        try:
            fault_point("journal.open")
            self._segment = SegmentWriter(self._session, self._number, self.next_sequence, metadata)
        except OSError as error:
            raise self._fail(error) from error
        self._symbols_written = len(symbols)
        self.segments += 1

    def _end_segment(self) -> None:
        assert self._segment is not None
        try:
            self._segment.end(self.next_sequence)
        except OSError as error:
            raise self._fail(error) from error
        self._bytes_ended += self._segment.size
        self._segment = None

    def _fail(self, error: OSError) -> JournalWriteError:
        self._failure = JournalWriteError(
            f"{self.path}: {error.strerror}: journalling stopped at sequence {self.next_sequence}; what was "
            "written stays readable. Free the disk (or move engine.data_dir) and restart the engine"
        )
        if self._segment is not None:
            self._bytes_ended += self._segment.size
            self._segment.abandon()
            self._segment = None
        return self._failure


def _from(rows: np.ndarray, sequence: int) -> np.ndarray:
    """Those of ``rows``, sequences rising, from ``sequence`` on."""
    if not len(rows) or rows["sequence"][0] >= sequence:
        return rows
    return rows[np.searchsorted(rows["sequence"], sequence) :]


def _contiguous_runs(rows: np.ndarray) -> list[np.ndarray]:
    """``rows`` split where the sequence jumps, and where a run is too long for a block."""
    size = fmt.BLOCK_RECORDS_MAX
    sequences = rows["sequence"]
    if int(sequences[-1]) - int(sequences[0]) == len(rows) - 1:  # the usual case, and cheap to tell
        runs = [rows]
    else:
        runs = np.split(rows, np.flatnonzero(np.diff(sequences) != 1) + 1)
    if len(runs) == 1 and len(rows) <= size:
        return runs
    return [run[start : start + size] for run in runs for start in range(0, len(run), size)]
