"""``stream_async``: a venue's records for a program that runs on asyncio.

The feed runs on its own thread, as behind every name of this package; records wait in a bounded queue until the loop
takes them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

from hft_engine.api.connection import Connection
from hft_engine.api.schema import Record, RecordType
from hft_engine.feed.states import FeedState
from hft_engine.feed.venues.polygon_hosts import address

WAITING_MAX = 100_000  # records that the loop has not taken; the oldest give way, counted
_MARKETS = {"polygon": "stocks", "polygon-options": "options"}  # whose vendor has a delayed host
# By whether it is real time: the delayed hosts have no quotes.
_CHANNELS = {True: ["T", "Q"], False: ["T", "AM"]}


class StreamError(Exception):
    """The stream cannot begin, or has ended for good; the text says why and what to do."""


class RecordStream(AsyncIterator[tuple[RecordType, Record]]):
    """``async for kind, record in stream``, from ``stream_async``. ``missed``: records that gave way to newer ones.

    Iteration ends after ``aclose``, which ``async with`` does. Raises StreamError when the feed has failed for good.
    """

    def __init__(self, connection: Connection, symbols: Iterable[str], waiting_max: int) -> None:
        self.missed = 0
        self._connection = connection
        self._symbols = tuple(symbols)
        self._waiting: deque[tuple[RecordType, Record]] = deque(maxlen=waiting_max)
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._asleep = self._closed = False
        connection.listen(self._take)
        connection.listen_to_state(self._turned)

    @property
    def state(self) -> str:
        """Of the connection: live, quiet, backoff, failed, ..."""
        return self._connection.state

    @property
    def event(self) -> str:
        """What was last told of the connection, for people; "" before anything was."""
        return next(reversed(self._connection.events()), "")

    def subscribe(self, symbols: Iterable[str]) -> None:
        """More symbols, from now on. Raises StreamError for what the venue cannot have."""
        problem = self._connection.check()
        if not problem:
            self._connection.subscribe(symbols, wait_s=0)
            problem = "" if self._connection.is_open else self._connection.problem
        if problem:
            raise StreamError(problem)

    async def __aenter__(self) -> "RecordStream":
        return self._begun()

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> "RecordStream":
        return self._begun()

    async def __anext__(self) -> tuple[RecordType, Record]:
        while self._closed or not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            if self._connection.state == "failed":
                raise StreamError(self._connection.problem)
            self._event.clear()
            self._asleep = True  # from here on the feed's thread rings
            if not self._waiting and self._connection.state != "failed":
                await self._event.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """Ends the connection; what waits is given up."""
        self._closed = True
        self._event.set()
        await asyncio.to_thread(self._connection.close)

    def _begun(self) -> "RecordStream":
        if not self._connection.is_open and not self._closed and self._symbols:
            self.subscribe(self._symbols)
        return self

    # ---- on the feed's thread

    def _take(self, kind: RecordType, record: Record) -> None:
        self.missed += len(self._waiting) == self._waiting.maxlen
        self._waiting.append((kind, record))
        self._ring()

    def _turned(self, state: FeedState) -> None:
        if state is FeedState.FAILED:
            self._ring()

    def _ring(self) -> None:
        if self._asleep and not self._closed:
            self._asleep = False
            self._loop.call_soon_threadsafe(self._event.set)


def stream_async(
    symbols: Iterable[str],
    *,
    realtime: bool = False,
    venue: str = "polygon",
    api_key: str | None = None,
    url: str | None = None,
    waiting_max: int = WAITING_MAX,
    **settings: Any,
) -> RecordStream:
    """The records of ``symbols``, as they come; to be called on a running event loop.

    Polygon's are the delayed ones unless ``realtime``: trades and minute bars 15 minutes late; else trades and quotes.
    Where the plan has no real-time data the feed goes over to the delayed host by itself and says so. ``settings``:
    keys of ``feed`` in config/engine.yaml. ``waiting_max``: records that may wait for the loop.
    Raises ConfigError for settings that cannot be.
    """
    feed = {"venue": venue, **feed_settings(venue, realtime, url), **settings}
    return RecordStream(Connection({"feed": feed}, api_key, source="stream"), symbols, waiting_max)


def feed_settings(venue: str, realtime: bool, url: str | None) -> dict[str, Any]:
    """Address and channels of a stream, as keys of ``feed``."""
    if venue not in _MARKETS:
        return {"channels": ["T"]} | ({} if url is None else {"url": url})
    stem = "socket" if realtime else "delayed"
    return {"channels": _CHANNELS[realtime], "url": url or address(stem, _MARKETS[venue])}
