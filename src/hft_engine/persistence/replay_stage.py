"""What the replay does to a tick, compiled: from the recording's memory into the ring, stamped on the way, once."""

from typing import Any

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.records import TICK_DTYPE, TickKind
from hft_engine.shm.ring import Ring, claim, publish, write_record
from hft_engine.wiring import wire, wired

_HEAD, _SLOTS, _BELLS, _CHUNK = range(4)
GROUP_MAX = 64  # made visible at once: the three passes over them stay in a first-level cache
_VOID, _TRADE, _QUOTE = int(TickKind.VOID), int(TickKind.TRADE), int(TickKind.QUOTE)


@kernel(cache=True)
def _publish(wiring: np.ndarray, begin: int, end: int, now_ns: int) -> int:
    head, slots = wired(wiring, _HEAD, np.int64), wired(wiring, _SLOTS, TICK_DTYPE)
    bells, chunk = wired(wiring, _BELLS, np.int64), wired(wiring, _CHUNK, TICK_DTYPE)
    ticks = 0
    group_max = min(GROUP_MAX, len(slots) >> 1)
    for start in range(begin, end, group_max):
        count = min(group_max, end - start)
        first = claim(head, slots, count)
        for i in range(count):
            write_record(slots, first + i, chunk, start + i)
            slot = slots[(first + i) & (len(slots) - 1)]
            slot.ts_mono_ns = now_ns
            ticks += slot.kind != _VOID
            if slot.kind == _TRADE or slot.kind == _QUOTE:
                slot.ts_publish_ns = now_ns
        publish(head, slots, bells, first + count)
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
        """Ticks [begin, end) of the chunk, as many as there is room for; ``now_ns`` is their new
        ``ts_mono_ns`` and, of those that cause something, ``ts_publish_ns``. Returns how many are not void."""
        return int(_publish(self._wiring, begin, end, now_ns))


def warm() -> None:
    """Compile the kernel, or load it from the cache."""
    ReplayStage(Ring.private("ticks", TICK_DTYPE, 8)).publish(0, 0, 0)
