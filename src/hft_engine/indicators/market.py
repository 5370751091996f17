"""Shipped indicators across instruments: what the others have done, and what that says about this one.

    indicators:
      extensions: ["hft_engine.indicators.market:market_return", "hft_engine.indicators.market:market_ahead", ...]

``MARKET`` names them all. The market of an instrument is the mean over all others of the moves of ln mid, each counted
when its quote comes: an index of equal weights that never jumps when an instrument joins. Faded sums and means are
those of ``indicators.flow``. All are NaN until another instrument has moved.

| name | value |
|---|---|
| market_return | faded sum of the market's moves; half-life ``SLOW_S`` |
| market_breadth | mean over all instruments of the sign of each one's newest move: -1..1; a regime of its own |
| market_beta | covariance of own and market's moves between own quotes / variance of the latter; ``LONG_S`` |
| market_residual | own faded moves - market_beta * the market's; ``SLOW_S`` |
| market_ahead | what the market has moved since the instrument's own last quote: what it may have to follow |

Moves are those between own quotes, so that an instrument that is quoted rarely is compared with all that happened
meanwhile: moves of unlike times make betas too small (Scholes and Williams, "Estimating Betas from Nonsynchronous
Data", Journal of Financial Economics 5, 1977).
"""

import math
from typing import Any

import numpy as np

from hft_engine.indicators.extension import indicator
from hft_engine.indicators.flow import LONG_S, SLOW_S, add_faded, is_sound
from hft_engine.kernel import kernel

STILL = 1e-12  # of ln mid: what is less is rounding and no move
_MEAN_WIDTH = 3
# of every instrument: ln mid of its last quote, whether there was one, its own part of the index, the index it last saw
_MID, _SEEN, _OWN, _BEFORE = range(4)
_OWN_WIDTH = 4
_INDEX, _COUNT = range(2)  # shared: the sum of all moves / the number of others, instruments seen
_SHARED_WIDTH = 2


@kernel(cache=True)
def _market_of(state: np.ndarray, shared: np.ndarray) -> float:
    """Level of the index of the others."""
    return shared[_INDEX] - state[_OWN]


@kernel(cache=True)
def _quote(state: np.ndarray, tick: Any, shared: np.ndarray) -> tuple[float, float]:
    """(own move, market's move) since the instrument's last quote; NaN without one, or for what is no sound quote."""
    if not is_sound(tick):
        return math.nan, math.nan
    mid = math.log(0.5 * (tick.bid + tick.ask))
    moved, market = math.nan, math.nan
    if state[_SEEN] == 0.0:
        shared[_COUNT] += 1.0
        state[_SEEN] = 1.0
    else:
        moved = mid - state[_MID]
        market = _market_of(state, shared) - state[_BEFORE]
        if shared[_COUNT] > 1.0:
            part = moved / (shared[_COUNT] - 1.0)
            shared[_INDEX] += part
            state[_OWN] += part
    state[_MID] = mid
    state[_BEFORE] = _market_of(
        state, shared
    )  # as it is rounded now: where no other moves, the next one is 0
    return moved, market


@indicator(name="market_return", state_size=_OWN_WIDTH + _MEAN_WIDTH, shared_size=_SHARED_WIDTH)
def market_return(state: np.ndarray, tick: Any, features: np.ndarray, shared: np.ndarray) -> float:
    _, market = _quote(state, tick, shared)
    if market == market and shared[_COUNT] > 1.0:
        add_faded(state, _OWN_WIDTH, tick.ts_venue_ns, SLOW_S, market, 1.0)
    return state[_OWN_WIDTH] if state[_OWN_WIDTH + 1] > 0.0 else math.nan


@indicator(name="market_ahead", state_size=_OWN_WIDTH, shared_size=_SHARED_WIDTH)
def market_ahead(state: np.ndarray, tick: Any, features: np.ndarray, shared: np.ndarray) -> float:
    known = state[_SEEN] > 0.0 and shared[_COUNT] > 1.0
    ahead = _market_of(state, shared) - state[_BEFORE] if known else math.nan
    _quote(state, tick, shared)
    return ahead


@indicator(name="market_breadth", state_size=3, shared_size=2)
def market_breadth(state: np.ndarray, tick: Any, features: np.ndarray, shared: np.ndarray) -> float:
    """State: ln mid, whether there was one, sign; shared: sum of all signs, instruments with one."""
    if is_sound(tick):
        mid = math.log(0.5 * (tick.bid + tick.ask))
        moved = mid - state[0] if state[1] > 0.0 else 0.0
        if abs(moved) > STILL:
            sign = 1.0 if moved > 0.0 else -1.0
            shared[1] += state[2] == 0.0
            shared[0] += sign - state[2]
            state[2] = sign
        state[0], state[1] = mid, 1.0
    return shared[0] / shared[1] if shared[1] > 0.0 else math.nan


_CROSS, _SQUARE = _OWN_WIDTH, _OWN_WIDTH + _MEAN_WIDTH


@kernel(cache=True)
def _add_beta(state: np.ndarray, tick: Any, moved: float, market: float) -> float:
    if moved == moved and abs(market) > STILL:
        add_faded(state, _CROSS, tick.ts_venue_ns, LONG_S, moved * market, 1.0)
        add_faded(state, _SQUARE, tick.ts_venue_ns, LONG_S, market * market, 1.0)
    return state[_CROSS] / state[_SQUARE] if state[_SQUARE] > 0.0 else math.nan


@indicator(name="market_beta", state_size=_OWN_WIDTH + 2 * _MEAN_WIDTH, shared_size=_SHARED_WIDTH)
def market_beta(state: np.ndarray, tick: Any, features: np.ndarray, shared: np.ndarray) -> float:
    moved, market = _quote(state, tick, shared)
    return float(_add_beta(state, tick, moved, market))


_MINE, _THEIRS = _OWN_WIDTH + 2 * _MEAN_WIDTH, _OWN_WIDTH + 3 * _MEAN_WIDTH


@indicator(name="market_residual", state_size=_OWN_WIDTH + 4 * _MEAN_WIDTH, shared_size=_SHARED_WIDTH)
def market_residual(state: np.ndarray, tick: Any, features: np.ndarray, shared: np.ndarray) -> float:
    moved, market = _quote(state, tick, shared)
    beta = _add_beta(state, tick, moved, market)
    if moved == moved:
        add_faded(state, _MINE, tick.ts_venue_ns, SLOW_S, moved, 1.0)
        add_faded(state, _THEIRS, tick.ts_venue_ns, SLOW_S, market, 1.0)
    return float(state[_MINE] - beta * state[_THEIRS])


MARKET = tuple(
    f"{__name__}:{name}"
    for name in ("market_return", "market_breadth", "market_beta", "market_residual", "market_ahead")
)
