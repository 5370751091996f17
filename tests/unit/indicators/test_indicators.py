"""Every indicator against TA-Lib, tick by tick, and against an oracle of its own where TA-Lib has none."""

import numpy as np
import pytest
import talib
from indicator_samples import (
    MINUTE_NS,
    MONDAY_NS,
    SECOND_NS,
    bars_of,
    column,
    expected_of,
    joined,
    quote,
    trades,
    walk,
)

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.offline import compute, features_of_bars
from hft_engine.records import FEATURES_MAX

DEFAULT = IndicatorConfig()
SHORTEST = IndicatorConfig(
    sma=2, ema_fast=2, ema_slow=3, macd_signal=2, rsi=2, bollinger=2, atr=2, volatility=2, size_window=2
)
LONGEST = IndicatorConfig(
    sma=128,
    ema_fast=127,
    ema_slow=128,
    macd_signal=128,
    rsi=128,
    bollinger=128,
    atr=128,
    volatility=128,
    size_window=128,
)
CONFIGS = pytest.mark.parametrize(
    "config", [DEFAULT, SHORTEST, LONGEST], ids=["default", "shortest", "longest"]
)


def jumping(count: int) -> np.ndarray:
    """A price that falls from 60,000 to 100, lies still, and rises again: the hard case for running sums."""
    prices = walk(count, 60_000.0, 1e-4)
    prices[count // 4 : count // 2] *= 1 / 600
    prices[count // 3 : count // 3 + 300] = 100.1
    return prices


SERIES = {
    "daily": lambda: bars_of("spx")["close"],
    "bitcoin": lambda: bars_of("bitcoin")["close"],
    "minutes": lambda: bars_of("intraday")["close"],
    "penny_walk": lambda: walk(5_000, 0.5, 1e-3),
    "bitcoin_walk": lambda: walk(20_000, 60_000.0, 1e-5),
    "jumping": lambda: jumping(8_000),
}
SERIES_NAMES = pytest.mark.parametrize("name", SERIES)


def agrees(got: np.ndarray, expected: np.ndarray, absolute: float = 1e-9) -> None:
    """Equal wherever the oracle has a value, and known there."""
    known = ~np.isnan(expected)
    assert known.any()
    np.testing.assert_allclose(got[known], expected[known], rtol=1e-9, atol=absolute)


def bollinger(prices: np.ndarray, config: IndicatorConfig) -> tuple[np.ndarray, ...]:
    """TA-Lib's bands about zero: its own sums of squares lose digits on large prices, the bands only shift."""
    shift = float(np.median(prices))
    width = config.bollinger_width
    return tuple(band + shift for band in talib.BBANDS(prices - shift, config.bollinger, width, width))


@CONFIGS
@SERIES_NAMES
def test_means_rsi_and_macd_are_ta_libs(name: str, config: IndicatorConfig) -> None:
    prices = SERIES[name]()
    features, _ = compute(trades(prices), config)
    macd, signal, histogram = talib.MACD(prices, config.ema_fast, config.ema_slow, config.macd_signal)
    for feature, expected in {
        "tick_sma": talib.SMA(prices, config.sma),
        "tick_ema_fast": talib.EMA(prices, config.ema_fast),
        "tick_ema_slow": talib.EMA(prices, config.ema_slow),
        "tick_rsi": talib.RSI(prices, config.rsi),
        "tick_macd": macd,
        "tick_macd_signal": signal,
        "tick_macd_histogram": histogram,
    }.items():
        agrees(column(features, feature, config), expected)


@pytest.mark.parametrize("name", ["daily", "minutes", "penny_walk", "bitcoin_walk"])
def test_bollinger_bands_are_ta_libs(name: str) -> None:
    prices = SERIES[name]()
    features, _ = compute(trades(prices), DEFAULT)
    for feature, expected in zip(
        ("tick_bollinger_upper", "tick_bollinger_middle", "tick_bollinger_lower"),
        bollinger(prices, DEFAULT),
        strict=True,
    ):
        agrees(column(features, feature, DEFAULT), expected)


@CONFIGS
@SERIES_NAMES
def test_bollinger_width_is_the_exact_deviation_of_the_window(name: str, config: IndicatorConfig) -> None:
    prices = SERIES[name]()
    features, _ = compute(trades(prices), config)
    windows = np.lib.stride_tricks.sliding_window_view(prices, config.bollinger)
    half = 0.5 * (
        column(features, "tick_bollinger_upper", config) - column(features, "tick_bollinger_lower", config)
    )
    agrees(half[config.bollinger - 1 :], config.bollinger_width * windows.std(axis=1))


@CONFIGS
@SERIES_NAMES
def test_returns_and_volatility_are_those_of_the_logarithms(name: str, config: IndicatorConfig) -> None:
    prices = SERIES[name]()
    features, _ = compute(trades(prices), config)
    for lag in (1, 5, 20):
        returns = column(features, f"tick_return_{lag}", config)
        agrees(returns[lag:], np.log(prices[lag:] / prices[:-lag]), 1e-13)
        assert np.isnan(returns[:lag]).all()
    squares = np.diff(np.log(prices)) ** 2
    windows = np.lib.stride_tricks.sliding_window_view(squares, config.volatility)
    agrees(
        column(features, "tick_volatility", config)[config.volatility :], np.sqrt(windows.sum(axis=1)), 1e-13
    )


def test_scale_free_features_follow_from_the_raw_ones() -> None:
    prices = walk(400, 100.0, 1e-3)
    features, _ = compute(trades(prices), DEFAULT)
    of = {name: column(features, f"tick_{name}", DEFAULT) for name in ("sma", "ema_fast", "ema_slow")}
    upper, middle, lower = bollinger(prices, DEFAULT)
    agrees(column(features, "tick_sma_deviation", DEFAULT), prices / of["sma"] - 1)
    agrees(column(features, "tick_ema_spread", DEFAULT), of["ema_fast"] / of["ema_slow"] - 1)
    agrees(column(features, "tick_macd_ratio", DEFAULT), talib.MACD(prices)[2] / prices)
    agrees(column(features, "tick_bollinger_position", DEFAULT), (prices - lower) / (upper - lower))
    agrees(column(features, "tick_bollinger_bandwidth", DEFAULT), (upper - lower) / middle)


def test_long_streams_of_large_prices_do_not_drift() -> None:
    prices = walk(300_000, 60_000.0, 1e-5)
    features, _ = compute(trades(prices), DEFAULT)
    tail = np.lib.stride_tricks.sliding_window_view(prices[-2_000:], 20)
    shifted = tail - 60_000.0
    agrees(column(features, "tick_sma", DEFAULT)[-len(tail) :] - 60_000.0, shifted.mean(axis=1))
    upper = column(features, "tick_bollinger_upper", DEFAULT)[-len(tail) :] - 60_000.0
    agrees(upper, shifted.mean(axis=1) + 2 * shifted.std(axis=1))


def test_a_price_that_does_not_move_is_neither_oversold_nor_infinite() -> None:
    features, _ = compute(trades(np.full(300, 60_000.1)), DEFAULT)
    assert column(features, "tick_rsi", DEFAULT)[-1] == 50.0
    assert column(features, "tick_bollinger_bandwidth", DEFAULT)[-1] == 0.0
    assert np.isnan(column(features, "tick_bollinger_position", DEFAULT)[-1])
    assert column(features, "tick_volatility", DEFAULT)[-1] == 0.0


@CONFIGS
@pytest.mark.parametrize("name", ["spx", "bitcoin", "intraday"])
def test_bar_indicators_are_ta_libs(name: str, config: IndicatorConfig) -> None:
    bars = bars_of(name)
    stamps = MONDAY_NS + np.arange(len(bars["close"])) * MINUTE_NS
    values = features_of_bars(*bars.values(), stamps, config)
    atr = talib.ATR(bars["high"], bars["low"], bars["close"], config.atr)
    agrees(column(values, "bar_atr", config), atr)
    agrees(column(values, "bar_atr_ratio", config), atr / bars["close"])
    agrees(column(values, "bar_rsi", config), talib.RSI(bars["close"], config.rsi))
    agrees(
        column(values, "bar_macd_signal", config),
        talib.MACD(bars["close"], config.ema_fast, config.ema_slow, config.macd_signal)[1],
    )


def test_values_are_those_of_stock_indicators() -> None:
    """An oracle that shares no code with TA-Lib; its EMAs for MACD are seeded apart, so those meet later on."""
    config = IndicatorConfig(ema_fast=12, ema_slow=20)
    bars = bars_of("default")
    stamps = MONDAY_NS + np.arange(len(bars["close"])) * SECOND_NS  # one session
    standard = features_of_bars(*bars.values(), stamps, DEFAULT)
    agrees(column(standard, "bar_sma", DEFAULT), expected_of("sma", "sma"))
    agrees(
        column(features_of_bars(*bars.values(), stamps, config), "bar_ema_slow", config),
        expected_of("ema", "ema"),
    )
    agrees(column(standard, "bar_rsi", DEFAULT), expected_of("rsi", "rsi"))
    agrees(column(standard, "bar_atr", DEFAULT), expected_of("atr", "atr"))
    agrees(column(standard, "vwap", DEFAULT), expected_of("vwap", "vwap"))
    agrees(column(standard, "bar_bollinger_upper", DEFAULT), expected_of("bb", "upperBand"))
    agrees(column(standard, "bar_bollinger_lower", DEFAULT), expected_of("bb", "lowerBand"))
    agrees(column(standard, "bar_bollinger_position", DEFAULT), expected_of("bb", "percentB"))
    agrees(column(standard, "bar_bollinger_bandwidth", DEFAULT), expected_of("bb", "width"))
    agrees(column(standard, "bar_macd", DEFAULT)[400:], expected_of("macd", "macd")[400:])
    agrees(column(standard, "bar_macd_signal", DEFAULT)[400:], expected_of("macd", "signal")[400:])


def test_quotes_give_spread_and_imbalance_and_one_sided_ones_give_none() -> None:
    ticks = joined(quote(99.0, 101.0, 3, 1), quote(99.0, 0.0, 3, 0), quote(99.0, 101.0, 0, 0))
    features, _ = compute(ticks, DEFAULT)
    spread, imbalance = column(features, "spread_bps", DEFAULT), column(features, "quote_imbalance", DEFAULT)
    np.testing.assert_allclose(spread, [200.0, np.nan, 200.0])
    np.testing.assert_allclose(imbalance, [0.5, np.nan, np.nan])
    assert features["price"].tolist() == [100.0] * 3


def test_price_of_a_record_is_the_last_eligible_trade_else_the_mid() -> None:
    ticks = joined(
        trades(np.array([5.0]), flags=1),
        quote(9.0, 11.0, 1, 1),
        trades(np.array([10.5])),
        quote(1.0, 3.0, 1, 1),
    )
    features, _ = compute(ticks, DEFAULT)
    np.testing.assert_array_equal(features["price"], [np.nan, 10.0, 10.5, 10.5])


def test_size_z_uses_the_trades_before() -> None:
    sizes = np.random.default_rng(3).integers(1, 10_000, 500).astype(float)
    sizes[100] = 5e8  # a block: what comes after must not lose its digits
    features, _ = compute(trades(np.full(500, 10.0), sizes), DEFAULT)
    window = DEFAULT.size_window
    before = np.lib.stride_tricks.sliding_window_view(sizes[:-1], window)
    expected = (sizes[window:] - before.mean(axis=1)) / before.std(axis=1)
    agrees(column(features, "size_z", DEFAULT)[window:], expected)
    assert np.isnan(column(features, "size_z", DEFAULT)[:window]).all()


def test_vwap_starts_afresh_with_the_session() -> None:
    hours = 3_600 * SECOND_NS
    stamps = MONDAY_NS + np.array([1, 4.99, 5, 23, 28.99, 29]) * hours  # session_start_utc is 05:00
    prices, sizes = np.array([1.0, 3.0, 10.0, 20.0, 30.0, 7.0]), np.array([1.0, 1, 3, 1, 0, 2])
    features, _ = compute(trades(prices, sizes, stamps.astype(np.int64)), DEFAULT)
    vwap = np.array([1.0, 2.0, 10.0, 12.5, 12.5, 7.0])
    np.testing.assert_allclose(column(features, "vwap", DEFAULT), vwap)
    np.testing.assert_allclose(column(features, "vwap_deviation", DEFAULT), prices / vwap - 1)


def test_seconds_since_the_previous_tick_are_event_time_and_never_negative() -> None:
    stamps = MONDAY_NS + np.array([0, 500, 400, 2_500]) * 1_000_000
    features, _ = compute(trades(np.full(4, 1.0), stamps_ns=stamps), DEFAULT)
    np.testing.assert_array_equal(column(features, "seconds_since_tick", DEFAULT), [np.nan, 0.5, 0.0, 2.0])


@pytest.mark.parametrize("price", [np.nan, np.inf, 0.0, -5.0])
def test_a_trade_without_a_price_changes_no_indicator(price: float) -> None:
    prices = walk(60, 100.0, 1e-3)
    good, _ = compute(trades(prices), DEFAULT)
    features, bars = compute(
        joined(trades(prices), trades(np.array([price]), stamps_ns=MONDAY_NS + 59 * SECOND_NS // 10)),
        DEFAULT,
    )
    np.testing.assert_array_equal(features[-1]["values"][:45], good[-1]["values"][:45])
    assert len(features) == 61
    assert np.isfinite(bars["volume"]).all()


def test_unused_slots_are_nan() -> None:
    features, _ = compute(trades(walk(500, 100.0, 1e-3)), DEFAULT)
    assert np.isnan(features["values"][:, 46:]).all()
    assert features["values"].shape[1] == FEATURES_MAX


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        features_of_bars(*[np.ones(3)] * 4, np.ones(2), np.ones(3, np.int64), DEFAULT)
