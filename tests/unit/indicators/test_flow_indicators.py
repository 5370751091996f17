"""The shipped order-flow indicators against the same sums written plainly over all events so far."""

import numpy as np

from hft_engine.config.schema import IndicatorConfig, SimulatorConfig
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.indicators import flow
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.offline import compute
from hft_engine.records import TICK_DTYPE, TickFlag, TickKind, join_ticks

SECONDS = 30
UNUSED = int(TickFlag.NO_PRICE_UPDATE | TickFlag.CONDITION_UNKNOWN)


def faded(
    times: np.ndarray, values: np.ndarray, now: float, half_life: float, weights: np.ndarray | None = None
):  # type: ignore[no-untyped-def]
    """(weighted sum, sum of weights) with each event's weight halved every half-life."""
    weight = 0.5 ** ((now - times) / half_life) * (1.0 if weights is None else weights)
    return float(weight @ values), float(weight.sum())


def test_every_value_is_the_plain_sum_over_the_events_so_far() -> None:
    market = SyntheticMarket(
        SimulatorConfig(seed=5, instruments=1, ticks_per_s=40.0), 1_700_000_000_000_000_000
    )
    ticks = join_ticks([market.block() for _ in range(SECONDS * 10)])
    ticks = ticks.view("V128")[(ticks["kind"] == TickKind.TRADE) | (ticks["kind"] == TickKind.QUOTE)].view(
        ticks.dtype
    )
    config = IndicatorConfig(extensions=flow.FLOW)
    schema = feature_schema(config)
    features, _ = compute(ticks, config, 1)
    assert len(features) == len(ticks) > 500
    time = (ticks["ts_venue_ns"] - ticks["ts_venue_ns"][0]) / 1e9
    quote, trade = ticks["kind"] == TickKind.QUOTE, ticks["kind"] == TickKind.TRADE
    mid = np.where(quote, (ticks["bid"] + ticks["ask"]) / 2, np.nan)
    spread = 1e4 * (ticks["ask"] - ticks["bid"]) / mid
    bids, asks = (np.where(quote, ticks[name], np.nan) for name in ("bid_size", "ask_size"))
    share = (bids - asks) / (bids + asks)
    signs = signs_of(ticks, mid)
    moved, elapsed = np.full(len(ticks), np.nan), np.full(len(ticks), np.nan)
    at = np.flatnonzero(quote)
    moved[at[1:]], elapsed[at[1:]] = np.diff(np.log(mid[at])), np.diff(time[at])
    for i in range(50, len(ticks), 97):
        now = time[i]
        value = dict(zip(schema.names, features[i]["values"], strict=False))
        quotes, trades = np.flatnonzero(quote[: i + 1]), np.flatnonzero(trade[: i + 1])
        signed = trades[signs[trades] != 0]
        moves = quotes[1:]

        def mean(rows, values, half_life, weights=None, at=now):  # type: ignore[no-untyped-def]
            total, weight = faded(time[rows], values[rows], at, half_life, weights)
            return total / weight

        expected = {
            "spread_mean": mean(quotes, spread, flow.FAST_S),
            "spread_ratio": mean(quotes, spread, flow.FAST_S) / mean(quotes, spread, flow.LONG_S),
            "imbalance_mean": mean(quotes, share, flow.FAST_S),
            "imbalance_slow": mean(quotes, share, flow.SLOW_S),
            "trade_sign_mean": mean(signed, signs, flow.TRADE_S),
            "signed_volume": mean(signed, signs, flow.TRADE_S, ticks["size"][signed]),
            "trade_rate": faded(time[trades], time[trades], now, flow.TRADE_S)[1] * np.log(2) / flow.TRADE_S,
            "mid_volatility": volatility(time, moved, elapsed, moves, flow.VOLATILITY_S),
            "mid_volatility_ratio": volatility(time, moved, elapsed, moves, flow.VOLATILITY_S)
            / volatility(time, moved, elapsed, moves, flow.LONG_S),
            "mid_trend": faded(time[moves], moved[moves], time[moves[-1]], flow.SLOW_S)[0]
            / np.sqrt(faded(time[moves], moved[moves] ** 2, time[moves[-1]], flow.SLOW_S)[0]),
            "time_of_day": ticks["ts_venue_ns"][i] % 86_400_000_000_000 / 86_400e9,
        }
        for name, wanted in expected.items():
            np.testing.assert_allclose(value[name], wanted, rtol=1e-6, atol=1e-9, err_msg=f"{name} at {i}")


def volatility(time, moved, elapsed, rows, half_life):  # type: ignore[no-untyped-def]
    now = time[rows[-1]]
    return np.sqrt(
        faded(time[rows], moved[rows] ** 2, now, half_life)[0]
        / faded(time[rows], elapsed[rows], now, half_life)[0]
    )


def signs_of(ticks: np.ndarray, mid: np.ndarray) -> np.ndarray:
    """The quote rule, then the tick rule."""
    signs, price, sign, middle = np.zeros(len(ticks)), 0.0, 0.0, np.nan
    for i, tick in enumerate(ticks):
        if tick["kind"] == TickKind.QUOTE:
            middle = mid[i]
        elif not tick["flags"] & UNUSED:
            if price and tick["price"] != price:
                sign = 1.0 if tick["price"] > price else -1.0
            price = float(tick["price"])
            known = middle == middle and price != middle
            signs[i] = (1.0 if price > middle else -1.0) if known else sign
    return signs


def test_a_move_between_quotes_of_one_stamp_is_not_forgotten() -> None:
    stamps = np.array([0, 0, 1_000_000_000, 2_000_000_000]) + 1_700_000_000_000_000_000
    ticks = np.zeros(4, TICK_DTYPE)
    ticks["kind"], ticks["ts_venue_ns"] = int(TickKind.QUOTE), stamps
    ticks["bid"] = ticks["ask"] = 100.0 * np.exp([0.0, 0.02, 0.03, 0.03])
    config = IndicatorConfig(extensions=(f"{flow.__name__}:mid_volatility",))
    features, _ = compute(ticks, config, 1)
    found = features["values"][:, feature_schema(config).index("mid_volatility")]
    kept = 0.5 ** (1.0 / flow.VOLATILITY_S)
    wanted = [(0.02**2 * kept + 0.01**2) / 1.0, (0.02**2 * kept + 0.01**2) * kept / (kept + 1.0)]
    np.testing.assert_allclose(found[2:], np.sqrt(wanted), rtol=1e-6)
