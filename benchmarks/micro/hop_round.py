"""Round trips of a 64-byte record between two processes over two rings, both ends spinning or both parked.

ping (core A) --ring--> pong (core B)
              <--ring--               each waits for the other's record, so the pauses are those of the references:
                                      a cache line, an eventfd, a pyzmq message that goes to and fro
"""

import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from benchmarks import harness
from benchmarks.micro.channel import RECORD, Channel
from hft_engine.runtime.linux import fine_timers
from hft_engine.runtime.wait import INPUT_WORDS, WAIT_NS_MAX, Input, addresses, park
from hft_engine.shm.atomics import load_acquire, spin_hint, store_release
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import new_counts, record
from hft_engine.shm.ring import Ring, advance, claim, poll_into, publish
from hft_engine.wiring import wire, wired, wired_rows

_OUT_HEAD, _OUT, _OUT_BELLS, _IN_HEAD, _IN, _IN_BELLS, _SCRATCH, _INPUTS = range(8)  # wiring of an end


@njit(nogil=True, inline="always")
def _send(wiring: np.ndarray, ts_ns: int) -> None:
    head, slots = wired(wiring, _OUT_HEAD, np.int64), wired(wiring, _OUT, RECORD)
    sequence = claim(head, slots, 1)
    slots[sequence & (len(slots) - 1)].ts_ns = ts_ns
    publish(head, slots, wired(wiring, _OUT_BELLS, np.int64), sequence + 1)


@njit(nogil=True, inline="always")
def _receive(wiring: np.ndarray, parked: bool) -> int:
    """The stamp of the next record, once it is here."""
    head, slots = wired(wiring, _IN_HEAD, np.int64), wired(wiring, _IN, RECORD)
    scratch, inputs = wired(wiring, _SCRATCH, RECORD), wired_rows(wiring, _INPUTS, INPUT_WORDS)
    while poll_into(head, slots, 0, scratch, 1) == 0:
        if not parked:
            spin_hint()
        else:  # at once: with the spin that comes before it in an engine, the other's record is here before its end
            park(inputs, wired(wiring, _IN_BELLS, np.int64), 0, WAIT_NS_MAX)
    advance(head, 0, 1)
    return scratch[0].ts_ns


@njit(nogil=True, cache=True)
def _ping(wiring: np.ndarray, count: int, parked: bool, rounds: np.ndarray) -> None:
    for _ in range(count):
        started: int = mono_ns()
        _send(wiring, started)
        _receive(wiring, parked)
        record(rounds, mono_ns() - started)


@njit(nogil=True, cache=True)
def _pong(wiring: np.ndarray, count: int, parked: bool) -> None:
    for _ in range(count):
        _send(wiring, _receive(wiring, parked))


@njit(nogil=True, cache=True)
def ping_line(words: np.ndarray, count: int, rounds: np.ndarray) -> None:
    """One cache line there and another one back: words 0 and 32."""
    for i in range(1, count + 1):
        started: int = mono_ns()
        store_release(words, 0, i)
        while load_acquire(words, 32) != i:
            pass
        record(rounds, mono_ns() - started)


@njit(nogil=True, cache=True)
def pong_line(words: np.ndarray, count: int) -> None:
    for i in range(1, count + 1):
        while load_acquire(words, 0) != i:
            pass
        store_release(words, 32, i)


class _End:
    """One end of the two rings."""

    def __init__(self, out: Ring, in_: Ring) -> None:
        inputs = addresses([Input(in_, 0)])
        scratch = np.zeros(1, RECORD)
        self._arrays = out.head, out.slots, out.bells, in_.head, in_.slots, in_.bells, scratch, inputs
        self._rings = out, in_
        self.wiring = wire(self._arrays)


