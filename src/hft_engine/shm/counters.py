"""A role's vitals, named counters and histograms, in one segment that any process may read. No numba here.

Written by the process that runs the role, and by nobody else. A counter survives its writer: a restarted actor
counts on where the dead one stopped.
"""

from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

import numpy as np

from hft_engine.shm import layout
from hft_engine.shm.histogram_view import HISTOGRAM_WORDS
from hft_engine.shm.segment import Segment, SegmentError

STATS_BYTES = layout.HISTOGRAMS_BYTE + layout.HISTOGRAMS_MAX * HISTOGRAM_WORDS * layout.WORD


def words_view(words: np.ndarray) -> memoryview:
    """int64 words as a memoryview: a store through numpy costs three times as much, which a duty cycle feels."""
    return memoryview(words.data).cast("B").cast("q")


class ActorState(IntEnum):
    """What a role says of itself; the supervisor's own judgement (hung, dead) comes on top."""

    NEW = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 3
    STOPPED = 4
    FAILED = 5


class Counter:
    """One named number: ``add``, ``set``, ``value``."""

    __slots__ = ("_index", "_words")

    def __init__(self, words: np.ndarray, index: int) -> None:
        self._words = words
        self._index = index

    def add(self, count: int = 1) -> None:
        self._words[self._index] += count

    def set(self, value: int) -> None:
        self._words[self._index] = value

    @property
    def value(self) -> int:
        return int(self._words[self._index])


class Stats:
    """The stats segment of one role."""

    def __init__(self, words: np.ndarray) -> None:
        self.words = words
        self.vitals = words[layout.VITALS_WORD : layout.VITALS_WORD + 8]
        self.table = words[layout.TABLE_WORD : layout.TABLE_WORD + layout.TABLE_WORDS]
        self._counters = words[layout.COUNTERS_WORD : layout.COUNTERS_WORD + layout.COUNTERS_MAX]
        self._names = words.view(np.uint8)[layout.NAMES_BYTE : layout.TABLE_WORD * layout.WORD]

    @classmethod
    def private(cls) -> "Stats":
        return cls(np.zeros(STATS_BYTES // layout.WORD, np.int64))

    @staticmethod
    def create(path: Path) -> None:
        with Segment.create(path, STATS_BYTES) as segment:
            segment.words[layout.W_VERSION] = layout.LAYOUT_VERSION
            segment.words[layout.W_MAGIC] = layout.MAGIC

    @classmethod
    def attach(cls, path: Path, writable: bool = True) -> "Stats":
        segment = Segment.attach(path, writable)
        if segment.words[layout.W_MAGIC] != layout.MAGIC:
            raise SegmentError(f"{path} is no hft_engine segment")
        return cls(segment.words)

    def declare(self, counters: Sequence[str], histograms: Sequence[str]) -> None:
        """Name this role's counters and histograms (writer only). Keeps the values of an earlier life."""
        if len(counters) > layout.COUNTERS_MAX or len(histograms) > layout.HISTOGRAMS_MAX:
            raise SegmentError(
                f"{len(counters)} counters and {len(histograms)} histograms; "
                f"a role has room for {layout.COUNTERS_MAX} and {layout.HISTOGRAMS_MAX}"
            )
        for i, name in enumerate(counters):
            self._write_name(i, name)
        for i, name in enumerate(histograms):
            self._write_name(layout.COUNTERS_MAX + i, name)
        self.words[layout.W_CAPACITY] = len(counters)
        self.words[layout.W_READERS] = len(histograms)

    @property
    def counter_names(self) -> list[str]:
        return [self._read_name(i) for i in range(int(self.words[layout.W_CAPACITY]))]

    @property
    def histogram_names(self) -> list[str]:
        count = int(self.words[layout.W_READERS])
        return [self._read_name(layout.COUNTERS_MAX + i) for i in range(count)]

    def counter(self, name: str) -> Counter:
        """Raises KeyError for a name that was not declared."""
        try:
            return Counter(self._counters, self.counter_names.index(name))
        except ValueError:
            raise KeyError(f"no counter {name!r}; declared: {', '.join(self.counter_names)}") from None

    def counters(self) -> dict[str, int]:
        return {name: int(self._counters[i]) for i, name in enumerate(self.counter_names)}

    def counter_array(self) -> np.ndarray:
        """int64[declared], in declared order, for kernels."""
        return self._counters[: int(self.words[layout.W_CAPACITY])]

    def histogram(self, name: str) -> np.ndarray:
        """int64[HISTOGRAM_WORDS]. Raises KeyError for a name that was not declared."""
        try:
            index = self.histogram_names.index(name)
        except ValueError:
            raise KeyError(f"no histogram {name!r}; declared: {', '.join(self.histogram_names)}") from None
        start = layout.HISTOGRAMS_BYTE // layout.WORD + index * HISTOGRAM_WORDS
        return self.words[start : start + HISTOGRAM_WORDS]

    @property
    def state(self) -> ActorState:
        return ActorState(int(self.vitals[layout.V_STATE]))

    @state.setter
    def state(self, state: ActorState) -> None:
        self.vitals[layout.V_STATE] = int(state)

    def _write_name(self, index: int, name: str) -> None:
        raw = name.encode()[: layout.NAME_BYTES - 1].ljust(layout.NAME_BYTES, b"\0")
        start = index * layout.NAME_BYTES
        self._names[start : start + layout.NAME_BYTES] = np.frombuffer(raw, np.uint8)

    def _read_name(self, index: int) -> str:
        start = index * layout.NAME_BYTES
        return self._names[start : start + layout.NAME_BYTES].tobytes().rstrip(b"\0").decode()
