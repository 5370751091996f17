"""The synthetic market: the same for the same seed, alive at once, and consistent in itself."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.conditions import flags_of, unpack
from hft_engine.feed.simulator.generator import BLOCK_NS, SyntheticMarket, day_intensity
from hft_engine.feed.simulator.source import SyntheticSource
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.records import TickKind, join_ticks

START_NS = 1_700_000_000_000_000_000
CONFIG = SimulatorConfig(seed=3, instruments=20, ticks_per_s=2_000.0)


def market_ticks(config: SimulatorConfig, seconds: float, start_ns: int = START_NS) -> np.ndarray:
    market = SyntheticMarket(config, start_ns)
    return join_ticks([market.block() for _ in range(int(seconds * 1e9) // BLOCK_NS)])


@pytest.fixture(scope="module")
def minute() -> np.ndarray:
    return market_ticks(CONFIG, 60)


def digest(ticks: np.ndarray) -> str:
    return hashlib.sha256(ticks.tobytes()).hexdigest()


def test_the_same_seed_gives_the_same_events_and_another_seed_others() -> None:
    other = SimulatorConfig(seed=4, instruments=20, ticks_per_s=2_000.0)
    assert digest(market_ticks(CONFIG, 5)) == digest(market_ticks(CONFIG, 5))
    assert digest(market_ticks(CONFIG, 5)) != digest(market_ticks(other, 5))


def test_how_events_are_fetched_does_not_change_them() -> None:
    def fetched(step_ns: int, limit: int) -> np.ndarray:
        source = SyntheticSource(CONFIG, SyntheticMarket(CONFIG, START_NS))
        parts, now_ns = [], START_NS
        while now_ns < START_NS + 3_000_000_000:
            now_ns += step_ns
            while len(part := source.take(now_ns, limit)):
                parts.append(part)
        return join_ticks(parts)

    assert digest(fetched(1_000_000, 512)) == digest(fetched(50_000_000, 7))


def test_time_never_goes_back_and_sequences_rise(minute: np.ndarray) -> None:
    assert np.all(np.diff(minute["ts_venue_ns"]) >= 0)
    numbered = minute[minute["kind"] != TickKind.FMV]["venue_sequence"]
    assert np.all(np.diff(numbered) > 0)
    trades = minute[minute["kind"] == TickKind.TRADE]
    assert len(np.unique(trades["trade_id"])) == len(trades)


def test_the_first_second_is_as_lively_as_configured_and_everybody_quotes(minute: np.ndarray) -> None:
    first = minute[minute["ts_venue_ns"] < START_NS + 1_000_000_000]
    assert 1_400 <= len(first) <= 3_000
    assert len(np.unique(first[first["kind"] == TickKind.QUOTE]["instrument_id"])) == 20


def test_the_mean_rate_is_near_the_configured_one(minute: np.ndarray) -> None:
    events = np.isin(minute["kind"], (TickKind.TRADE, TickKind.QUOTE))
    assert 0.75 <= np.count_nonzero(events) / (60 * CONFIG.ticks_per_s) <= 1.35


def test_arrivals_come_in_bursts(minute: np.ndarray) -> None:
    """A Poisson process has a variance of counts equal to their mean; this one has far more, at two scales."""
    events = minute[
        np.isin(minute["kind"], (TickKind.TRADE, TickKind.QUOTE)) & (minute["instrument_id"] == 0)
    ]
    for width_ns in (5_000_000, 1_000_000_000):
        counts = np.bincount((events["ts_venue_ns"] - START_NS) // width_ns)
        assert counts.var() > 1.5 * counts.mean()


def test_the_day_is_u_shaped_with_mean_one() -> None:
    phases = np.linspace(0, 1, 1001)[:-1]
    curve = np.array([day_intensity(p) for p in phases])
    assert curve.mean() == pytest.approx(1.0, abs=0.01)
    assert curve[0] > 1.5 > 0.7 > curve[500]
    assert day_intensity(1.25) == day_intensity(0.25)


def test_quotes_are_never_crossed_and_on_the_tick_grid(minute: np.ndarray) -> None:
    quotes = minute[minute["kind"] == TickKind.QUOTE]
    assert np.all(quotes["ask"] - quotes["bid"] > 0.0099)
    for side in ("bid", "ask"):
        cents = quotes[side] * 100
        assert np.all(np.abs(cents - np.round(cents)) < 1e-6)
        assert np.all(quotes[f"{side}_size"] >= 100)
        assert np.all(quotes[f"{side}_size"] % 100 == 0)


def test_every_trade_prints_inside_the_quote_that_stands(minute: np.ndarray) -> None:
    standing: dict[int, tuple[float, float]] = {}
    inside = at_quote = 0
    for tick in minute[np.isin(minute["kind"], (TickKind.TRADE, TickKind.QUOTE))]:
        who = int(tick["instrument_id"])
        if tick["kind"] == TickKind.QUOTE:
            standing[who] = (tick["bid"], tick["ask"])
            continue
        bid, ask = standing[who]
        assert bid <= tick["price"] <= ask
        at_quote += tick["price"] in (bid, ask)
        inside += bid < tick["price"] < ask
    assert at_quote > 5 * inside > 0


def test_conditions_fit_sizes_and_flags(minute: np.ndarray) -> None:
    trades = minute[minute["kind"] == TickKind.TRADE]
    seen: Counter[int] = Counter()
    for trade in trades[:5_000]:
        codes = unpack(int(trade["conditions"]))
        seen.update(codes)
        assert (37 in codes) == (trade["size"] < 100)
        assert trade["flags"] == flags_of(codes)
    assert {37, 14, 41, 12, 2} <= set(seen)


def test_the_truth_names_regimes_peaks_and_jumps() -> None:
    market = SyntheticMarket(SimulatorConfig(seed=1, instruments=50, ticks_per_s=100.0), START_NS)
    for _ in range(3_000):
        market.block()
    kinds = Counter(truth.kind for truth in market.truths)
    for kind in ("trend_up", "trend_down", "mean_reverting", "volatile", "calm", "peak", "trough"):
        assert kinds[kind] > 0
    assert kinds["jump_up"] + kinds["jump_down"] > 10
    assert all(START_NS <= truth.ts_ns < market.next_ns and truth.price > 0 for truth in market.truths)


def test_a_peak_is_higher_than_the_prices_before_and_after() -> None:
    """Over all peaks: at most of them the price 5 s before and after the turn was lower than at it."""
    market = SyntheticMarket(SimulatorConfig(seed=5, instruments=50, ticks_per_s=500.0), START_NS)
    ticks = join_ticks([market.block() for _ in range(3_000)])
    quotes = ticks[ticks["kind"] == TickKind.QUOTE]
    higher = []
    for truth in (truth for truth in market.truths if truth.kind == "peak"):
        own = quotes[quotes["instrument_id"] == truth.instrument_id]
        before, after = (_mid(own, truth.ts_ns + shift * 10**9) for shift in (-5, 5))
        higher.append(_mid(own, truth.ts_ns) > (before + after) / 2)
    assert len(higher) > 20
    assert np.mean(higher) > 0.6


def _mid(quotes: np.ndarray, ts_ns: int) -> float:
    row = quotes[max(int(np.searchsorted(quotes["ts_venue_ns"], ts_ns)) - 1, 0)]
    return float(row["bid"] + row["ask"]) / 2


def test_symbols_are_distinct_and_short() -> None:
    symbols = market_symbols(10_000)
    assert len(set(symbols)) == 10_000
    assert symbols[:2] == ("AAPL", "MSFT")
    assert all(1 <= len(symbol) <= 5 for symbol in symbols)
