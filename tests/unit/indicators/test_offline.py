"""The stage is a function of the ticks in order: how they are cut or mixed changes no byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from indicator_samples import market, trades, walk

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.offline import OfflineIndicators, compute
from hft_engine.records import TickKind

CONFIG = IndicatorConfig(ticks_per_bar=7)
TICKS = market(3_000, 5, seed=11)
WHOLE = compute(TICKS, CONFIG)


@given(st.lists(st.integers(0, len(TICKS)), max_size=8), st.sampled_from([1, 15, 16, 17, 100, 256]))
def test_any_cut_of_the_stream_gives_the_same_bytes(cuts: list[int], ticks_max: int) -> None:
    stage = OfflineIndicators(CONFIG, 5, ticks_max)
    parts = [stage.feed(part) for part in np.split(TICKS, sorted(cuts))]
    for whole, name in zip(WHOLE, ("features", "bars"), strict=True):
        assert np.concatenate([getattr(part, name) for part in parts]).tobytes() == whole.tobytes()


@pytest.mark.parametrize("instrument", range(5))
def test_instruments_do_not_touch_one_another(instrument: int) -> None:
    """Alone and mixed give the same features; bars may only close at another tick."""
    config = IndicatorConfig(bar="ticks", ticks_per_bar=7)
    ticks = TICKS[np.argsort(TICKS["ts_venue_ns"], kind="stable")]  # late prints depend on the others' clock
    mixed, mixed_bars = compute(ticks, config)
    own, own_bars = compute(ticks[ticks["instrument_id"] == instrument], config)
    mixed = mixed[mixed["instrument_id"] == instrument]
    np.testing.assert_array_equal(mixed["values"], own["values"])
    mixed_bars = mixed_bars[mixed_bars["instrument_id"] == instrument]
    for kind in (1, 2, 3):
        a, b = mixed_bars[mixed_bars["kind"] == kind], own_bars[own_bars["kind"] == kind]
        for name in ("ts_start_ns", "open", "high", "low", "close", "volume", "vwap", "trade_count"):
            np.testing.assert_array_equal(a[name][: len(b)], b[name])


def test_every_trade_and_quote_gives_one_record_that_names_its_tick() -> None:
    features, _ = WHOLE
    wanted = np.flatnonzero(np.isin(TICKS["kind"], [TickKind.TRADE, TickKind.QUOTE]))
    np.testing.assert_array_equal(features["source_sequence"], wanted)
    np.testing.assert_array_equal(features["sequence"], np.arange(len(wanted)))
    for name in ("ts_venue_ns", "instrument_id", "kind", "flags"):
        np.testing.assert_array_equal(features[name], TICKS[name][wanted])


def test_counters_add_up() -> None:
    counters = OfflineIndicators(CONFIG, 5).feed(TICKS).counters
    assert counters["ticks"] == len(TICKS)
    assert (counters["features"], counters["bars"]) == (len(WHOLE[0]), len(WHOLE[1]))
    assert counters["late_trades"] > 0 and counters["ineligible_trades"] > 0


@pytest.mark.parametrize("instrument", [-1, 3, 2**31 - 1])
def test_an_instrument_without_a_row_is_counted_and_skipped(instrument: int) -> None:
    result = OfflineIndicators(CONFIG, 3).feed(trades(np.ones(4), instrument=np.array([0, instrument, 1, 2])))
    assert result.counters["instrument_out_of_range"] == 1
    assert result.features["instrument_id"].tolist() == [0, 1, 2]


def test_nothing_in_nothing_out() -> None:
    features, bars = compute(trades(np.zeros(0)), CONFIG)
    assert len(features) == len(bars) == 0


def test_ticks_of_another_layout_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="join_ticks"):
        compute(np.concatenate([TICKS[:1], TICKS[1:2]]), CONFIG)


def test_input_is_left_as_it_was() -> None:
    ticks = trades(walk(10, 5.0, 1e-3))
    ticks["sequence"] = 77
    compute(ticks, CONFIG)
    assert (ticks["sequence"] == 77).all()
