"""The indicators: pure functions of one instrument's state and one new price, trade or quote. O(1) an event.

Each writes its values into the slots of a feature vector that ``features.py`` lists, and writes nothing while its
window is not full: a slot is NaN until then. Recurrences and seeds are TA-Lib's (``ta_EMA.c``, ``ta_MACD.c``,
``ta_RSI.c``, ``ta_ATR.c``), so values agree from the first one on.

Records: ``b`` is a PRICES_DTYPE, ``row`` a STATE_DTYPE, ``p`` a PARAMETERS_DTYPE record (see ``state``); ``values``
is float64[FEATURES_MAX], ``base`` the slot where the block of PRICE_FEATURES begins.
"""

import math
from typing import Any

import numpy as np

from hft_engine.indicators.features import (
    BUILT_IN_FEATURES,
    G_ATR,
    G_BOLLINGER,
    G_EMA,
    G_MACD,
    G_RETURNS,
    G_RSI,
    G_SIZE,
    G_SMA,
    G_VOLATILITY,
    G_VWAP,
    PRICE_FEATURES,
)
from hft_engine.indicators.state import DAY_NS, LOGS_MAX, SECOND_NS, WINDOW_MAX
from hft_engine.kernel import kernel

TICK_BASE = BUILT_IN_FEATURES.index(f"tick_{PRICE_FEATURES[0]}")
BAR_BASE = BUILT_IN_FEATURES.index(f"bar_{PRICE_FEATURES[0]}")

(
    _SMA,
    _EMA_FAST,
    _EMA_SLOW,
    _RSI,
    _MACD,
    _MACD_SIGNAL,
    _MACD_HISTOGRAM,
    _UPPER,
    _MIDDLE,
    _LOWER,
    _SMA_DEVIATION,
    _EMA_SPREAD,
    _MACD_RATIO,
    _POSITION,
    _BANDWIDTH,
    _RETURN_1,
    _RETURN_5,
    _RETURN_20,
    _VOLATILITY,
) = range(len(PRICE_FEATURES))
_ATR = BUILT_IN_FEATURES.index("bar_atr")
_ATR_RATIO = BUILT_IN_FEATURES.index("bar_atr_ratio")
_VWAP = BUILT_IN_FEATURES.index("vwap")
_VWAP_DEVIATION = BUILT_IN_FEATURES.index("vwap_deviation")
_SPREAD = BUILT_IN_FEATURES.index("spread_bps")
_IMBALANCE = BUILT_IN_FEATURES.index("quote_imbalance")
_SIZE_Z = BUILT_IN_FEATURES.index("size_z")
_SECONDS = BUILT_IN_FEATURES.index("seconds_since_tick")

_WINDOW_MASK = WINDOW_MAX - 1
_LOGS_MASK = LOGS_MAX - 1
_BPS = 10_000.0
# A rolling sum of squares has lost at most 4 digits where it is above this part of its peak; below it, it is
# computed afresh, which leaves an error of at most about WINDOW_MAX * 2.2e-16 / 1e-4 in the variance.
_CANCELLED = 1e-4

assert PRICE_FEATURES[_VOLATILITY] == "volatility" and PRICE_FEATURES[_POSITION] == "bollinger_position"
assert LOGS_MAX > 20


@kernel()
def _recompute(r: Any, ring: np.ndarray, count: int, window: int) -> None:
    """Both sums afresh, about the mean: about the newest value where all are equal, so that zero stays zero."""
    newest = ring[(count - 1) & _WINDOW_MASK]
    total = 0.0
    for i in range(count - window, count):
        total += ring[i & _WINDOW_MASK] - newest
    anchor = newest + total / window
    r.anchor = anchor
    r.sum = 0.0
    r.squares = 0.0
    for i in range(count - window, count):
        deviation = ring[i & _WINDOW_MASK] - anchor
        r.sum += deviation
        r.squares += deviation * deviation
    r.peak = r.squares
    r.left = window


