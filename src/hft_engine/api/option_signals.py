"""What is remarkable about a contract's trades, quotes and fair values: a pure function of what came before.

    volume spike       size >= volume_ratio x mean size of the trades before
    price movement     |price / the price before - 1| >= price_change
    spread tightening  spread in percent of the mid <= spread_ratio x its mean before; once, until it is wider again
    FMV divergence     |fmv / last price - 1| >= fmv_difference; once, until it is less

The documents give examples and no thresholds: these are such that each example fires with its strength.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hft_engine.api.polygon_websocket import OptionsQuote, OptionsTrade, spread_pct
from hft_engine.api.schema import FairMarketValue

# Strength at the threshold; it grows in proportion, to 1. From the documents' examples.
VOLUME_STRENGTH, PRICE_STRENGTH, FMV_STRENGTH = 0.8, 0.56, 0.8
SPREAD_STRENGTH = 0.6  # at half the mean; 1 at none
CONFIDENCE_UNKNOWN = 0.5  # of a fair value where no quote is known


@dataclass(frozen=True, slots=True)
class RealtimeSignal:
    """``signal_type``: buy or sell; ``strength`` 0..1; ``data["signal_type"]``: what kind. Nothing here is an order."""

    ticker: str
    signal_type: str
    strength: float
    reason: str
    timestamp: datetime  # local time of the decision
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    volume_ratio: float = 3.0
    price_change: float = 0.05  # fraction
    spread_ratio: float = 0.5
    fmv_difference: float = 0.04  # fraction
    window: int = 100  # records that a mean is taken of
    samples_min: int = 5  # before there is a mean


@dataclass(slots=True)
class _Past:
    sizes: deque[int]
    spreads: deque[float]
    price: float = 0.0
    tight: bool = False
    diverged: bool = False
    quote: OptionsQuote | None = field(default=None)


class SignalDetector:
    """One for all contracts; each call is in the order of what came."""

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds or Thresholds()
        self._pasts: dict[str, _Past] = {}

    def trade(self, trade: OptionsTrade) -> list[RealtimeSignal]:
        past = self._past(trade.ticker)
        found = [*self._volume(past, trade), *self._price(past, trade)]
        past.sizes.append(trade.size)
        past.price = trade.price
        return found

    def quote(self, quote: OptionsQuote) -> list[RealtimeSignal]:
        past, pct = self._past(quote.ticker), spread_pct(quote)
        past.quote = quote
        if pct is None:
            return []
        found = list(self._spread(past, quote, pct))
        past.spreads.append(pct)
        return found

    def fair_value(self, value: FairMarketValue) -> list[RealtimeSignal]:
        past = self._past(value.ticker)
        if past.price <= 0.0:
            return []
        difference = (value.fmv - past.price) / past.price
        was, past.diverged = past.diverged, abs(difference) >= self.thresholds.fmv_difference
        if was or not past.diverged:
            return []
        strength = FMV_STRENGTH * abs(difference) / self.thresholds.fmv_difference
        reason = f"FMV divergence: FMV ${value.fmv:.2f} vs Market ${past.price:.2f}"
        data = {
            "fmv": value.fmv, "market_price": past.price, "fmv_diff": difference, "confidence": _confidence(past.quote),
        }  # fmt: skip
        return [_signal(value.ticker, difference > 0, strength, reason, "fmv_divergence", data)]

    def _volume(self, past: _Past, trade: OptionsTrade) -> Iterator[RealtimeSignal]:
        if len(past.sizes) < self.thresholds.samples_min:
            return
        mean = sum(past.sizes) / len(past.sizes)
        ratio = trade.size / mean if mean else 0.0
        if ratio >= self.thresholds.volume_ratio:
            strength = VOLUME_STRENGTH * ratio / self.thresholds.volume_ratio
            data = {"trade_price": trade.price, "trade_size": trade.size, "volume_ratio": ratio}
            reason = f"Volume spike: {trade.size} vs avg {mean:.0f}"
            yield _signal(trade.ticker, _is_bought(past, trade), strength, reason, "volume_spike", data)

    def _price(self, past: _Past, trade: OptionsTrade) -> Iterator[RealtimeSignal]:
        if past.price <= 0.0:
            return
        change = trade.price / past.price - 1.0
        if abs(change) >= self.thresholds.price_change:
            strength = PRICE_STRENGTH * abs(change) / self.thresholds.price_change
            data = {
                "prev_price": past.price, "current_price": trade.price, "price_change": change, "volume": trade.size,
            }  # fmt: skip
            reason = f"Price movement: {100 * change:.1f}%"
            yield _signal(trade.ticker, change > 0, strength, reason, "price_movement", data)

    def _spread(self, past: _Past, quote: OptionsQuote, pct: float) -> Iterator[RealtimeSignal]:
        if len(past.spreads) < self.thresholds.samples_min:
            return
        mean = sum(past.spreads) / len(past.spreads)
        was, past.tight = past.tight, mean > 0.0 and 0.0 <= pct <= self.thresholds.spread_ratio * mean
        if past.tight and not was:
            strength = 1.0 - (1.0 - SPREAD_STRENGTH) * 2 * pct / mean
            data = {"bid": quote.bid, "ask": quote.ask, "spread": quote.ask - quote.bid, "spread_pct": pct}
            reason = f"Spread tightening: {pct:.1f}% vs avg {mean:.1f}%"
            yield _signal(quote.ticker, True, strength, reason, "spread_tightening", data)

    def _past(self, ticker: str) -> _Past:
        if ticker not in self._pasts:
            window = self.thresholds.window
            self._pasts[ticker] = _Past(deque(maxlen=window), deque(maxlen=window))
        return self._pasts[ticker]


def _signal(
    ticker: str, is_buy: bool, strength: float, reason: str, kind: str, data: dict[str, Any]
) -> RealtimeSignal:
    side = "buy" if is_buy else "sell"
    held = min(max(strength, 0.0), 1.0)
    return RealtimeSignal(ticker, side, held, reason, datetime.now(), {**data, "signal_type": kind})


def _is_bought(past: _Past, trade: OptionsTrade) -> bool:
    """At or above the mid where a quote is known; else not below the price before."""
    if past.quote is not None and spread_pct(past.quote) is not None:
        return trade.price >= (past.quote.bid + past.quote.ask) / 2
    return trade.price >= past.price


def _confidence(quote: OptionsQuote | None) -> float:
    """1 less the spread as a fraction of the mid: a fair value says little where nobody quotes closely."""
    pct = None if quote is None else spread_pct(quote)
    return CONFIDENCE_UNKNOWN if pct is None else min(max(1.0 - pct / 100.0, 0.0), 1.0)
