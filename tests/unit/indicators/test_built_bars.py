"""Bars built from trades: what moves them, when they close, and that no volume is lost."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from indicator_samples import MINUTE_NS, MONDAY_NS, SECOND_NS, joined, market, quote, trades

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.offline import Computed, OfflineIndicators, compute, features_of_bars
from hft_engine.records import BarFlag, BarKind, TickFlag

CONFIG = IndicatorConfig(ticks_per_bar=3, late_after_ms=0)
FAR_NS = MONDAY_NS + 86_400 * SECOND_NS
MS = 1_000_000

PRINTS = st.lists(
    st.tuples(
        st.integers(0, 5_000),  # ms to the print before
        st.integers(-3_000, 0),  # ms that it is out of order
        st.floats(0.01, 1e6),
        st.integers(0, 10**6),
        st.sampled_from([0, 0, 0, 1, 2, 3, 5]),
        st.integers(0, 2),  # instrument
    ),
    min_size=1,
    max_size=60,
)


def at(*milliseconds: int) -> np.ndarray:
    return MONDAY_NS + np.array(milliseconds) * MS


def ticks_of(prints: list[tuple[int, int, float, int, int, int]]) -> np.ndarray:
    waits, disorder, prices, sizes, flags, instruments = (np.array(c) for c in zip(*prints, strict=True))
    stamps = MONDAY_NS + SECOND_NS * 10 + (np.cumsum(waits) + disorder) * MS
    return trades(prices.astype(float), sizes.astype(float), stamps, instruments, flags)


def with_all_closed(ticks: np.ndarray, config: IndicatorConfig = CONFIG) -> Computed:
    """A quote of another instrument much later closes every time bar."""
    last = quote(1.0, 2.0, 1, 1, FAR_NS)
    last["instrument_id"] = 9
    return OfflineIndicators(config, 10).feed(joined(ticks, last))


def of_kind(bars: np.ndarray, kind: BarKind) -> np.ndarray:
    return bars[bars["kind"] == kind]


def without_the_revised(bars: np.ndarray) -> np.ndarray:
    """The last word on each window."""
    last = {(bar["instrument_id"], bar["ts_start_ns"]): i for i, bar in enumerate(bars)}
    return bars[sorted(last.values())]


@given(PRINTS)
def test_volume_is_conserved_but_for_late_prints(prints: list) -> None:
    ticks = ticks_of(prints)
    result = with_all_closed(ticks)
    adds = (ticks["flags"] & TickFlag.NO_VOLUME_UPDATE) == 0
    for kind in (BarKind.SECOND, BarKind.MINUTE):
        bars = without_the_revised(of_kind(result.bars, kind))
        if result.counters["late_trades"] == 0:
            assert bars["volume"].sum() == ticks["size"][adds].sum()
            assert bars["trade_count"].sum() == adds.sum()
        else:
            assert bars["volume"].sum() <= ticks["size"][adds].sum()
            assert bars["trade_count"].sum() + result.counters["late_trades"] >= adds.sum()


@given(PRINTS)
def test_prices_of_a_bar_are_those_of_its_eligible_prints(prints: list) -> None:
    ticks = ticks_of(prints)
    moves = (ticks["flags"] & (TickFlag.NO_PRICE_UPDATE | TickFlag.CONDITION_UNKNOWN)) == 0
    result = with_all_closed(ticks)
    for bar in result.bars[result.bars["kind"] != BarKind.TICKS]:
        own = (ticks["instrument_id"] == bar["instrument_id"]) & moves
        inside = (
            own & (ticks["ts_venue_ns"] >= bar["ts_start_ns"]) & (ticks["ts_venue_ns"] < bar["ts_end_ns"])
        )
        if bar["flags"] & BarFlag.NO_PRICE:
            assert np.isnan([bar["open"], bar["high"], bar["low"], bar["close"]]).all()
            continue
        assert bar["low"] <= min(bar["open"], bar["close"]) <= max(bar["open"], bar["close"]) <= bar["high"]
        assert set(bar[["open", "high", "low", "close"]].tolist()) <= set(ticks["price"][inside].tolist())


@given(PRINTS)
def test_every_window_has_one_bar_at_most_that_is_no_revision(prints: list) -> None:
    bars = with_all_closed(ticks_of(prints)).bars
    timed = bars[(bars["kind"] != BarKind.TICKS) & (bars["flags"] & BarFlag.REVISION == 0)]
    keys = list(zip(timed["instrument_id"], timed["kind"], timed["ts_start_ns"], strict=True))
    assert len(set(keys)) == len(keys)
    assert (bars["sequence"] == np.arange(len(bars))).all()


def test_a_second_and_a_minute_are_aggregated() -> None:
    ticks = trades(
        np.array([10.0, 12, 9, 11, 20]), np.array([1.0, 2, 3, 4, 5]), at(100, 200, 300, 900, 61_000)
    )
    _, bars = compute(ticks, CONFIG)
    second, minute = of_kind(bars, BarKind.SECOND)[0], of_kind(bars, BarKind.MINUTE)[0]
    for bar, span in ((second, SECOND_NS), (minute, MINUTE_NS)):
        assert bar[["open", "high", "low", "close", "volume", "trade_count"]].tolist() == (
            10,
            12,
            9,
            11,
            10,
            4,
        )
        assert (bar["ts_start_ns"], bar["ts_end_ns"]) == (MONDAY_NS, MONDAY_NS + span)
        assert bar["vwap"] == (10 + 24 + 27 + 44) / 10
        assert bar["source_sequence"] == 4


def test_a_bar_of_n_prints_closes_with_the_nth() -> None:
    ticks = trades(np.array([10.0, 12, 11, 13]), 2.0, at(0, 5_000, 70_000, 71_000))
    bars = of_kind(compute(ticks, CONFIG)[1], BarKind.TICKS)
    assert len(bars) == 1
    assert bars[0][["open", "high", "low", "close", "volume"]].tolist() == (10, 12, 10, 11, 6)
    assert (bars[0]["ts_start_ns"], bars[0]["ts_end_ns"]) == (at(0)[0], at(70_000)[0])
    assert bars[0]["source_sequence"] == 2


def test_open_and_close_go_by_event_time_within_the_window() -> None:
    ticks = trades(np.array([10.0, 12, 9]), 1.0, at(500, 900, 100))
    bar = of_kind(with_all_closed(ticks).bars, BarKind.SECOND)[0]
    assert bar[["open", "high", "low", "close"]].tolist() == (9, 12, 9, 12)


def test_a_late_print_revises_the_bar_before_and_moves_nothing_else() -> None:
    ticks = trades(np.array([10.0, 11.0, 99.0, 11.5]), 1.0, at(100, 1_100, 200, 2_100))
    result = with_all_closed(ticks)
    bars = of_kind(result.bars, BarKind.SECOND)
    revised = bars["flags"] & BarFlag.REVISION != 0
    assert bars[revised][["ts_start_ns", "high", "volume"]].tolist() == [(at(0)[0], 99.0, 2.0)]
    seconds = bars[~revised]
    assert seconds["high"].tolist() == [10.0, 11.0, 11.5]
    assert seconds["volume"].tolist() == [1.0, 1.0, 1.0]
    assert seconds["late_count"].tolist() == [0, 1, 0]
    assert result.counters["late_trades"] == 1
    assert result.features["price"][2] == 11.0


def test_a_print_late_for_its_second_still_counts_in_its_open_minute() -> None:
    ticks = trades(np.array([10.0, 11.0, 99.0]), 1.0, at(100, 1_100, 200))
    minute = of_kind(with_all_closed(ticks).bars, BarKind.MINUTE)[0]
    assert (minute["high"], minute["volume"], minute["late_count"]) == (99.0, 3.0, 0)


def test_ineligible_prints_add_volume_without_moving_prices() -> None:
    flags = np.array([0, TickFlag.NO_PRICE_UPDATE, TickFlag.CONDITION_UNKNOWN, TickFlag.NO_VOLUME_UPDATE])
    ticks = trades(np.array([10.0, 99.0, 0.1, 12.0]), np.array([1.0, 2, 4, 8]), at(1, 2, 3, 4), flags=flags)
    result = with_all_closed(ticks)
    bar = of_kind(result.bars, BarKind.SECOND)[0]
    assert bar[["open", "high", "low", "close", "volume", "trade_count"]].tolist() == (10, 12, 10, 12, 7, 3)
    assert (result.counters["ineligible_trades"], result.counters["condition_unknown"]) == (2, 1)


def test_a_window_of_ineligible_prints_alone_has_volume_and_no_price() -> None:
    ticks = trades(np.array([10.0]), 5.0, at(1), flags=int(TickFlag.NO_PRICE_UPDATE))
    bar = of_kind(with_all_closed(ticks).bars, BarKind.SECOND)[0]
    assert bar["flags"] == BarFlag.NO_PRICE
    assert np.isnan(bar["close"]) and bar["volume"] == 5.0


def test_bars_of_quiet_instruments_close_with_the_event_time_of_others() -> None:
    ticks = joined(
        trades(np.array([10.0]), 1.0, at(100)), trades(np.array([5.0]), 1.0, at(1_000), instrument=1)
    )
    _, bars = compute(ticks, CONFIG)
    assert bars[["instrument_id", "kind", "source_sequence"]].tolist() == [(0, BarKind.SECOND, 1)]


def test_late_after_keeps_bars_open_for_stragglers() -> None:
    straggler = trades(np.array([10.0, 30.0]), 1.0, at(100, 900))
    others = trades(np.array([1.0, 1.0]), 1.0, at(1_400, 2_600), instrument=1)
    ticks = joined(straggler[:1], others[:1], straggler[1:], others[1:])
    patient = IndicatorConfig(late_after_ms=500)
    assert of_kind(compute(ticks, patient)[1], BarKind.SECOND)["high"][0] == 30.0
    assert of_kind(compute(ticks, CONFIG)[1], BarKind.SECOND)["high"][0] == 10.0


def test_bar_features_are_those_of_the_closed_bars() -> None:
    """What a model is trained on is what it sees live."""
    for kind, name in ((BarKind.SECOND, "second"), (BarKind.MINUTE, "minute"), (BarKind.TICKS, "ticks")):
        config = IndicatorConfig(bar=name, ticks_per_bar=3)
        ticks = market(20_000, 1, seed=5)
        features, bars = compute(ticks, config)
        own = of_kind(bars, kind)
        own = own[
            (own["flags"] & (BarFlag.NO_PRICE | BarFlag.REVISION)) == 0
        ]  # what follows is never taken back
        assert len(own) > 35
        columns = [own[c] for c in ("open", "high", "low", "close", "volume", "ts_start_ns")]
        expected = features_of_bars(*columns, config)[-1]
        slots = [i for i, n in enumerate(feature_schema(config).names) if n.startswith("bar_")]
        np.testing.assert_array_equal(features[-1]["values"][slots], expected[slots])


def test_more_bars_due_at_once_than_fit_a_batch_all_come_out() -> None:
    count = 500
    ticks = trades(np.full(count, 10.0), 1.0, at(*([100] * count)), instrument=np.arange(count))
    last = trades(np.array([10.0]), 1.0, at(60_000), instrument=0)
    _, bars = compute(joined(ticks, last), CONFIG)
    assert len(of_kind(bars, BarKind.SECOND)) == len(of_kind(bars, BarKind.MINUTE)) == count
    assert (np.diff(bars["instrument_id"]) >= 0).all()
