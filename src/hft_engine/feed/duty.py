"""The feed's compiled part: one call puts a frame's ticks on the ring and takes its latency."""

import numpy as np

from hft_engine.feed.arbiter import NO_SOURCE, arbitrate
from hft_engine.feed.scan_tables import ROW_WORDS
from hft_engine.kernel import kernel
from hft_engine.records import TICK_DTYPE, TickKind
from hft_engine.shm.clock import stamp_ns
from hft_engine.shm.histogram import new_counts, record
from hft_engine.shm.ring import Ring, claim, publish, write_record
from hft_engine.wiring import wire, wired, wired_rows

_TRADE, _QUOTE = int(TickKind.TRADE), int(TickKind.QUOTE)


@kernel(inline="always")
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


@kernel(cache=True)
def publish_frame(wiring: np.ndarray, begin: int, end: int, ts_mono_ns: int) -> int:
    """Publish ``rows[begin:end]`` at once (at most half the ring), less those that another line has brought.

    ``wiring``: ring header, slots, doorbells, rows, histograms of latency and of the venue's delay (see ``stamp``),
    the line's ``arbiter.Source``. Returns how many were published.
    """
    words = wired_rows(wiring, 3, ROW_WORDS)
    count = arbitrate(wired(wiring, 6, np.int64), words, begin, end, ts_mono_ns)
    if count == 0:
        return 0
    head, slots = wired(wiring, 0, np.int64), wired(wiring, 1, TICK_DTYPE)
    rows = wired(wiring, 3, TICK_DTYPE)
    first = claim(head, slots, count)
    for i in range(count):
        write_record(slots, first + i, rows, begin + i)
    latency, delay = wired(wiring, 4, np.int64), wired(wiring, 5, np.int64)
    stamp(slots, first, count, latency, delay, ts_mono_ns)
    publish(head, slots, wired(wiring, 2, np.int64), first + count)
    return count


class TickStage:
    """The decoder's rows bound to the tick ring, the histograms of latency and of the venue's delay, and the line's
    part in an arbitration."""

    def __init__(
        self,
        ring: Ring,
        rows: np.ndarray,
        latency: np.ndarray,
        delay: np.ndarray | None = None,
        arbiter: np.ndarray = NO_SOURCE,
    ) -> None:
        delay = new_counts() if delay is None else delay
        self._arrays = (ring.head, ring.slots, ring.bells, rows, latency, delay, arbiter)
        self._wiring = wire(self._arrays)
        self._batch_max = ring.capacity >> 1

    def publish(self, count: int, ts_mono_ns: int) -> int:
        """Publish the first ``count`` rows; a frame larger than half the ring goes in several batches.

        Returns how many were published: all, less those that another line has brought.
        """
        if count <= self._batch_max:  # nearly always
            return int(publish_frame(self._wiring, 0, count, ts_mono_ns))
        published = 0
        for begin in range(0, count, self._batch_max):
            end = min(count, begin + self._batch_max)
            published += publish_frame(self._wiring, begin, end, ts_mono_ns)
        return published


def warm() -> None:
    """Compile (or load from the cache) the kernel, with the types of a live run."""
    ring = Ring.private("warm", TICK_DTYPE, 8)
    TickStage(ring, np.zeros(4, TICK_DTYPE), new_counts()).publish(1, 0)
