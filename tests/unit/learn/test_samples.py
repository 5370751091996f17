"""The training set is what the live kernels give: compared with the engine's own pieces, row by row."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from learning_data import BARS, config, write_bars

from hft_engine.config.schema import Config, IndicatorConfig, SimulatorConfig
from hft_engine.feed.recorded_bars import stored_bars
from hft_engine.feed.recorded_rows import RecordingError
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.offline import compute, features_of_bars
from hft_engine.learn.demo import START_NS, demo_samples, true_peaks, true_regimes
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.samples import read_samples
from hft_engine.records import BarKind, join_ticks

SECONDS = 40


@pytest.fixture(scope="module")
def demo() -> Config:
    return Config(simulator=SimulatorConfig(seed=3, instruments=4, ticks_per_s=200.0))


def test_rows_of_ticks_are_the_features_at_the_first_tick_with_a_new_bar(demo: Config) -> None:
    samples, _ = demo_samples(demo, SECONDS)
    assert demo.simulator is not None
    market = SyntheticMarket(demo.simulator, START_NS)
    ticks = join_ticks([market.block() for _ in range(SECONDS * 10)])
    features, bars = compute(ticks, demo.indicators, 4)
    columns = [feature_schema(demo.indicators).index(name) for name in samples.names]
    bars = bars[(bars["kind"] == BarKind.SECOND) & np.isfinite(bars["close"])]
    for number, part in enumerate(samples.by_series()):
        own = features[features["instrument_id"] == number]
        row_of = {int(ts): i for i, ts in enumerate(own["ts_venue_ns"])}  # the last of equal stamps
        closed = bars[bars["instrument_id"] == number]
        assert part.stop - part.start > 20
        for i in range(part.start, part.stop):
            record = own[row_of[int(samples.ts_ns[i])]]
            before = closed[closed["source_sequence"] <= record["source_sequence"]]
            assert samples.close[i] == before[-1]["close"]
            same_stamp = own[own["ts_venue_ns"] == samples.ts_ns[i]]["values"][:, columns]
            assert any(np.array_equal(samples.rows[i], row, equal_nan=True) for row in same_stamp)


def test_rows_of_bars_are_the_features_after_each_bar() -> None:
    samples = read_samples(config(), [str(BARS / "default.csv.gz")])
    stamps, bars = stored_bars(BARS / "default.csv.gz")["DEFAULT"]
    schema = feature_schema(IndicatorConfig())
    expected = features_of_bars(*bars.T, stamps, IndicatorConfig())
    np.testing.assert_array_equal(samples.rows, expected[:, [schema.index(name) for name in samples.names]])
    assert not {"vwap", "bar_sma", "bar_macd"} & set(samples.names), "no column in the price's own unit"
    assert samples.usable.all()


def test_a_bar_that_was_filled_in_is_no_sample_and_is_counted(tmp_path: Path) -> None:
    path = write_bars(tmp_path / "x.csv", np.linspace(100, 110, 60))
    lines = path.read_text().splitlines()
    lines[30] = ",".join([lines[30].split(",")[0], "", "", "", "", ""])
    path.write_text("\n".join(lines))
    samples = read_samples(config(), [str(path)])
    assert samples.counts["interpolated"] == 1
    assert np.flatnonzero(~samples.usable).tolist() == [29]


def test_the_truth_is_where_the_generator_put_it(demo: Config) -> None:
    samples, truths = demo_samples(demo, SECONDS)
    regimes = true_regimes(samples, truths)
    assert set(np.unique(regimes)) <= {0, 1, 2, 3}
    peaks = [truth for truth in truths if truth.kind == "peak"]
    near = true_peaks(samples, truths, 0.0, 5.0)
    assert near.any() == any(truth.ts_ns < samples.ts_ns.max() for truth in peaks)
    for truth in peaks:
        symbol = samples.symbols.index(("AAPL", "MSFT", "NVDA", "AMZN")[truth.instrument_id])
        own = samples.series == symbol
        within = own & (samples.ts_ns >= truth.ts_ns) & (samples.ts_ns <= truth.ts_ns + 5_000_000_000)
        assert near[within].all()
        after = (
            own
            & (samples.ts_ns >= truth.ts_ns + 1_000_000_000)
            & (samples.ts_ns <= truth.ts_ns + 4_000_000_000)
        )
        assert (regimes[after] == 2).all(), "behind a peak the trend goes down"


def test_what_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such file"):
        read_samples(config(), [str(tmp_path / "none.csv")])
    with pytest.raises(TrainingError, match="nothing to learn from"):
        read_samples(config(), [str(tmp_path)])
    header = "timestamp,open,high,low,close,volume\n"
    for name, text, told in (
        ("empty.csv", b"", r"empty\.csv: is empty; it must begin with a header"),
        ("header.csv", header.encode(), r"header\.csv: no bar with four positive prices"),
        ("zero.csv", header.encode() + b"1600000000,0,0,0,0,0\n", "inside, 1 without"),
        (
            "spoilt.csv.gz",
            gzip.compress(header.encode() * 9)[:12] + b"\xff" * 30,
            r"spoilt\.csv\.gz: unreadable",
        ),
        ("binary.csv", b"date,open\rhigh", r"binary\.csv: .*is it a CSV file"),
    ):
        (tmp_path / name).write_bytes(text)
        with pytest.raises((TrainingError, RecordingError), match=told):
            read_samples(config(), [str(tmp_path / name)])
