"""Read a journal back: a session folder or one segment, from end to end or a part."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hft_engine.persistence.journal.format import BLOCK_RECORDS_MAX, Block, BlockKind, JournalError
from hft_engine.persistence.journal.metadata import dtype_hash
from hft_engine.persistence.journal.report import JournalReport, check, survey_session
from hft_engine.persistence.journal.segment import read_blocks
from hft_engine.persistence.journal.selection import EVERYTHING, Selection
from hft_engine.persistence.journal.tally import SegmentReport
from hft_engine.persistence.journal.zstd_file import open_segment
from hft_engine.records import SIGNAL_DTYPE, TICK_DTYPE

CHUNK_RECORDS = (
    BLOCK_RECORDS_MAX  # enough to make the cost of a chunk vanish; a full block is one, and not copied
)
_SIGNAL_HASH = dtype_hash(SIGNAL_DTYPE).hex()


class JournalReader:
    """The ticks and signals of a journal.

    Opening raises JournalError if there is no journal, if it was written with another record layout, or if it
    is damaged anywhere but at the end of a segment. What is appended after opening is not seen.

    ``verify``: every block is verified before the first record is handed out. Without, closed segments are taken by
    their indexes and only what is read is verified: a part of a long journal is there at once. Where such a block
    is bad, reading raises JournalError; nothing bad is ever handed out.
    """

    def __init__(self, path: Path | str, verify: bool = True) -> None:
        self.report: JournalReport = check(Path(path)) if verify else survey_session(Path(path))
        self.report.refuse_damage()

    @property
    def count(self) -> int:
        """Ticks that iteration will yield."""
        return self.report.ticks

    @property
    def instruments(self) -> tuple[str, ...]:
        """Symbols in order of instrument id, all that any of its ticks can name."""
        return self.report.symbols

    @property
    def holes(self) -> tuple[tuple[int, int], ...]:
        """[from, to) sequences that the journal lacks."""
        return self.report.holes

    @property
    def torn_bytes(self) -> int:
        """Bytes cut off the ends of segments that were not closed in order."""
        return self.report.torn_bytes

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.ticks()

    def ticks(self, selection: Selection = EVERYTHING) -> Iterator[np.ndarray]:
        """Chunks of ``TICK_DTYPE`` in order, stamps as recorded: read-only, of 1 to about 8,000 rows."""
        return _chunks(self._blocks(BlockKind.TICKS, selection), TICK_DTYPE, selection)

    def signals(self, selection: Selection = EVERYTHING) -> Iterator[np.ndarray]:
        """Chunks of ``SIGNAL_DTYPE`` in order, as the live run published them. Raises JournalError."""
        for segment in self.report.segments:
            _refuse_other_signals(segment)
        return _chunks(self._blocks(BlockKind.SIGNALS, selection), SIGNAL_DTYPE, selection)

    def _blocks(self, kind: BlockKind, selection: Selection) -> Iterator[Block]:
        for segment in self.report.segments:
            yield from _wanted_blocks(segment, kind, selection)


def _refuse_other_signals(segment: SegmentReport) -> None:
    if segment.sums.signals and segment.header is not None:
        metadata = segment.header.metadata
        if metadata.dtypes.get("SIGNAL_DTYPE", _SIGNAL_HASH) != _SIGNAL_HASH:
            raise JournalError(
                f"{segment.path}: its signals have another layout than this program's; "
                f"use version {metadata.code_version}"
            )


def _wanted_blocks(segment: SegmentReport, kind: BlockKind, selection: Selection) -> Iterator[Block]:
    """Blocks of a kind in the strides where ``selection`` may find something."""
    for start, stop in _wanted_ranges(segment, kind, selection):
        end = start
        with open_segment(segment.path) as file:
            for block in read_blocks(file, start, stop):
                end = block.end
                if block.kind == kind:
                    yield block
        if end < stop:
            raise JournalError(
                f"{segment.path}: a bad block at byte {end}, where a valid one was or should be; "
                f"`hft journal check {segment.path}` tells more"
            )


def _wanted_ranges(
    segment: SegmentReport, kind: BlockKind, selection: Selection
) -> Iterator[tuple[int, int]]:
    """Byte ranges, neighbours joined."""
    entries = segment.entries
    name, count, last = ("first_sequence", "ticks", segment.sums.next_sequence)
    if kind == BlockKind.SIGNALS:
        name, count, last = ("first_signal", "signals", segment.sums.next_signal)
    firsts = [*entries[name].tolist(), last]
    offsets = [*entries["offset"].tolist(), segment.valid_bytes]
    start = -1
    for i, entry in enumerate(entries):
        wanted = entry[count] and selection.overlaps(
            firsts[i], firsts[i + 1], int(entry["ts_min_ns"]), int(entry["ts_max_ns"])
        )
        if wanted and start < 0:
            start = offsets[i]
        if not wanted and start >= 0:
            yield start, offsets[i]
            start = -1
    if start >= 0:
        yield start, segment.valid_bytes


def _chunks(blocks: Iterator[Block], dtype: np.dtype, selection: Selection) -> Iterator[np.ndarray]:
    # A live feed writes blocks of a few ticks; handed on one by one they would cost more than the ticks.
    parts: list[bytes] = []
    records = 0
    for block in blocks:
        payload = block.payload if selection is EVERYTHING else _picked(block.payload, dtype, selection)
        parts.append(payload)
        records += len(payload) // dtype.itemsize
        if records >= CHUNK_RECORDS:
            yield _joined(parts, dtype)
            parts, records = [], 0
    if records:
        yield _joined(parts, dtype)


def _joined(parts: list[bytes], dtype: np.dtype) -> np.ndarray:
    return np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), dtype)


def _picked(payload: bytes, dtype: np.dtype, selection: Selection) -> bytes:
    rows = np.frombuffer(payload, dtype)
    picked = selection.pick(rows)
    return payload if picked is rows else picked.tobytes()
