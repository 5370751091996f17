"""The indicators of ``indicators.flow`` by their definitions. Event times are doubles of ns, as their states are."""

import math
from typing import TYPE_CHECKING, ClassVar

from hft_engine.indicators.flow import FAST_S, FLOW, LONG_S, SLOW_S, TRADE_S, VOLATILITY_S
from hft_engine.records import TickFlag, TickKind

if TYPE_CHECKING:
    from hft_engine.learn.reference.engine import PlainTick

_TRADE = int(TickKind.TRADE)
_UNUSED = int(TickFlag.NO_PRICE_UPDATE | TickFlag.CONDITION_UNKNOWN)
_DAY_NS = 86_400_000_000_000


class Faded:
    """Sum and weight of events whose weight halves in ``half_life_s``."""

    def __init__(self, half_life_s: float) -> None:
        self._half_life_s = half_life_s
        self._last_ns = 0.0
        self.total = self.weight = 0.0

    def fade(self, ts_ns: int) -> None:
        elapsed_s = max(0.0, (float(ts_ns) - self._last_ns) / 1e9)
        kept = 0.5 ** (elapsed_s / self._half_life_s)
        self.total, self.weight = self.total * kept, self.weight * kept
        self._last_ns = max(self._last_ns, float(ts_ns))

    def add(self, ts_ns: int, value: float, weight: float = 1.0) -> None:
        self.fade(ts_ns)
        self.total += weight * value
        self.weight += weight

    @property
    def mean(self) -> float:
        return self.total / self.weight if self.weight > 0.0 else math.nan

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.weight * math.log(2.0) / self._half_life_s if self.weight > 0.0 else math.nan


class FlowReference:
    """One indicator of one instrument."""

    name: ClassVar[str] = ""

    def take(self, tick: "PlainTick") -> float:
        """Its value after a trade or quote."""
        raise NotImplementedError


def is_sound(tick: "PlainTick") -> bool:
    return tick.kind != _TRADE and 0.0 < tick.bid <= tick.ask < math.inf


class SpreadMean(FlowReference):
    name = "spread_mean"

    def __init__(self) -> None:
        self._fast, self._long = Faded(FAST_S), Faded(LONG_S)

    def take(self, tick: "PlainTick") -> float:
        if is_sound(tick):
            width = 1e4 * (tick.ask - tick.bid) / ((tick.ask + tick.bid) / 2.0)
            self._fast.add(tick.ts_ns, width)
            self._long.add(tick.ts_ns, width)
        return self._fast.mean


class SpreadRatio(SpreadMean):
    name = "spread_ratio"

    def take(self, tick: "PlainTick") -> float:
        mean, usual = super().take(tick), self._long.mean
        return mean / usual if usual else math.nan


class ImbalanceMean(FlowReference):
    name = "imbalance_mean"
    half_life_s = FAST_S

    def __init__(self) -> None:
        self._mean = Faded(self.half_life_s)

    def take(self, tick: "PlainTick") -> float:
        sizes = tick.bid_size + tick.ask_size
        if tick.kind != _TRADE and sizes > 0.0:
            self._mean.add(tick.ts_ns, (tick.bid_size - tick.ask_size) / sizes)
        return self._mean.mean


class ImbalanceSlow(ImbalanceMean):
    name = "imbalance_slow"
    half_life_s = SLOW_S


class TradeSignMean(FlowReference):
    name = "trade_sign_mean"

    def __init__(self) -> None:
        self._mean = Faded(TRADE_S)
        self._mid = self._price = self._sign = 0.0

    def take(self, tick: "PlainTick") -> float:
        sign = self.sign_of(tick)
        if sign:
            self._mean.add(tick.ts_ns, sign)
        return self._mean.mean

    def sign_of(self, tick: "PlainTick") -> float:
        """Quote rule, at the mid the tick rule; 0 where neither can tell."""
        if tick.kind != _TRADE:
            self._mid = (tick.bid + tick.ask) / 2.0 if is_sound(tick) else self._mid
            return 0.0
        if tick.flags & _UNUSED or not 0.0 < tick.price < math.inf:
            return 0.0
        if self._price and tick.price != self._price:
            self._sign = math.copysign(1.0, tick.price - self._price)
        self._price = tick.price
        if self._mid and tick.price != self._mid:
            return math.copysign(1.0, tick.price - self._mid)
        return self._sign


