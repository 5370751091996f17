"""A TCP proxy between the feed and its venue, which can do to a connection what a network does.

with Proxy(port_of_the_venue) as proxy:      # proxy.port for the feed
    proxy.reset()            every connection ends with RST
    proxy.hold()             half open: nothing passes any more, nobody is told; new connections are taken, and held
    proxy.hold(after=100)    the same, 100 bytes later: most likely inside a frame
    proxy.throttle(50_000)   bytes per second
    proxy.refuse()           nothing listens any more, connections end with RST
    proxy.heal()             as at first; what is held is reset, so that the feed may come again
"""

import selectors
import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType

LOOPBACK = "127.0.0.1"
CHUNK = 65_536
TURN_S = 0.01
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: close is RST


class _Pair:
    """A client's connection and ours to the venue."""

    def __init__(self, client: socket.socket, venue: socket.socket) -> None:
        self.ends = (client, venue)

    def other(self, end: socket.socket) -> socket.socket:
        return self.ends[1] if end is self.ends[0] else self.ends[0]

    def close(self, reset: bool) -> None:
        for end in self.ends:
            with suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.close()


class Proxy:
    def __init__(self, venue_port: int) -> None:
        self._venue_port = venue_port
        self._listener: socket.socket | None = self._listen(0)
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.bytes_passed = 0
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._room: int | None = None  # bytes that still pass; None: all
        self._rate: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy")

    @property
    def url(self) -> str:
        return f"ws://{LOOPBACK}:{self.port}/stocks"

    def __enter__(self) -> "Proxy":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.refuse()

    # ---- faults

    def reset(self) -> None:
        with self._lock:
            self._drop_all()

    def hold(self, after: int = 0) -> None:
        with self._lock:
            self._room = after

    def throttle(self, bytes_per_s: float) -> None:
        with self._lock:
            self._rate = bytes_per_s

    def refuse(self) -> None:
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
            self._drop_all()

    def heal(self) -> None:
        with self._lock:
            if self._room is not None:
                self._drop_all()
            self._room = self._rate = None
            if self._listener is None:
                self._listener = self._listen(self.port)

    # ---- work

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server((LOOPBACK, port))
        listener.setblocking(False)
        return listener

    def _drop_all(self) -> None:
        for pair in self._pairs:
            pair.close(reset=True)
        self._pairs.clear()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                moved = self._turn()
            if not moved:
                time.sleep(TURN_S / 4)

    def _turn(self) -> int:
        """One look at every socket; returns the bytes that passed."""
        self._accept()
        with selectors.DefaultSelector() as ready:
            for pair in self._pairs:
                for end in pair.ends:
                    ready.register(end, selectors.EVENT_READ, pair)
            found = [(key.fileobj, key.data) for key, _ in ready.select(0)]
        return sum(self._pass_on(pair, end) for end, pair in found if pair in self._pairs)

    def _accept(self) -> None:
        if self._listener is None:
            return
        with suppress(BlockingIOError):
            client, _ = self._listener.accept()
            try:
                venue = socket.create_connection((LOOPBACK, self._venue_port), timeout=1.0)
            except OSError:
                client.close()
                return
            for end in (client, venue):
                end.settimeout(1.0)
            self.connections += 1
            self._pairs.append(_Pair(client, venue))

    def _pass_on(self, pair: _Pair, end: socket.socket) -> int:
        limit = CHUNK if self._room is None else min(CHUNK, self._room)
        if self._rate is not None:
            limit = min(limit, max(1, int(self._rate * TURN_S)))
        if not limit:
            return 0
        try:
            data = end.recv(limit)
            if data:
                pair.other(end).sendall(data)
        except OSError:
            data = b""
        if not data:
            pair.close(reset=False)
            self._pairs.remove(pair)
            return 0
        self._count(len(data))
        return len(data)

    def _count(self, size: int) -> None:
        self.bytes_passed += size
        if self._room is not None:
            self._room -= size
        if self._rate is not None:
            time.sleep(size / self._rate)
