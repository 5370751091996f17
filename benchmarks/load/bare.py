"""A client that does nothing but ``recv``: from the moment a frame was due at the venue to its bytes in a process.

    load process (one core) --loopback websocket--> bare client (the stages' core), spinning or sleeping in poll(2)

No engine can be faster over this socket on this machine: the load's own lateness, its ``send``, the loopback, and for
one that sleeps the wake-up, are in both. Nothing else of an engine runs.
"""

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import websocket
from numba import njit

from benchmarks import harness
from benchmarks.load import venue
from benchmarks.load.venue import expect, venue_process
from hft_engine.runtime import placement
from hft_engine.runtime.linux import fine_timers
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.syscalls import receive_now, wait_readable

BUFFER_BYTES = 1 << 20
FRAME_BYTES_MAX = 4_096
_EAGAIN = 11
_PATIENCE_MS = 1_000


@njit(nogil=True, cache=True)
def _frame_end(buffer: np.ndarray, begin: int, end: int) -> int:
    """Where the first frame ends; -1 while it is incomplete."""
    if end - begin < 4:
        return -1
    length, place = int(buffer[begin + 1]), begin + 2
    if length == 126:
        length, place = int(buffer[begin + 2]) << 8 | int(buffer[begin + 3]), begin + 4
    return place + length if place + length <= end else -1


@njit(nogil=True, cache=True)
def _take(fd: int, spinning: bool, t0_ns: int, period_ns: float, buffer: np.ndarray, late: np.ndarray) -> int:
    """Fill ``late``, ns after it was due, for each frame in turn. Returns how many came before the end."""
    seen = begin = end = 0
    while seen < len(late):
        got = receive_now(fd, buffer.ctypes.data + end, len(buffer) - end)
        now: int = mono_ns()
        if got <= 0:
            if got != -_EAGAIN or not (spinning or wait_readable(fd, _PATIENCE_MS)):
                break
            continue
        end += got
        frame_end = _frame_end(buffer, begin, end)
        while frame_end >= 0 and seen < len(late):
            late[seen] = now - t0_ns - int(seen * period_ns)
            seen, begin = seen + 1, frame_end
            frame_end = _frame_end(buffer, begin, end)
        if len(buffer) - end < FRAME_BYTES_MAX or begin == end:
            buffer[: end - begin] = buffer[begin:end].copy()
            begin, end = 0, end - begin
    return seen


def latencies(load: venue.Load, spinning: bool, warm: int) -> np.ndarray:
    """ns from due to received, of each frame but the first ``warm``. Raises RuntimeError when frames are missing."""
    buffer, late = np.zeros(BUFFER_BYTES, np.uint8), np.zeros(load.count, np.int64)
    _take(-1, True, 0, 1.0, buffer, late[:0])
    with venue_process(venue.serve, load) as (url, channel):
        client = websocket.create_connection(url)
        client.send('{"action":"auth","params":"benchmark"}')
        client.send('{"action":"subscribe","params":"T.*,Q.*"}')
        expect(channel)  # "subscribed"
        assert client.sock is not None
        _drain(client.sock)
        channel.send("go")
        t0_ns = int(expect(channel))
        fine_timers()
        gc.collect()
        with harness.on_core(harness.two_cores()[0]):
            seen = int(_take(client.sock.fileno(), spinning, t0_ns, 1e9 / load.rate, buffer, late))
        client.close(timeout=0)
    if seen < load.count:
        raise RuntimeError(f"{load.count - seen} of {load.count} frames did not come")
    return late[warm:]


@contextmanager
def real_time() -> Iterator[None]:
    """This thread goes before everything of normal priority, where this user may, as an actor in real time does."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    placement.go_before_all()
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def _drain(sock: socket.socket) -> None:
    """Read what the venue said of the subscription: until nothing came for 0.2 s."""
    sock.settimeout(0.2)
    try:
        while sock.recv(1 << 16):
            pass
    except TimeoutError:
        return
