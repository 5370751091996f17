"""Shipped indicators of the order flow, beyond the built-in ones: what quotes and trades of the last seconds say.

They are registered kernels like a user's own and cost nothing where the configuration does not name them:

    indicators:
      extensions: ["hft_engine.indicators.flow:spread_mean", "hft_engine.indicators.flow:imbalance_mean", ...]

``FLOW`` names them all. Every mean fades with event time: an event's weight halves in the half-life that the table
says. NaN until the first event that it is made of.

| name | value |
|---|---|
| spread_mean | spread of the quotes in 1/10,000 of the mid; half-life ``FAST_S`` |
| spread_ratio | the same / its mean with half-life ``LONG_S`` |
| imbalance_mean, imbalance_slow | (bid size - ask size) / (bid size + ask size) of the quotes; ``FAST_S``, ``SLOW_S`` |
| trade_sign_mean | +1 a trade above the mid, or at it after a rise (tick rule), -1 the other way; ``TRADE_S`` |
| signed_volume | the same weighted by size |
| trade_rate | trades a second; ``TRADE_S`` |
| trade_rate_ratio | the same / that with half-life ``LONG_S`` |
| mid_volatility | of ln mid, per square root of a second; ``VOLATILITY_S`` |
| mid_volatility_ratio | the same / that with half-life ``LONG_S`` |
| mid_trend | faded sum of the moves of ln mid / square root of the faded sum of their squares; ``SLOW_S`` |
| time_of_day | UTC, 0 at midnight to 1 |

Trade sign: the quote rule, and where the price is the mid the tick rule, as in Lee and Ready, "Inferring Trade
Direction from Intraday Data", Journal of Finance 46 (1991).
"""

import math
from typing import Any

import numpy as np

from hft_engine.indicators.extension import indicator
from hft_engine.kernel import kernel
from hft_engine.records import TickFlag, TickKind

FAST_S, TRADE_S, VOLATILITY_S, SLOW_S, LONG_S = 2.0, 5.0, 10.0, 20.0, 300.0

_TRADE = int(TickKind.TRADE)
_UNUSED = int(TickFlag.NO_PRICE_UPDATE | TickFlag.CONDITION_UNKNOWN)
_DAY_NS = 86_400_000_000_000
_LN2 = math.log(2.0)
_SUM, _WEIGHT, _LAST_NS, _MEAN_WIDTH = 0, 1, 2, 3  # a faded mean in a state


@kernel(cache=True)
def _fade(state: np.ndarray, at: int, now_ns: int, half_life_s: float) -> None:
    """Brings the mean at ``state[at:at + 3]`` to ``now_ns``. Stamps that go backwards fade nothing."""
    elapsed_s = max(0.0, (now_ns - state[at + _LAST_NS]) / 1e9)
    kept = 2.0 ** (-elapsed_s / half_life_s)
    state[at + _SUM] *= kept
    state[at + _WEIGHT] *= kept
    state[at + _LAST_NS] = max(state[at + _LAST_NS], float(now_ns))


@kernel(cache=True)
def add_faded(
    state: np.ndarray, at: int, now_ns: int, half_life_s: float, value: float, weight: float
) -> None:
    _fade(state, at, now_ns, half_life_s)
    state[at + _SUM] += weight * value
    state[at + _WEIGHT] += weight


@kernel(cache=True)
def _mean(state: np.ndarray, at: int) -> float:
    return state[at + _SUM] / state[at + _WEIGHT] if state[at + _WEIGHT] > 0.0 else math.nan


@kernel(cache=True)
def is_sound(tick: Any) -> bool:
    """A quote of two positive sides that do not cross."""
    return tick.kind != _TRADE and 0.0 < tick.bid <= tick.ask < math.inf


@kernel(cache=True)
def _add_spread(state: np.ndarray, at: int, tick: Any, half_life_s: float) -> None:
    if is_sound(tick):
        width = 2e4 * (tick.ask - tick.bid) / (tick.ask + tick.bid)
        add_faded(state, at, tick.ts_venue_ns, half_life_s, width, 1.0)


