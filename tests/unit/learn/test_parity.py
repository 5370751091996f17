"""`hft parity` passes what the stage made, and names each feature in which a fault is planted."""

import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from hft_engine.cli import main
from hft_engine.config.schema import Config, EngineConfig, IndicatorConfig, SimulatorConfig
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.indicators.features import BUILT_IN_FEATURES, feature_schema
from hft_engine.indicators.flow import FLOW
from hft_engine.indicators.market import MARKET
from hft_engine.indicators.offline import compute
from hft_engine.learn.parity import Comparison, FeatureParity, check_parity
from hft_engine.learn.reference.engine import Instrument, PlainTick, Reference, plain_ticks
from hft_engine.persistence.feature_sample import FILE, SampleError, records_of, sample_dtype, write_sample
from hft_engine.records import SIGNAL_DTYPE, join_ticks
from hft_engine.verify import VerifyRefusedError
from support.sessions import golden_config, recorded_ticks, write_session

SPREAD = ("spread_bps", "quote_imbalance")


@pytest.fixture(scope="module")
def market() -> tuple[np.ndarray, Config]:
    ticks, _ = recorded_ticks(4_000)
    return ticks, Config(
        indicators=IndicatorConfig(bar="ticks", ticks_per_bar=7), engine=EngineConfig(instruments_max=8)
    )


def live(ticks: np.ndarray, config: Config, indicators: IndicatorConfig | None = None) -> np.ndarray:
    """A sample of every vector that the stage makes."""
    features, _ = compute(ticks, indicators or config.indicators, config.engine.instruments_max)
    return records_of(features, len(feature_schema(config.indicators)))


def compared(ticks: np.ndarray, config: Config, sample: np.ndarray) -> dict[str, FeatureParity]:
    comparison = Comparison(feature_schema(config.indicators).names, config)
    for start in range(0, len(ticks), 1_000):
        comparison.take(ticks[start : start + 1_000], sample)
    assert comparison.compared == len(sample)
    return {feature.name: feature for feature in comparison.features()}


def differing(ticks: np.ndarray, config: Config, sample: np.ndarray) -> set[str]:
    found = compared(ticks, config, sample)
    beyond = {name for name, feature in found.items() if feature.beyond}
    assert beyond <= {
        name for name, feature in found.items() if feature.unequal
    }  # the reference says the same
    return beyond


def lived_by(ticks: np.ndarray, config: Config, instrument: type[Instrument]) -> np.ndarray:
    """A sample of a live run with a faulty instrument."""
    reference = Reference(config.indicators, config.engine.instruments_max, instrument)
    names = feature_schema(config.indicators).names
    sample = live(ticks, config)
    rows = []
    for tick in plain_ticks(ticks):
        taken = reference.take(tick)
        if taken is not None:
            values = taken.values()
            rows.append([values.get(name, math.nan) for name in names])
    sample["values"] = rows
    return sample


@pytest.mark.parametrize("bar", ["second", "minute", "ticks"])
def test_what_the_stage_made_is_the_same_again_and_within_the_bound(market, bar: str) -> None:
    ticks, config = market
    config = replace(config, indicators=replace(config.indicators, bar=bar, extensions=FLOW))
    found = compared(ticks, config, live(ticks, config))
    assert set(found) == {*BUILT_IN_FEATURES, *(spec.partition(":")[2] for spec in FLOW)}
    assert all(feature.holds and feature.worst >= 0.0 for feature in found.values())
    if bar == "ticks":
        assert np.isfinite(live(ticks, config)["values"]).any(axis=0).all()  # all of them were compared


def test_indicators_across_instruments_are_within_the_bound() -> None:
    generator = SyntheticMarket(
        SimulatorConfig(seed=5, instruments=6, ticks_per_s=200.0), 1_700_000_000_000_000_000
    )
    ticks = join_ticks([generator.block() for _ in range(200)])
    ticks["sequence"] = np.arange(len(ticks))
    config = Config(indicators=IndicatorConfig(extensions=MARKET), engine=EngineConfig(instruments_max=8))
    sample = live(ticks, config)
    found = compared(ticks, config, sample)
    assert all(feature.holds and feature.worst >= 0.0 for feature in found.values())
    slots = [feature_schema(config.indicators).index(spec.partition(":")[2]) for spec in MARKET]
    assert np.isfinite(sample["values"][-100:, slots]).all()


@pytest.mark.parametrize(
    ("key", "features"),
    [
        ("sma", {"sma", "sma_deviation"}),
        ("rsi", {"rsi"}),
        (
            "bollinger",
            {f"bollinger_{part}" for part in ("upper", "middle", "lower", "position", "bandwidth")},
        ),
        ("volatility", {"volatility"}),
    ],
)
def test_a_window_off_by_one_is_named(market, key: str, features: set[str]) -> None:
    ticks, config = market
    off = replace(config.indicators, **{key: getattr(config.indicators, key) + 1})
    wanted = {f"{basis}_{name}" for basis in ("tick", "bar") for name in features}
    assert differing(ticks, config, live(ticks, config, off)) == wanted


