"""The broadcast ring: one writer, up to 16 readers, fixed-size records, overrun detected, never a torn read.

    slots   | r0 | r1 | r2 | ... | r(capacity-1) |      record s lies in slot s & (capacity - 1), its first word is s
                   ^ POSITION of a reader          ^ PUBLISHED: all below is complete
                                                        ^ INTENT >= PUBLISHED: all below may be overwritten

A slot's first word says what is in it: ``s``, record s is complete; ``~s``, it is being written. A reader spins on the
very cache line that brings it the record and fetches no other; INTENT and PUBLISHED are the writer's own lines,
read by views, by a restarted writer and by readers that were lapped.

Writer:  INTENT := end, slots' words := ~s | release fence | bodies | words := s, the batch's first one last
         (release) | PUBLISHED := end (release) | if a reader may park: full fence, ring those that do
Reader:  word = POSITION (acquire)? | copy the slot | acquire fence | word = POSITION still? else what was copied may
         be torn: it is dropped, the reader jumps forward and counts what it missed in LAPPED.

Each slot is a sequence lock: Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012;
the tail intent is that of Agrona's broadcast buffer. A batch becomes visible at once, because a reader that waits for
its first record sees none of the others before. The writer never waits, except on a ring created ``gating`` (replay,
backtest), where ``room`` shows how far the slowest reader lets it go.

A writer may die between any two stores: words in [PUBLISHED, INTENT) are ``~s``, but for those of a batch whose end was
being made visible. The next writer calls ``recover``: the batch counts if its first record was visible, else its words
are taken back.

``head`` int64[512], ``slots`` record[capacity], ``bells`` int64[]: views of shared memory (see ``layout``).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.memory import private_bytes
from hft_engine.shm import layout
from hft_engine.shm.atomics import (
    fence_acquire,
    fence_full,
    fence_release,
    load_acquire,
    load_relaxed,
    load_sequence_acquire,
    load_sequence_relaxed,
    store_release,
    store_sequence_relaxed,
    store_sequence_release,
)
from hft_engine.shm.doorbell import new_bells, ring_parked
from hft_engine.shm.ring_cursors import RingCursors
from hft_engine.shm.ring_file import write_header
from hft_engine.shm.segment import Segment
from hft_engine.words import copy_body, copy_record

_INTENT, _PUBLISHED, _FREE_END = layout.W_INTENT, layout.W_PUBLISHED, layout.W_FREE_END
_READERS, _GATING, _BELLS = layout.W_READERS, layout.W_GATING, layout.W_BELLS
_READER_0, _READER_WORDS = layout.W_READER_0, layout.READER_WORDS
_POSITION, _LAPPED, _SEEN = layout.R_POSITION, layout.R_LAPPED, layout.R_SEEN
_LAPS, _LAPS_TOLD = layout.R_LAPS, layout.R_LAPS_TOLD
_LAP_0, _LAPS_KEPT = layout.R_LAP_0, layout.LAPS_KEPT
_START = layout.W_START
_CAPACITY = layout.W_CAPACITY

POLL_ATTEMPTS_MAX = 4  # a reader lapped this often in one poll gives its caller a chance to stop


@kernel(forceinline=True)
def room(head: np.ndarray, wanted: int) -> int:
    """Records that may be published now: the capacity, or on a gating ring what the slowest reader has freed.

    Where ``wanted`` are known to be free, the readers' cursors are not fetched, and the answer may be too low.
    """
    if head[_GATING] == 0:
        return head[_CAPACITY]
    if head[_FREE_END] - head[_PUBLISHED] < wanted:
        slowest = head[_PUBLISHED]
        for reader in range(head[_READERS]):
            slowest = min(slowest, load_acquire(head, _READER_0 + reader * _READER_WORDS + _POSITION))
        head[_FREE_END] = slowest + head[_CAPACITY]
    return head[_FREE_END] - head[_PUBLISHED]


@kernel(forceinline=True)
def claim(head: np.ndarray, slots: np.ndarray, count: int) -> int:
    """Announce ``count`` records (at most half the capacity). Returns the first one's sequence.

    Then write the records into their slots, all but the first word: ``write_record``, or field by field.
    """
    first = head[_PUBLISHED]
    claimed = head[_INTENT]
    if first + count > claimed:
        store_release(head, _INTENT, first + count)
        for sequence in range(max(first, claimed), first + count):
            store_sequence_relaxed(slots, sequence & (len(slots) - 1), ~sequence)
    fence_release()
    return first


@kernel(forceinline=True)
def write_record(slots: np.ndarray, sequence: int, rows: np.ndarray, i: int) -> None:
    """Copy ``rows[i]`` into the claimed slot of ``sequence``."""
    copy_body(slots, sequence & (len(slots) - 1), rows, i)


@kernel(forceinline=True)
def publish(head: np.ndarray, slots: np.ndarray, bells: np.ndarray, end: int) -> None:
    """Make everything below sequence ``end`` visible; wake readers that are parked."""
    first = head[_PUBLISHED]
    for sequence in range(end - 1, first - 1, -1):
        store_sequence_release(slots, sequence & (len(slots) - 1), sequence)
    store_release(head, _PUBLISHED, end)
    listeners = head[_BELLS]
    if listeners != 0:
        fence_full()
        ring_parked(bells, listeners)


@kernel(forceinline=True)
def is_ready(word: int, position: int) -> bool:
    """Whether a slot's first word says that the record at ``position`` is there, or was and is overwritten."""
    return word == position or (word ^ (word >> 63)) > position


