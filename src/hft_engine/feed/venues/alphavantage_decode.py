"""Alpha Vantage's answers as ticks. Every error is HTTP 200: keys tell them apart. All numbers are text.

A message is what the poller makes of an answer: ``{"function": F, "symbol": S, "body": <the answer>}``, because an
empty quote and an error name no symbol.

* ``GLOBAL_QUOTE`` becomes a trade at the quoted price, its size what the day's volume grew by since the last poll: it
  stands for all prints in between. The first one of a run has size 0. The quote has a date and no time: the tick's
  time is that of the answer, but never after the close (16:00 Eastern) of the quoted day.
* ``TIME_SERIES_INTRADAY`` (1 min) and ``TIME_SERIES_DAILY`` become minute and day bars, oldest first, each once, and
  only those whose window is over. Their times are Eastern wall time. A day is 09:30 to 16:00.
"""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from hft_engine.feed.decoder import BAR_ROW, ROW_BYTES, TRADE_ROW, RowDecoder
from hft_engine.feed.events import Status
from hft_engine.feed.venues.alphavantage_errors import trouble_of
from hft_engine.feed.venues.unpackable import PACK_ERRORS, PARSE_ERRORS
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TickKind

EASTERN = ZoneInfo("America/New_York")
ROW_BYTES_MIN = 64  # of a bar in a time series
QUOTE, INTRADAY, DAILY = "GLOBAL_QUOTE", "TIME_SERIES_INTRADAY", "TIME_SERIES_DAILY"
SERIES = {INTRADAY: "Time Series (1min)", DAILY: "Time Series (Daily)"}
MINUTE = timedelta(minutes=1)
_OPEN, _CLOSE = timedelta(hours=9, minutes=30), timedelta(hours=16)
_MISSING = (KeyError, TypeError, *PACK_ERRORS)


class Answer(msgspec.Struct):
    """A message of the poller."""

    function: str
    symbol: str
    body: dict[str, object]


class _Bar(NamedTuple):
    """Bounds in UTC nanoseconds, and the row of the series."""

    start_ns: int
    end_ns: int
    values: object