def _other_end(there: str, back: str, core: int, count: int, parked: bool, answer: Connection) -> None:
    """A spinning one first sends a cache line to and fro as often."""
    os.sched_setaffinity(0, {core})
    fine_timers()
    in_ = Channel.attach(Path(there))
    end = _End(Channel.attach(Path(back)), in_)
    _pong(end.wiring, 0, parked), pong_line(in_.bells, 0)
    answer.send("ready")
    if not parked:
        pong_line(in_.bells, count)
    _pong(end.wiring, count, parked)


def round_trips(count: int, parked: bool, lines: list[np.ndarray]) -> np.ndarray:
    """Round trips (a histogram of nanoseconds) of a record. Spinning, ``lines`` gets those of a bare cache line, by the
    same two processes just before: a host that moves a core between two measurements moves both. Raises RuntimeError
    when the other end does not answer.
    """
    first, second = harness.two_cores()
    allowed = os.sched_getaffinity(0)
    with Channel(gating=False, parks=parked) as there, Channel(gating=False, parks=parked) as back:
        end, rounds, line = _End(there.ring, back.ring), new_counts(), new_counts()
        _ping(end.wiring, 0, parked, rounds), ping_line(there.ring.bells, 0, line)
        ours, theirs = multiprocessing.Pipe()
        arguments = str(there.directory), str(back.directory), second, count, parked, theirs
        child = multiprocessing.get_context("spawn").Process(target=_other_end, args=arguments)
        child.start()
        try:
            if not ours.poll(60.0):
                raise RuntimeError("the other end does not answer")
            ours.recv()
            os.sched_setaffinity(0, {first})
            if not parked:
                ping_line(there.ring.bells, count, line)
                lines.append(line)
            _ping(end.wiring, count, parked, rounds)
        finally:
            os.sched_setaffinity(0, allowed)
            child.join(5.0)
            child.kill()
            child.join()
    return rounds


def zmq_round_trips(count: int) -> np.ndarray:
    """Round trips of a 64-byte message over two PUSH/PULL pairs, ipc, blocking."""
    first, second = harness.two_cores()
    allowed = os.sched_getaffinity(0)
    with Channel(gating=False) as channel:  # for its private directory
        there, back = (f"ipc://{channel.directory}/{name}" for name in ("there", "back"))
        child = multiprocessing.get_context("spawn").Process(
            target=_zmq_pong, args=(there, back, second, count)
        )
        child.start()
        try:
            os.sched_setaffinity(0, {first})
            return _zmq_ping(there, back, count)
        finally:
            os.sched_setaffinity(0, allowed)
            child.join(5.0)
            child.kill()
            child.join()


def _zmq_pair(context: Any, out: str, in_: str) -> tuple[Any, Any]:
    import zmq

    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    for socket in (push, pull):
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 60_000)
    push.connect(out)
    pull.bind(in_)
    return push, pull


def _zmq_ping(there: str, back: str, count: int) -> np.ndarray:
    import zmq

    rounds, message = new_counts(), bytes(RECORD.itemsize)
    _note(rounds, 0)
    with zmq.Context() as context:
        push, pull = _zmq_pair(context, there, back)
        with push, pull:
            push.send(message)
            pull.recv()  # connected, and both ends are there
            rounds[:] = 0
            for _ in range(count):
                started = _clock()
                push.send(message)
                pull.recv()
                _note(rounds, started)
    return rounds


def _zmq_pong(there: str, back: str, core: int, count: int) -> None:
    import zmq

    os.sched_setaffinity(0, {core})
    with zmq.Context() as context:
        push, pull = _zmq_pair(context, back, there)
        push.setsockopt(zmq.LINGER, 1_000)  # the last answer must still leave
        with push, pull:
            for _ in range(count + 1):
                push.send(pull.recv())


@njit(nogil=True, cache=True)
def _clock() -> int:
    return mono_ns()


@njit(nogil=True, cache=True)
def _note(rounds: np.ndarray, started_ns: int) -> None:
    record(rounds, mono_ns() - started_ns)