@kernel(forceinline=True)
def _skip_to(head: np.ndarray, base: int, position: int) -> None:
    lap = base + _LAP_0 + 2 * (head[base + _LAPS] % _LAPS_KEPT)
    head[lap] = head[base + _POSITION]
    head[lap + 1] = position
    head[base + _LAPS] += 1
    head[base + _LAPPED] += position - head[base + _POSITION]
    store_release(head, base + _POSITION, position)


@kernel(forceinline=True)
def poll_into(head: np.ndarray, slots: np.ndarray, reader: int, scratch: np.ndarray, limit: int) -> int:
    """Copy up to ``limit`` whole records from the reader's position into ``scratch``; returns how many.

    Does not advance. A lapped reader is moved to the oldest record that has an eighth of the ring as head start
    over the writer, and the records between are counted.
    """
    base = _READER_0 + reader * _READER_WORDS
    mask = len(slots) - 1
    limit = min(limit, len(scratch))
    if limit <= 0:
        return 0
    for _ in range(POLL_ATTEMPTS_MAX):
        position = head[base + _POSITION]
        count = 0
        while count < limit:
            slot = (position + count) & mask
            if load_sequence_acquire(slots, slot) != position + count:
                break
            copy_record(scratch, count, slots, slot)
            fence_acquire()
            if load_sequence_relaxed(slots, slot) != position + count:
                break
            count += 1
        if count > 0 or not is_ready(load_sequence_acquire(slots, position & mask), position):
            return count
        _skip_lapped(head, slots, base, position)
    return 0


@kernel(forceinline=True)
def _skip_lapped(head: np.ndarray, slots: np.ndarray, base: int, position: int) -> None:
    published = load_acquire(head, _PUBLISHED)
    oldest = load_relaxed(head, _INTENT) - len(slots)
    if oldest > position:
        _skip_to(head, base, min(oldest + (len(slots) >> 3), published))


@kernel(forceinline=True)
def seek(head: np.ndarray, slots: np.ndarray, reader: int) -> int:
    """The sequence that the reader reads next; one that was lapped is moved as ``poll_into`` does.

    To read records in place, with no copy of the whole: where ``holds`` says so, take what is needed from the slot,
    then ask ``still_holds``; only then was it whole.
    """
    base = _READER_0 + reader * _READER_WORDS
    position = head[base + _POSITION]
    word = load_sequence_acquire(slots, position & (len(slots) - 1))
    if word != position and is_ready(word, position):
        _skip_lapped(head, slots, base, position)
    return head[base + _POSITION]


