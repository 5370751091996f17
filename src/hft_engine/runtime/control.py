"""The control plane over ZeroMQ: ROUTER at the supervisor, DEALER at each actor and at each client.

``ipc://`` in the run directory, which is 0700. Every socket option that matters is set here and nowhere else: the
defaults drop silently (PUB, ROUTER) or hang for ever (LINGER).
"""

import itertools
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import zmq

from hft_engine.runtime.limits import COMMAND_TIMEOUT_MS, HIGH_WATER, LINGER_MS, MODEL_READ_MS
from hft_engine.runtime.messages import (
    Body,
    Command,
    ControlError,
    Event,
    Message,
    Reply,
    SwapModel,
    decode,
    encode,
)

SOCKET_NAME = "control.ipc"


def endpoint(run_dir: Path) -> str:
    return f"ipc://{run_dir / SOCKET_NAME}"


def _options(socket: "zmq.Socket[bytes]") -> None:
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER)


class Hub:
    """The supervisor's end: peers by name (roles, and ``client-…``)."""

    def __init__(self, run_dir: Path) -> None:
        self._context = zmq.Context(io_threads=1)
        self.socket = self._context.socket(zmq.ROUTER)
        _options(self.socket)
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # an unknown peer is an error, not silence
        self.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a restarted actor takes its name over
        self.socket.bind(endpoint(run_dir))

    def receive(self) -> Iterator[tuple[str, Message]]:
        """All messages that are there now. A malformed one is dropped with its peer's name on it."""
        while True:
            try:
                peer, raw = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            except ValueError:
                continue  # not two frames: nobody of ours
            try:
                yield peer.decode(), decode(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue

    def send(self, peer: str, message: Message) -> bool:
        """False when the peer is not connected or does not read."""
        try:
            self.socket.send_multipart([peer.encode(), encode(message)], zmq.NOBLOCK)
            return True
        except zmq.ZMQError:
            return False

    def close(self) -> None:
        self._context.destroy(linger=LINGER_MS)


class Peer:
    """An actor's or a client's end."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self._context = zmq.Context(io_threads=1)
        self.socket = self._context.socket(zmq.DEALER)
        _options(self.socket)
        self.socket.setsockopt(zmq.IDENTITY, name.encode())
        self.socket.connect(endpoint(run_dir))
        self.dropped = 0
        self._signal = select.poll()
        self._signal.register(self.socket.FD, select.POLLIN)
        self._unsure = True  # whether a message may be there that the descriptor does not tell of

    def send(self, message: Message) -> None:
        """Never blocks: what the supervisor does not take is counted in ``dropped``."""
        self._unsure = True
        try:
            self.socket.send(encode(message), zmq.NOBLOCK)
        except zmq.Again:
            self.dropped += 1

    def receive(self) -> Message | None:
        """The next message, or None."""
        # The descriptor (zmq_getsockopt(3), ZMQ_FD) becomes readable when something happens, and whatever uses the
        # socket may take that away: it tells the truth only after a look that found nothing. To look costs 20 to 80 us.
        if not self._unsure and not self._signal.poll(0):
            return None
        self._unsure = True
        try:
            return decode(self.socket.recv(zmq.NOBLOCK))
        except zmq.Again:
            self._unsure = False
            return None
        except msgspec.MsgspecError:
            return None

    def close(self) -> None:
        self._context.destroy(linger=LINGER_MS)


class Client:
    """Commands from outside: ``hft stop``, ``hft model swap``, tests."""

    _ids = itertools.count(1)

    def __init__(self, run_dir: Path) -> None:
        self._peer = Peer(run_dir, f"client-{os.getpid()}-{next(self._ids)}")

    def request(self, body: Body, target: str = "", timeout_ms: int | None = None) -> object:
        """Send and wait for the reply's payload. Raises ControlError when refused or silent.

        ``timeout_ms``: None, as long as an engine that is well may take.
        """
        if timeout_ms is None:
            timeout_ms = COMMAND_TIMEOUT_MS + (MODEL_READ_MS if isinstance(body, SwapModel) else 0)
        identity = next(self._ids)
        self._peer.send(Command(identity, body, target))
        deadline = time.monotonic() + timeout_ms / 1e3
        while (left_ms := int((deadline - time.monotonic()) * 1e3)) > 0:
            if not self._peer.socket.poll(left_ms):
                break
            reply = self._peer.receive()
            if isinstance(reply, Reply) and reply.id == identity:
                if not reply.ok:
                    raise ControlError(reply.error)
                return reply.payload
        raise ControlError(f"no answer within {timeout_ms} ms; is the engine hanging? try `hft status`")

    def close(self) -> None:
        self._peer.close()


__all__ = ["Client", "ControlError", "Event", "Hub", "Peer", "endpoint"]