class WithOpenBar(Instrument):
    """Takes the bar in the making for one that is over."""

    def values(self) -> dict[str, float]:
        found = super().values()
        bar = self.count_bars.open
        if bar.prints and self.bar.prices:
            prices = [*self.bar.prices, bar.close]
            found["bar_return_1"] = math.log(prices[-1] / prices[-2])
            if len(prices) >= self.config.sma:
                found["bar_sma"] = math.fsum(prices[-self.config.sma :]) / self.config.sma
        return found


class WithOldSpread(Instrument):
    """Keeps what it knew where a quote has one side only: NaN is the rule."""

    def take_quote(self, tick: PlainTick) -> None:
        before = {name: self.others.get(name, math.nan) for name in SPREAD}
        super().take_quote(tick)
        self.others.update((name, before[name]) for name in SPREAD if math.isnan(self.others[name]))


def test_an_unclosed_bar_is_named(market) -> None:
    ticks, config = market
    found = compared(ticks, config, lived_by(ticks, config, WithOpenBar))
    assert {name for name, feature in found.items() if feature.beyond} == {"bar_return_1", "bar_sma"}


def test_another_rule_for_what_is_unknown_is_named(market) -> None:
    ticks, config = market
    ticks = ticks.copy()
    quotes = np.flatnonzero(ticks["kind"] == 2)
    ticks["bid"][quotes[50::10]] = 0.0
    found = compared(ticks, config, lived_by(ticks, config, WithOldSpread))
    assert {name for name, feature in found.items() if feature.beyond} == set(SPREAD)


@pytest.mark.parametrize(
    "name", ["tick_sma", "bar_macd", "tick_return_1", "vwap_deviation", "size_z", "mid_trend"]
)
def test_a_detour_over_float32_is_named(market, name: str) -> None:
    ticks, config = market
    config = replace(config, indicators=replace(config.indicators, extensions=FLOW))
    sample = live(ticks, config)
    slot = feature_schema(config.indicators).index(name)
    sample["values"][:, slot] = sample["values"][:, slot].astype(np.float32)
    assert differing(ticks, config, sample) == {name}


# ---- the command --------------------------------------------------------------------------------------------------


def session_of(folder: Path, sample: np.ndarray | None, missing: tuple[tuple[int, int], ...] = ()) -> Path:
    ticks, table = recorded_ticks(4_000)
    config = golden_config()
    session = write_session(folder, config, ticks, table, np.zeros(0, SIGNAL_DTYPE), missing=missing)
    schema = feature_schema(config.indicators)
    if sample is None:
        sample = live(ticks, replace(config, engine=EngineConfig(instruments_max=8)))
    write_sample(session / FILE, schema.names, schema.hash, 1, sample)
    return session


def test_the_command_says_that_all_are_the_same(tmp_path: Path) -> None:
    session = session_of(tmp_path, None)
    result = CliRunner().invoke(main, ["parity", str(session), "--vectors", "1500"])
    assert result.exit_code == 0, result.output
    assert "1,500 live vectors" in result.output and "0 beyond the bound" in result.output


def test_the_command_names_the_feature_that_differs(tmp_path: Path) -> None:
    config = golden_config()
    ticks, _ = recorded_ticks(4_000)
    sample = live(ticks, replace(config, engine=EngineConfig(instruments_max=8)))
    sample["values"][2_000, feature_schema(config.indicators).index("tick_rsi")] += 1e-6
    result = CliRunner().invoke(main, ["parity", str(session_of(tmp_path, sample))])
    assert result.exit_code == 1
    assert "tick_rsi" in result.output and "tick_sma" not in result.output


def test_a_session_without_vectors_says_how_to_get_some(tmp_path: Path) -> None:
    session = session_of(tmp_path, None)
    (session / FILE).unlink()
    with pytest.raises(SampleError, match=r"persistence\.feature_sample"):
        check_parity(session)


def test_a_journal_with_a_hole_proves_nothing(tmp_path: Path) -> None:
    session = session_of(tmp_path, None, missing=((1_000, 1_100),))
    with pytest.raises(VerifyRefusedError, match="not in the journal"):
        check_parity(session)
    forced = check_parity(session, force=True)
    assert any("vectors have ticks that the journal lacks" in note for note in forced.notes)


def test_a_sample_of_other_features_is_refused(tmp_path: Path) -> None:
    session = session_of(tmp_path, None)
    write_sample(session / FILE, ["tick_sma"], "0" * 64, 1, np.zeros(3, sample_dtype(1)))
    with pytest.raises(SampleError, match="other features"):
        check_parity(session)
