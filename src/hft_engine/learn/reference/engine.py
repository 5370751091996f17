"""The reference of a whole stream of ticks: what each instrument's vector is after each of them."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.features import BUILT_IN_FEATURES
from hft_engine.learn.reference.bars import SECOND_NS, SPANS_NS, Bar, CountBars, TimeBars
from hft_engine.learn.reference.flow import FLOW_REFERENCES, FlowReference
from hft_engine.learn.reference.market import MARKET_REFERENCES, Market
from hft_engine.learn.reference.prices import PriceReference, RangeReference
from hft_engine.records import TickFlag, TickKind

TRADE, QUOTE = int(TickKind.TRADE), int(TickKind.QUOTE)
_NO_PRICE = int(TickFlag.NO_PRICE_UPDATE | TickFlag.CONDITION_UNKNOWN)
_NO_VOLUME = int(TickFlag.NO_VOLUME_UPDATE)
_DAY_NS = 86_400 * SECOND_NS
_BPS = 1e4


class PlainTick(NamedTuple):
    """A trade's ``price`` and ``size``, or a quote's four; the others are of no meaning."""

    sequence: int
    kind: int
    instrument_id: int
    flags: int
    ts_ns: int
    price: float
    size: float
    bid: float
    ask: float
    bid_size: float
    ask_size: float


def plain_ticks(ticks: np.ndarray) -> list[PlainTick]:
    """TICK_DTYPE rows as they are read here."""
    names = ("ts_venue_ns" if name == "ts_ns" else name for name in PlainTick._fields)
    return [PlainTick(*row) for row in zip(*(ticks[name].tolist() for name in names), strict=True)]


class Instrument:
    """All that one instrument's vector is made of. Its methods are the places where a test plants a fault."""

    def __init__(self, config: IndicatorConfig, extensions: list[FlowReference]) -> None:
        self.config = config
        self.tick, self.bar = PriceReference(config), PriceReference(config)
        self._range = RangeReference(config)
        self.time_bars = {name: TimeBars(span) for name, span in SPANS_NS.items()}
        self.count_bars = CountBars(config.ticks_per_bar)
        self.others: dict[str, float] = {}
        self._sizes: list[float] = []
        self._last_ns: int | None = None
        self._session, self._notional, self._volume = -1, 0.0, 0.0
        self._extensions = extensions

    def take(self, tick: PlainTick) -> None:
        """A trade or a quote."""
        self._take_time(tick.ts_ns)
        if tick.kind == TRADE:
            self._take_trade(tick)
        else:
            self.take_quote(tick)
        for extension in self._extensions:
            self.others[extension.name] = extension.take(tick)

    def values(self) -> dict[str, float]:
        """By name; what is not in it is unknown yet."""
        found = {f"tick_{name}": value for name, value in self.tick.values().items()}
        found.update((f"bar_{name}", value) for name, value in self.bar.values().items())
        return {**found, **self._range.values(), **self.others}

    def end_due(self, watermark_ns: int) -> None:
        """End the time bars that event time has passed by ``late_after_ms``."""
        for name, bars in self.time_bars.items():
            if (
                bars.open is not None
                and bars.open.end_ns + self.config.late_after_ms * 1_000_000 <= watermark_ns
            ):
                self.take_bar(name, bars.end())

    def take_bar(self, kind: str, bar: Bar | None) -> None:
        """A bar that is over."""
        if bar is not None and bar.prints and kind == self.config.bar:
            self.bar.add(bar.close)
            self._range.add(bar.high, bar.low, bar.close)

    def take_quote(self, tick: PlainTick) -> None:
        spread = imbalance = math.nan
        if tick.bid > 0.0 and tick.ask > 0.0:
            spread = _BPS * (tick.ask - tick.bid) / ((tick.ask + tick.bid) / 2.0)
            sizes = tick.bid_size + tick.ask_size
            imbalance = (tick.bid_size - tick.ask_size) / sizes if sizes > 0.0 else math.nan
        self.others["spread_bps"], self.others["quote_imbalance"] = spread, imbalance

    def _take_time(self, ts_ns: int) -> None:
        if self._last_ns is not None:
            self.others["seconds_since_tick"] = max(0, ts_ns - self._last_ns) / SECOND_NS
        self._last_ns = ts_ns if self._last_ns is None else max(self._last_ns, ts_ns)

    def _take_trade(self, tick: PlainTick) -> None:
        good = 0.0 < tick.price < math.inf
        price = tick.price if good and not tick.flags & _NO_PRICE else None
        adds = good and not tick.flags & _NO_VOLUME and 0.0 <= tick.size < math.inf
        if not self._into_bars(tick, price, adds):
            return  # late for its second: it moves nothing but bars
        if adds:
            self._take_size(tick.size)
        if price is None:
            return
        if adds:
            self._take_notional(price, tick.size, tick.ts_ns)
        self.others["vwap_deviation"] = price / self.others.get("vwap", math.nan) - 1.0
        self.tick.add(price)

    def _into_bars(self, tick: PlainTick, price: float | None, adds: bool) -> bool:
        """Whether the print was in time for its second."""
        in_time = {}
        for name, bars in self.time_bars.items():
            in_time[name], ended = bars.enter(tick.ts_ns)
            self.take_bar(name, ended)
            if in_time[name] and bars.open is not None and (price is not None or adds):
                bars.open.add(tick.ts_ns, price)
        if in_time["second"] and (price is not None or adds):
            self.take_bar("ticks", self.count_bars.add(tick.ts_ns, price))
        return in_time["second"]

    def _take_size(self, size: float) -> None:
        window = self._sizes[-self.config.size_window :]
        z = math.nan
        if len(window) == self.config.size_window:
            mean = math.fsum(window) / len(window)
            variance = math.fsum((one - mean) ** 2 for one in window) / len(window)
            if max(window) > min(window):
                z = (size - mean) / math.sqrt(variance)
        self.others["size_z"] = z
        self._sizes = [*window, size]

    def _take_notional(self, price: float, size: float, ts_ns: int) -> None:
        hours, minutes = map(int, self.config.session_start_utc.split(":"))
        session = (ts_ns - (hours * 60 + minutes) * 60 * SECOND_NS) // _DAY_NS
        if session > self._session or self._volume == 0.0:
            self._session, self._notional, self._volume = session, 0.0, 0.0
        self._notional += price * size
        self._volume += size
        if self._volume > 0.0:
            self.others["vwap"] = self._notional / self._volume