class SignedVolume(TradeSignMean):
    name = "signed_volume"

    def take(self, tick: "PlainTick") -> float:
        sign = self.sign_of(tick)
        if sign and 0.0 < tick.size < math.inf:
            self._mean.add(tick.ts_ns, sign, tick.size)
        return self._mean.mean


class TradeRate(FlowReference):
    name = "trade_rate"

    def __init__(self) -> None:
        self._fast, self._long = Faded(TRADE_S), Faded(LONG_S)

    def take(self, tick: "PlainTick") -> float:
        for faded in (self._fast, self._long):
            if tick.kind == _TRADE:
                faded.add(tick.ts_ns, 1.0)
            else:
                faded.fade(tick.ts_ns)
        return self._fast.rate


class TradeRateRatio(TradeRate):
    name = "trade_rate_ratio"

    def take(self, tick: "PlainTick") -> float:
        return super().take(tick) / self._long.rate


class MidVolatility(FlowReference):
    name = "mid_volatility"

    def __init__(self) -> None:
        self._fast, self._long = Faded(VOLATILITY_S), Faded(LONG_S)
        self._mid, self._ts_ns = math.nan, 0.0

    def take(self, tick: "PlainTick") -> float:
        if is_sound(tick):
            mid = (tick.bid + tick.ask) / 2.0
            if self._mid == self._mid:
                self._add((math.log(mid / self._mid)) ** 2, tick.ts_ns)
            self._mid, self._ts_ns = mid, float(tick.ts_ns)
        return math.sqrt(self._fast.mean)

    def _add(self, squared: float, ts_ns: int) -> None:
        seconds = max(0.0, (float(ts_ns) - self._ts_ns) / 1e9)
        for faded in (self._fast, self._long):
            faded.fade(ts_ns)
            faded.total += squared
            faded.weight += seconds


class MidVolatilityRatio(MidVolatility):
    name = "mid_volatility_ratio"

    def take(self, tick: "PlainTick") -> float:
        value, usual = super().take(tick), math.sqrt(self._long.mean)
        return value / usual if usual else math.nan


class MidTrend(FlowReference):
    name = "mid_trend"

    def __init__(self) -> None:
        self._moves, self._squares = Faded(SLOW_S), Faded(SLOW_S)
        self._mid = math.nan

    def take(self, tick: "PlainTick") -> float:
        if is_sound(tick):
            mid = (tick.bid + tick.ask) / 2.0
            if self._mid == self._mid:
                moved = math.log(mid / self._mid)
                self._moves.add(tick.ts_ns, moved)
                self._squares.add(tick.ts_ns, moved * moved)
            self._mid = mid
        squares = self._squares.total
        return self._moves.total / math.sqrt(squares) if squares > 0.0 else math.nan


class TimeOfDay(FlowReference):
    name = "time_of_day"

    def take(self, tick: "PlainTick") -> float:
        return tick.ts_ns % _DAY_NS / _DAY_NS


_KINDS = (
    SpreadMean, SpreadRatio, ImbalanceMean, ImbalanceSlow, TradeSignMean, SignedVolume, TradeRate, TradeRateRatio,
    MidVolatility, MidVolatilityRatio, MidTrend, TimeOfDay,
)  # fmt: skip
FLOW_REFERENCES: dict[str, type[FlowReference]] = dict(zip(FLOW, _KINDS, strict=True))

assert all(spec.endswith(f":{kind.name}") for spec, kind in FLOW_REFERENCES.items())
