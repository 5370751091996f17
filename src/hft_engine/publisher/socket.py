"""The XPUB sockets of a run: every option that matters, who may connect, and what happens to a slow subscriber."""

from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from hft_engine.config.checks import is_loopback
from hft_engine.config.schema import PublisherConfig

LINGER_MS = 100  # of an ordered stop, well under its 200 ms
HIGH_WATER = 10_000  # messages queued for one subscriber
PATH_BYTES_MAX = 107  # sockaddr_un.sun_path


class PublishError(RuntimeError):
    """The sockets cannot be opened; the text says why and what to do."""


class Outlet:
    """One XPUB socket. A subscriber that does not keep up loses messages until it reads again, and sees how many
    by the sequence; the others lose nothing, and nobody waits. ``congested`` counts how often one fell behind.
    """

    def __init__(self, socket: "zmq.Socket[bytes]", address: str) -> None:
        self._socket = socket
        self.address = address
        self.subscriptions = 0
        self.congested = 0

    def send(self, frames: list[bytes]) -> None:
        """Never waits."""
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            self.congested += 1
            self._send_lossy(frames)

    def _send_lossy(self, frames: list[bytes]) -> None:
        # NODROP shows a full queue, but refuses the message to everybody; so once more without it. libzmq then
        # leaves the full queue out until it has room again.
        self._socket.setsockopt(zmq.XPUB_NODROP, 0)
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        finally:
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)

    def serve(self) -> int:
        """Take subscriptions and cancellations that have come in; returns how many."""
        handled = 0
        while True:
            try:
                frame = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return handled
            handled += 1
            if frame[:1] in (b"\0", b"\1"):
                self.subscriptions += 1 if frame[0] else -1


class Outlets:
    """The run directory's socket and, if configured, the one on TCP. Made in the process that uses it."""

    def __init__(self, ipc_path: Path, config: PublisherConfig) -> None:
        """Raises PublishError."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._authenticator: ThreadAuthenticator | None = None
        self._sockets: list[zmq.Socket[bytes]] = []
        self.outlets: list[Outlet] = []
        try:
            self._open_ipc(ipc_path)
            if config.tcp is not None:
                self._open_tcp(config.tcp, config)
        except BaseException:
            self.close()
            raise

    def send(self, frames: list[bytes]) -> None:
        for outlet in self.outlets:
            outlet.send(frames)

    def serve(self) -> int:
        return sum(outlet.serve() for outlet in self.outlets)

    @property
    def subscriptions(self) -> int:
        return sum(outlet.subscriptions for outlet in self.outlets)

    @property
    def congested(self) -> int:
        return sum(outlet.congested for outlet in self.outlets)

    def close(self) -> None:
        """What is queued gets LINGER_MS to leave."""
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None
        for socket in self._sockets:
            socket.close(linger=LINGER_MS)
        self._context.term()

    def _open_ipc(self, path: Path) -> None:
        if len(str(path).encode()) > PATH_BYTES_MAX:
            raise PublishError(
                f"{path} is longer than {PATH_BYTES_MAX} bytes, the limit of a socket's name; "
                "set engine.run_root to a shorter path"
            )
        self._bind(self._socket(), f"ipc://{path}", "check the run directory's permissions")

    def _open_tcp(self, tcp: str, config: PublisherConfig) -> None:
        secured = config.curve_public_key is not None and config.curve_secret_key is not None
        if not is_loopback(tcp) and not secured:
            raise PublishError(
                f"publisher.tcp {tcp} can be reached from other machines: "
                "give both CURVE keys, or use a loopback address"
            )
        socket = self._socket()
        if secured:
            self._secure(socket, config)
        self._bind(socket, f"tcp://{tcp}", "choose another publisher.tcp")

    def _socket(self) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.XPUB)
        self._sockets.append(socket)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER)  # before bind: it holds for pipes made later
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        socket.setsockopt(zmq.IPV6, 1)
        return socket

    def _bind(self, socket: "zmq.Socket[bytes]", address: str, remedy: str) -> None:
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            raise PublishError(
                f"cannot publish at {address}: {zmq.strerror(error.errno or 0)}; {remedy}"
            ) from None
        bound = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self.outlets.append(Outlet(socket, bound))

    def _secure(self, socket: "zmq.Socket[bytes]", config: PublisherConfig) -> None:
        assert config.curve_public_key is not None and config.curve_secret_key is not None
        try:
            socket.setsockopt(zmq.CURVE_PUBLICKEY, config.curve_public_key.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, config.curve_secret_key.encode())
        except zmq.ZMQError:
            raise PublishError(
                "publisher.curve_public_key or curve_secret_key is no Z85 key; "
                "make a pair with zmq.curve_keypair()"
            ) from None
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        if config.curve_client_keys_dir is not None:
            self._admit_only(Path(config.curve_client_keys_dir))

    def _admit_only(self, keys_dir: Path) -> None:
        if not keys_dir.is_dir():
            raise PublishError(
                f"publisher.curve_client_keys_dir {keys_dir} is no folder; "
                "make one with the clients' public .key files (zmq.auth.create_certificates)"
            )
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain="*", location=keys_dir)
