"""Indicators across instruments: what the others did, in the order of the ring, and nothing of what comes later."""

from pathlib import Path

import numpy as np
import pytest
from indicator_samples import MONDAY_NS, SECOND_NS, column, joined, quote, trades

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.extension import SHARED_MAX, SHARED_SIZE_MAX, ExtensionError, indicator
from hft_engine.indicators.market import MARKET
from hft_engine.indicators.offline import OfflineIndicators, compute

CONFIG = IndicatorConfig(extensions=MARKET)


def quotes(log_mids: np.ndarray, instrument: np.ndarray) -> np.ndarray:
    """A quote each of these ln mids, 100 ms apart."""
    ticks = joined(*(quote(1.0, 1.0, 1.0, 1.0) for _ in log_mids))
    ticks["bid"] = ticks["ask"] = np.exp(log_mids)
    ticks["instrument_id"] = instrument
    ticks["ts_venue_ns"] = MONDAY_NS + np.arange(len(ticks)) * SECOND_NS // 10
    return ticks


def followers(beta: float, rounds: int) -> np.ndarray:
    """Instrument 0 moves ``beta`` times as far as 1 and 2, which always move alike and before it."""
    steps = np.random.default_rng(4).choice([-1e-3, 1e-3], rounds)
    level = np.cumsum(steps)
    logs = np.column_stack([level, level, beta * level]).ravel()
    return quotes(4.0 + logs, np.tile([1, 2, 0], rounds))


def last(ticks: np.ndarray, name: str, instrument: int) -> float:
    features, _ = compute(ticks, CONFIG, 3)
    return float(column(features, name, CONFIG)[features["instrument_id"] == instrument][-1])


def test_beta_is_how_far_an_instrument_goes_with_the_market() -> None:
    ticks = followers(beta=1.7, rounds=400)
    assert last(ticks, "market_beta", 0) == pytest.approx(1.7, rel=1e-6)
    assert last(ticks, "market_residual", 0) == pytest.approx(0.0, abs=1e-9)


def test_the_market_is_ahead_by_what_it_moved_since_the_own_quote() -> None:
    ticks = followers(beta=1.0, rounds=51)[:-1]  # 0 has not followed yet
    moved = np.log(ticks["bid"][-1] / ticks["bid"][-4])
    ticks = joined(ticks, trades(np.ones(1), stamps_ns=ticks["ts_venue_ns"][-1:] + 1))
    assert last(ticks, "market_ahead", 0) == pytest.approx(moved, abs=1e-12)


def test_a_market_that_stands_still_has_no_beta() -> None:
    """Only one instrument moves: what is left of rounding is not taken for a move of the others."""
    moving = quotes(1.0 + 1e-3 * np.random.default_rng(1).normal(size=50).cumsum(), np.zeros(50, int))
    ticks = joined(quotes(np.ones(2), np.array([1, 2])), moving)
    ticks["ts_venue_ns"] = MONDAY_NS + np.arange(len(ticks)) * SECOND_NS // 10
    assert np.isnan(last(ticks, "market_beta", 0))
    assert last(ticks, "market_return", 0) == 0.0


def test_breadth_is_the_share_of_risers_less_that_of_fallers() -> None:
    ticks = quotes(np.array([1.0, 1.0, 1.0, 1.1, 0.9, 1.1, 1.2]), np.array([0, 1, 2, 0, 1, 2, 1]))
    features, _ = compute(ticks, CONFIG, 3)
    found = column(features, "market_breadth", CONFIG)
    np.testing.assert_allclose(found, [np.nan, np.nan, np.nan, 1.0, 0.0, 1 / 3, 1.0])


def test_an_instrument_alone_has_no_market() -> None:
    features, _ = compute(quotes(np.linspace(1.0, 1.1, 20), np.zeros(20, int)), CONFIG, 1)
    for name in ("market_return", "market_beta", "market_residual", "market_ahead"):
        assert np.isnan(column(features, name, CONFIG)).all()


def test_one_that_joins_moves_no_index() -> None:
    ticks = followers(1.0, 40)
    late = quotes(np.array([9.0]), np.array([3]))
    late["ts_venue_ns"] = ticks["ts_venue_ns"][-1]
    with_late = joined(ticks, late, trades(np.ones(1), stamps_ns=ticks["ts_venue_ns"][-1:]))
    without = joined(ticks, trades(np.ones(1), stamps_ns=ticks["ts_venue_ns"][-1:]))
    values = [compute(each, CONFIG, 4)[0][-1]["values"] for each in (with_late, without)]
    for spec in MARKET:
        name = spec.partition(":")[2]
        assert column(values[0][None], name, CONFIG) == column(values[1][None], name, CONFIG)


def test_what_is_shared_does_not_depend_on_how_the_stream_is_cut() -> None:
    ticks = followers(1.3, 100)
    whole = compute(ticks, CONFIG, 3)[0]
    stage = OfflineIndicators(CONFIG, 3, 16)
    parts = [stage.feed(part).features for part in np.split(ticks, [1, 2, 50, 51, 200])]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_more_shared_memory_than_a_checkpoint_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExtensionError, match=f"not in 0..{SHARED_SIZE_MAX}"):
        indicator(name="greedy", shared_size=SHARED_SIZE_MAX + 1)
    count = SHARED_MAX // SHARED_SIZE_MAX + 1
    file = tmp_path / "greedy.py"
    file.write_text(
        "from hft_engine.indicators.extension import indicator\n"
        + "".join(
            f"@indicator(name='greedy_{i}', shared_size={SHARED_SIZE_MAX})\n"
            f"def greedy_{i}(state, tick, features, shared):\n    return shared[0]\n"
            for i in range(count)
        )
    )
    config = IndicatorConfig(extensions=tuple(f"{file}:greedy_{i}" for i in range(count)))
    with pytest.raises(ExtensionError, match="a checkpoint has room for"):
        OfflineIndicators(config, 1)
