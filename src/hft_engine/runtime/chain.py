"""Duty cycles that stay in compiled code: the stages of a process called by address, and the wait between.

A process whose actors all offer a ``NativeCall`` comes back to Python only every ``TURN_NS`` (``runtime.limits``), for
heartbeat and control messages, or when a stage asks for it; no interpreter stands between a record and the next
stage. An actor's ``do_work`` calls the same compiled entry (``NativeCall.run``): a stage is compiled once.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import cfunc, types
from numba.extending import intrinsic

from hft_engine.kernel import kernel
from hft_engine.runtime.limits import CYCLE_LONG_NS, TURN_NS
from hft_engine.runtime.wait import (
    BLOCKED_NS,
    INPUT_WORDS,
    NAP_NS,
    PARK_SPIN_NS,
    Input,
    addresses,
    park,
    ready,
    spin,
)
from hft_engine.runtime.wait_mode import MODES
from hft_engine.shm import layout
from hft_engine.shm.atomics import mono_ns, sched_yield, sleep_ns
from hft_engine.shm.doorbell import new_bells
from hft_engine.shm.syscalls import wait_readable
from hft_engine.wiring import wire, wired, wired_rows

LET_THROUGH_NS = 100_000  # Python gets on with what is left to it, however much comes
# Of one stage in a turn at most: the actors look at what came (``glance``) while it lies in a second-level cache, and
# at laps before they are too many.
TURN_RECORDS = 8_192
_SPIN, _YIELD, _PARK = (MODES.index(name) for name in ("spin", "yield", "park"))
ATTENTION = -1  # what a stage returns that needs Python now
_RETURN = len(MODES)  # no wait mode: the turn ends where there is nothing left to do
TOUCH_NS = (
    500_000  # a stage without input for so long is asked to touch its memory: what lies idle is evicted
)
_COLUMNS = 6  # of a stage's row: address, wiring's address and length, reader, argument, touch's address
_CYCLES, _CYCLE_NS_MAX, _LONG, _WORK = range(4)  # what a turn reports; from _WORK on one word a stage

_ENTRY = types.int64(types.CPointer(types.int64), types.int64, types.int64, types.int64)


class NativeCall(NamedTuple):
    """A stage's compiled entry: ``address`` of an ``entry``, and what to hand it.

    ``fd``: a descriptor whose input is the stage's work, to wait on; -1 for none. ``touch``: address of an ``entry``
    that is called with the same arguments every TOUCH_NS without work, so that tables and code stay in the caches;
    0 for none. It must change nothing that anybody sees. Only under ``spin`` and ``yield``: a parked process would
    have to wake for it, and pays more for waking up than for what was evicted.
    """

    address: int
    wiring: np.ndarray
    reader: int
    argument: int = 0
    fd: int = -1
    touch: int = 0

    def run(self, argument: int | None = None) -> int:
        """One call, from Python. Returns records, or ATTENTION. ``argument``: instead of its own."""
        given = self.argument if argument is None else argument
        return int(_run(self.address, self.wiring, self.reader, given))


def entry(call: Any) -> Any:
    """The C function of ``call(wiring, words, reader, argument) -> records (or ATTENTION)``; its ``address`` goes into
    a NativeCall. A module's own function, so that it is cached. ``carray(wiring, (words,))`` is what a kernel takes.
    """
    return cfunc(_ENTRY, cache=True)(call)


def _call_stage(typingctx: Any, address: Any, wiring: Any, words: Any, reader: Any, argument: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word] * 4)  # pointers and words travel alike
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])

    return types.int64(*[types.int64] * 5), codegen


_stage: Any = intrinsic(_call_stage)


@kernel(cache=True)
def _run(address: int, wiring: np.ndarray, reader: int, argument: int) -> int:
    return _stage(address, wiring.ctypes.data, len(wiring), reader, argument)


@kernel(forceinline=True)
def _pass(stages: np.ndarray, report: np.ndarray) -> tuple[int, bool]:
    """(work done, whether a stage needs Python)."""
    work, attention = 0, False
    for i in range(len(stages)):
        done = _stage(stages[i, 0], stages[i, 1], stages[i, 2], stages[i, 3], stages[i, 4])
        attention = attention or done == ATTENTION
        report[_WORK + i] += abs(done)
        work += abs(done)
    return work, attention


@kernel(forceinline=True)
def _touch(stages: np.ndarray) -> None:
    for i in range(len(stages)):
        if stages[i, 5] != 0:
            _stage(stages[i, 5], stages[i, 1], stages[i, 2], stages[i, 3], stages[i, 4])


@kernel(forceinline=True)
def _rest(
    inputs: np.ndarray, bells: np.ndarray, bell: int, mode: int, gated: bool, fd: int, until_ns: int
) -> None:
    left_ns = until_ns - mono_ns()
    if left_ns <= 0:
        return
    if ready(inputs):
        if gated:
            sleep_ns(BLOCKED_NS)  # input, and nothing was done: the ring downstream is full
    elif fd >= 0:
        _rest_on(fd, mode, left_ns)
    elif mode in (_SPIN, _YIELD):
        spin(inputs, left_ns, mode == _YIELD)
    elif mode == _PARK:
        if not spin(inputs, min(left_ns, PARK_SPIN_NS), False):
            park(inputs, bells, bell, left_ns)
    else:
        sleep_ns(min(left_ns, NAP_NS))


@kernel(forceinline=True)
def _rest_on(fd: int, mode: int, left_ns: int) -> None:
    """Until there is input on ``fd``. A spinning stage looks for itself."""
    if mode == _YIELD:
        sched_yield()
    elif mode == _PARK:
        wait_readable(fd, max(1, left_ns // 1_000_000))
    elif mode != _SPIN:
        sleep_ns(min(left_ns, NAP_NS))


@kernel(cache=True)
def _turn(wiring: np.ndarray, bell: int, mode: int, gated: bool, fd: int, turn_ns: int) -> bool:
    """Passes over the stages, and waits, for ``turn_ns``. ``wiring``: stages, inputs, doorbells, report.

    Returns whether a stage asks for Python.
    """
    stages, inputs = wired_rows(wiring, 0, _COLUMNS), wired_rows(wiring, 1, INPUT_WORDS)
    bells, report = wired(wiring, 2, np.int64), wired(wiring, 3, np.int64)
    now_ns = mono_ns()
    until_ns = now_ns + turn_ns
    touch_ns = now_ns + TOUCH_NS if mode in (_SPIN, _YIELD) else until_ns
    while now_ns < until_ns:
        work, attention = _pass(stages, report)
        before_ns, now_ns = now_ns, mono_ns()
        report[_CYCLES] += 1
        report[_CYCLE_NS_MAX] = max(report[_CYCLE_NS_MAX], now_ns - before_ns)
        if now_ns - before_ns > CYCLE_LONG_NS:
            report[_LONG] += 1
        if attention:
            return True
        if work != 0:
            if mode != _RETURN and max(report[_WORK:]) >= TURN_RECORDS:
                break
            touch_ns = max(touch_ns, now_ns + TOUCH_NS)
            continue
        if mode == _RETURN:
            break
        if now_ns >= touch_ns:
            _touch(stages)
            touch_ns = now_ns + TOUCH_NS
        _rest(inputs, bells, bell, mode, gated, fd, min(until_ns, touch_ns))
        now_ns = mono_ns()
    return False


class Chain:
    """The stages of one process. ``calls`` may change between turns: a model was swapped."""

    def __init__(
        self, calls: Sequence[NativeCall], inputs: Sequence[Input], bells: np.ndarray, bell: int, mode: str
    ) -> None:
        self._rings = [item.ring for item in inputs]  # keeps the addresses valid
        self._stages = np.zeros((len(calls), _COLUMNS), np.int64)
        self._calls: list[NativeCall | None] = [None] * len(calls)
        self._report = np.zeros(_WORK + len(calls), np.int64)
        self._arrays = (self._stages, addresses(inputs), bells, self._report)
        self._wiring = wire(self._arrays)
        self._bell = bell
        self._mode = MODES.index(mode)
        self._gated = any(bool(ring.head[layout.W_GATING]) for ring in self._rings)
        self._fd = -1
        self._asked = False  # a stage waits for Python: until it was dealt with nothing is let through
        self._unheard = False  # it asked in ``let_through``
        self.use(calls)

    def use(self, calls: Sequence[NativeCall]) -> None:
        """Take up calls that changed."""
        for i, call in enumerate(calls):
            if call is not self._calls[i]:
                wiring = call.wiring
                place = call.address, wiring.ctypes.data, len(wiring)
                self._stages[i] = (*place, call.reader, call.argument, call.touch)
                self._calls[i] = call
        self._fd = max(call.fd for call in calls)  # one stage at most has one

    def turn(self, turn_ns: int = TURN_NS) -> list[int]:
        """Run for ``turn_ns``. Returns cycles, longest cycle in ns, long cycles, then the work of each stage.

        A stage that asks for Python counts as one more: what it asks for is dealt with, so there is more to do. What
        ``let_through`` did since the last turn is in it; where a stage asked for Python then, nothing is run.
        """
        return self._run(self._mode, turn_ns)

    def is_full(self, report: Sequence[int]) -> bool:
        """Whether a turn ended because it had brought TURN_RECORDS, and no stage asked for Python."""
        return not self._asked and max(report[_WORK:]) >= TURN_RECORDS

    def let_through(self) -> None:
        """Take what is there now, and no longer than LET_THROUGH_NS; not after a stage has asked for Python."""
        if not self._asked:
            self._asked = _turn(self._wiring, self._bell, _RETURN, self._gated, self._fd, LET_THROUGH_NS)
            self._unheard = self._asked

    def drain(self) -> list[int]:
        """``turn``, but it ends when no stage has anything left to do; where there is more work than for TURN_NS,
        the rest is left."""
        return self._run(_RETURN, TURN_NS)

    def _run(self, mode: int, turn_ns: int) -> list[int]:
        if self._unheard:
            self._unheard = False
        else:
            self._asked = _turn(self._wiring, self._bell, mode, self._gated, self._fd, turn_ns)
        report: list[int] = self._report.tolist()
        self._report[:] = 0
        return report


def _nothing(wiring: Any, words: int, reader: int, argument: int) -> int:
    return 0


def warm() -> None:
    """Compile (or load) the turn."""
    wiring = np.zeros(2, np.int64)
    call = NativeCall(entry(_nothing).address, wiring, 0)
    Chain([call], [], new_bells(), 0, "spin").turn(0)


__all__ = ["ATTENTION", "TOUCH_NS", "TURN_RECORDS", "Chain", "NativeCall", "entry", "warm"]
