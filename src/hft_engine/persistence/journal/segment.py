"""One segment file: read its blocks, judge how it ends, make a report.

A bad block with no valid one after it is a torn tail: what a crash leaves; it is cut off by whoever reads.
A bad block with valid ones after it is damage: only a person may decide to cut there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hft_engine.persistence.journal import format as fmt
from hft_engine.persistence.journal.format import Block, BlockKind, JournalError, SegmentHeader
from hft_engine.persistence.journal.holes import HoleTracker

SEARCH_BYTES = 1 << 20  # window of the search for a valid block behind a bad one


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """What a segment holds. ``bytes`` = ``valid_bytes`` + ``torn_bytes`` unless it is damaged."""

    path: Path
    bytes: int
    valid_bytes: int
    torn_bytes: int
    damaged_at: int | None  # offset of a bad block that valid blocks follow
    header: SegmentHeader | None  # None: torn before its header was whole
    blocks: int
    ticks: int
    first_ts_ns: int  # ts_recv_ns of the first and last tick, UTC; 0 without any
    last_ts_ns: int
    next_sequence: int
    holes: tuple[tuple[int, int], ...]
    symbols: tuple[str, ...]
    ended: bool  # closed in order

    @property
    def remedy(self) -> str:
        """The command that cuts a damaged segment; empty where nothing is damaged."""
        return "" if self.damaged_at is None else f"hft journal cut {self.path} --at {self.damaged_at}"

    def refuse_damage(self) -> None:
        """Raises JournalError, naming file, offset and remedy, if valid blocks follow a bad one."""
        if self.damaged_at is not None:
            raise JournalError(
                f"{self.path}: damaged at byte {self.damaged_at} of {self.bytes}, valid blocks follow. "
                f"To keep what is before it and set the rest aside: {self.remedy}"
            )


def read_header(path: Path, file: BinaryIO) -> SegmentHeader | None:
    """The header; None where it is torn or damaged. Raises JournalError if it is not one of this program."""
    file.seek(0)
    start = file.read(fmt.HEADER.size)
    _refuse_foreign(path, start)
    length = fmt.header_bytes_of(start)
    if length is None or length < fmt.HEADER.size or length > path.stat().st_size:
        return None
    try:
        return fmt.decode_header(start + file.read(length - len(start)))
    except JournalError as error:
        raise JournalError(f"{path}: {error}") from None


def read_blocks(file: BinaryIO, start: int, end: int) -> Iterator[Block]:
    """Valid blocks of [start, end) in order, up to the first that is not."""
    while start < end:
        block = read_block(file, start, end)
        if block is None:
            return
        yield block
        start = block.end


def read_block(file: BinaryIO, offset: int, end: int) -> Block | None:
    """The block at ``offset`` if it is valid and whole before ``end``."""
    file.seek(offset)
    head = file.read(fmt.BLOCK.size)
    length = fmt.payload_bytes_of(head)
    if length is None or offset + fmt.BLOCK.size + length > end:
        return None
    return fmt.decode_block(offset, head, file.read(length))


def scan(path: Path) -> SegmentReport:
    """Read and verify a whole segment. Raises JournalError if it is unreadable or not of this program."""
    try:
        with path.open("rb") as file:
            return _scan(path, file)
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from error


def _scan(path: Path, file: BinaryIO) -> SegmentReport:
    size = path.stat().st_size
    header = read_header(path, file)
    tally = _Tally(header)
    if header is not None:
        for block in read_blocks(file, header.header_bytes, size):
            tally.add(block)
    damaged = tally.end < size and _valid_block_after(file, tally.end + 1, size)
    return tally.report(path, size, damaged)


class _Tally:
    """Running sums over the blocks of one segment."""

    def __init__(self, header: SegmentHeader | None) -> None:
        self._header = header
        self.end = header.header_bytes if header else 0
        self._blocks = self._ticks = self._first_ts_ns = self._last_ts_ns = 0
        self._holes = HoleTracker(header.first_sequence if header else 0)
        self._symbols = list(header.metadata.symbols) if header else []
        self._ended = False

    def add(self, block: Block) -> None:
        self._blocks += 1
        self.end = block.end
        self._holes.see(block)
        self._ended = block.kind == BlockKind.END
        if block.kind == BlockKind.TICKS:
            self._add_ticks(block)
        elif block.kind == BlockKind.INSTRUMENTS:
            self._symbols[block.first_sequence :] = block.symbols()

    def _add_ticks(self, block: Block) -> None:
        stamps = block.ticks()["ts_recv_ns"]
        self._first_ts_ns = self._first_ts_ns or int(stamps[0])
        self._last_ts_ns = int(stamps[-1])
        self._ticks += block.count

    def report(self, path: Path, size: int, damaged: bool) -> SegmentReport:
        return SegmentReport(
            path=path,
            bytes=size,
            valid_bytes=self.end,
            torn_bytes=0 if damaged else size - self.end,
            damaged_at=self.end if damaged else None,
            header=self._header,
            blocks=self._blocks,
            ticks=self._ticks,
            first_ts_ns=self._first_ts_ns,
            last_ts_ns=self._last_ts_ns,
            next_sequence=self._holes.expected,
            holes=tuple(self._holes.holes),
            symbols=tuple(self._symbols),
            ended=self._ended,
        )


def _refuse_foreign(path: Path, start: bytes) -> None:
    # A crash may leave a prefix of the header, or zeros where the page never reached the disk.
    magic = start[: len(fmt.SEGMENT_MAGIC)]
    if not fmt.SEGMENT_MAGIC.startswith(magic) and any(start) and not _looks_flipped(magic):
        raise JournalError(f"{path}: is not a journal segment (it does not start with the journal's mark)")


def _looks_flipped(magic: bytes) -> bool:
    same = sum(a == b for a, b in zip(magic, fmt.SEGMENT_MAGIC, strict=False))
    return same >= len(fmt.SEGMENT_MAGIC) // 2


def _valid_block_after(file: BinaryIO, offset: int, end: int) -> bool:
    """Whether any valid block starts in [offset, end)."""
    while offset < end:
        file.seek(offset)
        window = file.read(min(SEARCH_BYTES, end - offset))
        at = window.find(fmt.BLOCK_MAGIC)
        while at >= 0:
            if read_block(file, offset + at, end) is not None:
                return True
            at = window.find(fmt.BLOCK_MAGIC, at + 1)
        # Windows overlap, so that a mark across their border is found.
        offset += max(len(window) - len(fmt.BLOCK_MAGIC) + 1, 1)
    return False
