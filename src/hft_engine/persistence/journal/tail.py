"""A session's ticks from any sequence on, while it is being written: for a reader whom the ring has lapped."""

import mmap
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hft_engine.persistence.journal import format as fmt
from hft_engine.persistence.journal.format import Block, BlockKind
from hft_engine.persistence.journal.segment import read_header
from hft_engine.persistence.journal.session import segment_number, segment_paths
from hft_engine.persistence.journal.zstd_file import SeekableZstd, open_segment, size_of
from hft_engine.records import TICK_DTYPE


class JournalTail:
    """``read`` again and again; nothing that is read changes any more, and what is not whole yet is not read."""

    def __init__(self, session: Path, sequence: int) -> None:
        """From the first tick of ``sequence`` or later on; the session need not be there yet."""
        self._session = session
        self._sequence = sequence
        self._path: Path | None = None
        self._offset = 0

    def read(self) -> np.ndarray | None:
        """The next ticks (TICK_DTYPE, read-only, at least one), None where there are no more yet.

        Raises JournalError for a segment of another program.
        """
        while self._path is not None or self._open_first():
            rows = self._read_segment()
            if rows is not None:
                return rows
            if not self._open_next():
                return None
        return None

    def _open_first(self) -> bool:
        """The last segment that begins at or before the sequence, else the first."""
        starts = [
            (path, start) for path in segment_paths(self._session) if (start := self._start(path)) is not None
        ]
        before = [path for path, start in starts if start[0] <= self._sequence]
        if starts:
            self._begin(before[-1] if before else starts[0][0])
        return bool(starts)

    def _open_next(self) -> bool:
        assert self._path is not None
        number = segment_number(self._path)
        later = [path for path in segment_paths(self._session) if segment_number(path) > number]
        found = next((path for path in later if self._start(path) is not None), None)
        if found is not None:
            self._begin(found)
        return found is not None

    def _start(self, path: Path) -> tuple[int, int] | None:
        """(first sequence, offset of the first block); None for a header that is not whole."""
        with open_segment(path) as file:
            header = read_header(path, file)
        return None if header is None else (header.first_sequence, header.header_bytes)

    def _begin(self, path: Path) -> None:
        start = self._start(path)
        assert start is not None
        self._path, self._offset = path, start[1]

    def _read_segment(self) -> np.ndarray | None:
        """Blocks from where the last call stopped, to about a chunk of wanted ticks."""
        assert self._path is not None
        with open_segment(self._path) as file:
            size = size_of(file)
            if size <= self._offset:
                return None
            if isinstance(file, SeekableZstd):
                return self._collect(_Slices(file, size))
            with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as raw:
                return self._collect(raw)

    def _collect(self, raw: "mmap.mmap | _Slices") -> np.ndarray | None:
        parts: list[bytes] = []
        count = 0
        while count < fmt.BLOCK_RECORDS_MAX and (block := self._next_block(raw)) is not None:
            self._offset = block.end
            if block.kind == BlockKind.TICKS:
                skipped = max(0, self._sequence - block.first_sequence)
                parts.append(block.payload[skipped * TICK_DTYPE.itemsize :])
                count += block.count - skipped
        return np.frombuffer(b"".join(parts), TICK_DTYPE) if count else None

    def _next_block(self, raw: "mmap.mmap | _Slices") -> Block | None:
        """The next whole block that may hold wanted ticks; others are passed over by their heads alone."""
        while True:
            head = raw[self._offset : self._offset + fmt.BLOCK.size]
            length = fmt.payload_bytes_of(head)
            if length is None or self._offset + fmt.BLOCK.size + length > len(raw):
                return None
            _, kind, _, count, first, _, _ = fmt.BLOCK.unpack(head)
            start = self._offset + fmt.BLOCK.size
            if kind == BlockKind.TICKS and first + count > self._sequence:
                return fmt.decode_block(self._offset, head, raw[start : start + length])
            self._offset = start + length


class _Slices:
    """A compressed segment, sliced like bytes."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        self._file.seek(part.start)
        return self._file.read(part.stop - part.start)