@kernel()
def roll(r: Any, entering: float, leaving: float, ring: np.ndarray, count: int, window: int) -> None:
    """Move a rolling window on by one. ``ring`` holds the newest of ``count`` values already.

    Sums are kept about an anchor inside the window and computed afresh once a window, and whenever cancellation
    would eat digits: the error stays bounded however long the stream and however large the price.
    """
    if count < window:
        return
    r.left -= 1
    if count == window or r.left <= 0:
        _recompute(r, ring, count, window)
        return
    came = entering - r.anchor
    went = leaving - r.anchor
    r.sum += came - went
    r.squares += came * came - went * went
    r.peak = max(r.peak, r.squares)
    if r.squares - r.sum * r.sum / window < _CANCELLED * r.peak:
        _recompute(r, ring, count, window)


@kernel(forceinline=True)
def rolling_mean(r: Any, window: int) -> float:
    return r.anchor + r.sum / window


@kernel(forceinline=True)
def rolling_variance(r: Any, window: int) -> float:
    """Population variance of the window."""
    return max(0.0, (r.squares - r.sum * r.sum / window) / window)


@kernel()
def _mean_of_last(ring: np.ndarray, count: int, window: int) -> float:
    total = 0.0
    for i in range(count - window, count):
        total += ring[i & _WINDOW_MASK]
    return total / window


@kernel(forceinline=True)
def ema(before: float, price: float, ring: np.ndarray, count: int, start: int, period: int) -> float:
    """Exponential mean with weight 2 / (period + 1), seeded at the ``start``-th price with the SMA of the last
    ``period``. Of no meaning before that."""
    if count > start:
        return before + (price - before) * (2.0 / (period + 1))
    if count == start:
        return _mean_of_last(ring, count, period)
    return 0.0


@kernel(forceinline=True)
def _put_sma(b: Any, price: float, p: Any, values: np.ndarray, base: int) -> None:
    if b.count >= p.sma:
        mean = rolling_mean(b.sma, p.sma)
        values[base + _SMA] = mean
        values[base + _SMA_DEVIATION] = price / mean - 1.0


@kernel(forceinline=True)
def _put_emas(b: Any, price: float, p: Any, values: np.ndarray, base: int) -> None:
    b.ema_fast = ema(b.ema_fast, price, b.prices, b.count, p.ema_fast, p.ema_fast)
    b.ema_slow = ema(b.ema_slow, price, b.prices, b.count, p.ema_slow, p.ema_slow)
    if b.count >= p.ema_fast:
        values[base + _EMA_FAST] = b.ema_fast
    if b.count >= p.ema_slow:
        values[base + _EMA_SLOW] = b.ema_slow
        values[base + _EMA_SPREAD] = b.ema_fast / b.ema_slow - 1.0


@kernel(forceinline=True)
def _put_macd(b: Any, price: float, p: Any, values: np.ndarray, base: int) -> None:
    """The fast EMA starts where the slow one does; the signal is seeded with the SMA of the first MACD values."""
    b.macd_fast = ema(b.macd_fast, price, b.prices, b.count, p.ema_slow, p.ema_fast)
    known = b.count - p.ema_slow + 1
    if known < 1:
        return
    macd = b.macd_fast - b.ema_slow
    values[base + _MACD] = macd
    if known > p.macd_signal:
        b.macd_signal += (macd - b.macd_signal) * (2.0 / (p.macd_signal + 1))
    else:
        b.macd_signal += macd  # still the sum of the seed
        if known < p.macd_signal:
            return
        b.macd_signal /= p.macd_signal
    values[base + _MACD_SIGNAL] = b.macd_signal
    values[base + _MACD_HISTOGRAM] = macd - b.macd_signal
    values[base + _MACD_RATIO] = (macd - b.macd_signal) / price


@kernel(forceinline=True)
def wilder(before: float, new: float, known: int, period: int) -> float:
    """Wilder's mean of ``known`` values: the sum of the first ``period``, then their mean, then smoothed."""
    if known > period:
        return (before * (period - 1) + new) / period
    total = before + new
    return total / period if known == period else total


