"""One client's connection at the simulated venue: what it may receive, what waits to be sent, how it ends."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

FLUSH_TIMEOUT_S = 1.0  # for the last status before a drop
TEXT_FINAL = 0x81  # first byte of an unfragmented websocket text frame
Undelivered = Callable[[Sequence[bytes]], None]


@dataclass
class VenueCounts:
    """What happened since the venue started."""

    connections: int = 0  # accepted
    frames: int = 0  # of data, sent
    events: int = 0  # of data, sent
    auth_failures: int = 0
    slow_consumer_kills: int = 0
    bad_requests: int = 0  # not JSON, not an object, an unknown action, or a subscribe before auth
    rest_requests: int = 0
    rest_failures: int = 0  # answered with an error
    live_max: int = 0  # authenticated connections at the same time


class Outbox:
    """Encoded events that wait for the socket, in order; ``bytes_waiting`` is bounded by whoever puts them in.

    ``undelivered`` is told what will not be sent.
    """

    def __init__(self, undelivered: Undelivered) -> None:
        self._events: deque[bytes] = deque()
        self._filled = asyncio.Event()
        self._undelivered = undelivered
        self.bytes_waiting = 0
        self.closed = False

    def put(self, event: bytes) -> None:
        if self.closed:
            self._undelivered([event])
            return
        self._events.append(event)
        self.bytes_waiting += len(event)
        self._filled.set()

    def extend(self, events: list[bytes]) -> None:
        """As ``put``, of all of them."""
        if self.closed:
            self._undelivered(events)
            return
        self._events.extend(events)
        self.bytes_waiting += sum(map(len, events))
        self._filled.set()

    async def take(self, events_max: int) -> list[bytes]:
        """At least one event, at most ``events_max``; waits for the first."""
        await self._filled.wait()
        events = [self._events.popleft() for _ in range(min(events_max, len(self._events)))]
        self.bytes_waiting -= sum(map(len, events))
        if not self._events:
            self._filled.clear()
        return events

    def close(self) -> None:
        """Nothing more is sent."""
        self.closed = True
        if self._events:
            self._undelivered(list(self._events))
        self._events.clear()
        self._filled.clear()
        self.bytes_waiting = 0


class Session:
    """``pairs`` are the subscriptions (channel, symbol), the symbol perhaps "*".

    ``pack`` makes a data frame of events; ``undelivered`` is told what was not sent when a connection ended.
    """

    def __init__(
        self,
        socket: ServerConnection,
        pack: Callable[[list[bytes]], bytes],
        events_per_frame_max: int,
        counts: VenueCounts,
        undelivered: Undelivered,
    ) -> None:
        self.socket = socket
        self.pairs: set[tuple[str, str]] = set()
        self.outbox = Outbox(undelivered)
        self.frames = 0  # of data, sent
        self.half_frame = False  # True: the next data frame is cut in two, and nothing follows
        self._pack = pack
        self._counts = counts
        self._events_max = events_per_frame_max
        self._undelivered = undelivered

    @property
    def bytes_waiting(self) -> int:
        return self.outbox.bytes_waiting + self.socket.transport.get_write_buffer_size()

    async def reply(self, frame: bytes) -> None:
        """Past the outbox: a venue's answers do not queue behind its data."""
        if not self.outbox.closed:
            await self.socket.send(frame, text=True)

    async def send_data(self) -> None:
        """Sends the outbox, frame by frame, until the connection ends or a fault stops it."""
        while True:
            events = await self.outbox.take(self._events_max)
            if self.half_frame:
                self._send_half(events)
                return
            try:
                await self.socket.send(self._pack(events), text=True)
            except ConnectionClosed:
                self._undelivered(events)
                self.outbox.close()
                return
            self.frames += 1
            self._counts.frames += 1
            self._counts.events += len(events)

    def _send_half(self, events: list[bytes]) -> None:
        # By hand, under the library: its own senders cannot be talked into half a frame.
        frame = self._pack(events)
        whole = bytes((TEXT_FINAL, 127)) + len(frame).to_bytes(8) + frame
        self.socket.transport.write(whole[: len(whole) // 2])
        self._undelivered(events)
        self.outbox.close()

    def hold(self) -> None:
        """Half open: nothing is sent, nothing is read, no ping is answered."""
        self.outbox.close()
        self.socket.transport.pause_reading()

    async def drop(self) -> None:
        """Ends the TCP connection without a close frame, as the venue does, once what was sent has left."""
        self.outbox.close()
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                while self.socket.transport.get_write_buffer_size():
                    await asyncio.sleep(0.001)
        except TimeoutError:
            pass
        self.socket.transport.abort()

    def abort(self) -> None:
        """As ``drop``, and what has not left does not leave."""
        self.outbox.close()
        self.socket.transport.abort()

    async def close(self, code: int, reason: str) -> None:
        self.outbox.close()
        await self.socket.close(code, reason)
