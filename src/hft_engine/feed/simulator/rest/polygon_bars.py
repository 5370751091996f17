"""``/v2/aggs`` and ``/v1/open-close``: bars of the published trades, and of the made-up days before."""

from bisect import bisect_left
from collections.abc import Mapping
from datetime import date
from typing import Any

from hft_engine.feed.simulator.conduct import Conduct
from hft_engine.feed.simulator.eastern import day_of, midnight_ns
from hft_engine.feed.simulator.history import History
from hft_engine.feed.simulator.rest.aggregates import CALENDAR, TIMESPANS, WIDTHS_NS, Bar, aggregate, merge
from hft_engine.feed.simulator.rest.front import Asked
from hft_engine.feed.simulator.rest.paging import next_url
from hft_engine.feed.simulator.rest.past import Past
from hft_engine.feed.simulator.rest.queries import (
    MS,
    EntitlementError,
    NoDataError,
    QueryError,
    choice,
    day,
    flag,
    number,
    opened,
    time_ns,
)
from hft_engine.records import TickKind

LIMIT, LIMIT_MAX = 5_000, 50_000  # of base bars
MULTIPLIER_MAX = 10_000
NEVER_NS = 1 << 62
TODAY_REFUSED = "Attempted to request today's data before end of day. Please upgrade your plan at https://polygon.io/pricing"
NO_TIMEFRAME = "Your plan doesn't include this data timeframe."


def as_result(bar: Bar) -> dict[str, Any]:
    """As an element of ``results``; ``t`` is ms."""
    return {
        "v": bar.volume, "vw": bar.vwap, "o": bar.open, "c": bar.close, "h": bar.high, "l": bar.low,
        "t": bar.start_ns // MS, "n": bar.prints,
    }  # fmt: skip


class Bars:
    def __init__(self, history: History, past: Past, conduct: Conduct) -> None:
        self._history, self._past, self._conduct = history, past, conduct

    # ---- for other endpoints too

    def of(self, symbol: str, timespan: str, multiplier: int = 1) -> list[Bar]:
        """All bars of a symbol, in order of time."""
        trades = self._history.of(symbol, TickKind.TRADE)
        if timespan in WIDTHS_NS:
            return aggregate(trades, timespan, multiplier)
        return merge(self._past.days(symbol) + aggregate(trades, "day", 1), timespan, multiplier)

    def today(self, symbol: str) -> Bar | None:
        """The bar of the venue's day so far."""
        bars = self.of(symbol, "day")
        return bars[-1] if bars and day_of(bars[-1].start_ns) == self.now_day() else None

    def yesterday(self, symbol: str) -> Bar | None:
        """The latest bar of a day before the venue's."""
        before = [bar for bar in self.of(symbol, "day") if day_of(bar.start_ns) < self.now_day()]
        return before[-1] if before else None

    def now_day(self) -> date:
        return day_of(self._history.now_ns)

    # ---- endpoints

    def range(self, asked: Asked) -> dict[str, Any]:
        query, names = opened(asked.query), asked.names
        timespan = choice(names, "timespan", "", TIMESPANS)
        multiplier = number(names, "multiplier", 1, MULTIPLIER_MAX)
        from_ns, to_ns = time_ns(names["from"], "from", MS), time_ns(names["to"], "to", MS, end_of_day=True)
        if from_ns > to_ns:
            raise QueryError("The 'to' time cannot be before the 'from' time.")
        self._entitled(to_ns)
        limit, order = number(query, "limit", LIMIT, LIMIT_MAX), choice(query, "sort", "asc", ("asc", "desc"))
        found = self._between(names["ticker"], timespan, multiplier, from_ns, to_ns)
        if order == "desc":
            found.reverse()
        shown, used = self._fitting(found, names["ticker"], timespan, limit)
        body: dict[str, Any] = {
            "ticker": names["ticker"],
            "queryCount": used,
            "resultsCount": len(shown),
            "adjusted": flag(query, "adjusted", True),
        }
        if shown:  # without bars there is no such key
            body["results"] = [as_result(bar) for bar in shown]
        if len(shown) < len(found):
            body["next_url"] = next_url(_rest_of_range(names, order, found[len(shown)][0]), query, "")
        return body

    def _between(
        self, ticker: str, timespan: str, multiplier: int, from_ns: int, to_ns: int
    ) -> list[tuple[Bar, int]]:
        """Bars and where each one's window is over, for which the begin of the next one does."""
        width = WIDTHS_NS.get(timespan, 0) * multiplier
        first_ns = from_ns // width * width if width else from_ns
        bars = self.of(ticker, timespan, multiplier)
        ends = [*(bar.start_ns for bar in bars[1:]), NEVER_NS]
        return [(bar, end) for bar, end in zip(bars, ends, strict=False) if first_ns <= bar.start_ns <= to_ns]

    def _fitting(
        self, found: list[tuple[Bar, int]], ticker: str, timespan: str, limit: int
    ) -> tuple[list[Bar], int]:
        """As many whole bars as ``limit`` base bars make, at least one; and how many base bars they are of."""
        base = "second" if timespan == "second" else "day" if timespan in CALENDAR else "minute"
        starts = [bar.start_ns for bar in self.of(ticker, base)] if found else []
        shown: list[Bar] = []
        used = 0
        for bar, end_ns in found:
            need = bisect_left(starts, end_ns) - bisect_left(starts, bar.start_ns)
            if shown and used + need > limit:
                break
            shown.append(bar)
            used += need
        return shown, used

    def _entitled(self, to_ns: int) -> None:
        if not self._conduct.options.today_in_plan and to_ns >= midnight_ns(self.now_day()):
            raise EntitlementError(TODAY_REFUSED)

    def previous(self, asked: Asked) -> dict[str, Any]:
        bar = self.yesterday(asked.names["ticker"])
        found = [] if bar is None else [{"T": asked.names["ticker"], **as_result(bar)}]
        body = {
            "ticker": asked.names["ticker"],
            "queryCount": len(found),
            "resultsCount": len(found),
            "adjusted": flag(asked.query, "adjusted", True),
        }
        return {**body, "results": found} if found else body

    def open_close(self, asked: Asked) -> dict[str, Any]:
        ticker, wanted = asked.names["ticker"], day(asked.names["date"], "date")
        self._entitled(midnight_ns(wanted))
        bar = next((bar for bar in self.of(ticker, "day") if day_of(bar.start_ns) == wanted), None)
        if bar is None:
            raise NoDataError
        return {
            "from": wanted.isoformat(), "symbol": ticker, "open": bar.open, "high": bar.high, "low": bar.low,
            "close": bar.close, "volume": bar.volume, "afterHours": bar.close, "preMarket": bar.open,
        }  # fmt: skip


def _rest_of_range(names: Mapping[str, str], order: str, first: Bar) -> str:
    """The path of the next page: ``from`` (or, backwards, ``to``) moved to its first bar."""
    ms = str(first.start_ns // MS)
    begin, end = (ms, names["to"]) if order == "asc" else (names["from"], ms)
    return f"/v2/aggs/ticker/{names['ticker']}/range/{names['multiplier']}/{names['timespan']}/{begin}/{end}"
