"""A ring as a file: making one, and reading one from outside without a compiler (status, tail, tests)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hft_engine.shm import layout
from hft_engine.shm.segment import Segment, SegmentError


def create_ring(
    path: Path,
    dtype: np.dtype,
    capacity: int,
    readers: Sequence[tuple[str, int]],
    gating: bool,
    start: int = 0,
    before: np.ndarray | None = None,
) -> None:
    """Make the file of a ring; ``readers`` are (role, doorbell or NO_BELL). The supervisor alone calls it.

    ``start``: its first sequence, of a resumed session. ``before``: one record of ``dtype``, which lies where the
    last one before ``start`` would: a writer that goes on looks it up there. Views do not show it.
    """
    with Segment.create(path, layout.ring_bytes(dtype, capacity)) as segment:
        write_header(segment.words, dtype, capacity, readers, gating, start)
        if before is not None and start > 0:
            place_before(segment.array(dtype, capacity, layout.RING_HEADER_BYTES), start, before)


def place_before(slots: np.ndarray, start: int, record: np.ndarray) -> None:
    """Lay ``record`` where the last one before ``start`` would lie."""
    place = (start - 1) & (len(slots) - 1)
    slots[place] = record
    slots[place]["sequence"] = start - 1


def reader_names(head: np.ndarray) -> list[str]:
    """Roles of a ring's readers, from its header."""
    raw = head.view(np.uint8)[layout.READER_NAMES_BYTE :].tobytes()
    step = layout.READER_NAME_BYTES
    return [raw[i * step : (i + 1) * step].rstrip(b"\0").decode() for i in range(int(head[layout.W_READERS]))]


def write_header(
    words: np.ndarray,
    dtype: np.dtype,
    capacity: int,
    readers: Sequence[tuple[str, int]],
    gating: bool,
    start: int = 0,
) -> None:
    """Fill in the header of a ring's zeroed ``words``. Raises SegmentError."""
    if capacity < 8 or capacity & (capacity - 1):
        raise SegmentError(f"ring capacity {capacity} is not a power of two of at least 8")
    if len(readers) > layout.READERS_MAX:
        raise SegmentError(f"{len(readers)} readers, but a ring has room for {layout.READERS_MAX}")
    head = words[: layout.RING_HEADER_WORDS]
    head[layout.W_VERSION] = layout.LAYOUT_VERSION
    head[layout.W_DTYPE] = layout.dtype_hash(dtype)
    head[layout.W_RECORD] = dtype.itemsize
    head[layout.W_CAPACITY] = capacity
    head[layout.W_READERS] = len(readers)
    head[layout.W_GATING] = int(gating)
    words[layout.RING_HEADER_WORDS] = ~0  # of zeroed slots only the first looks as if it held its record
    head[layout.W_START] = head[layout.W_INTENT] = head[layout.W_PUBLISHED] = start
    for i in range(len(readers)):
        base = layout.W_READER_0 + i * layout.READER_WORDS
        head[base + layout.R_POSITION] = head[base + layout.R_SEEN] = start  # published = seen + lapped + lag
    raw = head.view(np.uint8)
    for i, (role, bell) in enumerate(readers):
        name = role.encode()
        start = layout.READER_NAMES_BYTE + i * layout.READER_NAME_BYTES
        raw[start : start + len(name)] = np.frombuffer(name, np.uint8)
        if bell != layout.NO_BELL:
            head[layout.W_BELLS : layout.W_BELLS + 1].view(np.uint64)[0] |= np.uint64(1 << bell)
    head[layout.W_MAGIC] = layout.MAGIC


class RingView:
    """A ring read from outside: it holds no reader entry, slows nobody, and is read-only.

    On x86-64 numpy's aligned 8-byte loads are ordered as the reader's protocol needs; on other processors a view
    may, once in a while, show a record older than the cursor it read.
    """

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        segment = Segment.attach(path, writable=False)
        segment.expect(dtype)
        self.head = segment.words[: layout.RING_HEADER_WORDS]
        self.capacity = int(self.head[layout.W_CAPACITY])
        self.slots = segment.array(dtype, self.capacity, layout.RING_HEADER_BYTES)

    @property
    def published(self) -> int:
        return int(self.head[layout.W_PUBLISHED])

    @property
    def roles(self) -> list[str]:
        return reader_names(self.head)

    def reader_words(self, reader: int) -> np.ndarray:
        """int64[READER_WORDS] of one reader: position, lapped, seen."""
        start = layout.W_READER_0 + reader * layout.READER_WORDS
        return self.head[start : start + layout.READER_WORDS]

    def drained(self) -> bool:
        """Whether every reader has dealt with everything published."""
        end = self.published
        return all(int(self.reader_words(i)[layout.R_POSITION]) >= end for i in range(len(self.roles)))

    def read(self, position: int, limit: int) -> tuple[int, np.ndarray]:
        """Whole records from ``position`` on, at most ``limit``: (sequence of the first, copies).

        What was overwritten meanwhile is left out, so the first sequence may be later than asked for.
        """
        end = min(self.published, position + limit)
        start = max(position, int(self.head[layout.W_INTENT]) - self.capacity, int(self.head[layout.W_START]))
        indices = np.arange(start, max(start, end)) & (self.capacity - 1)
        copies = self.slots[indices]
        torn = int(self.head[layout.W_INTENT]) - self.capacity - start
        if torn > 0:
            return start + min(torn, len(copies)), copies[torn:]
        return start, copies

    def last(self, count: int) -> np.ndarray:
        """The latest ``count`` records, oldest first."""
        return self.read(max(0, self.published - count), count)[1]
