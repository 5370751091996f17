"""The feed's compiled part: one call puts a frame's ticks on the ring and takes its latency."""

import numpy as np
from numba import njit

from hft_engine.records import TICK_DTYPE, TickKind
from hft_engine.shm.clock import stamp_ns
from hft_engine.shm.histogram import new_counts, record
from hft_engine.shm.ring import Ring, claim, publish, write_record
from hft_engine.shm.wiring import wire, wired

_TRADE, _QUOTE = int(TickKind.TRADE), int(TickKind.QUOTE)


@njit(nogil=True, inline="always")
def stamp(
    slots: np.ndarray, first: int, count: int, latency: np.ndarray, delay: np.ndarray, ts_mono_ns: int
) -> None:
    """Claimed and written ticks of a frame are about to be visible: say so in them, and take the frame's time.

    ``latency`` gets the time since ``ts_mono_ns``, when the frame left the socket; ``delay`` the time from the first
    tick's venue stamp until then, by two clocks: it shows what waits in the socket, also while we do not run.
    """
    now_ns = stamp_ns()
    for sequence in range(first, first + count):
        slot = sequence & (len(slots) - 1)
        if slots[slot].kind == _TRADE or slots[slot].kind == _QUOTE:
            slots[slot].ts_publish_ns = now_ns
    record(latency, now_ns - ts_mono_ns)
    oldest = first & (len(slots) - 1)
    record(delay, slots[oldest].ts_recv_ns - slots[oldest].ts_venue_ns)


@njit(nogil=True, cache=True)
def publish_frame(wiring: np.ndarray, begin: int, end: int, ts_mono_ns: int) -> None:
    """Publish ``rows[begin:end]`` at once (at most half the ring).

    ``wiring``: ring header, slots, doorbells, rows, histograms of latency and of the venue's delay (see ``stamp``).
    """
    head, slots = wired(wiring, 0, np.int64), wired(wiring, 1, TICK_DTYPE)
    rows = wired(wiring, 3, TICK_DTYPE)
    first = claim(head, slots, end - begin)
    for i in range(end - begin):
        write_record(slots, first + i, rows, begin + i)
    latency, delay = wired(wiring, 4, np.int64), wired(wiring, 5, np.int64)
    stamp(slots, first, end - begin, latency, delay, ts_mono_ns)
    publish(head, slots, wired(wiring, 2, np.int64), first + end - begin)


class TickStage:
    """The decoder's rows bound to the tick ring and the histograms of latency and of the venue's delay."""

    def __init__(
        self, ring: Ring, rows: np.ndarray, latency: np.ndarray, delay: np.ndarray | None = None
    ) -> None:
        delay = new_counts() if delay is None else delay
        self._arrays = (ring.head, ring.slots, ring.bells, rows, latency, delay)
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
