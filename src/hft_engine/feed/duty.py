"""The feed's compiled part: one call puts a frame's ticks on the ring and takes its latency."""

import numpy as np
from numba import njit

from hft_engine.records import TICK_DTYPE
from hft_engine.shm.atomics import copy_record, mono_ns
from hft_engine.shm.histogram import new_counts, record
from hft_engine.shm.ring import Ring, as_words, claim, publish


@njit(nogil=True, cache=True)
def publish_frame(
    head: np.ndarray,
    slots: np.ndarray,
    bells: np.ndarray,
    rows: np.ndarray,
    count: int,
    latency: np.ndarray,
    ts_mono_ns: int,
) -> int:
    """Publish ``rows[:count]`` at once (count at most half the ring); returns the first sequence.

    ``slots`` and ``rows`` are int64[records, words]. ``latency`` gets one value: from ``ts_mono_ns``, when the
    frame left the socket, until its ticks are visible.
    """
    mask = len(slots) - 1
    first = claim(head, count)
    for i in range(count):
        rows[i, 0] = first + i
        copy_record(slots, (first + i) & mask, rows, i)
    publish(head, bells, first + count)
    record(latency, mono_ns() - ts_mono_ns)
    return first


class TickStage:
    """The decoder's rows bound to the tick ring and the latency histogram."""

    def __init__(self, ring: Ring, rows: np.ndarray, latency: np.ndarray) -> None:
        self._fixed = (ring.head, as_words(ring.slots), ring.bells)
        self._words = as_words(rows)
        self._latency = latency
        self._batch_max = ring.capacity >> 1

    def publish(self, count: int, ts_mono_ns: int) -> None:
        """Publish the first ``count`` rows; a frame larger than half the ring goes in several batches."""
        if count <= self._batch_max:
            publish_frame(*self._fixed, self._words, count, self._latency, ts_mono_ns)
            return
        for start in range(0, count, self._batch_max):
            part = self._words[start : min(count, start + self._batch_max)]
            publish_frame(*self._fixed, part, len(part), self._latency, ts_mono_ns)


def warm() -> None:
    """Compile (or load from the cache) the kernel, with the types of a live run."""
    ring = Ring.private("warm", TICK_DTYPE, 8)
    TickStage(ring, np.zeros(4, TICK_DTYPE), new_counts()).publish(1, 0)
