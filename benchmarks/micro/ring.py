"""Records of 64 bytes a second through the ring: one writer, one reader, two processes, published in batches.

    writer (core A) --ring, gating--> reader (core B)      every record is written field by field, copied out, and
                                                           its sequence and payload are checked

The ring gates, so the writer waits for the reader and what is counted has been seen. Beside it, in the same run:
pyzmq PUSH/PULL over ipc with messages of the same size.

Then the writer alone against readers that it does not wait for, as in a live run, one and eight of them: those that
share the second core, each a process that reads all it can and counts what it missed (published = seen + lapped, else
the benchmark fails), one by one and in batches; and those that may park and do nothing. What eight cost the writer
more than one is the price of being read.

A virtual machine's host may place its cores near to or far from each other, anew whenever they were idle: on one host a
cache line took 65 or 260 ns by the pair of processes, whatever they did. So the two ends send one to and fro when they
are through, which is shown, and of DRAWS pairs a run takes the median.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from benchmarks import harness
from benchmarks.micro.channel import CAPACITY, RECORD, Channel
from benchmarks.micro.hop_round import ping_line, pong_line
from hft_engine.shm import layout
from hft_engine.shm.atomics import sched_yield, spin_hint
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import new_counts, percentile
from hft_engine.shm.ring import Ring, advance, claim, poll_into, publish, room
from hft_engine.wiring import wire, wired

BATCH = 256
CROWD = 8
DRAWS = 3
LINES = 50_000  # cache lines to and fro
CROWD_SHARE = 0.95  # of the writer's rate with one reader, at least
STEPS_MAX = 2_000_000_000  # polls without a record before a reader gives up: its writer is dead


@njit(nogil=True, cache=True)
def write(wiring: np.ndarray, count: int, batch: int) -> None:
    """Publish ``count`` records, ``batch`` at once; of a gating ring as fast as its reader goes. See ``wiring_of``."""
    head, slots = wired(wiring, 0, np.int64), wired(wiring, 1, RECORD)
    bells = wired(wiring, 2, np.int64)
    mask = len(slots) - 1
    sent = 0
    while sent < count:
        n = min(batch, count - sent)
        while room(head, n) < n:
            spin_hint()
        first = claim(head, slots, n)
        for sequence in range(first, first + n):
            slot = slots[sequence & mask]
            slot.ts_ns = sequence + 1
            for k in range(6):
                slot.payload[k] = sequence + k
        publish(head, slots, bells, first + n)
        sent += n


def wiring_of(ring: Ring) -> np.ndarray:
    """What ``write`` takes, as the engine's kernels have their arrays: handed over from Python, numba would count
    references to them, atomically, for every record."""
    return wire((ring.head, ring.slots, ring.bells))


@njit(nogil=True, cache=True)
def _read(wiring: np.ndarray, count: int, stamps: np.ndarray, steps_max: int) -> int:
    """Returns how many records were wrong; ``stamps`` gets the clock at the first and after the last."""
    head, slots = wired(wiring, 0, np.int64), wired(wiring, 1, RECORD)
    scratch = wired(wiring, 2, RECORD)
    seen = wrong = idle = 0
    while seen < count and idle < steps_max:
        n = poll_into(head, slots, 0, scratch, len(scratch))
        if n == 0:
            idle += 1
            spin_hint()
            continue
        idle = 0
        if seen == 0:
            stamps[0] = mono_ns()
        for i in range(n):
            wrong += scratch[i].sequence != seen + i or scratch[i].payload[5] != seen + i + 5
        advance(head, 0, n)
        seen += n
    stamps[1] = mono_ns()
    return wrong + count - seen


def _reader(directory: str, core: int, count: int, answer: Connection) -> None:
    os.sched_setaffinity(0, {core})
    ring = Channel.attach(Path(directory))
    scratch, stamps = np.zeros(BATCH, RECORD), np.zeros(2, np.int64)
    wiring = wire((ring.head, ring.slots, scratch))
    _read(wiring, 0, stamps, STEPS_MAX), pong_line(ring.bells, 0)
    answer.send("ready")
    wrong = _read(wiring, count, stamps, STEPS_MAX)
    pong_line(ring.bells, LINES)
    answer.send((int(wrong), int(stamps[1] - stamps[0])))


def ring_rate(count: int, batch: int = BATCH) -> tuple[float, float]:
    """(records a second, ``batch`` published at once; half a round trip of a cache line between the same two, ns).

    Raises RuntimeError when a record was wrong or missing.
    """
    writer_core, reader_core = harness.two_cores()
    allowed = os.sched_getaffinity(0)
    with Channel(gating=True) as channel:
        ring = channel.ring
        wiring = wiring_of(ring)
        lines = new_counts()
        write(wiring, 0, BATCH), ping_line(ring.bells, 0, lines)
        connection, child = _start(_reader, str(channel.directory), reader_core, count)
        try:
            _expect(connection)
            os.sched_setaffinity(0, {writer_core})
            write(wiring, count, batch)
            ping_line(ring.bells, LINES, lines)
            wrong, elapsed_ns = _expect(connection)
        finally:
            os.sched_setaffinity(0, allowed)
            _end(child)
    if wrong:
        raise RuntimeError(f"{wrong} of {count} records were wrong or missing")
    return count / (elapsed_ns / 1e9), percentile(lines, 50.0) / 2


@njit(nogil=True, cache=True)
def _follow(wiring: np.ndarray, reader: int, count: int) -> int:
    """Read until record ``count`` was published and seen or lapped. Returns how many records were wrong."""
    head, slots = wired(wiring, 0, np.int64), wired(wiring, 1, RECORD)
    scratch = wired(wiring, 2, RECORD)
    base = layout.W_READER_0 + reader * layout.READER_WORDS
    wrong = 0
    while head[base + layout.R_POSITION] < count:
        n = poll_into(head, slots, reader, scratch, len(scratch))
        if n == 0:
            sched_yield()
            continue
        for i in range(n):
            wrong += scratch[i].payload[5] != scratch[i].sequence + 5
        advance(head, reader, n)
    return wrong


def _follower(directory: str, reader: int, core: int, count: int, answer: Connection) -> None:
    os.sched_setaffinity(0, {core})
    ring = Channel.attach(Path(directory))
    scratch = np.zeros(BATCH, RECORD)
    wiring = wire((ring.head, ring.slots, scratch))
    _follow(wiring, reader, 0)
    answer.send("ready")
    answer.send(int(_follow(wiring, reader, count)))


def idle_rate(count: int, readers: int, batch: int) -> float:
    """Records a second with readers that have entries and doorbells but do nothing: parked without end, or dead."""
    with Channel(gating=False, parks=True, readers=readers) as channel:
        wiring = wiring_of(channel.ring)
        write(wiring, 2 * CAPACITY, batch)  # every page has been touched
        before = time.perf_counter_ns()
        write(wiring, count, batch)
        return count / ((time.perf_counter_ns() - before) / 1e9)


def followed_rate(count: int, readers: int, batch: int = 1) -> float:
    """Records a second that the writer publishes, ``batch`` at once, while so many readers share the second core and
    read what they can. Raises RuntimeError when a record was wrong or a reader's numbers do not add up."""
    writer_core, readers_core = harness.two_cores()
    allowed = os.sched_getaffinity(0)
    with Channel(gating=False, readers=readers) as channel:
        ring = channel.ring
        wiring = wiring_of(ring)
        write(wiring, 0, 1)
        started = [_start(_follower, str(channel.directory), i, readers_core, count) for i in range(readers)]
        try:
            for connection, _ in started:
                _expect(connection)
            os.sched_setaffinity(0, {writer_core})
            before = time.perf_counter_ns()
            write(wiring, count, batch)
            elapsed_ns = time.perf_counter_ns() - before
            wrong = sum(_expect(connection) for connection, _ in started)
        finally:
            os.sched_setaffinity(0, allowed)
            for _, child in started:
                _end(child)
        missing = [i for i in range(readers) if ring.seen(i) + ring.lapped(i) != count]
    if wrong or missing:
        raise RuntimeError(f"{wrong} records were wrong; readers that do not add up: {missing}")
    return count / (elapsed_ns / 1e9)