@indicator(name="spread_mean", state_size=_MEAN_WIDTH)
def spread_mean(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    _add_spread(state, 0, tick, FAST_S)
    return _mean(state, 0)


@indicator(name="spread_ratio", state_size=2 * _MEAN_WIDTH)
def spread_ratio(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    _add_spread(state, 0, tick, FAST_S)
    _add_spread(state, _MEAN_WIDTH, tick, LONG_S)
    return _mean(state, 0) / _mean(state, _MEAN_WIDTH)


@kernel(cache=True)
def _add_imbalance(state: np.ndarray, tick: Any, half_life_s: float) -> float:
    if tick.kind != _TRADE and tick.bid_size + tick.ask_size > 0.0:
        share = (tick.bid_size - tick.ask_size) / (tick.bid_size + tick.ask_size)
        add_faded(state, 0, tick.ts_venue_ns, half_life_s, share, 1.0)
    return _mean(state, 0)


@indicator(name="imbalance_mean", state_size=_MEAN_WIDTH)
def imbalance_mean(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    return float(_add_imbalance(state, tick, FAST_S))


@indicator(name="imbalance_slow", state_size=_MEAN_WIDTH)
def imbalance_slow(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    return float(_add_imbalance(state, tick, SLOW_S))


_MID, _PRICE, _SIGN = 3, 4, 5  # of the trade sign, behind its mean


@kernel(cache=True)
def _sign_of(state: np.ndarray, tick: Any) -> float:
    """Of a trade, 0 for what is none or cannot be told; keeps the newest mid and price."""
    if tick.kind != _TRADE:
        if is_sound(tick):
            state[_MID] = 0.5 * (tick.bid + tick.ask)
        return 0.0
    if tick.flags & _UNUSED or not 0.0 < tick.price < math.inf:
        return 0.0
    if state[_PRICE] > 0.0 and tick.price != state[_PRICE]:
        state[_SIGN] = 1.0 if tick.price > state[_PRICE] else -1.0
    state[_PRICE] = tick.price
    if state[_MID] > 0.0 and tick.price != state[_MID]:
        return 1.0 if tick.price > state[_MID] else -1.0
    return state[_SIGN]


@indicator(name="trade_sign_mean", state_size=_MEAN_WIDTH + 3)
def trade_sign_mean(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    sign = _sign_of(state, tick)
    if sign != 0.0:
        add_faded(state, 0, tick.ts_venue_ns, TRADE_S, sign, 1.0)
    return _mean(state, 0)


@indicator(name="signed_volume", state_size=_MEAN_WIDTH + 3)
def signed_volume(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    sign = _sign_of(state, tick)
    if sign != 0.0 and 0.0 < tick.size < math.inf:
        add_faded(state, 0, tick.ts_venue_ns, TRADE_S, sign, tick.size)
    return _mean(state, 0)


@kernel(cache=True)
def _add_rate(state: np.ndarray, at: int, tick: Any, half_life_s: float) -> float:
    """Events a second: a sum that fades has gathered as many as come in half-life / ln 2."""
    if tick.kind == _TRADE:
        add_faded(state, at, tick.ts_venue_ns, half_life_s, 1.0, 1.0)
    else:
        _fade(state, at, tick.ts_venue_ns, half_life_s)
    return state[at + _WEIGHT] * _LN2 / half_life_s if state[at + _WEIGHT] > 0.0 else math.nan


@indicator(name="trade_rate", state_size=_MEAN_WIDTH)
def trade_rate(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    return float(_add_rate(state, 0, tick, TRADE_S))


@indicator(name="trade_rate_ratio", state_size=2 * _MEAN_WIDTH)
def trade_rate_ratio(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    return float(_add_rate(state, 0, tick, TRADE_S) / _add_rate(state, _MEAN_WIDTH, tick, LONG_S))


_BEFORE, _BEFORE_NS = 0, 1  # ln mid and stamp of the quote before; the means stand behind


@kernel(cache=True)
def _move(state: np.ndarray, tick: Any) -> float:
    """Of ln mid since the quote before; NaN for what is no sound quote, or the first one."""
    if not is_sound(tick):
        return math.nan
    now = math.log(0.5 * (tick.bid + tick.ask))
    moved = now - state[_BEFORE] if state[_BEFORE_NS] > 0.0 else math.nan
    state[_BEFORE] = now
    return moved


@kernel(cache=True)
def _add_squares(state: np.ndarray, at: int, tick: Any, moved: float, half_life_s: float) -> float:
    """Square root of the squared moves over the seconds in which they came, both faded."""
    if moved == moved:
        elapsed_s = max(0.0, (tick.ts_venue_ns - state[_BEFORE_NS]) / 1e9)
        _fade(state, at, tick.ts_venue_ns, half_life_s)
        state[at + _SUM] += moved * moved
        state[at + _WEIGHT] += elapsed_s
    return math.sqrt(_mean(state, at))


@indicator(name="mid_volatility", state_size=2 + _MEAN_WIDTH)
def mid_volatility(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    value = _add_squares(state, 2, tick, _move(state, tick), VOLATILITY_S)
    if is_sound(tick):
        state[_BEFORE_NS] = tick.ts_venue_ns
    return float(value)


@indicator(name="mid_volatility_ratio", state_size=2 + 2 * _MEAN_WIDTH)
def mid_volatility_ratio(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    moved = _move(state, tick)
    value = _add_squares(state, 2, tick, moved, VOLATILITY_S)
    usual = _add_squares(state, 2 + _MEAN_WIDTH, tick, moved, LONG_S)
    if is_sound(tick):
        state[_BEFORE_NS] = tick.ts_venue_ns
    return float(value / usual)


@indicator(name="mid_trend", state_size=2 + 2 * _MEAN_WIDTH)
def mid_trend(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    moved = _move(state, tick)
    if moved == moved:
        add_faded(state, 2, tick.ts_venue_ns, SLOW_S, moved, 1.0)
        add_faded(state, 2 + _MEAN_WIDTH, tick.ts_venue_ns, SLOW_S, moved * moved, 1.0)
    if is_sound(tick):
        state[_BEFORE_NS] = tick.ts_venue_ns
    squares = state[2 + _MEAN_WIDTH]
    return float(state[2] / math.sqrt(squares)) if squares > 0.0 else math.nan


@indicator(name="time_of_day")
def time_of_day(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    return float((tick.ts_venue_ns % _DAY_NS) / _DAY_NS)


FLOW = tuple(
    f"{__name__}:{name}"
    for name in (
        "spread_mean",
        "spread_ratio",
        "imbalance_mean",
        "imbalance_slow",
        "trade_sign_mean",
        "signed_volume",
        "trade_rate",
        "trade_rate_ratio",
        "mid_volatility",
        "mid_volatility_ratio",
        "mid_trend",
        "time_of_day",
    )
)
