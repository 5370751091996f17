"""One websocket connection: opened in the background, then read and written without ever waiting.

websocket-client does what is done once: address, proxy, TCP, TLS, the HTTP upgrade. From then on the socket is
non-blocking and ours: its reader takes three system calls a frame, cannot refuse a frame by size, and in blocking
mode does not notice a peer that stalls inside a frame. A connection that ended is thrown away, never reused.

A plain socket may also be read by compiled code (``feed.wire``), in turn with ``read`` and ``next_message`` here.

Texts of errors never hold more of the address than scheme and host: a query string may carry a key.
"""

import contextlib
import os
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

import websocket

from hft_engine.feed.frames import FrameError, FrameReader, Opcode, StreamWord

OUTBOX_BYTES_MAX = 1_000_000  # what a peer that reads nothing may make us hold
CLOSE_REASON_MAX = 120
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError, InterruptedError)
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class TransportError(Exception):
    """The connection is over, or could not be made; the text says why, for people."""


class UpgradeRefusedError(TransportError):
    """The server answered the upgrade with an HTTP status. ``for_good``: it will not take this key or address."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.for_good = status in _FOR_GOOD
        self.too_many = status == _TOO_MANY


_FOR_GOOD, _TOO_MANY = (401, 403), 429
_CLOSE = int(Opcode.CLOSE)
_DROPPED = "the venue dropped the connection without a close frame"


class Connection:
    """An open connection. ``frames`` holds what was read, and when (``StreamWord``)."""

    def __init__(self, client: websocket.WebSocket, frame_bytes_max: int) -> None:
        self._client = client
        if client.sock is None:
            raise TransportError("the connection was closed before it was used")
        self._socket: socket.socket = client.sock
        self._socket.settimeout(0)
        self.frames = FrameReader(frame_bytes_max)
        self._words = self.frames.words.data
        self._outbox = bytearray()
        self.controls = 0  # pings and pongs that came: signs of life
        self.encrypted = isinstance(self._socket, ssl.SSLSocket)
        self._words[StreamWord.FD] = self._socket.fileno()

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def ts_recv_ns(self) -> int:
        """UTC right after the last read."""
        return self._words[StreamWord.TS_RECV_NS]

    @property
    def ts_mono_ns(self) -> int:
        """CLOCK_MONOTONIC right after the last read."""
        return self._words[StreamWord.TS_MONO_NS]

    @property
    def bytes_read(self) -> int:
        return self._words[StreamWord.BYTES_READ]

    def read(self) -> bool:
        """Take what the socket holds, up to READ_BYTES; False when there is nothing. Raises TransportError."""
        words = self._words
        try:
            count = self._socket.recv_into(self.frames.space())
        except _WOULD_BLOCK:
            return False
        except OSError as error:
            raise TransportError(f"the connection broke: {_plain(error)}") from None
        words[StreamWord.TS_RECV_NS] = time.time_ns()
        words[StreamWord.TS_MONO_NS] = time.monotonic_ns()
        if not count:
            raise TransportError(_DROPPED)
        words[StreamWord.BYTES_READ] += count
        self.frames.filled(count)
        return True

    def check(self) -> None:
        """Raises TransportError when compiled code found the connection at its end."""
        error = self._words[StreamWord.ERROR]
        if error < 0:
            raise TransportError(_DROPPED)
        if error > 0:
            raise TransportError(f"the connection broke: {os.strerror(error)}")

    def next_message(self) -> bytes | None:
        """The next whole data message already read, or None. Pings are answered. Raises TransportError."""
        try:
            while (message := self.frames.next()) is not None:
                opcode, payload = message
                if opcode < _CLOSE:
                    return payload
                self._control(opcode, payload)
        except FrameError as error:
            raise TransportError(f"the venue breaks the websocket protocol: {error}") from None
        return None

    def send(self, text: str) -> None:
        """Queue a text message and send what goes out at once. Raises TransportError."""
        self._put(text, Opcode.TEXT)

    def ping(self) -> None:
        self._put(b"", Opcode.PING)

    def flush(self) -> None:
        """Send what is queued, as far as the socket takes it. Raises TransportError."""
        while self._outbox:
            try:
                sent = self._socket.send(self._outbox)
            except _WOULD_BLOCK:
                return
            except OSError as error:
                raise TransportError(f"the connection broke: {_plain(error)}") from None
            del self._outbox[:sent]

    def close(self) -> None:
        """Say goodbye if the socket takes it at once, and close. Never waits, never raises."""
        with contextlib.suppress(TransportError):  # it may be over already
            self._put((1000).to_bytes(2, "big"), Opcode.CLOSE)
        self._client.shutdown()  # type: ignore[no-untyped-call]

    def _put(self, payload: str | bytes, opcode: Opcode) -> None:
        self._outbox += websocket.ABNF.create_frame(payload, int(opcode)).format()
        if len(self._outbox) > OUTBOX_BYTES_MAX:
            raise TransportError(f"the venue takes no data: {len(self._outbox)} bytes wait to be sent")
        self.flush()

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.CLOSE:
            raise TransportError(_close_text(payload))
        self.controls += 1
        if opcode == Opcode.PING:
            self._put(payload, Opcode.PONG)


class Dialer:
    """Opens a connection in a thread of its own, which ends with the attempt: the duty cycle goes on meanwhile.

    A thread, because name look-up and the TLS handshake of the standard library block; it runs only while there
    is no data to handle.
    """

    def __init__(self, url: str, timeout_ms: int, frame_bytes_max: int) -> None:
        self._url = url
        self._timeout_s = timeout_ms / 1_000
        self._frame_bytes_max = frame_bytes_max
        self._client = websocket.WebSocket(
            enable_multithread=False,
            skip_utf8_validation=True,  # the decoder validates what it uses
            sockopt=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        self._client.settimeout(self._timeout_s)
        self._lock = threading.Lock()
        self._abandoned = False
        self._connection: Connection | None = None
        self._failure: TransportError | None = None
        self._thread = threading.Thread(target=self._dial, name="feed-dialer", daemon=True)
        self._thread.start()

    def result(self) -> Connection | None:
        """The open connection, once; None while there is none. Raises TransportError when it failed."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            connection, self._connection = self._connection, None
            return connection

    def abandon(self) -> None:
        """Give up: what comes of the attempt is closed. Does not wait for the thread."""
        with self._lock:
            self._abandoned = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            half_open = self._client.sock
        if half_open is not None:
            _shut(half_open)

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _dial(self) -> None:
        host = urlsplit(self._url).hostname or ""
        try:
            self._client.connect(  # type: ignore[no-untyped-call]
                self._url,
                redirect_limit=0,  # the address is in the configuration; a venue does not change it
                **(_direct(host) if host in LOOPBACK else {}),
                suppress_origin=True,
            )
            connection = Connection(self._client, self._frame_bytes_max)
        except (OSError, websocket.WebSocketException, ValueError, TransportError) as error:
            self._settle(None, _failure(f"cannot connect to {place(self._url)}", error))
        else:
            self._settle(connection, None)

    def _settle(self, connection: Connection | None, failure: TransportError | None) -> None:
        with self._lock:
            if not self._abandoned:
                self._connection, self._failure = connection, failure
            elif connection is not None:
                connection.close()


