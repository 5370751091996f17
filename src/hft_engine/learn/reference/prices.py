"""Features of a series of prices, each from its definition, over the newest prices themselves."""

import itertools
import math
from collections.abc import Sequence

from hft_engine.config.schema import IndicatorConfig

RETURNS = (1, 5, 20)
_KEPT = 256  # prices; the longest window has 128


class Smoothed:
    """Exponential mean of weight 2 / (period + 1), seeded with the mean of the ``period`` values that end at the
    ``start``-th."""

    def __init__(self, period: int, start: int) -> None:
        self._period, self._start = period, start
        self.value = math.nan

    def add(self, values: Sequence[float], count: int) -> None:
        """``values``: the newest last; ``count``: how many there have been in all."""
        if count == self._start:
            self.value = math.fsum(values[-self._period :]) / self._period
        elif count > self._start:
            weight = 2.0 / (self._period + 1.0)
            self.value = weight * values[-1] + (1.0 - weight) * self.value


class Wilder:
    """Mean of the first ``period`` values, then each new one with weight 1 / period. NaN before."""

    def __init__(self, period: int) -> None:
        self._period = period
        self._first: list[float] = []
        self.value = math.nan

    def add(self, value: float) -> None:
        if len(self._first) < self._period:
            self._first.append(value)
            if len(self._first) == self._period:
                self.value = math.fsum(self._first) / self._period
        else:
            self.value += (value - self.value) / self._period


class PriceReference:
    """One basis of one instrument: prices of trades, or closes of bars."""

    def __init__(self, config: IndicatorConfig) -> None:
        self.config = config
        self.prices: list[float] = []
        self._count = 0
        self._fast = Smoothed(config.ema_fast, config.ema_fast)
        self._slow = Smoothed(config.ema_slow, config.ema_slow)
        self._macd_fast = Smoothed(config.ema_fast, config.ema_slow)
        self._signal = Smoothed(config.macd_signal, config.macd_signal)
        self._macds: list[float] = []
        self._macd_count = 0
        self._gain, self._loss = Wilder(config.rsi), Wilder(config.rsi)
        self._values: dict[str, float] | None = {}  # None: a price has come since they were computed

    def add(self, price: float) -> None:
        self._values = None
        if self.prices:
            change = price - self.prices[-1]
            self._gain.add(max(change, 0.0))
            self._loss.add(max(-change, 0.0))
        self.prices.append(price)
        del self.prices[: -2 * _KEPT if len(self.prices) > 4 * _KEPT else 0]
        self._count += 1
        for smoothed in (self._fast, self._slow, self._macd_fast):
            smoothed.add(self.prices, self._count)
        if self._count >= self.config.ema_slow:
            self._macds.append(self._macd_fast.value - self._slow.value)
            del self._macds[: -_KEPT if len(self._macds) > 2 * _KEPT else 0]
            self._macd_count += 1
            self._signal.add(self._macds, self._macd_count)

    def values(self) -> dict[str, float]:
        """By the feature's name without ``tick_`` or ``bar_``."""
        if self._values is None:
            means, macd, band, returns = (
                self._of_means(),
                self._of_macd(),
                self._of_band(),
                self._of_returns(),
            )
            self._values = {**means, **macd, **band, **returns, "rsi": self._rsi()}
        return self._values

    def _window(self, length: int) -> list[float]:
        """The newest so many prices; none where there are fewer."""
        return self.prices[-length:] if self._count >= length else []

    def _of_means(self) -> dict[str, float]:
        window, price = self._window(self.config.sma), self.prices[-1]
        sma = math.fsum(window) / len(window) if window else math.nan
        fast, slow = self._fast.value, self._slow.value
        return {
            "sma": sma,
            "ema_fast": fast,
            "ema_slow": slow,
            "sma_deviation": (price - sma) / sma,
            "ema_spread": (fast - slow) / slow,
        }

    def _of_macd(self) -> dict[str, float]:
        macd = self._macds[-1] if self._macds else math.nan
        rest = macd - self._signal.value
        return {
            "macd": macd,
            "macd_signal": self._signal.value,
            "macd_histogram": rest,
            "macd_ratio": rest / self.prices[-1],
        }

    def _rsi(self) -> float:
        moved = self._gain.value + self._loss.value
        return 50.0 if moved == 0.0 else 100.0 * self._gain.value / moved

    def _of_band(self) -> dict[str, float]:
        window = self._window(self.config.bollinger)
        if not window:
            return {}
        middle = math.fsum(window) / len(window)
        deviation = math.sqrt(math.fsum((price - middle) ** 2 for price in window) / len(window))
        if max(window) == min(window):
            middle, deviation = window[0], 0.0
        half = self.config.bollinger_width * deviation
        lower, upper = middle - half, middle + half
        return {
            "bollinger_upper": upper,
            "bollinger_middle": middle,
            "bollinger_lower": lower,
            "bollinger_position": 0.5 + (self.prices[-1] - middle) / (2.0 * half) if half else math.nan,
            "bollinger_bandwidth": 2.0 * half / middle,
        }

    def _of_returns(self) -> dict[str, float]:
        found = {}
        for length in RETURNS:
            window = self._window(length + 1)
            found[f"return_{length}"] = math.log(window[-1] / window[0]) if window else math.nan
        window = self._window(self.config.volatility + 1)
        squares = [math.log(now / before) ** 2 for before, now in itertools.pairwise(window)]
        found["volatility"] = math.sqrt(math.fsum(squares)) if squares else math.nan
        return found


class RangeReference:
    """Wilder's average true range of bars, and the same by the close."""

    def __init__(self, config: IndicatorConfig) -> None:
        self._mean = Wilder(config.atr)
        self._close = math.nan

    def add(self, high: float, low: float, close: float) -> None:
        if self._close == self._close:
            self._mean.add(max(high, self._close) - min(low, self._close))
        self._close = close

    def values(self) -> dict[str, float]:
        return {"bar_atr": self._mean.value, "bar_atr_ratio": self._mean.value / self._close}