@kernel(forceinline=True)
def _put_rsi(b: Any, price: float, p: Any, values: np.ndarray, base: int) -> None:
    changes = b.count - 1
    if changes < 1:
        return
    change = price - b.last
    b.gain = wilder(b.gain, max(change, 0.0), changes, p.rsi)
    b.loss = wilder(b.loss, max(-change, 0.0), changes, p.rsi)
    if changes >= p.rsi:
        moved = b.gain + b.loss
        # TA-Lib says 0 for a price that never moved, which would call a still market oversold
        values[base + _RSI] = 100.0 * (b.gain / moved) if moved > 0.0 else 50.0


@kernel(forceinline=True)
def _put_bollinger(b: Any, price: float, p: Any, values: np.ndarray, base: int) -> None:
    if b.count < p.bollinger:
        return
    middle = rolling_mean(b.bollinger, p.bollinger)
    half = p.bollinger_width * math.sqrt(rolling_variance(b.bollinger, p.bollinger))
    values[base + _UPPER] = middle + half
    values[base + _MIDDLE] = middle
    values[base + _LOWER] = middle - half
    values[base + _POSITION] = 0.5 + (price - middle) / (2.0 * half) if half > 0.0 else math.nan
    values[base + _BANDWIDTH] = 2.0 * half / middle


@kernel(forceinline=True)
def _put_returns(b: Any, price: float, p: Any, groups: int, values: np.ndarray, base: int) -> None:
    log_price = math.log(price)
    newest = b.count - 1
    b.logs[newest & _LOGS_MASK] = log_price
    if newest >= 1:
        values[base + _RETURN_1] = log_price - b.logs[(newest - 1) & _LOGS_MASK]
        if groups & G_VOLATILITY:
            _put_volatility(b, values[base + _RETURN_1], p, values, base)
    if newest >= 5:
        values[base + _RETURN_5] = log_price - b.logs[(newest - 5) & _LOGS_MASK]
    if newest >= 20:
        values[base + _RETURN_20] = log_price - b.logs[(newest - 20) & _LOGS_MASK]


@kernel(forceinline=True)
def _put_volatility(b: Any, new: float, p: Any, values: np.ndarray, base: int) -> None:
    known = b.count - 1
    leaving = b.returns[(known - 1 - p.volatility) & _WINDOW_MASK]
    b.returns[(known - 1) & _WINDOW_MASK] = new
    roll(b.volatility, new, leaving, b.returns, known, p.volatility)
    if known >= p.volatility:
        mean = rolling_mean(b.volatility, p.volatility)
        variance = rolling_variance(b.volatility, p.volatility)
        values[base + _VOLATILITY] = math.sqrt(p.volatility * (variance + mean * mean))


@kernel()
def add_price(b: Any, price: float, p: Any, groups: int, values: np.ndarray, base: int) -> None:
    """One more price of a basis: PRICE_FEATURES into ``values[base:]``. ``price`` is positive and finite.

    ``groups``: which of them, see ``features``.
    """
    left_sma = b.prices[(b.count - p.sma) & _WINDOW_MASK]
    left_bollinger = b.prices[(b.count - p.bollinger) & _WINDOW_MASK]
    b.prices[b.count & _WINDOW_MASK] = price
    b.count += 1
    if groups & G_SMA:
        roll(b.sma, price, left_sma, b.prices, b.count, p.sma)
        _put_sma(b, price, p, values, base)
    if groups & G_EMA:
        _put_emas(b, price, p, values, base)
    if groups & G_MACD:
        _put_macd(b, price, p, values, base)
    if groups & G_RSI:
        _put_rsi(b, price, p, values, base)
    if groups & G_BOLLINGER:
        roll(b.bollinger, price, left_bollinger, b.prices, b.count, p.bollinger)
        _put_bollinger(b, price, p, values, base)
    if groups & G_RETURNS:
        _put_returns(b, price, p, groups, values, base)
    b.last = price


