"""The load of ``feed_limits``: a venue that sends the simulator's events on a schedule, for as long as it is told.

A process of its own. A second of frames is made beforehand, by the simulator's own encoder; each time round, stamps and
numbers in them are written anew, so that a client sees a market that goes on.
"""

import socket
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from numba import njit

from benchmarks import workload
from benchmarks.load import venue
from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.runtime.linux import die_with_parent, fine_timers
from hft_engine.shm.atomics import sleep_ns, spin_hint
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import new_counts, record

FIRST_NUMBER = 1_000_000_000  # of the venue's: so many digits now and ever after
ROUND_S = 1  # of frames made beforehand
_STAMP, _NUMBER = b'"t":', b'"q":'
_STAMP_DIGITS, _NUMBER_DIGITS = 13, 10
_send, _NO_SIGNAL = venue._send, venue._NO_SIGNAL


@dataclass(frozen=True)
class Flow:
    """``events`` in a frame, ``events_per_s`` of them for ``seconds``; not ``paced``: as fast as they are taken."""

    events: int
    events_per_s: int
    seconds: float
    paced: bool = True

    @property
    def frames_per_s(self) -> int:
        return self.events_per_s // self.events

    @property
    def frames(self) -> int:
        return int(self.frames_per_s * self.seconds)


class Frames:
    """A second of frames: ``text`` uint8[], frame i at ``offsets[i]``; ``places`` in the text of each event's stamp and
    number, and their ``values`` the first time."""

    def __init__(self, flow: Flow) -> None:
        count = flow.frames_per_s * flow.events * ROUND_S
        start_ns = time.time_ns() // 1_000_000_000 * 1_000_000_000
        ticks = workload.alternating_ticks(count, flow.events_per_s, start_ns)
        ticks["venue_sequence"] += FIRST_NUMBER - 1
        events = Encoder(market_symbols(workload.INSTRUMENTS)).encode(ticks)
        groups = [events[i : i + flow.events] for i in range(0, count, flow.events)]
        frames = [workload.websocket_frame(b"[" + b",".join(group) + b"]") for group in groups]
        self.text = np.frombuffer(bytearray(b"".join(frames)), np.uint8)
        self.offsets = np.zeros(len(frames) + 1, np.int64)
        np.cumsum([len(frame) for frame in frames], out=self.offsets[1:])
        self.events = flow.events
        self.places = np.array([_all_at(b"".join(frames), key) for key in (_STAMP, _NUMBER)])
        self.values = np.array([ticks["ts_venue_ns"] // 1_000_000, ticks["venue_sequence"]])


def _all_at(text: bytes, key: bytes) -> list[int]:
    """Where the values of ``key`` begin."""
    found, at = [], text.find(key)
    while at >= 0:
        found.append(at + len(key))
        at = text.find(key, at + len(key))
    return found


@njit(nogil=True, cache=True)
def _write(text: np.ndarray, at: int, digits: int, value: int) -> None:
    for place in range(at + digits - 1, at - 1, -1):
        text[place] = 48 + value % 10
        value //= 10


@njit(nogil=True, cache=True)
def _renew(text: np.ndarray, places: np.ndarray, values: np.ndarray, first: int, end: int, turn: int) -> None:
    for event in range(first, end):
        _write(text, places[0, event], _STAMP_DIGITS, values[0, event] + turn * 1_000 * ROUND_S)
        _write(text, places[1, event], _NUMBER_DIGITS, values[1, event] + turn * values.shape[1])


@njit(nogil=True, cache=True)
def offer(
    fd: int,
    text: np.ndarray,
    offsets: np.ndarray,
    events: int,
    places: np.ndarray,
    values: np.ndarray,
    count: int,
    t0_ns: int,
    period_ns: float,
    until_ns: int,
    lateness: np.ndarray,
) -> int:
    """Send frame i at t0_ns + i * period_ns (0: at once), until all ``count`` went or it is ``until_ns``. Returns how
    many did."""
    round_frames = len(offsets) - 1
    for i in range(count):
        frame, turn = i % round_frames, i // round_frames
        if turn > 0:
            _renew(text, places, values, frame * events, (frame + 1) * events, turn)
        due = t0_ns + int(i * period_ns)
        now: int = mono_ns()
        if due - now > venue.SPIN_NS:
            sleep_ns(due - now - venue.SPIN_NS)
        now = mono_ns()
        while now < due:
            spin_hint()
            now = mono_ns()
        if now > until_ns:
            return i
        record(lateness, max(0, now - due) if period_ns > 0.0 else 0)
        begin, end = offsets[frame], offsets[frame + 1]
        while begin < end:
            done = _send(fd, text[begin:].ctypes, end - begin, _NO_SIGNAL)
            if done <= 0:
                return i
            begin += done
    return count


def serve(flow: Flow, parent_pid: int, channel: Connection) -> None:
    """The life of the load process, as ``venue.serve``: says its port, then "subscribed"; told "go" answers with t0_ns;
    at the end (frames sent, histogram of how late each left, seconds). Then it holds the connection until told to."""
    die_with_parent(parent_pid)
    fine_timers()
    venue.keep_apart()
    frames = Frames(flow)
    load = frames.text, frames.offsets, frames.events, frames.places, frames.values
    offer(-1, *load, 0, 0, 0.0, 0, new_counts())  # compiled now
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel.send(listener.getsockname()[1])
        peer, _ = listener.accept()
    with peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        venue._Session(peer).until_subscribed()
        channel.send("subscribed")
        channel.recv()
        t0_ns = time.monotonic_ns() + venue.LEAD_NS
        channel.send(t0_ns)
        lateness = new_counts()
        period_ns = 1e9 / flow.frames_per_s if flow.paced else 0.0
        count = flow.frames if flow.paced else 1 << 40
        until_ns = t0_ns + int((flow.seconds + (60.0 if flow.paced else 0.0)) * 1e9)
        sent = int(offer(peer.fileno(), *load, count, t0_ns, period_ns, until_ns, lateness))
        channel.send((sent, lateness, (time.monotonic_ns() - t0_ns) / 1e9))
        channel.recv()
