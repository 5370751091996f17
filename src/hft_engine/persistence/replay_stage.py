"""What the replay does to a tick, compiled: from the recording's memory into the ring, stamped on the way, once."""

from typing import Any

import numpy as np
from numba import njit

from hft_engine.records import TICK_DTYPE, TickKind
from hft_engine.shm.ring import Ring, claim, publish, write_record
from hft_engine.shm.wiring import wire, wired

_HEAD, _SLOTS, _BELLS, _CHUNK = range(4)
_VOID, _TRADE, _QUOTE = int(TickKind.VOID), int(TickKind.TRADE), int(TickKind.QUOTE)


@njit(nogil=True, cache=True)
def _publish(wiring: np.ndarray, begin: int, end: int, now_ns: int) -> int:
    head, slots = wired(wiring, _HEAD, np.int64), wired(wiring, _SLOTS, TICK_DTYPE)
    chunk = wired(wiring, _CHUNK, TICK_DTYPE)
    first = claim(head, slots, end - begin)
    ticks = 0
    for i in range(end - begin):
        write_record(slots, first + i, chunk, begin + i)
        slot = slots[(first + i) & (len(slots) - 1)]
        slot.ts_mono_ns = now_ns
        ticks += slot.kind != _VOID
        if slot.kind == _TRADE or slot.kind == _QUOTE:
            slot.ts_publish_ns = now_ns
    publish(head, slots, wired(wiring, _BELLS, np.int64), first + end - begin)
    return ticks


class ReplayStage:
    """A chunk of a recording bound to the tick ring."""

    def __init__(self, ticks: Ring) -> None:
        self._arrays: tuple[Any, ...] = (ticks.head, ticks.slots, ticks.bells)
        self.load(np.zeros(0, TICK_DTYPE))

    def load(self, chunk: np.ndarray) -> None:
        """``chunk`` TICK_DTYPE, contiguous: what ``publish`` takes from; it is only read."""
        self._chunk = chunk
        self._wiring = wire((*self._arrays, chunk))

    def publish(self, begin: int, end: int, now_ns: int) -> int:
        """Ticks [begin, end) of the chunk, at most half the ring, visible at once; ``now_ns`` is their new
        ``ts_mono_ns`` and, of those that cause something, ``ts_publish_ns``. Returns how many are not void."""
        return int(_publish(self._wiring, begin, end, now_ns))


def warm() -> None:
    """Compile the kernel, or load it from the cache."""
    ReplayStage(Ring.private("ticks", TICK_DTYPE, 8)).publish(0, 0, 0)
