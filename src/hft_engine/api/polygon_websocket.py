"""``PolygonOptionsWebSocketClient`` and ``OptionsDataStreamer``: trades, quotes, bars and fair values as objects."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hft_engine.api.connection import Connection
from hft_engine.api.schema import Aggregate, FairMarketValue, Quote, Record, RecordType, Trade
from hft_engine.feed.option_symbol import parse_option_symbol

KEPT = 1_000  # records of each contract and type
ALL = "*"


@dataclass(frozen=True, slots=True)
class OptionsTrade:
    """``timestamp``: UTC milliseconds; ``exchange``: the vendor's number of it; ``conditions``: the vendor's codes."""

    ticker: str
    price: float
    size: int
    exchange: str
    timestamp: int
    conditions: list[str]


@dataclass(frozen=True, slots=True)
class OptionsQuote:
    """``exchange`` is the bid's."""

    ticker: str
    bid: float
    ask: float
    bid_size: int
    ask_size: int
    exchange: str
    timestamp: int


@dataclass(frozen=True, slots=True)
class OptionsAggregate:
    """``timestamp``: the window's begin."""

    ticker: str
    open_price: float
    high_price: float
    low_price: float
    close_price: float
    volume: int
    vwap: float | None
    timestamp: int


OptionsRecord = OptionsTrade | OptionsQuote | OptionsAggregate | FairMarketValue
Handler = Callable[[Any], None]


def options_record(record: Record) -> OptionsRecord:
    """With whole contracts."""
    match record:
        case Trade():
            size, rest = int(record.size), (record.exchange, record.timestamp, record.conditions)
            return OptionsTrade(record.ticker, record.price, size, *rest)
        case Quote():
            sizes = int(record.bid_size), int(record.ask_size)
            return OptionsQuote(
                record.ticker, record.bid, record.ask, *sizes, record.exchange, record.timestamp
            )
        case Aggregate():
            prices = record.open_price, record.high_price, record.low_price, record.close_price
            volume = int(record.volume)
            return OptionsAggregate(record.ticker, *prices, volume, record.vwap, record.timestamp)
    return record


class PolygonOptionsWebSocketClient:
    """Subscriptions before or after ``start``; handlers run on the feed's thread, one record at a time: be quick.

    ``api_key`` None: POLYGON_API_KEY or MASSIVE_API_KEY. ``settings``: keys of ``feed`` in config/engine.yaml. More
    contracts than a connection may hold (1,000) are spread over several. Raises ConfigError.
    """

    def __init__(
        self, api_key: str | None = None, url: str | None = None, *, kept: int = KEPT, **settings: Any
    ) -> None:
        feed = {"venue": "polygon-options", "url": url, **settings}
        self._connection = Connection({"feed": feed}, api_key, source="options client", kept=kept)
        self._connection.listen(self._take)
        self._wanted: dict[RecordType, set[str]] = {}
        self._handlers: dict[RecordType, Handler] = {}
        self._counts: Counter[RecordType] = Counter()
        self._started_s = 0.0

    # ---- subscriptions: True where they are in force, or will be at ``start``

    def subscribe_to_trades(self, tickers: Sequence[str]) -> bool:
        return self._subscribe(RecordType.TRADE, tickers)

    def subscribe_to_quotes(self, tickers: Sequence[str]) -> bool:
        return self._subscribe(RecordType.QUOTE, tickers)

    def subscribe_to_aggregates_minute(self, tickers: Sequence[str]) -> bool:
        return self._subscribe(RecordType.MINUTE, tickers)

    def subscribe_to_aggregates_second(self, tickers: Sequence[str]) -> bool:
        return self._subscribe(RecordType.SECOND, tickers)

    def subscribe_to_fmv(self, tickers: Sequence[str]) -> bool:
        """Business plans only: with ``url="wss://business.polygon.io/options"``."""
        return self._subscribe(RecordType.FMV, tickers)

    def unsubscribe(self, tickers: Iterable[str]) -> bool:
        """From all streams."""
        gone = list(tickers)
        for wanted in self._wanted.values():
            wanted.difference_update(gone)
        return self._connection.unsubscribe(gone)

    # ---- handlers

    def set_trade_handler(self, handler: Callable[[OptionsTrade], None]) -> None:
        self._handlers[RecordType.TRADE] = handler

    def set_quote_handler(self, handler: Callable[[OptionsQuote], None]) -> None:
        self._handlers[RecordType.QUOTE] = handler

    def set_aggregate_handler(self, handler: Callable[[OptionsAggregate], None]) -> None:
        """Of minutes and of seconds."""
        self._handlers[RecordType.MINUTE] = self._handlers[RecordType.SECOND] = handler

    def set_fmv_handler(self, handler: Callable[[FairMarketValue], None]) -> None:
        self._handlers[RecordType.FMV] = handler

    # ---- streaming

    def start(self) -> bool:
        """Streams in the background; ``wait`` waits for its end. True when the venue is live, else see ``problem``."""
        if not self._wanted:
            raise ValueError("nothing is subscribed to: subscribe_to_trades, ... first")
        self._started_s = time.monotonic()
        self._use_channels()
        return self._connection.subscribe(sorted(set().union(*self._wanted.values())))

    def wait(self) -> None:
        """Until the stream has failed for good, or Ctrl-C."""
        try:
            while self._connection.is_open:
                time.sleep(0.1)
        except KeyboardInterrupt:
            self.stop()

    def stop(self) -> None:
        self._connection.close()

    @property
    def is_connected(self) -> bool:
        return self._connection.is_live

    @property
    def problem(self) -> str:
        """Why no data come, for people."""
        return self._connection.problem

    def recent(self, ticker: str, record_type: RecordType, limit: int | None = None) -> list[OptionsRecord]:
        """What was kept of a contract, oldest first."""
        return list(map(options_record, self._connection.recent.last(ticker, record_type, limit)))

    def stats(self) -> dict[str, Any]:
        """``state``, ``problem``; ``received`` and ``per_second`` by type; ``connections``; ``latency_us``; the feed's
        ``counters``, which say what was rejected, lost, late; ``handler_errors``.
        """
        connection = self._connection
        seconds = max(time.monotonic() - self._started_s, 1e-9) if self._started_s else 0.0
        received = {kind.name.lower(): self._counts[kind] for kind in self._wanted}
        return {
            "state": connection.state,
            "is_connected": connection.is_live,
            "problem": connection.problem,
            "tickers": list(connection.symbols),
            "received": received,
            "per_second": {name: count / seconds if seconds else 0.0 for name, count in received.items()},
            "connections": connection.lines(),
            "latency_us": connection.latencies(),
            "counters": connection.counters(),
            "handler_errors": connection.listener_errors,
        }

    def __enter__(self) -> "PolygonOptionsWebSocketClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- inside

    def _subscribe(self, kind: RecordType, tickers: Sequence[str]) -> bool:
        """Raises ValueError for what is no option symbol."""
        if isinstance(tickers, str):
            raise ValueError(f"{tickers!r}: give a list of symbols")
        for ticker in tickers:
            if ticker != ALL:
                parse_option_symbol(ticker)
        is_new = kind not in self._wanted
        self._wanted.setdefault(kind, set()).update(tickers)
        if not self._connection.is_open:
            return True
        if is_new:
            self._use_channels()
        return self._connection.subscribe(tickers)

    def _use_channels(self) -> None:
        """A line has the same channels for all its symbols; what nobody asked for of them goes no further."""
        channels = tuple(kind.value for kind in RecordType if kind in self._wanted)
        config = self._connection.config
        if config.feed.channels != channels:
            feed = msgspec.structs.replace(config.feed, channels=channels)
            self._connection.reopen(msgspec.structs.replace(config, feed=feed))

    def _take(self, kind: RecordType, record: Record) -> None:
        wanted = self._wanted.get(kind, ())
        if record.ticker not in wanted and ALL not in wanted:
            return
        self._counts[kind] += 1
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(options_record(record))