def middle(draws: int, measure: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """Of so many measurements that with the median rate."""
    return sorted(measure() for _ in range(draws))[draws // 2]


def _start(target: Any, *arguments: Any) -> tuple[Connection, Any]:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=target, args=(*arguments, theirs))
    child.start()
    return ours, child


def _end(child: Any) -> None:
    child.join(2.0)
    child.kill()
    child.join()


def _expect(connection: Connection, timeout_s: float = 120.0) -> Any:
    if not connection.poll(timeout_s):
        raise RuntimeError("the reader process does not answer")
    return connection.recv()


def _zmq_reader(endpoint: str, count: int, answer: Connection) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.setsockopt(zmq.RCVHWM, 100_000)
        socket.bind(endpoint)
        answer.send("ready")
        socket.recv()
        started = time.perf_counter()
        for _ in range(count - 1):
            socket.recv()
        answer.send(time.perf_counter() - started)


def zmq_rate(count: int) -> float:
    """Messages a second, PUSH/PULL over ipc; the high-water mark makes the sender wait, nothing is dropped."""
    import zmq

    message = bytes(RECORD.itemsize)
    with Channel(gating=False) as channel:
        endpoint = f"ipc://{channel.directory}/zmq"
        connection, child = _start(_zmq_reader, endpoint, count)
        try:
            _expect(connection)
            with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
                socket.setsockopt(zmq.SNDHWM, 100_000)
                socket.connect(endpoint)
                for _ in range(count):
                    socket.send(message)
                return count / float(_expect(connection))
        finally:
            _end(child)


def main() -> int:
    report = harness.Report("ring", harness.options(__doc__ or ""))
    records = report.opts.count(50_000_000, 8_000_000)
    messages = report.opts.count(1_000_000, 200_000)
    report.sense_jitter()
    draws = report.opts.count(DRAWS, 1)
    batches = report.measure(f"{records:,} records", lambda: middle(draws, lambda: ring_rate(records)))
    singles = report.measure(
        "the same, published one by one", lambda: middle(draws, lambda: ring_rate(records // 4, 1))
    )
    ours, single = [rate for rate, _ in batches], [rate for rate, _ in singles]
    zmq_rates = report.measure(f"{messages:,} pyzmq messages", lambda: zmq_rate(messages))
    crowds = {
        "ring_8_readers_records_per_s": lambda n: followed_rate(records, n),
        "ring_8_readers_in_batches_records_per_s": lambda n: followed_rate(2 * records, n, BATCH),
        "ring_8_parking_readers_records_per_s": lambda n: idle_rate(records, n, 1),
    }
    read = report.interleave(
        {
            f"{name}, {n} attached": lambda rate=rate, n=n: statistics.median(  # type: ignore[misc]
                rate(n) for _ in range(draws)
            )
            for name, rate in crowds.items()
            for n in (1, CROWD)
        }
    )
    report.sense_jitter()
    peer = ("pyzmq PUSH/PULL ipc", zmq_rates)
    times = harness.Measured(tuple(zmq_rates)).median
    report.add("ring_records_per_s", ours, "1/s", peer, target=40 * times, more_is_better=True)
    report.add("ring_single_records_per_s", single, "1/s", peer, target=12 * times, more_is_better=True)
    for name in crowds:
        one, eight = (read[f"{name}, {n} attached"] for n in (1, CROWD))
        limit = CROWD_SHARE * harness.Measured(tuple(one)).median
        report.add(name, eight, "1/s", ("1 reader", one), target=limit, more_is_better=True)
    for name, pairs in (("batches", batches), ("one by one", singles)):
        apart = ", ".join(f"{line_ns:.0f}" for _, line_ns in pairs)
        report.note(f"ring, {name}: a cache line took {apart} ns between the two cores of these runs.")
    report.note(
        f"ring: {records:,} records of {RECORD.itemsize} bytes a run, batches of {BATCH}, each record checked."
    )
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
