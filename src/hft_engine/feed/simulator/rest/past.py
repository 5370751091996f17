"""What was before the simulator's start: a made-up bar a business day, and for who wants them, minutes.

The same for a symbol at every start, but for their level: they end at the first price that the symbol has had, so
that today's change is a change of something.
"""

from datetime import date, timedelta
from zlib import crc32

import numpy as np

from hft_engine.feed.simulator.eastern import day_of, midnight_ns
from hft_engine.feed.simulator.history import History
from hft_engine.feed.simulator.rest.aggregates import Bar
from hft_engine.records import TICK_DTYPE, TickKind

DAYS = 520  # two years
DAY_VOLATILITY = 0.015
MINUTES, PRINTS_A_MINUTE = 480, 4  # one session and a half
MINUTE_NS = 60 * 10**9
SHARES_A_DAY = 2_000_000.0


class Past:
    """``days(symbol)``: its bars in order of time; ``minutes(symbol)``: made-up trades, one a minute, that lead to
    the first price. None before the symbol has had a price.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._known: dict[str, list[Bar]] = {}

    def days(self, symbol: str) -> list[Bar]:
        if symbol not in self._known:
            first = self._first(symbol)
            if first is None:
                return []
            self._known[symbol] = _make(symbol, day_of(first[0]), first[1])
        return self._known[symbol]

    def minutes(self, symbol: str) -> np.ndarray:
        first = self._first(symbol)
        if first is None:
            return np.zeros(0, TICK_DTYPE)
        rng = np.random.default_rng((crc32(symbol.encode()), 3))
        ticks = np.zeros(MINUTES * PRINTS_A_MINUTE, TICK_DTYPE)
        steps = rng.normal(0.0, DAY_VOLATILITY / 20 / np.sqrt(PRINTS_A_MINUTE), len(ticks))
        ticks["price"] = np.round(first[1] * np.exp(np.cumsum(steps)[::-1]), 2)
        ticks["size"] = 100.0 * rng.integers(1, 40, len(ticks))
        begin_ns = first[0] // MINUTE_NS * MINUTE_NS - MINUTES * MINUTE_NS
        ticks["ts_venue_ns"] = begin_ns + np.arange(len(ticks)) * (MINUTE_NS // PRINTS_A_MINUTE)
        return ticks

    def _first(self, symbol: str) -> tuple[int, float] | None:
        """Time and price."""
        trades = self._history.of(symbol, TickKind.TRADE)[:1]
        if len(trades):
            return int(trades["ts_venue_ns"][0]), float(trades["price"][0])
        quotes = self._history.of(symbol, TickKind.QUOTE)[:1]
        if len(quotes):
            middle = float(quotes["bid"][0] + quotes["ask"][0]) / 2
            return int(quotes["ts_venue_ns"][0]), middle
        return None


def _make(symbol: str, today: date, price: float) -> list[Bar]:
    rng = np.random.default_rng(crc32(symbol.encode()))
    days: list[date] = []
    day = today
    while len(days) < DAYS:
        day -= timedelta(days=1)
        if day.weekday() < 5:
            days.append(day)
    closes = np.round(price * np.exp(np.cumsum(rng.normal(0.0, DAY_VOLATILITY, DAYS + 1))), 2)
    bars = []
    for day, close, opened in zip(days, closes.tolist(), closes[1:].tolist(), strict=False):
        above, below = np.abs(rng.normal(0.0, DAY_VOLATILITY / 2, 2)).tolist()
        volume = float(round(SHARES_A_DAY * rng.lognormal(0.0, 0.4)))
        high, low = (
            round(max(opened, close) * (1 + above), 2),
            round(min(opened, close) * (1 - below), 2),
        )
        vwap = round((high + low + close) / 3, 4)
        bars.append(Bar(midnight_ns(day), opened, high, low, close, volume, vwap, int(volume // 80)))
    return bars[::-1]
