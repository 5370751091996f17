"""The simulated Alpha Vantage REST. Every answer is HTTP 200: an error is a key of the body.

Minutes and days before the simulator's start are made up, the same at every start; a bar appears when it is over.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hft_engine.feed.simulator.eastern import day_of, time_of
from hft_engine.feed.simulator.rest.aggregates import Bar, aggregate
from hft_engine.feed.simulator.rest.front import Answer, Asked, Budget, RefusalError, json_of
from hft_engine.feed.simulator.rest.past import Past
from hft_engine.feed.simulator.rest.polygon_bars import Bars
from hft_engine.feed.simulator.scenario import AuthFailure
from hft_engine.feed.simulator.venue import Venue
from hft_engine.records import TickKind

INTERVALS = {"1min": 1, "5min": 5, "15min": 15, "30min": 30, "60min": 60}
COMPACT_ROWS = 100
MINUTE_NS = 60 * 10**9
PREMIUM = ("TIME_SERIES_DAILY_ADJUSTED",)
_PLANS = "https://www.alphavantage.co/premium/"
_INSTANTLY = (
    f"Please subscribe to any of the premium plans at {_PLANS} to instantly remove all daily rate limits."
)
DAILY_LIMIT = (
    "Thank you for using Alpha Vantage! Our standard API rate limit is {calls} requests per day. "
    + _INSTANTLY
)
DAILY_LIMIT_WITH_KEY = (
    "We have detected your API key as {key} and our standard API rate limit is {calls} requests per day. "
    + _INSTANTLY
)
BURST_LIMIT = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more sparingly "
    f"(1 request per second). You may subscribe to any of the premium plans at {_PLANS} to lift the free key rate "
    "limit (25 requests per day), raise the per-second burst limit, and instantly unlock all premium endpoints"
)
MINUTE_LIMIT = (
    "Thank you for using Alpha Vantage! Our standard API call frequency is {calls} calls per minute and 500 calls per "
    f"day. Please visit {_PLANS} if you would like to target a higher API call frequency."
)
NO_KEY = (
    "the parameter apikey is invalid or missing. Please claim your free API key on "
    "(https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds."
)
BAD_CALL = (
    "Invalid API call. Please retry or visit the documentation (https://www.alphavantage.co/documentation/) "
    "for {what}."
)
PREMIUM_ONLY = (
    "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of the premium plans at "
    f"{_PLANS} to instantly unlock all premium endpoints"
)
CSV_HEAD = "timestamp,open,high,low,close,volume"


def _said(key: str, text: str) -> RefusalError:
    return RefusalError(200, json_of({key: text}).body)


class AlphaVantageRest:
    """See ``front.Vendor``."""

    def __init__(self, venue: Venue) -> None:
        assert venue.history is not None
        self._venue, self._history = venue, venue.history
        self._past = Past(venue.history)
        self._bars = Bars(venue.history, self._past, venue.conduct)
        options = venue.conduct.options
        self._second, self._minute = (
            Budget(options.calls_per_second, 1.0),
            Budget(options.calls_per_minute, 60.0),
        )
        self._day = Budget(options.calls_per_day, 86_400.0)
        self.endpoints: Mapping[str, Callable[[Asked], Answer]] = {"/query": self._query}

    def admit(self, asked: Asked) -> None:
        options, key = self._venue.conduct.options, asked.query.get("apikey", "")
        if key != self._venue.config.api_key or self._venue.conduct.answer(AuthFailure) is not None:
            self._venue.counts.auth_failures += 1
            raise _said("Error Message", NO_KEY)
        if not self._day.spend():
            text = DAILY_LIMIT_WITH_KEY if options.limit_prints_key else DAILY_LIMIT
            raise _said("Information", text.format(key=key, calls=options.calls_per_day))
        if not self._second.spend():
            raise _said("Information", BURST_LIMIT)
        if not self._minute.spend():
            raise _said("Note", MINUTE_LIMIT.format(calls=options.calls_per_minute))

    def failure(self, status: int, empty: bool) -> RefusalError:
        return RefusalError(status, b"")

    def unknown(self, path: str) -> RefusalError:
        return RefusalError(404, b"")

    def _query(self, asked: Asked) -> Answer:
        function, symbol = asked.query.get("function", ""), asked.query.get("symbol", "")
        if function in PREMIUM:
            raise _said("Information", PREMIUM_ONLY)
        csv = asked.query.get("datatype", "json") == "csv"
        if function == "GLOBAL_QUOTE":
            return self._quote(symbol, csv)
        if symbol not in self._history:
            raise _said("Error Message", BAD_CALL.format(what=function or "the function"))
        if function == "TIME_SERIES_INTRADAY" and asked.query.get("interval") in INTERVALS:
            return self._intraday(symbol, asked.query["interval"], _size(asked), csv)
        if function == "TIME_SERIES_DAILY":
            return self._daily(symbol, _size(asked), csv)
        raise _said("Error Message", BAD_CALL.format(what=function or "the function"))

    def _quote(self, symbol: str, csv: bool) -> Answer:
        today, before = self._bars.today(symbol), self._bars.yesterday(symbol)
        if today is None or before is None:
            return json_of({"Global Quote": {}})
        change = today.close - before.close
        values = {
            "symbol": symbol, "open": _price(today.open), "high": _price(today.high), "low": _price(today.low),
            "price": _price(today.close), "volume": str(int(today.volume)),
            "latest trading day": day_of(today.start_ns).isoformat(), "previous close": _price(before.close),
            "change": _price(change), "change percent": f"{100 * change / before.close:.4f}%",
        }  # fmt: skip
        if csv:
            head = "symbol,open,high,low,price,volume,latestDay,previousClose,change,changePercent"
            return _csv([head, ",".join(values.values())])
        return json_of(
            {"Global Quote": {f"{i:02}. {name}": text for i, (name, text) in enumerate(values.items(), 1)}}
        )

    def _intraday(self, symbol: str, interval: str, size: str, csv: bool) -> Answer:
        minutes = INTERVALS[interval]
        bars = aggregate(self._past.minutes(symbol), "minute", minutes)
        bars += aggregate(self._history.of(symbol, TickKind.TRADE), "minute", minutes)
        over_ns = self._history.now_ns - minutes * MINUTE_NS
        rows = [
            (f"{time_of(bar.start_ns):%Y-%m-%d %H:%M:%S}", bar)
            for bar in _unique(bars)
            if bar.start_ns <= over_ns
        ]
        meta = {
            "Information": f"Intraday ({interval}) open, high, low, close prices and volume", "Symbol": symbol,
            "Last Refreshed": "", "Interval": interval, "Output Size": size, "Time Zone": "US/Eastern",
        }  # fmt: skip
        return _series(rows, meta, f"Time Series ({interval})", csv)

    def _daily(self, symbol: str, size: str, csv: bool) -> Answer:
        rows = [(day_of(bar.start_ns).isoformat(), bar) for bar in self._bars.of(symbol, "day")]
        meta = {
            "Information": "Daily Prices (open, high, low, close) and Volumes", "Symbol": symbol,
            "Last Refreshed": "", "Output Size": size, "Time Zone": "US/Eastern",
        }  # fmt: skip
        return _series(rows, meta, "Time Series (Daily)", csv)


def _size(asked: Asked) -> str:
    return "Full size" if asked.query.get("outputsize") == "full" else "Compact"


def _unique(bars: Sequence[Bar]) -> list[Bar]:
    """One bar a window: where the made-up past and the market meet, the market's."""
    return list({bar.start_ns: bar for bar in bars}.values())


def _series(rows: Sequence[tuple[str, Bar]], meta: dict[str, str], name: str, csv: bool) -> Answer:
    """Newest first."""
    shown = rows[::-1] if meta["Output Size"] == "Full size" else rows[: -COMPACT_ROWS - 1 : -1]
    if csv:
        return _csv([CSV_HEAD, *(",".join([when, *_values(bar).values()]) for when, bar in shown)])
    meta["Last Refreshed"] = shown[0][0] if shown else ""
    body: dict[str, Any] = {
        "Meta Data": {f"{i}. {key}": text for i, (key, text) in enumerate(meta.items(), 1)}
    }
    body[name] = {
        when: {f"{i}. {key}": text for i, (key, text) in enumerate(_values(bar).items(), 1)}
        for when, bar in shown
    }
    return json_of(body)


def _values(bar: Bar) -> dict[str, str]:
    prices = {"open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close}
    return {**{name: _price(price) for name, price in prices.items()}, "volume": str(int(bar.volume))}


def _price(value: float) -> str:
    return f"{value:.4f}"


def _csv(lines: Sequence[str]) -> Answer:
    return Answer("\r\n".join([*lines, ""]).encode(), "application/x-download")