def _direct(host: str) -> dict[str, object]:
    # websocket-client heeds http_no_proxy only beside a proxy of its own, else the environment's proxy is used.
    return {"http_no_proxy": [host], "http_proxy_host": host, "http_proxy_port": 1}


def place(url: str) -> str:
    """Scheme, host and port of an address: all of it that may be logged."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _shut(half_open: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may have ended by itself
        half_open.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it


def _plain(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _failure(what: str, error: Exception) -> TransportError:
    text = f"{what}: {_explain(error)}"
    if isinstance(error, websocket.WebSocketBadStatusException):
        return UpgradeRefusedError(text, error.status_code)
    return TransportError(text)


def _explain(error: Exception) -> str:
    """What went wrong and what to do. Built from types and codes: a message may quote headers or the address."""
    if isinstance(error, websocket.WebSocketBadStatusException):
        return f"the server answered HTTP {error.status_code} to the upgrade; {_advice(error.status_code)}"
    if isinstance(error, websocket.WebSocketTimeoutException | TimeoutError):
        return "no answer in time; check the network and feed.connect_timeout_ms"
    if isinstance(error, websocket.WebSocketAddressException | socket.gaierror):
        return "the host name is not known; check feed.url and the network"
    if isinstance(error, websocket.WebSocketProxyException):
        return "the proxy refused; check the http_proxy and https_proxy variables"
    if isinstance(error, ConnectionRefusedError):
        return "refused; nothing listens there, check feed.url"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason}; is feed.url's wss:// or ws:// right?"
    if isinstance(error, OSError):
        return _plain(error)
    return f"the server does not speak websocket ({type(error).__name__})"


def _advice(status: int) -> str:
    if status in _FOR_GOOD:
        return "it does not accept the API key: check the venue's variable in the environment or in .env"
    if status == _TOO_MANY:
        return "too many connections or attempts: stop other programs that use the key"
    return "check the path in feed.url"


def _close_text(payload: bytes) -> str:
    if len(payload) < 2:
        return "the venue closed the connection"
    reason = payload[2:].decode("utf-8", "replace")[:CLOSE_REASON_MAX]
    return f"the venue closed the connection: {int.from_bytes(payload[:2], 'big')} {reason}".rstrip()
