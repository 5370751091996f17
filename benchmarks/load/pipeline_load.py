"""A closed window: frames leave as fast as the pipeline finishes ticks, at most so many under way at any time.

Every contender has the same window, so no backlog can grow, nothing is lost, and what is measured is the rate of the
slowest part. How many ticks are finished is read from the signal stage's counter in shared memory.
"""

import socket
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import numpy as np
from numba import njit

from benchmarks.load import venue
from hft_engine.runtime.linux import die_with_parent, fine_timers
from hft_engine.shm.atomics import load_acquire, sleep_ns
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.counters import Stats
from hft_engine.signals.rules import C_PREDICTIONS

WINDOW = 4_096  # ticks under way: some milliseconds of work, a quarter of the engine's smallest ring
BURST = 64  # frames in one system call at most
WARM_TICKS = 30_000  # until every input of the model is known
NAP_NS = 20_000
STALL_NS = 2_000_000_000  # no tick finished for so long: the rest is lost
_send, _NO_SIGNAL = venue._send, venue._NO_SIGNAL


class Flow(msgspec.Struct, frozen=True):
    """What came through after the warm-up."""

    ticks: int
    seconds: float
    lost: int  # sent and never finished

    @property
    def per_s(self) -> float:
        return self.ticks / self.seconds


@njit(nogil=True)
def _push(
    fd: int,
    frames: np.ndarray,
    offsets: np.ndarray,
    progress: np.ndarray,
    warm: int,
    until_ns: int,
    marks: np.ndarray,
) -> None:
    """``marks``: ticks done and when, at the end of the warm-up and at the end; then ticks sent. ``until_ns``: how
    long to go on after the warm-up."""
    count = len(offsets) - 1
    sent = 0
    before = -1
    changed_ns = mono_ns()
    marks[:] = 0
    while True:
        done = load_acquire(progress, 0)
        now = mono_ns()
        if done != before:
            before = done
            changed_ns = now
        if marks[1] == 0 and done >= warm:
            marks[0], marks[1] = done, now
        is_over = sent == count or (marks[1] > 0 and now - marks[1] > until_ns)
        if (is_over and done >= sent) or now - changed_ns > STALL_NS:
            break
        if marks[3] == 0 and is_over:
            marks[2], marks[3] = done, now
        free = min(WINDOW - (sent - done), BURST, count - sent)
        if is_over or free <= 0:
            sleep_ns(NAP_NS)
            continue
        length = offsets[sent + free] - offsets[sent]
        if _send(fd, frames[offsets[sent] :].ctypes, length, _NO_SIGNAL) != length:
            break
        sent += free
    if marks[3] == 0:
        marks[2], marks[3] = done, changed_ns
    marks[4], marks[5] = sent, done


def serve(
    load: venue.Load, seconds: float, warm: int, parent_pid: int, channel: Connection
) -> None:
    """The life of the load process: says its port, then "subscribed"; told the path of the signal stage's counters
    it begins, and answers with a Flow when all is done. ``load.rate`` is the spacing of the venue's stamps."""
    die_with_parent(parent_pid)
    fine_timers()
    frames, offsets = venue._wire_frames(load)
    marks = np.zeros(6, np.int64)
    _push(-1, frames, offsets[:1], np.frombuffer(bytes(8), np.int64), 0, 0, marks)  # compiled now
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel.send(listener.getsockname()[1])
        peer, _ = listener.accept()
    with peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        venue._Session(peer).until_subscribed()
        channel.send("subscribed")
        stats = Stats.attach(Path(channel.recv()), writable=False)
        progress = stats.counter_array()[C_PREDICTIONS:]
        _push(peer.fileno(), frames, offsets, progress, warm, int(seconds * 1e9), marks)
        done_warm, began_ns, done, ended_ns, sent, last = marks.tolist()
        channel.send(Flow(done - done_warm, max(1, ended_ns - began_ns) / 1e9, sent - last))
        channel.recv()
