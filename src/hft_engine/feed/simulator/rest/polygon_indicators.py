"""``/v1/indicators``: sma, ema, rsi and macd of the aggregates."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from hft_engine.feed.simulator.rest.aggregates import Bar
from hft_engine.feed.simulator.rest.front import Asked
from hft_engine.feed.simulator.rest.paging import HOST
from hft_engine.feed.simulator.rest.polygon_bars import Bars, as_result
from hft_engine.feed.simulator.rest.queries import (
    MS,
    NoDataError,
    choice,
    flag,
    number,
    opened,
    page,
    times_allowed,
)

LIMIT, LIMIT_MAX = 10, 5_000
WINDOW_MAX = 5_000
TIMESPANS = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")
Values = list[tuple[int, dict[str, float]]]  # start ns of the bar, values


def sma(prices: Sequence[float], window: int) -> list[float]:
    """Of each whole window; the first belongs to ``prices[window - 1]``."""
    return [sum(prices[end - window : end]) / window for end in range(window, len(prices) + 1)]


def ema(prices: Sequence[float], window: int) -> list[float]:
    """Begins, at ``prices[window - 1]``, with the mean of the first window."""
    if len(prices) < window:
        return []
    values, weight = [sum(prices[:window]) / window], 2 / (window + 1)
    for price in prices[window:]:
        values.append(values[-1] + weight * (price - values[-1]))
    return values


def rsi(prices: Sequence[float], window: int) -> list[float]:
    """Wilder's; the first belongs to ``prices[window]``."""
    steps = [after - before for before, after in pairwise(prices)]
    if len(steps) < window:
        return []
    gain = sum(max(step, 0.0) for step in steps[:window]) / window
    loss = sum(max(-step, 0.0) for step in steps[:window]) / window
    values = [_strength(gain, loss)]
    for step in steps[window:]:
        gain = (gain * (window - 1) + max(step, 0.0)) / window
        loss = (loss * (window - 1) + max(-step, 0.0)) / window
        values.append(_strength(gain, loss))
    return values


def _strength(gain: float, loss: float) -> float:
    return 100.0 if loss == 0.0 else 100.0 - 100.0 / (1.0 + gain / loss)


class Indicators:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    def values(self, asked: Asked) -> dict[str, Any]:
        query = opened(asked.query)
        if asked.names["name"] not in ("sma", "ema", "rsi", "macd"):
            raise NoDataError
        timespan = choice(query, "timespan", "day", TIMESPANS)
        bars = self._bars.of(asked.names["ticker"], timespan)
        series = choice(query, "series_type", "close", ("open", "high", "low", "close"))
        values = _of(asked.names["name"], bars, [getattr(bar, series) for bar in bars], query)
        allowed = times_allowed(query, "timestamp", MS)
        found = [(start, value) for start, value in values if allowed(start)]
        if choice(query, "order", "desc", ("asc", "desc")) == "desc":
            found.reverse()
        limit = number(query, "limit", LIMIT, LIMIT_MAX)
        shown, more = page(found, asked.path, query, limit, lambda value: str(value[0]))
        underlying = _underlying(asked.names["ticker"], timespan, bars, query)
        return {
            "results": {
                "underlying": underlying,
                "values": [{"timestamp": start // MS, **value} for start, value in shown],
            },
            **more,
        }


def _of(name: str, bars: Sequence[Bar], prices: Sequence[float], query: Mapping[str, str]) -> Values:
    if name == "macd":
        return _macd(bars, prices, query)
    window = number(query, "window", 14 if name == "rsi" else 50, WINDOW_MAX)
    values = {"sma": sma, "ema": ema, "rsi": rsi}[name](prices, window)
    starts = [bar.start_ns for bar in bars][len(bars) - len(values) :]
    return [(start, {"value": value}) for start, value in zip(starts, values, strict=True)]


def _macd(bars: Sequence[Bar], prices: Sequence[float], query: Mapping[str, str]) -> Values:
    short = ema(prices, number(query, "short_window", 12, WINDOW_MAX))
    long = ema(prices, number(query, "long_window", 26, WINDOW_MAX))
    both = min(len(short), len(long))
    lines = [a - b for a, b in zip(short[len(short) - both :], long[len(long) - both :], strict=True)]
    signals = ema(lines, number(query, "signal_window", 9, WINDOW_MAX))
    starts = [bar.start_ns for bar in bars][len(bars) - len(signals) :]
    return [
        (start, {"value": line, "signal": signal, "histogram": line - signal})
        for start, line, signal in zip(starts, lines[len(lines) - len(signals) :], signals, strict=True)
    ]


def _underlying(ticker: str, timespan: str, bars: Sequence[Bar], query: Mapping[str, str]) -> dict[str, Any]:
    first, last = (bars[0].start_ns // MS, bars[-1].start_ns // MS) if bars else (0, 0)
    found: dict[str, Any] = {
        "url": f"{HOST}/v2/aggs/ticker/{ticker}/range/1/{timespan}/{first}/{last}?sort=desc"
    }
    if flag(query, "expand_underlying", False):
        found["aggregates"] = [as_result(bar) for bar in bars]
    return found
