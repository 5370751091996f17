"""The feature set as data."""

import subprocess
import sys

import msgspec
import numpy as np
import pytest
from indicator_samples import market

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.features import BUILT_IN_FEATURES, EXTENSIONS_MAX, FeatureError, feature_schema
from hft_engine.indicators.offline import compute
from hft_engine.records import FEATURES_MAX

FLOW = "examples/02_own_indicator.py:order_flow"


def test_names_are_unique_and_fit_the_vector() -> None:
    schema = feature_schema(IndicatorConfig())
    assert schema.names == BUILT_IN_FEATURES
    assert len(set(schema.names)) == len(schema) <= FEATURES_MAX
    assert schema.names[schema.index("bar_rsi")] == "bar_rsi" and "bar_rsi" in schema


@pytest.mark.parametrize(
    "other",
    [
        IndicatorConfig(rsi=15),
        IndicatorConfig(bar="minute"),
        IndicatorConfig(bollinger_width=2.5),
        IndicatorConfig(session_start_utc="00:00"),
        IndicatorConfig(late_after_ms=1),
        IndicatorConfig(extensions=(FLOW,)),
    ],
)
def test_hash_changes_with_every_parameter(other: IndicatorConfig) -> None:
    assert feature_schema(other).hash != feature_schema(IndicatorConfig()).hash


def test_hash_is_the_same_everywhere() -> None:
    """A model trained on one machine must load on another: change this only with FEATURES_VERSION."""
    assert feature_schema(IndicatorConfig()).hash == feature_schema(IndicatorConfig()).hash
    assert len(feature_schema(IndicatorConfig()).hash) == 64


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(FeatureError, match=r"'bar_rsl'.*bar_rsi"):
        feature_schema(IndicatorConfig()).index("bar_rsl")


def test_a_fast_mean_that_is_not_faster_is_refused() -> None:
    with pytest.raises(FeatureError, match=r"indicators.ema_fast \(26\) must be smaller"):
        feature_schema(IndicatorConfig(ema_fast=26))


def test_the_same_indicator_twice_is_refused() -> None:
    with pytest.raises(FeatureError, match="'order_flow' is taken"):
        feature_schema(IndicatorConfig(extensions=(FLOW, FLOW)))


def test_more_indicators_than_slots_are_refused(tmp_path) -> None:
    text = "from hft_engine.indicators.extension import indicator\n"
    for i in range(EXTENSIONS_MAX + 1):
        text += f"@indicator(name='mine_{i}')\ndef mine_{i}(state, tick, features):\n    return 1.0\n"
    (tmp_path / "many.py").write_text(text)
    specs = tuple(f"{tmp_path}/many.py:mine_{i}" for i in range(EXTENSIONS_MAX + 1))
    assert len(feature_schema(IndicatorConfig(extensions=specs[1:]))) == FEATURES_MAX
    with pytest.raises(FeatureError, match=f"room for {EXTENSIONS_MAX}"):
        feature_schema(IndicatorConfig(extensions=specs))


def test_reading_the_schema_imports_no_compiler() -> None:
    code = (
        "import sys; from hft_engine.config.schema import IndicatorConfig;"
        "from hft_engine.indicators.features import feature_schema; feature_schema(IndicatorConfig());"
        "import hft_engine.indicators.extension; sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("asked", "computed"),
    [
        (("tick_ema_spread",), {"tick_ema_fast", "tick_ema_slow", "tick_ema_spread"}),
        (("bar_rsi", "vwap_deviation"), {"bar_rsi", "vwap", "vwap_deviation"}),
        (("tick_volatility", "bar_atr", "size_z"), {"tick_return_1", "tick_volatility", "bar_atr", "size_z"}),
        ((), set()),
    ],
)
def test_of_a_list_of_features_the_values_are_those_of_all(
    asked: tuple[str, ...], computed: set[str]
) -> None:
    every = IndicatorConfig(bar="ticks", ticks_per_bar=5)
    few = msgspec.structs.replace(every, features=asked)
    ticks = market(3_000, 3, seed=5)
    (whole, whole_bars), (part, part_bars) = compute(ticks, every), compute(ticks, few)
    names = feature_schema(few).names
    assert computed | set(asked) <= set(names)
    assert part_bars.tobytes() == whole_bars.tobytes()
    for slot, name in enumerate(BUILT_IN_FEATURES):
        expected = whole["values"][:, slot] if name in names else np.nan
        np.testing.assert_array_equal(part["values"][:, slot], expected, err_msg=name)


def test_a_list_of_features_hides_the_others_and_keeps_the_hash() -> None:
    schema = feature_schema(IndicatorConfig(features=("tick_rsi",)))
    assert "tick_rsi" in schema and "bar_rsi" not in schema and "spread_bps" in schema
    assert schema.index("tick_rsi") == feature_schema(IndicatorConfig()).index("tick_rsi")
    assert schema.hash == feature_schema(IndicatorConfig()).hash


def test_an_unknown_feature_in_the_list_is_refused() -> None:
    with pytest.raises(FeatureError, match=r"indicators\.features: no built-in feature is called 'tick_rsy'"):
        feature_schema(IndicatorConfig(features=("tick_rsy",)))
