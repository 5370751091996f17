"""Our ring as a transport: all use of its kernels is here.

``Compiled...``: both ends are compiled loops, as the engine's are. ``Python...``: the same ring with Python code
at both ends, one ``publish_rows`` and one ``poll`` for each message, as the peers are used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from benchmarks.micro.channel import RECORD, Channel
from benchmarks.micro.transport_ends import (
    Blast,
    Pace,
    PythonReceiver,
    PythonSender,
    Timing,
    TransportError,
    schedule,
    timing,
    wait_until,
)
from hft_engine.runtime.wait import PARK_SPIN_NS, WAIT_NS_MAX, Input, RingWait, addresses, park, spin
from hft_engine.shm.atomics import spin_hint
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.ring import Ring, advance, claim, poll_into, publish, room

SCRATCH = 256
STEPS_MAX = 2_000_000_000  # polls without a record before a reader gives up: its writer is dead


@contextmanager
def place() -> Iterator[tuple[str, str]]:
    """A gating ring: in a blast the writer waits for the reader, so what is counted has been seen."""
    with Channel(gating=True, parks=True) as channel:
        yield str(channel.directory), str(channel.directory)


# ---- kernels ----


@njit(nogil=True, cache=True)
def _send_paced(
    head: np.ndarray,
    slots: np.ndarray,
    bells: np.ndarray,
    t0_ns: int,
    period_ns: int,
    count: int,
    nap: bool,
) -> None:
    for k in range(count):
        due = t0_ns + k * period_ns
        wait_until(due, nap)
        now: int = mono_ns()
        sequence = claim(head, slots, 1)
        slot = slots[sequence & (len(slots) - 1)]
        slot.ts_ns = now
        slot.payload[0] = due
        publish(head, slots, bells, sequence + 1)


@njit(nogil=True, cache=True)
def _send_all(head: np.ndarray, slots: np.ndarray, bells: np.ndarray, count: int, batch: int) -> None:
    mask = len(slots) - 1
    for number in range(0, count, batch):
        while room(head, batch) < batch:
            spin_hint()
        first = claim(head, slots, batch)
        for i in range(batch):
            slot = slots[(first + i) & mask]
            slot.ts_ns = number + i + 1
            for k in range(6):
                slot.payload[k] = number + i + k
        publish(head, slots, bells, first + batch)


@njit(nogil=True, cache=True)
def _take(
    head: np.ndarray, slots: np.ndarray, scratch: np.ndarray, stamps: np.ndarray, seen: int, end: int
) -> int:
    """Takes what there is, at most until ``end`` have been seen; ``stamps``: arrived, sent, due. Returns seen."""
    while seen < end and poll_into(head, slots, 0, scratch, 1):
        stamps[seen, 0] = mono_ns()
        stamps[seen, 1] = scratch[0].ts_ns
        stamps[seen, 2] = scratch[0].payload[0]
        advance(head, 0, 1)
        seen += 1
    return seen


@njit(nogil=True, cache=True)
def _take_spinning(head: np.ndarray, slots: np.ndarray, scratch: np.ndarray, stamps: np.ndarray) -> None:
    seen = 0
    while seen < len(stamps):
        seen = _take(head, slots, scratch, stamps, seen, len(stamps))
        spin_hint()


@njit(nogil=True, cache=True)
def _take_parked(
    head: np.ndarray,
    slots: np.ndarray,
    bells: np.ndarray,
    inputs: np.ndarray,
    scratch: np.ndarray,
    stamps: np.ndarray,
) -> None:
    seen = 0
    while seen < len(stamps):
        if not spin(inputs, PARK_SPIN_NS, False):
            park(inputs, bells, 0, WAIT_NS_MAX)
        seen = _take(head, slots, scratch, stamps, seen, len(stamps))


@njit(nogil=True, cache=True)
def _take_all(
    head: np.ndarray, slots: np.ndarray, scratch: np.ndarray, count: int, times: np.ndarray, steps_max: int
) -> int:
    """Returns how many records were wrong or missing; ``times``: the clock at the first and after the last."""
    seen = bad = idle = 0
    while seen < count and idle < steps_max:
        n = poll_into(head, slots, 0, scratch, len(scratch))
        if n == 0:
            idle += 1
            spin_hint()
            continue
        idle = 0
        if seen == 0:
            times[0] = mono_ns()
        for i in range(n):
            bad += scratch[i].payload[0] != seen + i or scratch[i].payload[5] != seen + i + 5
        advance(head, 0, n)
        seen += n
    times[1] = mono_ns()
    return bad + count - seen


# ---- compiled ends ----


class CompiledSender:
    def __init__(self, directory: str) -> None:
        self._ring = Channel.attach(Path(directory))
        private = Ring.private("warm", RECORD, 8)
        _send_paced(private.head, private.slots, private.bells, 0, 1, 1, False)
        _send_all(private.head, private.slots, private.bells, 1, 1)

    def paced(self, pace: Pace) -> None:
        ring, t0_ns = self._ring, schedule(pace)[0]
        _send_paced(ring.head, ring.slots, ring.bells, t0_ns, pace.period_ns, pace.count, pace.nap)

    def blast(self, blast: Blast) -> None:
        ring = self._ring
        _send_all(ring.head, ring.slots, ring.bells, blast.count, blast.batch)

    def close(self) -> None:
        pass


class CompiledReceiver:
    def __init__(self, directory: str) -> None:
        self._ring = Channel.attach(Path(directory))
        self._scratch = np.zeros(SCRATCH, RECORD)
        self._inputs = addresses([Input(self._ring, 0)])
        self._paced("spin", np.zeros((0, 3), np.int64))
        self._paced("block", np.zeros((0, 3), np.int64))
        _take_all(self._ring.head, self._ring.slots, self._scratch, 0, np.zeros(2, np.int64), 1)

    def paced(self, pace: Pace) -> Timing:
        stamps = np.zeros((pace.count, 3), np.int64)
        self._paced(pace.wait, stamps)
        return timing(stamps[:, 0] - stamps[:, 1], stamps[:, 0] - stamps[:, 2])

    def _paced(self, wait: str, stamps: np.ndarray) -> None:
        ring, scratch = self._ring, self._scratch
        if wait == "spin":
            _take_spinning(ring.head, ring.slots, scratch, stamps)
        else:
            _take_parked(ring.head, ring.slots, ring.bells, self._inputs, scratch, stamps)

    def blast(self, blast: Blast) -> float:
        times = np.zeros(2, np.int64)
        bad = _take_all(self._ring.head, self._ring.slots, self._scratch, blast.count, times, STEPS_MAX)
        if bad:
            raise TransportError(f"{bad} of {blast.count} records were wrong or missing")
        return float(blast.count / ((times[1] - times[0]) / 1e9))

    def close(self) -> None:
        pass


# ---- ends in Python ----


def python_sender(directory: str) -> PythonSender:
    ring = Channel.attach(Path(directory))
    rows = np.zeros(SCRATCH, RECORD)
    view = memoryview(rows.view(np.uint8))  # type: ignore[arg-type]

    def send(message: Any) -> None:
        count = len(message) // RECORD.itemsize
        while ring.room() < count:
            pass
        view[: len(message)] = message
        ring.publish_rows(rows[:count])

    return PythonSender(send)


def python_receiver(directory: str) -> PythonReceiver:
    ring = Channel.attach(Path(directory))
    scratch = np.zeros(SCRATCH, RECORD)
    wait = RingWait("park", [Input(ring, 0)], ring.bells, 0)

    def poll(limit: int = 1) -> bytes | None:
        count = ring.poll(0, scratch, limit)
        return scratch[:count].tobytes() if count else None

    def receive(limit: int = 1) -> bytes:
        while (message := poll(limit)) is None:
            wait.idle()
        return message

    return PythonReceiver(receive, poll, receive_block=lambda: receive(SCRATCH))
