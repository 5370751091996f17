"""The transports of the peers' pipeline: how the bytes of records get from one stage's process to the next.

Both are the libraries' fastest ways that keep every record and its order: pyzmq PUSH/PULL over ipc, one message a
batch; Redis Streams over a unix socket, one entry a batch, through redis-py's connections with hiredis, without the
generic command layer above them. The reply to an XADD is read when the next is due, so nobody is woken for it.
"""

import contextlib
import importlib
import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

REDIS_SERVER = "redis-server"
STREAM_ENTRIES_MAX = 65_536  # what a stage that falls behind makes the server hold
READ_MAX = 64  # messages or entries taken at once, to go on as one
START_TIMEOUT_S = 10.0

Kind = Literal["zmq", "redis"]


class Wire(msgspec.Struct, frozen=True):
    """One hop. ``address``: directory of the ipc files, or the server's unix socket; ``name`` is the hop's own."""

    kind: Kind
    address: str
    name: str
    spin: bool = False  # zmq: the receiver asks without end instead of sleeping in ``recv``


class Sender(Protocol):
    def send(self, payload: memoryview) -> None: ...


class Receiver(Protocol):
    def receive(self) -> Sequence[bytes]:
        """Waits for the next batch; more than one when they lie ready anyway."""
        ...


class ZmqSender:
    """Blocks when the receiver is 1,000 messages behind: nothing is lost."""

    def __init__(self, wire: Wire) -> None:
        import zmq

        self._socket: Any = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.connect(_ipc(wire))

    def send(self, payload: memoryview) -> None:
        self._socket.send(payload)  # copies: faster than reference counting below 64 KiB


class ZmqReceiver:
    def __init__(self, wire: Wire) -> None:
        import zmq

        self._socket: Any = zmq.Context.instance().socket(zmq.PULL)
        self._socket.bind(_ipc(wire))
        self._events, self._readable, self._spin = int(zmq.EVENTS), int(zmq.POLLIN), wire.spin

    def receive(self) -> Sequence[bytes]:
        if self._spin:
            while not self._is_ready():
                pass
        batches = [self._socket.recv()]
        while len(batches) < READ_MAX and self._is_ready():
            batches.append(self._socket.recv())
        return batches

    def _is_ready(self) -> bool:
        return bool(self._socket.get(self._events) & self._readable)


def _ipc(wire: Wire) -> str:
    return f"ipc://{wire.address}/{wire.name}.ipc"


class RedisSender:
    def __init__(self, wire: Wire) -> None:
        self._connection = _connect(wire)
        self._head = ("XADD", wire.name, "MAXLEN", "~", str(STREAM_ENTRIES_MAX), "*", "r")
        self._owed = False

    def send(self, payload: memoryview) -> None:
        connection = self._connection
        if self._owed:
            connection.read_response(disable_decoding=True)
        connection.send_packed_command(
            connection.pack_command(*self._head, bytes(payload)), check_health=False
        )
        self._owed = True


class RedisReceiver:
    def __init__(self, wire: Wire) -> None:
        self._connection = _connect(wire)
        self._head = ("XREAD", "COUNT", str(READ_MAX), "BLOCK", "0", "STREAMS", wire.name)
        self._last = b"0"

    def receive(self) -> Sequence[bytes]:
        connection = self._connection
        connection.send_packed_command(connection.pack_command(*self._head, self._last), check_health=False)
        entries = connection.read_response(disable_decoding=True)[0][1]
        self._last = entries[-1][0]
        return [fields[1] for _, fields in entries]


def _connect(wire: Wire) -> Any:
    make: Any = importlib.import_module("redis.connection").UnixDomainSocketConnection  # an optional package
    connection: Any = make(path=wire.address, protocol=2, socket_timeout=None)
    connection.connect()
    return connection


def sender(wire: Wire) -> Sender:
    return ZmqSender(wire) if wire.kind == "zmq" else RedisSender(wire)


def receiver(wire: Wire) -> Receiver:
    return ZmqReceiver(wire) if wire.kind == "zmq" else RedisReceiver(wire)


def missing(kind: Kind) -> str | None:
    """Why this transport cannot be measured here and what to do about it; None when it can."""
    packages = {"zmq": ("zmq",), "redis": ("redis", "hiredis")}[kind]
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        return f'{" and ".join(absent)} not installed: pip install "hft-engine[bench]"'
    if kind == "redis" and shutil.which(REDIS_SERVER) is None:
        return f"no {REDIS_SERVER} in the path: install the server (Debian: apt install redis-server)"
    return None


@contextlib.contextmanager
def address(kind: Kind, directory: Path) -> Iterator[str]:
    """Where the hops meet: ``directory`` itself, or a Redis server of our own in it, without persistence."""
    if kind == "zmq":
        yield str(directory)
        return
    path = directory / "redis.sock"
    settings = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(
        [REDIS_SERVER, *settings, "--dir", str(directory)],
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        _until_answering(path)
        yield str(path)
    finally:
        server.kill()  # it holds nothing that anybody needs
        server.wait()


def _until_answering(path: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{REDIS_SERVER} does not answer on {path}")
        time.sleep(0.01)