class AlphaVantageDecoder(RowDecoder):
    """See RowDecoder. ``stamp``: whether a minute bar is named by its start or its end."""

    __slots__ = ("_done_ns", "_last", "_parse", "_stamp_is_end", "_ts_mono_ns", "_ts_recv_ns")

    def __init__(
        self, instruments: InstrumentTable, venue_id: int, frame_bytes_max: int, stamp: str = "start"
    ) -> None:
        super().__init__(instruments, venue_id, frame_bytes_max // ROW_BYTES_MIN + 1)
        self._parse = msgspec.json.Decoder(Answer).decode
        self._stamp_is_end = stamp == "end"
        self._last: dict[str, tuple[str, float, float]] = {}  # symbol -> day, volume, price of the last quote
        self._done_ns: dict[tuple[str, str], int] = {}  # function, symbol -> end of the last bar published
        self._ts_recv_ns = self._ts_mono_ns = 0

    def decode(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> int:
        """See ``venues.base.Decoder``."""
        self.begin()
        self._ts_recv_ns = ts_recv_ns
        self._ts_mono_ns = ts_mono_ns
        try:
            answer = self._parse(frame)
        except PARSE_ERRORS as error:
            self.reject_frame(f"the answer is no JSON object: {error}")
            return 0
        count = self._answer(answer) // ROW_BYTES
        self.events += count
        return count

    def _answer(self, answer: Answer) -> int:
        trouble = trouble_of(answer.body, answer.symbol)
        if trouble is not None:
            self.statuses.append(Status(trouble.kind, trouble.text))
            return 0
        if answer.function == QUOTE:
            return self._quote(answer)
        if answer.function in SERIES:
            return self._series(answer)
        self.count_unknown(answer.function)
        return 0

    def _quote(self, answer: Answer) -> int:
        try:
            return self._quoted(answer.symbol, answer.body["Global Quote"])
        except _MISSING as error:
            return self.reject(f"quote of {answer.symbol}: {_words(error)}")

    def _quoted(self, symbol: str, quote: object) -> int:
        assert isinstance(quote, dict)  # else it was trouble
        price, volume = _number(quote["05. price"]), _number(quote["06. volume"])
        day = str(quote["07. latest trading day"])
        close_ns = _ns(_moment(day) + _CLOSE)
        if not (price > 0.0 and volume >= 0.0):
            raise ValueError(f"price {price}, volume {volume}")
        last = self._last.get(symbol)
        if last == (day, volume, price):
            self.duplicates += 1
            return 0
        # fmt: off
        TRADE_ROW.pack_into(
            self.buffer, 0,
            min(self._ts_recv_ns, close_ns), self._ts_recv_ns, self._ts_mono_ns,
            0, self.ids[symbol], self.words[TickKind.TRADE],
            price, _grown(last, day, volume), 0, 0, 0, 0,
        )
        # fmt: on
        self._last[symbol] = day, volume, price
        return ROW_BYTES

    def _series(self, answer: Answer) -> int:
        rows = answer.body.get(SERIES[answer.function])
        if not isinstance(rows, dict):
            return self.reject(f"{answer.symbol}: the answer has no {SERIES[answer.function]!r}")
        bounds = self._minute if answer.function == INTRADAY else _day
        bars = sorted(self._bars(rows, bounds, answer.symbol), key=lambda bar: bar.end_ns)
        key = answer.function, answer.symbol
        done_ns = self._done_ns.get(key, 0)
        new = [bar for bar in bars if done_ns < bar.end_ns <= self._ts_recv_ns]
        if bars and not new:
            self.duplicates += 1
        kind = TickKind.BAR_MINUTE if answer.function == INTRADAY else TickKind.BAR_DAY
        offset = 0
        for bar in new:
            offset += self._bar(answer.symbol, bar, kind, offset)
            self._done_ns[key] = bar.end_ns
        return offset

    def _bars(
        self, rows: dict[object, object], bounds: Callable[[str], tuple[int, int]], symbol: str
    ) -> list[_Bar]:
        bars = []
        for stamp, values in rows.items():
            try:
                bars.append(_Bar(*bounds(str(stamp)), values))
            except (ValueError, OverflowError) as error:
                self.reject(f"bar of {symbol}: {error}")
        return bars

    def _minute(self, stamp: str) -> tuple[int, int]:
        named = _moment(stamp)
        start = named - MINUTE if self._stamp_is_end else named
        return _ns(start), _ns(start + MINUTE)

    def _bar(self, symbol: str, bar: _Bar, kind: TickKind, offset: int) -> int:
        try:
            # fmt: off
            open_, high, low, close, volume = _ohlcv(bar.values)
            BAR_ROW.pack_into(
                self.buffer, offset,
                bar.end_ns, self._ts_recv_ns, self._ts_mono_ns,
                0, self.ids[symbol], self.words[kind],
                open_, high, low, close, volume,
                math.nan, math.nan, math.nan, bar.start_ns, math.nan,
            )
            # fmt: on
        except _MISSING as error:
            return self.reject(f"bar of {symbol}: {_words(error)}")
        return ROW_BYTES


def _ohlcv(values: object) -> tuple[float, float, float, float, float]:
    if not isinstance(values, dict):
        raise TypeError("a bar is an object")
    names = ("1. open", "2. high", "3. low", "4. close", "5. volume")
    open_, high, low, close, volume = (_number(values[name]) for name in names)
    if not (open_ > 0.0 and close > 0.0 and high >= low > 0.0 and volume >= 0.0):
        raise ValueError(f"open {open_}, high {high}, low {low}, close {close}, volume {volume}")
    return open_, high, low, close, volume


def _grown(last: tuple[str, float, float] | None, day: str, volume: float) -> float:
    if last is None:
        return 0.0
    return max(0.0, volume - last[1]) if last[0] == day else volume


def _number(text: object) -> float:
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no text")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number")
    return value


def _moment(text: str) -> datetime:
    """Eastern wall time ``YYYY-MM-DD`` or ``YYYY-MM-DD HH:MM:SS``. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        raise ValueError(f"{text!r} is no wall time")
    return moment


def _ns(wall: datetime) -> int:
    """UTC nanoseconds of Eastern wall time. The hour that autumn repeats is taken the first time: markets are shut."""
    return int(wall.replace(tzinfo=EASTERN).timestamp()) * 1_000_000_000


def _day(stamp: str) -> tuple[int, int]:
    day = _moment(stamp)
    return _ns(day + _OPEN), _ns(day + _CLOSE)


def _words(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
