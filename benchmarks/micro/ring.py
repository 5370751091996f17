"""Records of 64 bytes a second through the ring: one writer, one reader, two processes, published in batches.

    writer (core A) --ring, gating--> reader (core B)      every record is written field by field, copied out, and
                                                           its sequence and payload are checked

The ring gates, so the writer waits for the reader and what is counted has been seen. Beside it, in the same run:
pyzmq PUSH/PULL over ipc with messages of the same size.
"""

import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from benchmarks import harness
from benchmarks.micro.channel import RECORD, Channel
from hft_engine.shm.atomics import spin_hint
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.ring import advance, claim, poll_into, publish, room

BATCH = 256
STEPS_MAX = 2_000_000_000  # polls without a record before a reader gives up: its writer is dead


@njit(nogil=True, cache=True)
def _write(head: np.ndarray, slots: np.ndarray, bells: np.ndarray, count: int, batch: int) -> None:
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


@njit(nogil=True, cache=True)
def _read(
    head: np.ndarray, slots: np.ndarray, scratch: np.ndarray, count: int, stamps: np.ndarray, steps_max: int
) -> int:
    """Returns how many records were wrong; ``stamps`` gets the clock at the first and after the last."""
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
    _read(ring.head, ring.slots, scratch, 0, stamps, STEPS_MAX)
    answer.send("ready")
    wrong = _read(ring.head, ring.slots, scratch, count, stamps, STEPS_MAX)
    answer.send((int(wrong), int(stamps[1] - stamps[0])))


def ring_rate(count: int, batch: int = BATCH) -> float:
    """Records a second, ``batch`` published at once. Raises RuntimeError when a record was wrong or missing."""
    writer_core, reader_core = harness.two_cores()
    allowed = os.sched_getaffinity(0)
    with Channel(gating=True) as channel:
        ring = channel.ring
        _write(ring.head, ring.slots, ring.bells, 0, BATCH)
        connection, child = _start(_reader, str(channel.directory), reader_core, count)
        try:
            _expect(connection)
            os.sched_setaffinity(0, {writer_core})
            _write(ring.head, ring.slots, ring.bells, count, batch)
            wrong, elapsed_ns = _expect(connection)
        finally:
            os.sched_setaffinity(0, allowed)
            _end(child)
    if wrong:
        raise RuntimeError(f"{wrong} of {count} records were wrong or missing")
    return count / (elapsed_ns / 1e9)


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
    records = report.opts.count(50_000_000, 10_000_000)
    messages = report.opts.count(1_000_000, 200_000)
    report.sense_jitter()
    ours = report.measure(f"{records:,} records", lambda: ring_rate(records))
    single = report.measure("the same, published one by one", lambda: ring_rate(records // 4, 1))
    zmq_rates = report.measure(f"{messages:,} pyzmq messages", lambda: zmq_rate(messages))
    report.sense_jitter()
    peer = ("pyzmq PUSH/PULL ipc", zmq_rates)
    report.add("ring_records_per_s", ours, "1/s", peer, target=15e6, more_is_better=True)
    report.add("ring_single_records_per_s", single, "1/s", peer)
    report.note(
        f"ring: {records:,} records of {RECORD.itemsize} bytes a run, batches of {BATCH}, each record checked."
    )
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
