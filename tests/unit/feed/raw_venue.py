"""A websocket server of a few lines whose every byte a test decides, and waiting for conditions."""

import base64
import contextlib
import hashlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

WAIT_S = 40.0
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def wait_for(condition: Callable[[], object], what: str = "condition") -> None:
    """Returns when ``condition()`` is true; fails after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true in {WAIT_S} s"
        select.select([], [], [], 0.001)


def upgrade(client: socket.socket) -> None:
    """Answers the HTTP request of a websocket client."""
    request = b""
    while b"\r\n\r\n" not in request:
        chunk = client.recv(4096)
        if not chunk:
            raise ConnectionError("the client left during the handshake")
        request += chunk
    lines = dict(line.split(": ", 1) for line in request.decode().split("\r\n")[1:] if ": " in line)
    key = next(value for name, value in lines.items() if name.lower() == "sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
    )


def receive(client: socket.socket) -> tuple[int, bytes]:
    """The next frame of a client: (opcode, payload)."""

    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = client.recv(size - len(data))
            if not chunk:
                raise ConnectionError("the client left")
            data += chunk
        return data

    first, second = exactly(2)
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(exactly(2 if size == 126 else 8), "big")
    assert second & 0x80, "a client must mask"
    mask = exactly(4)
    keys = (mask * (size // 4 + 1))[:size]
    unmasked = int.from_bytes(exactly(size), "big") ^ int.from_bytes(keys, "big")
    return first & 0x0F, unmasked.to_bytes(size, "big")


Handler = Callable[[socket.socket], None]


class RawVenue:
    """Serves each connection with ``handler`` in a thread of its own."""

    def __init__(self, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'wss' if context else 'ws'}://localhost:{self.port}/stocks"
        self.accepted = 0
        self.errors: list[BaseException] = []
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(client,))
            self._clients.append(client)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
                self._clients.append(client)
            client.settimeout(WAIT_S)
            self._handler(client)
        except OSError:
            pass  # the client left: what many tests are about
        except AssertionError as error:
            self.errors.append(error)
        finally:
            client.close()

    def close(self) -> None:
        for half_open in (self._listener, *self._clients):
            with contextlib.suppress(OSError):
                half_open.shutdown(socket.SHUT_RDWR)
            half_open.close()
        self._acceptor.join(WAIT_S)
        for thread in self._threads:
            thread.join(WAIT_S)
        assert not self.errors, self.errors


@contextlib.contextmanager
def serving(handler: Handler, context: ssl.SSLContext | None = None) -> Iterator[RawVenue]:
    venue = RawVenue(handler, context)
    try:
        yield venue
    finally:
        venue.close()


def until_left(client: socket.socket) -> None:
    """Keeps a connection open until the client closes it."""
    while client.recv(4096):
        pass
