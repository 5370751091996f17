"""Our compiled way as a client of ``frames``: from the socket to a ring, and out of it, without Python between.

It does more than its peers: every trade is decoded, checked and published as a record, and "in hand" is the moment a
reader of the ring has copied it.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, njit

from benchmarks import workload
from hft_engine.feed.decode import FrameDecoder
from hft_engine.feed.scanner import Scanner
from hft_engine.feed.transport import Dialer
from hft_engine.feed.wire import Wire
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE
from hft_engine.runtime.chain import Chain, NativeCall, entry
from hft_engine.runtime.wait import Input
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import new_counts
from hft_engine.shm.ring import Ring, advance, poll_into
from hft_engine.wiring import wire, wired

_HEAD, _SLOTS, _SCRATCH, _ARRIVALS, _SEEN = range(5)
CONNECT_S = 5.0
TURN_NS = 1_000_000  # what the client may spin or sleep past its last frame, counted as its own


@njit(nogil=True, cache=True)
def _collect(wiring: np.ndarray, reader: int) -> int:
    """Take what is in the ring and stamp it."""
    head, scratch = wired(wiring, _HEAD, np.int64), wired(wiring, _SCRATCH, TICK_DTYPE)
    arrivals, seen = wired(wiring, _ARRIVALS, np.int64), wired(wiring, _SEEN, np.int64)
    count = poll_into(head, wired(wiring, _SLOTS, TICK_DTYPE), reader, scratch, len(scratch))
    now: int = mono_ns()
    for i in range(min(count, len(arrivals) - seen[0])):
        arrivals[seen[0] + i] = now
    seen[0] += count
    advance(head, reader, count)
    return count


def _call(wiring: Any, words: int, reader: int, argument: int) -> int:
    return _collect(carray(wiring, (words,)), reader)


def receive(
    mode: str, url: str, count: int, frame_bytes_max: int, ready: Callable[[], None]
) -> tuple[np.ndarray, int]:
    """Take ``count`` frames. Returns (int64[count] when each was in hand, bytes of their texts).

    Raises RuntimeError when a message was left to the general decoder.
    """
    instruments = InstrumentTable.private(2 * workload.INSTRUMENTS)
    for number in range(workload.INSTRUMENTS):
        instruments.id_of(f"SYM{number:02d}")
    ring = Ring.private("ticks", TICK_DTYPE, 65_536)
    scanner = Scanner(ring, FrameDecoder(instruments, 1, frame_bytes_max), 1, new_counts())
    arrivals, seen = np.zeros(count, np.int64), np.zeros(1, np.int64)
    arrays = (ring.head, ring.slots, np.zeros(1024, TICK_DTYPE), arrivals, seen)
    collector = NativeCall(entry(_call).address, wire(arrays), 0)
    Chain([collector], [Input(ring, 0)], ring.bells, 0, mode).turn(0)  # compiled
    dialer = Dialer(url, int(CONNECT_S * 1e3), frame_bytes_max)
    while (connection := dialer.result()) is None:
        time.sleep(0.01)
    line = Wire(scanner, connection.frames, encrypted=False, scans=True)
    chain = Chain([line.call, collector], [Input(ring, 0)], ring.bells, 0, mode)
    ready()
    while seen[0] < count:
        chain.turn(TURN_NS)
        if line.blocked:
            raise RuntimeError("a message was left to the general decoder")
    connection.close()
    return arrivals, scanner.message_bytes
