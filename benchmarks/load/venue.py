"""An open-loop load over a real websocket: tick i leaves at t0 + i / rate, whatever the engine does.

A process of its own: it does the venue's handshake, then a compiled loop naps and sends frames made beforehand. A
late nap delays no later tick (the schedule does not move), and how late each left is recorded.
"""

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import numpy as np
from numba import njit, types
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from benchmarks import workload
from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.runtime.linux import die_with_parent, fine_timers
from hft_engine.shm.atomics import sleep_ns, spin_hint
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import new_counts, record

SPIN_NS = 2_000  # a nap ends this long before the tick is due, unless told otherwise; the rest is spun
LEAD_NS = 200_000_000  # between "go" and the first tick
_NO_SIGNAL = 0x4000  # MSG_NOSIGNAL
_send = types.ExternalFunction("send", types.int64(types.int32, types.voidptr, types.int64, types.int32))


@dataclass(frozen=True)
class Load:
    """``count`` ticks at ``rate`` a second. ``spin_ns``: spun before each is due; naps overshoot."""

    rate: float
    count: int
    spin_ns: int = SPIN_NS


@njit(nogil=True)
def _offer(
    fd: int,
    frames: np.ndarray,
    offsets: np.ndarray,
    t0_ns: int,
    period_ns: float,
    spin_ns: int,
    lateness: np.ndarray,
) -> int:
    """Send frame i at t0_ns + i * period_ns. Returns how many went out: fewer than all when the peer is gone."""
    for i in range(len(offsets) - 1):
        due = t0_ns + int(i * period_ns)
        now: int = mono_ns()
        if due - now > spin_ns:
            sleep_ns(due - now - spin_ns)
        now = mono_ns()
        while now < due:
            spin_hint()
            now = mono_ns()
        record(lateness, now - due)
        length = offsets[i + 1] - offsets[i]
        if _send(fd, frames[offsets[i] :].ctypes, length, _NO_SIGNAL) != length:
            return i
    return len(offsets) - 1


class _Session:
    """The venue's side of the handshake, on a blocking socket: any key is right, every pair is acknowledged."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._protocol = ServerProtocol()

    def until_subscribed(self) -> None:
        """Returns when the client has subscribed. Raises ConnectionError when it goes away before."""
        while True:
            data = self._peer.recv(65_536)
            if not data:
                raise ConnectionError("the engine hung up during the handshake")
            self._protocol.receive_data(data)
            done = [self._take(event) for event in self._protocol.events_received()]
            self._flush()
            if any(done):
                return

    def _take(self, event: Any) -> bool:
        if isinstance(event, Request):
            self._protocol.send_response(self._protocol.accept(event))
            self._say("connected", "Connected Successfully")
        elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
            return self._answer(msgspec.json.decode(bytes(event.data)))
        return False

    def _answer(self, message: dict[str, str]) -> bool:
        if message["action"] == "auth":
            self._say("auth_success", "authenticated")
            return False
        for pair in message["params"].split(","):
            self._say("success", f"subscribed to: {pair}")
        return True

    def _say(self, status: str, text: str) -> None:
        event = {"ev": "status", "status": status, "message": text}
        self._protocol.send_text(msgspec.json.encode([event]))

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self._peer.sendall(data)


def _wire_frames(load: Load) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 of all frames, int64[count + 1] where each begins): one event a frame, with websocket headers."""
    symbols = market_symbols(workload.INSTRUMENTS)
    events = Encoder(symbols).encode(workload.alternating_ticks(load.count, load.rate))
    frames = [workload.websocket_frame(b"[" + event + b"]") for event in events]
    offsets = np.zeros(len(frames) + 1, np.int64)
    np.cumsum([len(frame) for frame in frames], out=offsets[1:])
    return np.frombuffer(b"".join(frames), np.uint8), offsets


def serve(load: Load, parent_pid: int, channel: Connection) -> None:
    """The life of the load process: says its port, then "subscribed"; told "go" answers with t0_ns; at the end the
    number of ticks sent and the histogram of how late each left. Then it holds the connection until told to end."""
    die_with_parent(parent_pid)
    fine_timers()
    keep_apart()
    frames, offsets = _wire_frames(load)
    _offer(-1, frames, offsets[:1], 0, 1.0, 0, new_counts())  # compiled now
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel.send(listener.getsockname()[1])
        peer, _ = listener.accept()
    with peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _Session(peer).until_subscribed()
        channel.send("subscribed")
        channel.recv()
        t0_ns: int = int(_now()) + LEAD_NS
        channel.send(t0_ns)
        lateness = new_counts()
        sent = _offer(peer.fileno(), frames, offsets, t0_ns, 1e9 / load.rate, load.spin_ns, lateness)
        channel.send((int(sent), lateness))
        channel.recv()


def keep_apart() -> None:
    """A venue is another machine: never on a stage's core, and it keeps its schedule whatever runs here, where this
    user may say so."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


@njit(nogil=True)
def _now() -> int:
    return mono_ns()


@contextmanager
def venue_process(target: Callable[..., None], *arguments: Any) -> Iterator[tuple[str, Connection]]:
    """A load process of its own: (its url, the channel to it)."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(
        target=target, args=(*arguments, os.getpid(), theirs)
    )
    child.start()
    try:
        yield f"ws://127.0.0.1:{expect(ours)}/stocks", ours
    finally:
        child.kill()
        child.join()
        ours.close()
        theirs.close()


def expect(channel: Connection, timeout_s: float = 120.0) -> Any:
    """What the load process says next. Raises RuntimeError when it is silent."""
    if not channel.poll(timeout_s):
        raise RuntimeError("the load process does not answer")
    return channel.recv()