@kernel(forceinline=True)
def position_of(head: np.ndarray, reader: int) -> int:
    """The sequence that the reader reads next, if it was not lapped."""
    return head[_READER_0 + reader * _READER_WORDS + _POSITION]


@kernel(forceinline=True)
def waiting(head: np.ndarray, reader: int) -> int:
    """Records published and not yet read."""
    return load_acquire(head, _PUBLISHED) - position_of(head, reader)


@kernel(forceinline=True)
def holds(slots: np.ndarray, sequence: int) -> bool:
    """Whether the record of this sequence lies complete in its slot."""
    return load_sequence_acquire(slots, sequence & (len(slots) - 1)) == sequence


@kernel(forceinline=True)
def still_holds(slots: np.ndarray, sequence: int) -> bool:
    """Whether what was read from the slot since ``holds`` is that record and not torn."""
    fence_acquire()
    return load_sequence_relaxed(slots, sequence & (len(slots) - 1)) == sequence


@kernel(forceinline=True)
def advance(head: np.ndarray, reader: int, count: int) -> None:
    """The reader is done with ``count`` records: what they caused has been published."""
    base = _READER_0 + reader * _READER_WORDS
    head[base + _SEEN] += count
    store_release(head, base + _POSITION, head[base + _POSITION] + count)


# The Python side's kernels see records as rows of int64 words: one compilation for every dtype, and an int64 array
# crosses into compiled code in half the time of a structured one.


@kernel(cache=True)
def _publish_words(
    head: np.ndarray, slots: np.ndarray, bells: np.ndarray, rows: np.ndarray, count: int
) -> int:
    mask = len(slots) - 1
    first = claim(head, slots, count)
    for i in range(count):
        rows[i, 0] = ~(first + i)  # as in the slot: the copy changes nothing there
        copy_record(slots, (first + i) & mask, rows, i)
        rows[i, 0] = first + i
    publish(head, slots, bells, first + count)
    return first


@kernel(cache=True)
def _poll_words(head: np.ndarray, slots: np.ndarray, reader: int, scratch: np.ndarray, limit: int) -> int:
    count = poll_into(head, slots, reader, scratch, limit)
    advance(head, reader, count)
    return count


@kernel(cache=True)
def _peek_words(head: np.ndarray, slots: np.ndarray, reader: int, scratch: np.ndarray, limit: int) -> int:
    return poll_into(head, slots, reader, scratch, limit)


@kernel(cache=True)
def _advance(head: np.ndarray, reader: int, count: int) -> None:
    advance(head, reader, count)


@kernel(cache=True)
def _room(head: np.ndarray) -> int:
    return room(head, head[_CAPACITY])


@kernel(cache=True)
def _miss(head: np.ndarray, base: int, sequence: int) -> None:
    _skip_to(head, base, sequence)


class RingFullError(RuntimeError):
    """A gating ring has less room than was asked for; ask ``room`` first."""


