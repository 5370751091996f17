"""Rows of a running engine: exactly those that a training set of the same ticks has."""

from pathlib import Path

import numpy as np
import pytest

from hft_engine.config.load import load_config
from hft_engine.config.schema import Config
from hft_engine.indicators.offline import OfflineIndicators
from hft_engine.instruments import InstrumentTable
from hft_engine.learn.demo import DemoMarket
from hft_engine.learn.samples import Samples, joined, of_records
from hft_engine.learn.window import RowPicker, RowWindow
from hft_engine.records import join_ticks

SECONDS, PIECE = 40, 777
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(ROOT / "config/demo.yaml", (), env={}, dotenv_path=None)


@pytest.fixture(scope="module")
def ticks(config: Config) -> np.ndarray:
    assert config.simulator is not None
    return join_ticks(list(DemoMarket(config.simulator, SECONDS)))


@pytest.fixture(scope="module")
def instruments(config: Config) -> InstrumentTable:
    table = InstrumentTable.private(64)
    for symbol in DemoMarket(config.simulator, 1).symbols:  # type: ignore[arg-type]
        table.id_of(symbol)
    return table


def window(config: Config, instruments: InstrumentTable, rows_max: int = 10**6) -> RowWindow:
    return RowWindow(config.indicators, instruments.symbol_of, rows_max)


def fed(config: Config, ticks: np.ndarray, kept: RowWindow, piece: int = PIECE) -> RowWindow:
    """As a live engine that evaluates every tick, taken off its rings in pieces."""
    stage = OfflineIndicators(config.indicators, 64)
    picker = RowPicker(config.indicators, 64)
    for start in range(0, len(ticks), piece):
        computed = stage.feed(ticks[start : start + piece])
        kept.add(picker.pick(computed.features, computed.bars), computed.bars)
    return kept


def test_rows_picked_of_all_features_are_those_of_inference_on_bars(
    config: Config, ticks: np.ndarray, instruments: InstrumentTable
) -> None:
    computed = OfflineIndicators(config.indicators, 64, on_bars=True).feed(ticks)
    trained = of_records(computed.features, computed.bars, config.indicators, instruments.symbol_of, "")
    live = fed(config, ticks, window(config, instruments)).samples("")
    assert live is not None
    assert len(live) > 1_000
    same(live, trained)


@pytest.mark.parametrize("piece", [64, 20_000])
def test_it_does_not_matter_how_the_rings_are_read(
    config: Config, ticks: np.ndarray, instruments: InstrumentTable, piece: int
) -> None:
    one, other = (
        fed(config, ticks, window(config, instruments), size).samples("") for size in (PIECE, piece)
    )
    assert one is not None
    assert other is not None
    same(one, other)


def test_the_newest_rows_stay_with_their_bars(
    config: Config, ticks: np.ndarray, instruments: InstrumentTable
) -> None:
    whole, part = (
        fed(config, ticks, window(config, instruments, limit)).samples("") for limit in (10**6, 500)
    )
    assert whole is not None
    assert part is not None
    assert 500 <= len(part) <= 500 * 1.25
    newest = np.isin(whole.ts_ns, part.ts_ns)
    assert newest.sum() == len(part)
    np.testing.assert_array_equal(whole.bars[newest], part.bars)
    np.testing.assert_array_equal(whole.rows[newest], part.rows)


def test_recordings_side_by_side_are_series_of_their_own(
    config: Config, ticks: np.ndarray, instruments: InstrumentTable
) -> None:
    one = fed(config, ticks, window(config, instruments)).samples("one")
    assert one is not None
    both = joined([one, one], "both")
    assert len(both) == 2 * len(one)
    assert len(both.lengths) == 2 * len(one.lengths)
    parts = list(both.by_series())
    assert np.all([np.all(np.diff(both.ts_ns[part]) >= 0) for part in parts])


def same(one: Samples, other: Samples) -> None:
    for name in ("rows", "ts_ns", "series", "bars", "usable"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.symbols == other.symbols
