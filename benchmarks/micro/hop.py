"""A hop of a 64-byte record between two processes: half a round trip over two rings, and one way on a schedule.

Half a round trip (``hop_round``), both ends spinning or both parked, beside what the machine does at best in the same
to and fro: a cache line, by the same two processes just before (a host may place a guest's cores near to or far from
each other, anew whenever they were idle); taken in turn with it, a bare futex and an eventfd (two threads, compiled:
nothing but the wake-up), and a pyzmq message over ipc.

    writer (core A) --ring--> reader (core B)        the record carries the clock of the moment before its claim

One way, the writer has a schedule of its own. A parked reader then sleeps longer than in a to and fro, and a core that
has idled for longer takes longer to wake up: the reference is an eventfd written on the same schedule.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, types

from benchmarks import harness
from benchmarks.micro.channel import RECORD, Channel
from benchmarks.micro.hop_round import ping_line, pong_line, round_trips, zmq_round_trips
from hft_engine.runtime.linux import fine_timers
from hft_engine.runtime.wait import WAIT_NS_MAX, Input, RingWait
from hft_engine.shm.atomics import futex_wait, futex_wake, load_acquire, spin_hint, store_release
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import new_counts, percentile, record
from hft_engine.shm.ring import Ring, advance, claim, poll_into, publish

SPIN_PERIOD_NS = 10_000
ZMQ_TIMES = 2.5  # as fast as pyzmq, parked: asked for
PARK_PERIOD_NS = 400_000  # far apart, so that the reader sleeps deeply each time
_read = types.ExternalFunction("read", types.int64(types.int32, types.voidptr, types.int64))
_write = types.ExternalFunction("write", types.int64(types.int32, types.voidptr, types.int64))


@njit(nogil=True, cache=True)
def _send(head: np.ndarray, slots: np.ndarray, bells: np.ndarray, count: int, period_ns: int) -> None:
    due: int = mono_ns()
    for _ in range(count):
        due += period_ns
        while mono_ns() < due:
            spin_hint()
        now: int = mono_ns()
        sequence = claim(head, slots, 1)
        slots[sequence & (len(slots) - 1)].ts_ns = now
        publish(head, slots, bells, sequence + 1)


@njit(nogil=True, cache=True)
def _take(
    head: np.ndarray, slots: np.ndarray, reader: int, scratch: np.ndarray, latencies: np.ndarray
) -> int:
    count = poll_into(head, slots, reader, scratch, 1)
    if count:
        record(latencies, mono_ns() - scratch[0].ts_ns)
        advance(head, reader, count)
    return count


@njit(nogil=True, cache=True)
def _take_spinning(
    head: np.ndarray, slots: np.ndarray, scratch: np.ndarray, latencies: np.ndarray, count: int
) -> None:
    seen = 0
    while seen < count:
        if poll_into(head, slots, 0, scratch, 1):
            record(latencies, mono_ns() - scratch[0].ts_ns)
            advance(head, 0, 1)
            seen += 1
        else:
            spin_hint()


def _reader(directory: str, core: int, count: int, parked: bool, answer: Connection) -> None:
    os.sched_setaffinity(0, {core})
    fine_timers()
    ring = Channel.attach(Path(directory))
    latencies, scratch = new_counts(), np.zeros(1, RECORD)
    if parked:
        wait = RingWait("park", [Input(ring, 0)], ring.bells, 0)
        _take(ring.head, ring.slots, 0, scratch, latencies)
        wait.idle()  # loads its kernel
        answer.send("ready")
        while latencies[0] < count:
            if not _take(ring.head, ring.slots, 0, scratch, latencies):
                wait.idle()
    else:
        _take_spinning(ring.head, ring.slots, scratch, latencies, 0)
        answer.send("ready")
        _take_spinning(ring.head, ring.slots, scratch, latencies, count)
    answer.send(latencies)


def hop(count: int, parked: bool) -> np.ndarray:
    """Latencies (a histogram) of ``count`` hops."""
    writer_core, reader_core = harness.two_cores()
    with Channel(gating=False, parks=parked) as channel:
        _send(*_private_arrays(), 0, 1)
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("spawn").Process(
            target=_reader, args=(str(channel.directory), reader_core, count, parked, theirs)
        )
        child.start()
        try:
            _expect(ours, child)
            period_ns = PARK_PERIOD_NS if parked else SPIN_PERIOD_NS
            ring = channel.ring
            _pinned(writer_core, lambda: _send(ring.head, ring.slots, ring.bells, count, period_ns))
            return np.asarray(_expect(ours, child))
        finally:
            child.join(5.0)
            child.kill()
            child.join()


def _private_arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ring = Ring.private("warm", RECORD, 8)
    return ring.head, ring.slots, ring.bells


def _expect(connection: Connection, child: Any, timeout_s: float = 60.0) -> Any:
    if not connection.poll(timeout_s):
        raise RuntimeError(f"the reader process (pid {child.pid}) does not answer")
    return connection.recv()


def _pinned(core: int, work: Callable[[], object]) -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        work()
    finally:
        os.sched_setaffinity(0, allowed)


# ---- references ----


@njit(nogil=True)
def _ping_fd(there: int, back: int, count: int, rounds: np.ndarray) -> None:
    word = np.ones(1, np.int64)
    for _ in range(count):
        word[0] = 1
        started: int = mono_ns()
        _write(there, word.ctypes, 8)
        _read(back, word.ctypes, 8)
        record(rounds, mono_ns() - started)


@njit(nogil=True)
def _pong_fd(there: int, back: int, count: int) -> None:
    word = np.ones(1, np.int64)
    for _ in range(count):
        _read(there, word.ctypes, 8)
        word[0] = 1
        _write(back, word.ctypes, 8)


def _ping_pong(ping: Callable[[], object], pong: Callable[[], object]) -> None:
    first, second = harness.two_cores()
    other = threading.Thread(target=lambda: _pinned(second, pong))
    other.start()
    _pinned(first, ping)
    other.join()


def cache_line(count: int) -> np.ndarray:
    """Round trips (a histogram) of one cache line between two cores."""
    words, rounds = np.zeros(64, np.int64), new_counts()
    ping_line(words, 0, rounds), pong_line(words, 0)
    _ping_pong(lambda: ping_line(words, count, rounds), lambda: pong_line(words, count))
    return rounds


@njit(nogil=True, inline="always")
def _call(words: np.ndarray, word: int, number: int) -> None:
    store_release(words, word, number)
    futex_wake(words, word)


@njit(nogil=True, inline="always")
def _heed(words: np.ndarray, word: int, number: int) -> None:
    while load_acquire(words, word) != number:
        futex_wait(words, word, number - 1, WAIT_NS_MAX)


@njit(nogil=True, cache=True)
def _ping_futex(words: np.ndarray, count: int, rounds: np.ndarray) -> None:
    for i in range(1, count + 1):
        started: int = mono_ns()
        _call(words, 0, i)
        _heed(words, 32, i)
        record(rounds, mono_ns() - started)


@njit(nogil=True, cache=True)
def _pong_futex(words: np.ndarray, count: int) -> None:
    for i in range(1, count + 1):
        _heed(words, 0, i)
        _call(words, 32, i)


def futex(count: int) -> np.ndarray:
    """Round trips (a histogram) over two futex words: a store, a wake-up, the sleeper runs."""
    words, rounds = np.zeros(64, np.int64), new_counts()
    _ping_futex(words, 0, rounds), _pong_futex(words, 0)
    _ping_pong(lambda: _ping_futex(words, count, rounds), lambda: _pong_futex(words, count))
    return rounds


def eventfd(count: int) -> np.ndarray:
    """Round trips (a histogram) over two eventfds, two wake-ups of a sleeping thread each."""
    there, back, rounds = os.eventfd(0), os.eventfd(0), new_counts()
    try:
        _ping_fd(there, back, 0, rounds), _pong_fd(there, back, 0)
        _ping_pong(lambda: _ping_fd(there, back, count, rounds), lambda: _pong_fd(there, back, count))
    finally:
        os.close(there)
        os.close(back)
    return rounds


@njit(nogil=True)
def _ring_fd(fd: int, count: int, period_ns: int, shared: np.ndarray) -> None:
    word = np.ones(1, np.int64)
    due: int = mono_ns()
    for _ in range(count):
        due += period_ns
        while mono_ns() < due:
            spin_hint()
        store_release(shared, 0, mono_ns())
        _write(fd, word.ctypes, 8)


@njit(nogil=True)
def _hear_fd(fd: int, count: int, shared: np.ndarray, latencies: np.ndarray) -> None:
    word = np.zeros(1, np.int64)
    for _ in range(count):
        _read(fd, word.ctypes, 8)
        record(latencies, mono_ns() - load_acquire(shared, 0))


def eventfd_one_way(count: int) -> np.ndarray:
    """Latencies (a histogram) of waking a thread by an eventfd every PARK_PERIOD_NS."""
    fd = os.eventfd(0, os.EFD_SEMAPHORE)  # a wake-up each, even where the reader is late
    shared, latencies = np.zeros(1, np.int64), new_counts()
    try:
        _ring_fd(fd, 0, 0, shared), _hear_fd(fd, 0, shared, latencies)
        _ping_pong(
            lambda: _ring_fd(fd, count, PARK_PERIOD_NS, shared),
            lambda: _hear_fd(fd, count, shared, latencies),
        )
    finally:
        os.close(fd)
    return latencies


def _halves(runs: Sequence[np.ndarray], percent: float, unit_ns: float) -> list[float]:
    return [percentile(rounds, percent) / 2 / unit_ns for rounds in runs]


def _whole(runs: Sequence[np.ndarray], percent: float, unit_ns: float) -> list[float]:
    return [percentile(latencies, percent) / unit_ns for latencies in runs]


def _add_zmq(
    report: harness.Report, zmq: Sequence[float], parked: Sequence[float], bare: Sequence[float]
) -> None:
    """How many times as long pyzmq takes, run by run; and as long as the wake-up that nobody can do without."""
    report.add("hop_zmq_p50_us", zmq, "us", ("ours, parked", parked))
    report.add("hop_futex_p50_us", bare, "us", ("ours, parked", parked))
    floor = [theirs / least for theirs, least in zip(zmq, bare, strict=True)]
    times = [theirs / ours for theirs, ours in zip(zmq, parked, strict=True)]
    report.add("hop_zmq_over_park", times, "x", ("over a bare futex", floor), ZMQ_TIMES, more_is_better=True)
    if harness.Measured(tuple(floor)).median < ZMQ_TIMES:
        report.note(
            f"hop: {ZMQ_TIMES} times pyzmq's is out of reach here: a bare futex, which is nothing but the wake-up, is "
            f"{harness.number(harness.Measured(tuple(floor)).median)} times as fast as pyzmq."
        )


def main() -> int:
    report = harness.Report("hop", harness.options(__doc__ or ""))
    opts = report.opts
    lines, spins, parks = (
        opts.count(1_000_000, 200_000),
        opts.count(200_000, 50_000),
        opts.count(5_000, 1_500),
    )
    report.sense_jitter()
    line: list[np.ndarray] = []
    runs = report.interleave(
        {
            "record to and fro, spinning": lambda: round_trips(lines, False, line),
            "one way, reader spinning": lambda: hop(spins, parked=False),
            "futex to and fro": lambda: futex(4 * parks),
            "eventfd to and fro": lambda: eventfd(4 * parks),
            "record to and fro, parked": lambda: round_trips(4 * parks, True, line),
            "pyzmq to and fro": lambda: zmq_round_trips(4 * parks),
            "eventfd one way": lambda: eventfd_one_way(parks),
            "one way, reader parked": lambda: hop(parks, parked=True),
        }
    )
    report.sense_jitter()
    spinning, spinning_once, bare, fd, parked, zmq, fd_once, parked_once = runs.values()
    half_line = ("half a cache-line round trip", _halves(line, 50.0, 1.0))
    half_fd = ("half an eventfd round trip", _halves(fd, 50.0, 1e3))
    once_fd = ("an eventfd on this schedule", _whole(fd_once, 50.0, 1e3))
    limit_ns, limit_us = (1.5 * harness.Measured(tuple(half[1])).median for half in (half_line, half_fd))
    report.add("hop_spin_p50_ns", _halves(spinning, 50.0, 1.0), "ns", half_line, target=limit_ns)
    report.add("hop_spin_p99_ns", _halves(spinning, 99.0, 1.0), "ns", half_line)
    report.add("hop_park_p50_us", _halves(parked, 50.0, 1e3), "us", half_fd, target=limit_us)
    report.add("hop_park_p99_us", _halves(parked, 99.0, 1e3), "us", half_fd)
    _add_zmq(report, _halves(zmq, 50.0, 1e3), _halves(parked, 50.0, 1e3), _halves(bare, 50.0, 1e3))
    report.add("hop_one_way_spin_p50_ns", _whole(spinning_once, 50.0, 1.0), "ns", half_line, target=limit_ns)
    report.add("hop_one_way_park_p50_us", _whole(parked_once, 50.0, 1e3), "us", once_fd)
    report.latencies("spinning", spinning_once)
    report.latencies("parked", parked_once)
    report.note(
        "hop: one way from the clock before the claim until the record is in the reader's hands, clock included; "
        f"every {SPIN_PERIOD_NS / 1e3:g} us spinning, every {PARK_PERIOD_NS / 1e3:g} us parked."
    )
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
