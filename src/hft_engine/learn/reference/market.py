"""The indicators of ``indicators.market`` by their definitions: an instrument's market is a sum over the others."""

import math
from typing import TYPE_CHECKING

from hft_engine.indicators.flow import LONG_S, SLOW_S
from hft_engine.indicators.market import MARKET, STILL
from hft_engine.learn.reference.flow import Faded, FlowReference, is_sound

if TYPE_CHECKING:
    from hft_engine.learn.reference.engine import PlainTick


class Market:
    """What all instruments have moved. ``part``: of each, the sum of its moves, each by the number of others then."""

    def __init__(self) -> None:
        self.part: dict[int, float] = {}
        self.sign: dict[int, float] = {}

    def of_others(self, instrument: int) -> float:
        return math.fsum(part for other, part in self.part.items() if other != instrument)


class MarketReference(FlowReference):
    """Each indicator has a market of its own, which all instruments share."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self._mid = self._before = math.nan

    def take(self, tick: "PlainTick") -> float:
        ahead = self.market.of_others(tick.instrument_id) - self._before
        moved = theirs = math.nan
        if is_sound(tick):
            mid, level = (tick.bid + tick.ask) / 2.0, self.market.of_others(tick.instrument_id)
            moved, theirs = math.log(mid / self._mid), level - self._before
            own = self.market.part.setdefault(tick.instrument_id, 0.0)
            others = len(self.market.part) - 1
            if moved == moved and others:
                self.market.part[tick.instrument_id] = own + moved / others
            self._mid, self._before = mid, level
        return self.value(tick, moved, theirs, ahead)

    @property
    def alone(self) -> bool:
        return len(self.market.part) < 2

    def value(self, tick: "PlainTick", moved: float, theirs: float, ahead: float) -> float:
        """Of the moves since the last quote, and of the market's until now."""
        raise NotImplementedError


class MarketReturn(MarketReference):
    name = "market_return"

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._sum = Faded(SLOW_S)

    def value(self, tick: "PlainTick", moved: float, theirs: float, ahead: float) -> float:
        if theirs == theirs and not self.alone:
            self._sum.add(tick.ts_ns, theirs)
        return self._sum.total if self._sum.weight else math.nan


class MarketBreadth(MarketReference):
    name = "market_breadth"

    def value(self, tick: "PlainTick", moved: float, theirs: float, ahead: float) -> float:
        if abs(moved) > STILL:
            self.market.sign[tick.instrument_id] = math.copysign(1.0, moved)
        signs = self.market.sign.values()
        return sum(signs) / len(signs) if signs else math.nan


class MarketBeta(MarketReference):
    name = "market_beta"

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._cross, self._square = Faded(LONG_S), Faded(LONG_S)

    def value(self, tick: "PlainTick", moved: float, theirs: float, ahead: float) -> float:
        if moved == moved and abs(theirs) > STILL:
            self._cross.add(tick.ts_ns, moved * theirs)
            self._square.add(tick.ts_ns, theirs * theirs)
        return self._cross.total / self._square.total if self._square.total > 0.0 else math.nan


class MarketResidual(MarketBeta):
    name = "market_residual"

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._mine, self._theirs = Faded(SLOW_S), Faded(SLOW_S)

    def value(self, tick: "PlainTick", moved: float, theirs: float, ahead: float) -> float:
        beta = super().value(tick, moved, theirs, ahead)
        if moved == moved:
            self._mine.add(tick.ts_ns, moved)
            self._theirs.add(tick.ts_ns, theirs)
        return self._mine.total - beta * self._theirs.total


class MarketAhead(MarketReference):
    name = "market_ahead"

    def value(self, tick: "PlainTick", moved: float, theirs: float, ahead: float) -> float:
        return math.nan if self.alone else ahead


_KINDS = (MarketReturn, MarketBreadth, MarketBeta, MarketResidual, MarketAhead)
MARKET_REFERENCES: dict[str, type[MarketReference]] = dict(zip(MARKET, _KINDS, strict=True))

assert all(spec.endswith(f":{kind.name}") for spec, kind in MARKET_REFERENCES.items())
