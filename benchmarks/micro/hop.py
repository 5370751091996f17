"""One-way hop of a 64-byte record between two processes: reader spinning, and reader parked on its doorbell.

    writer (core A) --ring--> reader (core B)        the record carries the clock of the moment before its claim

References of the same run: half a cache-line ping-pong round trip and half an eventfd round trip (two threads,
compiled), and a one-way PUSH/PULL message of pyzmq over ipc.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, types

from benchmarks import harness
from benchmarks.micro.channel import RECORD, Channel
from hft_engine.runtime.linux import fine_timers
from hft_engine.runtime.wait import Input, RingWait
from hft_engine.shm.atomics import load_acquire, spin_hint, store_release
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import new_counts, percentile, record
from hft_engine.shm.ring import Ring, advance, claim, poll_into, publish

SPIN_PERIOD_NS = 10_000
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


@njit(nogil=True, cache=True)
def _ping_line(words: np.ndarray, count: int, rounds: np.ndarray) -> None:
    for i in range(1, count + 1):
        started: int = mono_ns()
        store_release(words, 0, i)
        while load_acquire(words, 32) != i:
            pass
        record(rounds, mono_ns() - started)


@njit(nogil=True, cache=True)
def _pong_line(words: np.ndarray, count: int) -> None:
    for i in range(1, count + 1):
        while load_acquire(words, 0) != i:
            pass
        store_release(words, 32, i)


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


def cache_line_half_ns(count: int) -> float:
    """Half the median round trip of one cache line between two cores."""
    words, rounds = np.zeros(64, np.int64), new_counts()
    _ping_line(words, 0, rounds), _pong_line(words, 0)
    _ping_pong(lambda: _ping_line(words, count, rounds), lambda: _pong_line(words, count))
    return percentile(rounds, 50.0) / 2


def eventfd_half_us(count: int) -> float:
    """Half the median round trip over two eventfds: one wake-up of a sleeping thread."""
    there, back, rounds = os.eventfd(0), os.eventfd(0), new_counts()
    try:
        _ping_fd(there, back, 0, rounds), _pong_fd(there, back, 0)
        _ping_pong(lambda: _ping_fd(there, back, count, rounds), lambda: _pong_fd(there, back, count))
    finally:
        os.close(there)
        os.close(back)
    return percentile(rounds, 50.0) / 2e3


def _zmq_reader(endpoint: str, core: int, count: int, answer: Connection) -> None:
    import zmq

    os.sched_setaffinity(0, {core})
    latencies = new_counts()
    record_latency(latencies, 0)
    latencies[:] = 0
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.bind(endpoint)
        answer.send("ready")
        for _ in range(count):
            sent_ns = int.from_bytes(socket.recv()[:8], "little")
            record_latency(latencies, sent_ns)
    answer.send(latencies)


@njit(nogil=True, cache=True)
def record_latency(latencies: np.ndarray, sent_ns: int) -> None:
    record(latencies, mono_ns() - sent_ns)


@njit(nogil=True, cache=True)
def _spin_until(due_ns: int) -> int:
    now: int = mono_ns()
    while now < due_ns:
        spin_hint()
        now = mono_ns()
    return now


def zmq_us(count: int) -> float:
    """Median one-way latency of a 64-byte PUSH/PULL message over ipc, blocking receiver."""
    import zmq

    writer_core, reader_core = harness.two_cores()
    with Channel(gating=False) as channel:  # for its private directory
        endpoint = f"ipc://{channel.directory}/zmq"
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("spawn").Process(
            target=_zmq_reader, args=(endpoint, reader_core, count, theirs)
        )
        child.start()
        try:
            _expect(ours, child)
            with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
                socket.connect(endpoint)
                _pinned(writer_core, lambda: _send_zmq(socket, count))
                return percentile(np.asarray(_expect(ours, child)), 50.0) / 1e3
        finally:
            child.join(5.0)
            child.kill()
            child.join()


def _send_zmq(socket: Any, count: int) -> None:
    padding = bytes(56)
    due = _spin_until(0)
    for _ in range(count):
        due += PARK_PERIOD_NS
        now = _spin_until(due)
        socket.send(now.to_bytes(8, "little") + padding)


def main() -> int:
    report = harness.Report("hop", harness.options(__doc__ or ""))
    opts = report.opts
    spins, parks = opts.count(200_000, 50_000), opts.count(5_000, 1_500)
    report.sense_jitter()
    line = report.measure("cache line ping-pong", lambda: cache_line_half_ns(opts.count(1_000_000, 200_000)))
    spinning = report.measure("reader spinning", lambda: hop(spins, parked=False))
    eventfd = report.measure("eventfd ping-pong", lambda: eventfd_half_us(parks))
    parked = report.measure("reader parked", lambda: hop(parks, parked=True))
    zmq_one_way = report.measure("pyzmq", lambda: zmq_us(parks))
    report.sense_jitter()
    ring_line = ("half a cache-line round trip", line)
    ring_fd = ("half an eventfd round trip", eventfd)
    report.add("hop_spin_p50_ns", [percentile(c, 50.0) for c in spinning], "ns", ring_line, target=150)
    report.add("hop_spin_p99_ns", [percentile(c, 99.0) for c in spinning], "ns", ring_line)
    report.add("hop_park_p50_us", [percentile(c, 50.0) / 1e3 for c in parked], "us", ring_fd)
    report.add("hop_park_p99_us", [percentile(c, 99.0) / 1e3 for c in parked], "us", ring_fd)
    report.add("hop_zmq_p50_us", zmq_one_way, "us", ring_fd)
    report.latencies("spinning", spinning)
    report.latencies("parked", parked)
    report.note(
        "hop: from the clock before the claim until the record is in the reader's hands, clock included."
    )
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
