"""The feed's compiled part: one call puts a frame's ticks on the ring and takes its latency."""

import numpy as np
from numba import njit

from hft_engine.records import TICK_DTYPE
from hft_engine.shm.atomics import mono_ns
from hft_engine.shm.histogram import new_counts, record
from hft_engine.shm.ring import Ring, claim, publish, write_record
from hft_engine.shm.wiring import wire, wired


@njit(nogil=True, cache=True)
def publish_frame(wiring: np.ndarray, begin: int, end: int, ts_mono_ns: int) -> None:
    """Publish ``rows[begin:end]`` at once (at most half the ring).

    ``wiring``: ring header, slots, doorbells, rows, latency histogram, which gets one value: from ``ts_mono_ns``,
    when the frame left the socket, until its ticks are visible.
    """
    head, slots = wired(wiring, 0, np.int64), wired(wiring, 1, TICK_DTYPE)
    rows = wired(wiring, 3, TICK_DTYPE)
    first = claim(head, slots, end - begin)
    for i in range(end - begin):
        write_record(slots, first + i, rows, begin + i)
    publish(head, slots, wired(wiring, 2, np.int64), first + end - begin)
    record(wired(wiring, 4, np.int64), mono_ns() - ts_mono_ns)


class TickStage:
    """The decoder's rows bound to the tick ring and the latency histogram."""

    def __init__(self, ring: Ring, rows: np.ndarray, latency: np.ndarray) -> None:
        self._arrays = (ring.head, ring.slots, ring.bells, rows, latency)
        self._wiring = wire(self._arrays)
        self._batch_max = ring.capacity >> 1

    def publish(self, count: int, ts_mono_ns: int) -> None:
        """Publish the first ``count`` rows; a frame larger than half the ring goes in several batches."""
        for begin in range(0, count, self._batch_max):
            publish_frame(self._wiring, begin, min(count, begin + self._batch_max), ts_mono_ns)


def warm() -> None:
    """Compile (or load from the cache) the kernel, with the types of a live run."""
    ring = Ring.private("warm", TICK_DTYPE, 8)
    TickStage(ring, np.zeros(4, TICK_DTYPE), new_counts()).publish(1, 0)
