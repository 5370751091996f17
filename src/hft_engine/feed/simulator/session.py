"""One client's connection at the simulated venue: what it may receive, what waits to be sent, how it ends."""

import asyncio
from collections import deque
from dataclasses import dataclass

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from hft_engine.feed.simulator.options import VenueOptions

POLICY_VIOLATION = 1008
FLUSH_TIMEOUT_S = 1.0  # for the last status before a drop
TEXT_FINAL = 0x81  # first byte of an unfragmented websocket text frame


def status(kind: str, message: str) -> bytes:
    return msgspec.json.encode({"ev": "status", "status": kind, "message": message})


def array(events: list[bytes]) -> bytes:
    return b"[" + b",".join(events) + b"]"


@dataclass
class VenueCounts:
    """What happened since the venue started."""

    connections: int = 0  # accepted
    frames: int = 0  # of data, sent
    events: int = 0  # of data, sent
    auth_failures: int = 0
    slow_consumer_kills: int = 0
    bad_requests: int = 0  # not JSON, not an object, an unknown action, or a subscribe before auth


class Outbox:
    """Encoded events that wait for the socket, in order; ``bytes_waiting`` is bounded by whoever puts them in."""

    def __init__(self) -> None:
        self._events: deque[bytes] = deque()
        self._filled = asyncio.Event()
        self.bytes_waiting = 0
        self.closed = False  # True: what is put in is dropped

    def put(self, event: bytes) -> None:
        if self.closed:
            return
        self._events.append(event)
        self.bytes_waiting += len(event)
        self._filled.set()

    async def take(self, events_max: int) -> list[bytes]:
        """At least one event, at most ``events_max``; waits for the first."""
        await self._filled.wait()
        events = [self._events.popleft() for _ in range(min(events_max, len(self._events)))]
        self.bytes_waiting -= sum(map(len, events))
        if not self._events:
            self._filled.clear()
        return events


class Session:
    """``pairs`` are the subscriptions (channel, symbol), the symbol perhaps "*"."""

    def __init__(
        self, socket: ServerConnection, options: VenueOptions, events_per_frame_max: int, counts: VenueCounts
    ) -> None:
        self.socket = socket
        self.pairs: set[tuple[str, str]] = set()
        self.outbox = Outbox()
        self._frames = 0
        self._counts = counts
        self._options = options
        self._events_max = events_per_frame_max

    @property
    def bytes_waiting(self) -> int:
        return self.outbox.bytes_waiting + self.socket.transport.get_write_buffer_size()

    async def reply(self, *statuses: bytes) -> None:
        """One frame of status events, past the outbox: the venue's answers do not queue behind its data."""
        await self.socket.send(array(list(statuses)), text=True)

    async def send_data(self) -> None:
        """Sends the outbox, frame by frame, until the connection ends or a fault stops it."""
        try:
            while not self.outbox.closed:
                await self._send_frame(await self.outbox.take(self._events_max))
        except ConnectionClosed:
            self.outbox.closed = True

    async def _send_frame(self, events: list[bytes]) -> None:
        if self._frames_reach(self._options.half_frame_after_frames):
            self.outbox.closed = True
            self._send_half(array(events))
            return
        await self.socket.send(array(events), text=True)
        self._frames += 1
        self._counts.frames += 1
        self._counts.events += len(events)
        if self._frames_reach(self._options.drop_after_frames):
            self.outbox.closed = True
            await self.drop()

    def _frames_reach(self, limit: int) -> bool:
        return 0 < limit <= self._frames

    def _send_half(self, frame: bytes) -> None:
        # By hand, under the library: its own senders cannot be talked into half a frame.
        whole = bytes((TEXT_FINAL, 127)) + len(frame).to_bytes(8) + frame
        self.socket.transport.write(whole[: len(whole) // 2])

    async def drop(self) -> None:
        """Ends the TCP connection without a close frame, as the venue does, once what was sent has left."""
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                while self.socket.transport.get_write_buffer_size():
                    await asyncio.sleep(0.001)
        except TimeoutError:
            pass
        self.abort()

    def abort(self) -> None:
        self.socket.transport.abort()