def _extensions_of(config: IndicatorConfig) -> list[Callable[[], FlowReference]]:
    """Makers of what an instrument needs for the shipped extensions of a configuration; others have no reference."""
    makers: list[Callable[[], FlowReference]] = []
    for spec in config.extensions:
        if spec in FLOW_REFERENCES:
            makers.append(FLOW_REFERENCES[spec])
        elif spec in MARKET_REFERENCES:
            makers.append(partial(MARKET_REFERENCES[spec], Market()))
    return makers


class Reference:
    """``instrument``: what holds one instrument's state. Ticks of ids from ``instruments`` on are passed over.

    ``names``: the features that it knows, those of the shipped extensions among them.
    """

    def __init__(
        self, config: IndicatorConfig, instruments: int, instrument: type[Instrument] = Instrument
    ) -> None:
        self._config, self._instruments, self._make = config, instruments, instrument
        self._extensions = _extensions_of(config)
        self.names = frozenset([*BUILT_IN_FEATURES, *(make().name for make in self._extensions)])
        self._known: dict[int, Instrument] = {}
        self._watermark_ns = self._next_scan_ns = 0

    def take(self, tick: PlainTick) -> Instrument | None:
        """The instrument of a trade or quote, after it; None for what gives no features."""
        if tick.kind not in (TRADE, QUOTE) or not 0 <= tick.instrument_id < self._instruments:
            return None
        self._watermark_ns = max(self._watermark_ns, tick.ts_ns)
        if self._watermark_ns >= self._next_scan_ns:
            for each in self._known.values():
                each.end_due(self._watermark_ns)
            self._next_scan_ns = (self._watermark_ns // SECOND_NS + 1) * SECOND_NS
        known = self._known.get(tick.instrument_id)
        if known is None:
            known = self._make(self._config, [make() for make in self._extensions])
            self._known[tick.instrument_id] = known
        known.take(tick)
        return known
