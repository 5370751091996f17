"""An open-loop load whose rate changes: so many ticks a second for so long, over a real websocket.

Frame j of a phase is due at its start + j * period. All frames that are due go into the socket with one system call;
while the socket is full the load is blocked, its schedule is not: it catches up when it can. So every tick of the
schedule is sent, in order, however late; what waits is counted, and every latency is from when it was due. The frames
are made once and sent again and again, with the venue's time of their schedule written into them.
"""

import re
import socket
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numba import njit

from benchmarks import workload
from benchmarks.load import venue
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.runtime.linux import die_with_parent, fine_timers
from hft_engine.shm.atomics import sleep_ns, store_release
from hft_engine.shm.clock import mono_ns

EVENTS = 10  # of a frame
TURNS = (
    2 * workload.TRADE_EVERY
)  # of an instrument, until its ticks repeat: trade, quote, quote, at two prices
BLOCK_TICKS = 48_000  # a multiple of EVENTS, and of TURNS * instruments for the numbers of instruments in use
BURST = 64  # frames in one system call at most
NAP_NS = 20_000
_DIGITS = 13  # of the venue's milliseconds
_send, _NO_SIGNAL = venue._send, venue._NO_SIGNAL


@dataclass(frozen=True)
class Phase:
    """``rate`` ticks a second for ``seconds``."""

    name: str
    rate: float
    seconds: float

    @property
    def ticks(self) -> int:
        return int(self.rate * self.seconds) // EVENTS * EVENTS


class Block:
    """Frames as they go over the wire: ``text``, ``offsets`` where each begins and the last ends, and where the
    venue's time stands in the text, for each event of each frame."""

    def __init__(self, instruments: int = workload.INSTRUMENTS, ticks: int = BLOCK_TICKS) -> None:
        if ticks % EVENTS or ticks % (TURNS * instruments):
            raise ValueError(f"{ticks} ticks of {instruments} instruments do not repeat without a break")
        rows = workload.alternating_ticks(ticks, 100_000.0, instruments=instruments)
        rows["venue_sequence"] = 0  # not sent: the block repeats, and numbers that begin anew would be a gap
        payloads = workload.frames_of(market_symbols(instruments), rows, EVENTS)
        frames = [workload.websocket_frame(payload) for payload in payloads]
        joined = b"".join(frames)
        self.offsets = np.zeros(len(frames) + 1, np.int64)
        np.cumsum([len(frame) for frame in frames], out=self.offsets[1:])
        found = [match.start(1) for match in re.finditer(rb'"t":(\d{13})', joined)]
        self.times = np.array(found, np.int64).reshape(len(frames), EVENTS)
        self.text = np.frombuffer(joined, np.uint8).copy()


@njit(nogil=True)
def _digits_of(ms: int, digits: np.ndarray) -> None:
    for digit in range(_DIGITS - 1, -1, -1):
        digits[digit] = 48 + ms % 10
        ms //= 10


@njit(nogil=True)
def _date(text: np.ndarray, places: np.ndarray, digits: np.ndarray) -> None:
    """Write the time into every event of a frame."""
    for k in range(len(places)):
        for digit in range(_DIGITS):
            text[places[k] + digit] = digits[digit]


@njit(nogil=True)
def _offer(
    fd: int,
    text: np.ndarray,
    offsets: np.ndarray,
    times: np.ndarray,
    frames: int,
    t0_ns: int,
    period_ns: float,
    venue_ns: int,
    sent: np.ndarray,
) -> bool:
    """Send ``frames`` frames, frame j at t0_ns + j * period_ns, going on in the block where ``sent`` (ticks, read by
    others) stands. Returns whether the peer took all."""
    block = len(offsets) - 1
    digits, dated = np.zeros(_DIGITS, np.uint8), 0
    first = sent[0] // EVENTS
    j = 0
    while j < frames:
        due = min(frames, int((mono_ns() - t0_ns) / period_ns) + 1)
        if due <= j:
            sleep_ns(NAP_NS)
            continue
        at = (first + j) % block
        count = min(due - j, BURST, block - at)
        for i in range(at, at + count):
            ms = (venue_ns + int((j + i - at) * period_ns)) // 1_000_000
            if ms != dated:
                _digits_of(ms, digits)
                dated = ms
            _date(text, times[i], digits)
        begin, end = offsets[at], offsets[at + count]
        while begin < end:
            done = _send(fd, text[begin:].ctypes, end - begin, _NO_SIGNAL)
            if done <= 0:
                return False
            begin += done
        j += count
        store_release(sent, 0, (first + j) * EVENTS)
    return True


@njit(nogil=True)
def _now() -> int:
    return mono_ns()


def play(fd: int, block: Block, phases: list[Phase], t0_ns: int, venue_ns: int, sent: np.ndarray) -> bool:
    """One phase after the other, without a pause. Returns whether the peer took all."""
    for phase in phases:
        frames, period_ns = phase.ticks // EVENTS, EVENTS * 1e9 / phase.rate
        arguments = (frames, t0_ns, period_ns, venue_ns, sent)
        if not _offer(fd, block.text, block.offsets, block.times, *arguments):
            return False
        t0_ns += int(frames * period_ns)
        venue_ns += int(frames * period_ns)
    return True


def serve(instruments: int, shared: Any, parent_pid: int, channel: Connection) -> None:
    """The life of the load process: says its port, then "subscribed"; then, for each list of phases it is told,
    when the first is due (CLOCK_MONOTONIC, ns) and the venue's time of it (ns), and when all is sent whether the peer
    took it. ``shared``: one word, the ticks sent so far."""
    die_with_parent(parent_pid)
    fine_timers()
    venue.keep_apart()
    block, sent = Block(instruments), np.frombuffer(shared, np.int64)
    _offer(-1, block.text, block.offsets, block.times, 0, 0, 1.0, 0, sent)  # compiled now
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel.send(listener.getsockname()[1])
        peer, _ = listener.accept()
    with peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        venue._Session(peer).until_subscribed()
        channel.send("subscribed")
        began_ns = int(_now())
        while phases := channel.recv():
            t0_ns = int(_now()) + venue.LEAD_NS // 10
            venue_ns = workload.START_NS + t0_ns - began_ns
            channel.send((t0_ns, venue_ns))
            channel.send(play(peer.fileno(), block, phases, t0_ns, venue_ns, sent))
