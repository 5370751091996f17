"""One segment file: read its blocks, judge how it ends, make a report.

A bad block with no valid one after it is a torn tail: what a crash leaves; it is cut off by whoever reads.
A bad block with valid ones after it is damage: only a person may decide to cut there.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hft_engine.persistence.journal import format as fmt
from hft_engine.persistence.journal.format import Block, JournalError, SegmentHeader
from hft_engine.persistence.journal.index import read_index, write_index
from hft_engine.persistence.journal.tally import SegmentReport, SegmentSums, Tally
from hft_engine.persistence.journal.zstd_file import disk_bytes_of, open_segment, size_of

SEARCH_BYTES = 1 << 20  # window of the search for a valid block behind a bad one


def read_header(path: Path, file: BinaryIO) -> SegmentHeader | None:
    """The header; None where it is torn or damaged. Raises JournalError if it is not one of this program."""
    file.seek(0)
    start = file.read(fmt.HEADER.size)
    _refuse_foreign(path, start)
    length = fmt.header_bytes_of(start)
    if length is None or length < fmt.HEADER.size or length > size_of(file):
        return None
    file.seek(len(start))
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
    with _reading(path), open_segment(path) as file:
        return _scan(path, file)


def survey(path: Path) -> SegmentReport:
    """As ``scan``, but from the index where there is one; where a closed segment has none, one is made."""
    with _reading(path), open_segment(path) as file:
        sums = read_index(path, size_of(file))
        header = read_header(path, file) if sums else None
        if sums is not None and header is not None:
            return _report(path, file, header, sums, damaged=False, verified=False)
        report = _scan(path, file)
    if report.sums.ended and report.damaged_at is None:
        with contextlib.suppress(OSError):  # somebody else's folder, a full disk: the next one makes it
            write_index(path, report.sums)
    return report


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from error


def _scan(path: Path, file: BinaryIO) -> SegmentReport:
    size = size_of(file)
    header = read_header(path, file)
    tally = Tally(header)
    if header is not None:
        for block in read_blocks(file, header.header_bytes, size):
            tally.add(block)
    damaged = tally.end < size and _valid_block_after(file, tally.end + 1, size)
    return _report(path, file, header, tally.sums(), damaged, verified=True)


def _report(
    path: Path,
    file: BinaryIO,
    header: SegmentHeader | None,
    sums: SegmentSums,
    damaged: bool,
    verified: bool,
) -> SegmentReport:
    size = size_of(file)
    return SegmentReport(
        path=path,
        bytes=size,
        disk_bytes=disk_bytes_of(file),
        torn_bytes=0 if damaged else size - sums.valid_bytes,
        damaged_at=sums.valid_bytes if damaged else None,
        header=header,
        sums=sums,
        verified=verified,
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