class Ring(RingCursors):
    """A ring as Python sees it: the three arrays that kernels take, and slow-path conveniences."""

    def __init__(self, name: str, head: np.ndarray, slots: np.ndarray, bells: np.ndarray) -> None:
        self.name = name
        self.head = head
        self.slots = slots
        self.bells = bells
        self.capacity = len(slots)
        self._batch_max = max(1, self.capacity >> 1)
        self._slot_words = as_words(slots)

    @classmethod
    def private(
        cls,
        name: str,
        dtype: np.dtype,
        capacity: int,
        readers: Sequence[str] = ("reader",),
        gating: bool = False,
        start: int = 0,
    ) -> "Ring":
        """A ring in this process's own memory: tests, offline work, the inline layout. ``start``: first sequence."""
        raw = private_bytes(layout.ring_bytes(dtype, capacity))
        return cls._over(name, raw, dtype, capacity, readers, gating, new_bells(), start)

    @classmethod
    def attach(cls, path: Path, dtype: np.dtype, bells: np.ndarray) -> "Ring":
        """Map an existing ring. Raises SegmentError when it is not one of this dtype and version."""
        segment = Segment.attach(path)
        segment.expect(dtype)
        capacity = int(segment.words[layout.W_CAPACITY])
        slots = segment.array(dtype, capacity, layout.RING_HEADER_BYTES)
        return cls(path.stem, segment.words[: layout.RING_HEADER_WORDS], slots, bells)

    @classmethod
    def _over(
        cls,
        name: str,
        raw: np.ndarray,
        dtype: np.dtype,
        capacity: int,
        readers: Sequence[str],
        gating: bool,
        bells: np.ndarray,
        start: int,
    ) -> "Ring":
        words = raw.view(np.int64)
        write_header(words, dtype, capacity, [(role, i) for i, role in enumerate(readers)], gating, start)
        head = words[: layout.RING_HEADER_WORDS]
        return cls(name, head, raw[layout.RING_HEADER_BYTES :].view(dtype), bells)

    @property
    def dtype(self) -> np.dtype:
        return self.slots.dtype

    def record(self, sequence: int) -> np.ndarray:
        """The slot of a sequence, a view: for a writer, who alone knows that it does not change."""
        return self.slots[sequence & (self.capacity - 1)]

    def room(self) -> int:
        return int(_room(self.head))

    def miss(self, reader: int, sequence: int) -> None:
        """A lap: the records before ``sequence`` are lost to the reader, and counted."""
        _miss(self.head, _READER_0 + reader * _READER_WORDS, sequence)

    def jump(self, sequence: int) -> None:
        """Let the next record have this sequence, where all readers are through: the ones between do not exist."""
        assert all(self.lag(reader) == 0 for reader in range(len(self.reader_roles))), self.name
        for reader in range(len(self.reader_roles)):
            self.pass_to(reader, sequence)
        self.head[_INTENT] = self.head[_PUBLISHED] = sequence

    def recover(self) -> None:
        """Finish or take back what a dead writer left behind. The new writer calls it, before anything else."""
        first, intent = self.published, int(self.head[_INTENT])
        sequences = np.arange(first, intent)
        words = self._slot_words[sequences & (self.capacity - 1), 0]
        visible = int(np.argmin(np.append(words == sequences, False)))  # a run from the first on, or none
        stale = sequences[visible:]
        self._slot_words[stale & (self.capacity - 1), 0] = ~stale
        self.head[_PUBLISHED] = first + visible

    def publish_rows(self, rows: np.ndarray) -> int:
        """Copy ``rows`` in (their ``sequence`` is set). Returns the first sequence. Raises RingFullError."""
        if self.head[_GATING] and self.room() < len(rows):
            raise RingFullError(f"ring {self.name!r} has room for {self.room()} records, not {len(rows)}")
        words = as_words(rows)
        first = self.published
        for start in range(0, len(rows), self._batch_max):
            part = words[start : start + self._batch_max]
            _publish_words(self.head, self._slot_words, self.bells, part, len(part))
        return first

    def poll(self, reader: int, scratch: np.ndarray, limit: int) -> int:
        """Copy up to ``limit`` records into ``scratch`` and advance. Returns how many."""
        return int(_poll_words(self.head, self._slot_words, reader, as_words(scratch), limit))

    def peek(self, reader: int, scratch: np.ndarray, limit: int) -> int:
        """``poll`` for a reader that lets go of the records later, by ``advance``."""
        return int(_peek_words(self.head, self._slot_words, reader, as_words(scratch), limit))

    def advance(self, reader: int, count: int) -> None:
        """The reader is done with ``count`` records that it had peeked at, and what they caused is out."""
        _advance(self.head, reader, count)


def as_words(records: np.ndarray) -> np.ndarray:
    """A contiguous record array seen as int64[records, words]."""
    return records.view(np.int64).reshape(len(records), records.dtype.itemsize // layout.WORD)


def warm() -> None:
    """Compile (or load from the cache) the Python side's kernels."""
    dtype = np.dtype([("sequence", "<i8"), ("value", "<f8")])
    ring = Ring.private("warm", dtype, 8)
    rows = np.zeros(1, dtype)
    ring.publish_rows(rows)
    ring.poll(0, rows, 1)
    ring.miss(0, 1)
    ring.room()
