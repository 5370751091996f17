"""Six indicators, one price at a time, for each of many instruments: TA-Lib's stream handles, talipp, our kernels.

SMA 20, EMA 12, RSI 14, MACD 12 26 9, Bollinger 20 with 2 deviations, ATR 14. Each peer is opened on a history of
``HISTORY`` prices and then takes ``prices`` in turn: step i of all instruments, then step i + 1. ``last`` are the
values after the last step, for comparison: sma, ema, rsi, macd, macd signal, upper band, lower band, atr.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from benchmarks.harness import LeftOutError
from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.kernels import add_bar, start_row
from hft_engine.indicators.state import new_state, parameters_of

HISTORY = 100
RANGE = 1e-4  # high and low of a bar, relative to its close
CONFIG = IndicatorConfig()  # its periods are the ones above
_NAMES = ("sma", "ema_fast", "rsi", "macd", "macd_signal", "bollinger_upper", "bollinger_lower", "atr")
_SLOTS = tuple(feature_schema(CONFIG).names.index(f"bar_{name}") for name in _NAMES)


@dataclass(frozen=True)
class Updates:
    """``ns``: of one step of one instrument, all six indicators; ``last`` float64[instruments, 8]."""

    ns: float
    last: np.ndarray


def walks(steps: int, instruments: int) -> np.ndarray:
    """float64[HISTORY + steps, instruments]: random walks from 100."""
    moves = np.random.default_rng(1).normal(0.0, 0.01, (HISTORY + steps, instruments))
    return np.asarray(np.cumsum(moves, axis=0) + 100.0)


def _highs_lows(closes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return closes * (1.0 + RANGE), closes * (1.0 - RANGE)


def talib_handles(prices: np.ndarray) -> Updates:
    """TA-Lib 0.8's handles: O(1) an update. Raises ImportError, LeftOutError for a version without them."""
    from talib import stream

    if not hasattr(stream, "Stream"):
        raise LeftOutError('TA-Lib before 0.8 has no stream handles; remedy: pip install "TA-Lib>=0.8"')
    handles = [
        _open_handles(stream, np.ascontiguousarray(prices[:HISTORY, i])) for i in range(prices.shape[1])
    ]
    closes, highs, lows = _python_rows(prices)
    started = time.perf_counter_ns()
    for close_row, high_row, low_row in zip(closes, highs, lows, strict=True):
        for of, close, high, low in zip(handles, close_row, high_row, low_row, strict=True):
            sma, ema, rsi, macd, bands, atr = of
            sma(close)
            ema(close)
            rsi(close)
            macd(close)
            bands(close)
            atr(high, low, close)
    spent = time.perf_counter_ns() - started
    return Updates(spent / (len(closes) * len(handles)), np.array([_handle_values(of) for of in handles]))


def _open_handles(stream: Any, history: np.ndarray) -> tuple[Any, ...]:
    """The six ``update`` methods, looked up once."""
    high, low = _highs_lows(history)
    handles = (
        stream.SMA(history, 20),
        stream.EMA(history, 12),
        stream.RSI(history, 14),
        stream.MACD(history, 12, 26, 9),
        stream.BBANDS(history, 20),
        stream.ATR(high, low, history, 14),
    )
    return tuple(handle.update for handle in handles)


def _handle_values(updates: tuple[Any, ...]) -> list[float]:
    sma, ema, rsi, macd, bands, atr = (update.__self__.value for update in updates)
    return [sma, ema, rsi, macd[0], macd[1], bands[0], bands[2], atr]


def talipp(prices: np.ndarray) -> Updates:
    """talipp's incremental indicators. Raises ImportError."""
    from talipp.ohlcv import OHLCV  # type: ignore[import-untyped,unused-ignore]

    sets = [_open_talipp() for _ in range(prices.shape[1])]
    closes, highs, lows = _python_rows(prices, 0)
    bars = [
        [OHLCV(close, high, low, close) for close, high, low in zip(*row, strict=True)]
        for row in zip(closes, highs, lows, strict=True)
    ]
    _feed_talipp(sets, closes[:HISTORY], bars[:HISTORY])
    started = time.perf_counter_ns()
    _feed_talipp(sets, closes[HISTORY:], bars[HISTORY:])
    spent = time.perf_counter_ns() - started
    steps = len(prices) - HISTORY
    return Updates(spent / (steps * len(sets)), np.array([_talipp_values(of) for of in sets]))


def _open_talipp() -> tuple[Any, ...]:
    from talipp import indicators  # type: ignore[import-untyped,unused-ignore]

    return (
        indicators.SMA(20),
        indicators.EMA(12),
        indicators.RSI(14),
        indicators.MACD(12, 26, 9),
        indicators.BB(20, 2.0),
        indicators.ATR(14),
    )


def _feed_talipp(sets: list[tuple[Any, ...]], closes: list[list[float]], bars: list[list[Any]]) -> None:
    for close_row, bar_row in zip(closes, bars, strict=True):
        for of, close, bar in zip(sets, close_row, bar_row, strict=True):
            sma, ema, rsi, macd, bands, atr = of
            sma.add(close)
            ema.add(close)
            rsi.add(close)
            macd.add(close)
            bands.add(close)
            atr.add(bar)


def _talipp_values(of: tuple[Any, ...]) -> list[float]:
    sma, ema, rsi, macd, bands, atr = (indicator[-1] for indicator in of)
    return [sma, ema, rsi, macd.macd, macd.signal, bands.ub, bands.lb, atr]


def _python_rows(prices: np.ndarray, first: int = HISTORY) -> tuple[list[list[float]], ...]:
    """Closes, highs, lows from step ``first`` on as Python's own floats: what these libraries take fastest."""
    high, low = _highs_lows(prices[first:])
    return prices[first:].tolist(), high.tolist(), low.tolist()


def ours(prices: np.ndarray) -> Updates:
    """Our kernel for a closed bar, from compiled code: the six, and the 14 features that come with them."""
    rows, parameters = new_state(prices.shape[1]).rows, parameters_of(CONFIG)
    high, low = _highs_lows(prices)
    bars = np.ascontiguousarray(np.stack([high, low, prices], axis=-1))
    _start(rows)
    _take(rows, parameters, bars[:HISTORY])
    started = time.perf_counter_ns()
    _take(rows, parameters, bars[HISTORY:])
    spent = time.perf_counter_ns() - started
    return Updates(spent / bars[HISTORY:, :, 0].size, rows["values"][:, _SLOTS])


@njit(nogil=True, error_model="numpy")
def _start(rows: np.ndarray) -> None:
    for i in range(len(rows)):
        start_row(rows[i])


@njit(nogil=True, error_model="numpy")
def _take(rows: np.ndarray, parameters: np.ndarray, bars: np.ndarray) -> None:
    p: Any = parameters[0]
    for step in range(bars.shape[0]):
        for i in range(bars.shape[1]):
            add_bar(rows[i], bars[step, i, 0], bars[step, i, 1], bars[step, i, 2], p)
