"""What a provider of real-time data is, and every venue of the engine as one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from hft_engine.api.connection import LIVE, Connection, Listener
from hft_engine.api.schema import Record, RecordType
from hft_engine.api.summary import summary_of
from hft_engine.feed.states import FeedState


class DataFeedProvider(ABC):
    """Base of a provider of your own: ``RealTimeDataFeed.register_provider("name", YourProvider)``.

    ``is_connected`` starts False and is what ``connect`` and ``disconnect`` make of it.
    """

    api_key: str | None = None
    is_connected: bool = False
    problem: str = ""  # why it is not connected, for people; it must not hold the key

    @abstractmethod
    def connect(self) -> bool:
        """True, and ``is_connected`` is True."""

    @abstractmethod
    def subscribe(self, tickers: list[str]) -> bool:
        """True when their data come, or will as soon as there are any."""

    @abstractmethod
    def get_latest_data(self, ticker: str) -> Any:
        """What came last of a ticker; None before anything came."""

    @abstractmethod
    def disconnect(self) -> bool:
        """True, and ``is_connected`` is False."""


class VenueProvider(DataFeedProvider):
    """A venue of the engine (docs/feeds.md). ``settings``: keys of ``feed`` in config/engine.yaml;
    ``kept``: records of each ticker and type that ``recent`` has.

    Raises ConfigError for settings that cannot be.
    """

    def __init__(self, venue: str, api_key: str | None = None, *, kept: int = 100, **settings: Any) -> None:
        feed = {"venue": venue, **_DEFAULTS.get(venue, {}), **settings}
        self._connection = Connection({"feed": feed}, api_key, source=f"provider {venue}", kept=kept)
        self.api_key = self._connection.feed_config.api_key
        self._connection.listen_to_state(self._turned)

    def connect(self) -> bool:
        """Checks key and settings. The socket is opened with the first subscription."""
        self.problem = self._connection.check()
        if self.problem:
            self._connection.log.warning("%s", self.problem)
        elif self._connection.symbols and not self._connection.is_open:
            return self.subscribe(list(self._connection.symbols))
        self.is_connected = not self.problem
        return self.is_connected

    def subscribe(self, tickers: Iterable[str]) -> bool:
        """Connects, where that has not happened; waits until the venue is live, at most for the feed's time-outs."""
        live = self._connection.subscribe(tickers)
        self.problem = "" if live else self._connection.problem
        self.is_connected = live
        return live

    def unsubscribe(self, tickers: Iterable[str]) -> bool:
        return self._connection.unsubscribe(tickers)

    def get_latest_data(self, ticker: str) -> dict[str, Any] | None:
        """``ticker, price, timestamp`` (UTC ms) and what else came: ``size``; ``bid, ask, bid_size, ask_size``; ``open,
        high, low, close, volume``.
        """
        return summary_of(self._connection.recent, ticker)

    def recent(self, ticker: str, record_type: RecordType, limit: int | None = None) -> list[Record]:
        """The latest records, oldest first."""
        return self._connection.recent.last(ticker, record_type, limit)

    def disconnect(self) -> bool:
        self._connection.close()
        self.is_connected = False
        return True

    def listen(self, listener: Listener) -> None:
        """``listener(type, record)`` on the feed's thread, for each record that comes."""
        self._connection.listen(listener)

    def status(self) -> dict[str, Any]:
        """``state`` of the connection, ``problem``, and the feed's counters."""
        connection = self._connection
        return {"state": connection.state, "problem": connection.problem, "counters": connection.counters()}

    def _turned(self, state: FeedState) -> None:
        self.is_connected = state in LIVE
        self.problem = "" if self.is_connected else self._connection.problem


_DEFAULTS: dict[str, dict[str, Any]] = {
    "alphavantage": {"channels": ["T"]},
    "finnhub": {"channels": ["T"]},
    "generic": {"channels": ["T", "Q"]},
}

Factory = Callable[..., DataFeedProvider]