class OptionsDataStreamer:
    """Streaming in one call, with summaries of what came. Arguments: as ``PolygonOptionsWebSocketClient``'s."""

    def __init__(self, api_key: str | None = None, url: str | None = None, **settings: Any) -> None:
        self.client = PolygonOptionsWebSocketClient(api_key, url, **settings)

    def start_streaming(
        self,
        tickers: Sequence[str],
        include_trades: bool = True,
        include_quotes: bool = True,
        include_aggregates: bool = True,
        include_fmv: bool = False,
    ) -> bool:
        """True when the venue is live; else ``client.problem`` says why. Again: other contracts are added."""
        client = self.client
        for wanted, subscribe in (
            (include_trades, client.subscribe_to_trades),
            (include_quotes, client.subscribe_to_quotes),
            (include_aggregates, client.subscribe_to_aggregates_minute),
            (include_fmv, client.subscribe_to_fmv),
        ):
            if wanted:
                subscribe(tickers)
        return client.start()

    def stop_streaming(self) -> None:
        self.client.stop()

    def get_streaming_stats(self) -> dict[str, Any]:
        """See ``PolygonOptionsWebSocketClient.stats``."""
        return self.client.stats()

    def get_trade_summary(self, ticker: str) -> dict[str, Any]:
        """Over the trades that are kept; only ``ticker`` and ``count`` before one came."""
        trades = [t for t in self.client.recent(ticker, RecordType.TRADE) if isinstance(t, OptionsTrade)]
        if not trades:
            return {"ticker": ticker, "count": 0}
        prices, volume = [trade.price for trade in trades], sum(trade.size for trade in trades)
        notional = sum(trade.price * trade.size for trade in trades)
        return {
            "ticker": ticker, "count": len(trades), "last_price": prices[-1], "last_size": trades[-1].size,
            "high": max(prices), "low": min(prices), "volume": volume,
            "vwap": notional / volume if volume else None,
            "first_timestamp": trades[0].timestamp, "last_timestamp": trades[-1].timestamp,
        }  # fmt: skip

    def get_quote_summary(self, ticker: str) -> dict[str, Any]:
        """The last quote, and the mean spread over those that are kept; ``spread_pct`` is 100 * spread / mid."""
        quotes = [q for q in self.client.recent(ticker, RecordType.QUOTE) if isinstance(q, OptionsQuote)]
        if not quotes:
            return {"ticker": ticker, "count": 0}
        last, spreads = quotes[-1], [pct for quote in quotes if (pct := spread_pct(quote)) is not None]
        return {
            "ticker": ticker, "count": len(quotes), "bid": last.bid, "ask": last.ask, "bid_size": last.bid_size,
            "ask_size": last.ask_size, "mid": (last.bid + last.ask) / 2, "spread": last.ask - last.bid,
            "spread_pct": spread_pct(last), "mean_spread_pct": sum(spreads) / len(spreads) if spreads else None,
            "last_timestamp": last.timestamp,
        }  # fmt: skip


def spread_pct(quote: OptionsQuote) -> float | None:
    """100 * spread / mid; None where a side is empty."""
    if quote.bid <= 0.0 or quote.ask <= 0.0:
        return None
    return 100.0 * (quote.ask - quote.bid) / ((quote.ask + quote.bid) / 2)