@kernel()
def _put_atr(row: Any, high: float, low: float, close: float, p: Any) -> None:
    known = row.atr_count
    if known >= 1:
        true_range = max(high - low, abs(high - row.atr_close), abs(low - row.atr_close))
        row.atr = wilder(row.atr, true_range, known, p.atr)
    if known >= p.atr:
        row.values[_ATR] = row.atr
        row.values[_ATR_RATIO] = row.atr / close
    row.atr_close = close
    row.atr_count = known + 1


@kernel()
def add_bar(row: Any, high: float, low: float, close: float, p: Any) -> None:
    """One more closed bar: the ``bar_*`` features of the instrument."""
    if p.bar_groups:
        add_price(row.bar, close, p, p.bar_groups, row.values, BAR_BASE)
    if p.bar_groups & G_ATR:
        _put_atr(row, high, low, close, p)


@kernel(forceinline=True)
def add_to_vwap(row: Any, price: float, size: float, ts_ns: int, p: Any) -> None:
    """Volume-weighted price since the session's start: a new session begins where the event time says so."""
    if not p.tick_groups & G_VWAP:
        return
    session = (ts_ns - p.session_start_ns) // DAY_NS
    if session > row.session or row.vwap_volume == 0.0:
        row.session = session
        row.vwap_notional = 0.0
        row.vwap_volume = 0.0
    row.vwap_notional += price * size
    row.vwap_volume += size
    if row.vwap_volume > 0.0:
        row.values[_VWAP] = row.vwap_notional / row.vwap_volume


@kernel(forceinline=True)
def put_vwap_deviation(row: Any, price: float) -> None:
    row.values[_VWAP_DEVIATION] = price / row.values[_VWAP] - 1.0


@kernel()
def add_size(row: Any, size: float, p: Any) -> None:
    """How unusual a trade's size is against the ``size_window`` trades before it."""
    if not p.tick_groups & G_SIZE:
        return
    count = row.sizes_count
    row.values[_SIZE_Z] = math.nan
    if count >= p.size_window:
        deviation = math.sqrt(rolling_variance(row.sizes_rolling, p.size_window))
        if deviation > 0.0:
            row.values[_SIZE_Z] = (size - rolling_mean(row.sizes_rolling, p.size_window)) / deviation
    leaving = row.sizes[(count - p.size_window) & _WINDOW_MASK]
    row.sizes[count & _WINDOW_MASK] = size
    row.sizes_count = count + 1
    roll(row.sizes_rolling, size, leaving, row.sizes, count + 1, p.size_window)


@kernel(forceinline=True)
def add_quote(row: Any, bid: float, ask: float, bid_size: float, ask_size: float) -> None:
    """Spread and imbalance; NaN for a quote without both sides."""
    row.values[_SPREAD] = math.nan
    row.values[_IMBALANCE] = math.nan
    if bid > 0.0 and ask > 0.0:
        row.mid = 0.5 * (bid + ask)
        row.values[_SPREAD] = (ask - bid) / row.mid * _BPS
        if bid_size + ask_size > 0.0:
            row.values[_IMBALANCE] = (bid_size - ask_size) / (bid_size + ask_size)


@kernel(forceinline=True)
def add_time(row: Any, ts_ns: int) -> None:
    """Seconds of event time since the instrument's previous trade or quote; 0 for one that came out of order."""
    if row.seen > 0:
        row.values[_SECONDS] = max(0, ts_ns - row.last_tick_ns) / SECOND_NS
        row.last_tick_ns = max(row.last_tick_ns, ts_ns)
    else:
        row.last_tick_ns = ts_ns
    row.seen += 1


@kernel()
def start_row(row: Any) -> None:
    """A new instrument: everything unknown."""
    row.values[:] = math.nan
    row.last_price = math.nan
    row.mid = math.nan
