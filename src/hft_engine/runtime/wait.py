"""Wait strategies: what an actor does when a duty cycle found no work. Chosen by name in the configuration.

``spin``   burn the core; ``yield``  give it to whoever is ready; ``park``  spin briefly, then sleep on the
doorbell's futex; ``sleep``  nap 50 us; ``auto``  spin where cores are plentiful, else park.

Compiled waits watch the rings themselves and end the moment one has a record, or after ``WAIT_NS_MAX``, so that
heartbeats, control messages and signals are served.
"""

import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.runtime.wait_mode import MODES
from hft_engine.shm import layout
from hft_engine.shm.atomics import (
    load_acquire_at,
    mono_ns,
    sched_yield,
    sleep_ns,
    spin_hint,
)
from hft_engine.shm.doorbell import announce, sleep, withdraw
from hft_engine.shm.ring import Ring, is_ready
from hft_engine.wiring import wire, wired, wired_rows

_SPIN, _YIELD, _PARK, _SLEEP, _NAP = range(5)
INPUT_WORDS = 4  # of an input in the table of ``addresses``
WAIT_NS_MAX = 10_000_000  # longest wait without a look at control messages; well under the heartbeat limit
SPIN_NS_MAX = 1_000_000  # one compiled spin; a signal handler waits for its end
PARK_SPIN_NS = 3_000  # spin before parking: cheaper than a futex round trip when records come in clusters
NAP_NS = 50_000
BACKGROUND_NAP_NS = (
    2_000_000  # of processes off the hot path: nobody rings for them, they take what has gathered
)
BLOCKED_NS = 20_000  # nap of a writer whose gating ring is full


@kernel(forceinline=True)
def ready(inputs: np.ndarray) -> bool:
    """Whether a record waits on any input: one look at the slot that will hold it."""
    for i in range(len(inputs)):
        position = load_acquire_at(inputs[i, 3])
        word = load_acquire_at(inputs[i, 0] + (position & inputs[i, 1]) * inputs[i, 2])
        if is_ready(word, position):
            return True
    return False


@kernel(forceinline=True)
def spin(inputs: np.ndarray, duration_ns: int, yielding: bool) -> bool:
    deadline = mono_ns() + duration_ns
    while True:
        for _ in range(32):
            if ready(inputs):
                return True
            if yielding:
                sched_yield()
            else:
                spin_hint()
        if mono_ns() >= deadline:
            return False


@kernel(forceinline=True)
def park(inputs: np.ndarray, bells: np.ndarray, bell: int, duration_ns: int) -> None:
    sequence = announce(bells, bell)
    if not ready(inputs):
        sleep(bells, bell, sequence, duration_ns)
    withdraw(bells, bell)


@kernel(cache=True)
def _wait(wiring: np.ndarray, bell: int, mode: int, duration_ns: int) -> None:
    """``wiring``: the table of ``_addresses``, the doorbells."""
    inputs, bells = wired_rows(wiring, 0, INPUT_WORDS), wired(wiring, 1, np.int64)
    if mode == _SPIN:
        spin(inputs, min(duration_ns, SPIN_NS_MAX), False)
    elif mode == _YIELD:
        spin(inputs, min(duration_ns, SPIN_NS_MAX), True)
    elif mode == _SLEEP:
        sleep_ns(min(duration_ns, NAP_NS))
    elif mode == _NAP:
        sleep_ns(min(duration_ns, BACKGROUND_NAP_NS))
    elif not spin(inputs, min(duration_ns, PARK_SPIN_NS), False):
        park(inputs, bells, bell, duration_ns)


@dataclass(frozen=True)
class Input:
    """A ring this process reads and its reader index there."""

    ring: Ring
    reader: int


def addresses(inputs: Sequence[Input]) -> np.ndarray:
    """int64[inputs, INPUT_WORDS]: address of the slots, their number less one, bytes of a slot, address of the
    reader's position.
    """
    table = np.zeros((len(inputs), INPUT_WORDS), np.int64)
    for i, item in enumerate(inputs):
        ring = item.ring
        word = layout.W_READER_0 + item.reader * layout.READER_WORDS + layout.R_POSITION
        position = ring.head.ctypes.data + word * layout.WORD
        table[i] = ring.slots.ctypes.data, ring.capacity - 1, ring.dtype.itemsize, position
    return table


class RingWait:
    """Waits for a record on any input ring, or for the doorbell."""

    def __init__(self, mode: str, inputs: Sequence[Input], bells: np.ndarray, bell: int) -> None:
        self._rings = [item.ring for item in inputs]  # keeps the addresses valid
        self._arrays = (addresses(inputs), bells)
        self._wiring = wire(self._arrays)
        self._bell = bell
        self._mode = MODES.index(mode)
        # Only on gating rings can there be input and still nothing to do: the ring downstream is full.
        self._gated = [item for item in inputs if item.ring.head[layout.W_GATING]]
        self.prompt = mode in ("spin", "yield", "park") and not self._gated
        self.gathers = mode == "nap" and not self._gated

    def idle(self) -> None:
        """Called after a duty cycle without work."""
        if any(item.ring.lag(item.reader) for item in self._gated):
            _wait(self._wiring, self._bell, _SLEEP, BLOCKED_NS)
        else:
            _wait(self._wiring, self._bell, self._mode, WAIT_NS_MAX)


class FdWait:
    """Waits for a file descriptor to become readable: the feed's socket."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._poller = select.poll()
        self._fd = -1

    def idle(self, fd: int) -> None:
        if self._mode == "spin":
            return
        if self._mode == "yield":
            os.sched_yield()
            return
        self._watch(fd)
        if self._mode == "park":
            self._poller.poll(WAIT_NS_MAX // 1_000_000)
        elif not self._poller.poll(0):
            time.sleep(NAP_NS / 1e9)

    def _watch(self, fd: int) -> None:
        # Also when the number is the same: after a reconnect it may be another socket, which poll does not mind.
        if fd != self._fd:
            self._poller = select.poll()
            self._poller.register(fd, select.POLLIN)
            self._fd = fd


def nap() -> None:
    """A pause of a process that has nothing to wait on."""
    time.sleep(BACKGROUND_NAP_NS / 1e9)


def warm() -> None:
    """Compile (or load) the wait kernel."""
    ring = Ring.private("warm", np.dtype([("sequence", "<i8"), ("value", "<f8")]), 8)
    ring.publish_rows(np.zeros(1, ring.dtype))  # there is a record: the wait ends at once
    RingWait("spin", [Input(ring, 0)], ring.bells, 0).idle()
