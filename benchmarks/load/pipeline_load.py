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

from benchmarks import workload
from benchmarks.load import venue
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.runtime.linux import die_with_parent, fine_timers
from hft_engine.shm.atomics import load_acquire, sleep_ns
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.counters import Stats
from hft_engine.signals.rules import C_PREDICTIONS

WINDOW = 4_096  # ticks under way: some milliseconds of work, a quarter of the engine's smallest ring
BURST = 64  # frames in one system call at most
FRAME_EVENTS = (1, 10)  # a quiet market's frames, a busy one's
WARM_TICKS = (30_000, 5_000)  # not counted; of the first load, until every input of the model is known
NAP_NS = 20_000
STALL_NS = 20_000_000_000  # no tick finished for so long: the rest is lost. A busy machine starves a broker for seconds
_send, _NO_SIGNAL = venue._send, venue._NO_SIGNAL
_DONE, _DONE_NS, _SENT = 4, 5, 6  # words of ``marks`` beside the two pairs at the ends of what is measured


class Flow(msgspec.Struct, frozen=True):
    """What came through after the warm-up."""

    ticks: int
    seconds: float
    lost: int  # sent and never finished

    @property
    def per_s(self) -> float:
        return self.ticks / self.seconds


class FlowLoad(msgspec.Struct, frozen=True):
    """At most ``count`` measured ticks (more than WINDOW), and ``seconds``, with each of FRAME_EVENTS."""

    count: int
    seconds: float


@njit(nogil=True)
def _push(
    fd: int,
    frames: np.ndarray,
    offsets: np.ndarray,
    events: int,
    progress: np.ndarray,
    warm: int,
    duration_ns: int,
    marks: np.ndarray,
) -> None:
    """Sends frames of ``events`` ticks each until all are out, or for ``duration_ns`` after ``warm`` ticks came
    through, then waits for the rest. ``marks`` int64[7]: (ticks finished, when) at the end of the warm-up and
    again with the last frame sent, then (ticks finished, when it last changed, ticks sent) at the end."""
    marks[:] = 0
    base = load_acquire(progress, 0)
    count = len(offsets) - 1
    sent = 0
    marks[_DONE_NS] = mono_ns()
    while True:
        done = load_acquire(progress, 0) - base
        now = mono_ns()
        if done != marks[_DONE]:
            marks[_DONE], marks[_DONE_NS] = done, now
        if marks[1] == 0 and done >= warm:
            marks[0], marks[1] = done, now
        is_over = sent == count or (marks[1] > 0 and now - marks[1] > duration_ns)
        if is_over and marks[3] == 0:
            marks[2], marks[3] = done, now
        if (is_over and done >= sent * events) or now - marks[_DONE_NS] > STALL_NS:
            break
        free = min((WINDOW - sent * events + done) // events, BURST, count - sent)
        if is_over or free <= 0:
            sleep_ns(NAP_NS)
        else:
            length = offsets[sent + free] - offsets[sent]
            if _send(fd, frames[offsets[sent] :].ctypes, length, _NO_SIGNAL) != length:
                break
            sent += free
    marks[_SENT] = sent * events


def _flow(marks: np.ndarray) -> Flow:
    done_warm, began_ns, done, ended_ns, last, last_ns, sent = marks.tolist()
    if not ended_ns:  # it stalled, or the peer hung up
        done, ended_ns = last, last_ns
    return Flow(max(0, done - done_warm), max(1, ended_ns - began_ns) / 1e9, sent - last)


def wire_frames(load: FlowLoad) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each of FRAME_EVENTS: (uint8 of all frames, int64[frames + 1] where each begins)."""
    sizes = [warm + load.count for warm in WARM_TICKS]
    ticks = workload.alternating_ticks(sum(sizes), 20_000.0)
    symbols = market_symbols(workload.INSTRUMENTS)
    made = []
    for events, part in zip(FRAME_EVENTS, np.split(ticks, [sizes[0]]), strict=True):
        frames = [workload.websocket_frame(frame) for frame in workload.frames_of(symbols, part, events)]
        offsets = np.zeros(len(frames) + 1, np.int64)
        np.cumsum([len(frame) for frame in frames], out=offsets[1:])
        made.append((np.frombuffer(b"".join(frames), np.uint8), offsets))
    return made


def serve(load: FlowLoad, parent_pid: int, channel: Connection) -> None:
    """The life of the load process: says its port, then "subscribed"; told the path of the signal stage's counters
    it begins, and answers with a Flow for each of FRAME_EVENTS."""
    die_with_parent(parent_pid)
    fine_timers()
    loads = wire_frames(load)
    marks = np.zeros(7, np.int64)
    frames, offsets = loads[0]
    _push(-1, frames, offsets[:1], 1, np.frombuffer(bytes(8), np.int64), 0, 0, marks)  # compiled now
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel.send(listener.getsockname()[1])
        peer, _ = listener.accept()
    with peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        venue._Session(peer).until_subscribed()
        channel.send("subscribed")
        stats = Stats.attach(Path(channel.recv()), writable=False)
        progress = stats.counter_array()[C_PREDICTIONS:]
        flows = []
        for events, warm, (frames, offsets) in zip(FRAME_EVENTS, WARM_TICKS, loads, strict=True):
            _push(peer.fileno(), frames, offsets, events, progress, warm, int(load.seconds * 1e9), marks)
            flows.append(_flow(marks))
        channel.send(flows)
        channel.recv()
