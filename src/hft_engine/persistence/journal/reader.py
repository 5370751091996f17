"""Read a journal back: a session folder or one segment."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hft_engine.persistence.journal.format import Block, BlockKind, JournalError
from hft_engine.persistence.journal.report import JournalReport, check
from hft_engine.persistence.journal.segment import SegmentReport, read_blocks
from hft_engine.records import TICK_DTYPE

CHUNK_RECORDS = 8_192  # a megabyte: enough to make the cost of a chunk vanish, little enough to stay in cache


class JournalReader:
    """The ticks of a journal, verified from end to end before the first is handed out.

    Opening raises JournalError if there is no journal, if it was written with another record layout, or if it
    is damaged anywhere but at the end of a segment. What is appended after opening is not seen.
    """

    def __init__(self, path: Path | str) -> None:
        self.report: JournalReport = check(Path(path))
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
        """Chunks of ``TICK_DTYPE`` in order, stamps as recorded: read-only, of 1 to about 12,000 rows."""
        return _chunks(block for segment in self.report.segments for block in _tick_blocks(segment))


def _tick_blocks(segment: SegmentReport) -> Iterator[Block]:
    if segment.header is None:
        return
    end = 0
    with segment.path.open("rb") as file:
        for block in read_blocks(file, segment.header.header_bytes, segment.valid_bytes):
            end = block.end
            if block.kind == BlockKind.TICKS:
                yield block
    if end < segment.valid_bytes and segment.blocks:
        raise JournalError(f"{segment.path}: changed at byte {end} since it was opened; read it again")


def _chunks(blocks: Iterator[Block]) -> Iterator[np.ndarray]:
    # A live feed writes blocks of a few ticks; handed on one by one they would cost more than the ticks.
    parts: list[bytes] = []
    records = 0
    for block in blocks:
        parts.append(block.payload)
        records += block.count
        if records >= CHUNK_RECORDS:
            yield np.frombuffer(b"".join(parts), TICK_DTYPE)
            parts, records = [], 0
    if parts:
        yield np.frombuffer(b"".join(parts), TICK_DTYPE)
