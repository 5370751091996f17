"""The stamps of a signal and of the records before it are one chain: its hops add up to the whole, exactly."""

import numpy as np
import pytest
from benchmarks import workload
from benchmarks.load.replay import write_journal

from hft_engine import inline
from hft_engine.config.schema import Config, EngineConfig, PersistenceConfig, RingsConfig, SignalsConfig
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.records import HOPS, signal_hops
from hft_engine.shm.histogram_view import percentile
from hft_engine.signals.slowest_table import SLOWEST_MAX, read_slowest

TICKS = 20_000  # of a load where nearly every tick gives a signal


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> inline.InlineEngine:
    """A replay that has ended, whose rings hold every record."""
    place = tmp_path_factory.mktemp("latency")
    ticks = workload.alternating_ticks(TICKS, 10_000.0)
    journal = write_journal(place / "session", ticks, market_symbols(workload.INSTRUMENTS))
    config = Config(
        engine=EngineConfig(data_dir=str(place), log_dir=str(place)),
        indicators=workload.INDICATORS,
        signals=SignalsConfig(cooldown_ms=0, rules=workload.RULES),
        persistence=PersistenceConfig(journal=False, sqlite=False),
        rings=RingsConfig(ticks=65_536, features=65_536, predictions=65_536, signals=65_536),
    )
    made = inline.make(config, "replay", False, {"replay": {"paths": [str(journal)], "speed": 0.0}})
    made.run()
    return made


def rows(engine: inline.InlineEngine, name: str) -> np.ndarray:
    ring = engine.rings[name]
    assert ring.published <= ring.capacity
    return ring.slots[: ring.published]


def caused(records: np.ndarray, signals: np.ndarray) -> np.ndarray:
    """Of ``records``, the one that has the source of each signal."""
    found = records[np.searchsorted(records["source_sequence"], signals["source_sequence"])]
    assert (found["source_sequence"] == signals["source_sequence"]).all()
    return found


def test_hops_of_every_signal_add_up_to_tick_to_signal_exactly(engine: inline.InlineEngine) -> None:
    signals = rows(engine, "signals")
    assert len(signals) > TICKS // 2
    hops = signal_hops(signals)
    assert hops.shape == (len(signals), len(HOPS))
    assert (hops >= 0).all()
    assert (hops.sum(axis=1) == signals["ts_publish_ns"] - signals["ts_mono_ns"]).all()


def test_each_hop_is_the_difference_of_two_records_stamps(engine: inline.InlineEngine) -> None:
    signals = rows(engine, "signals")
    tick = rows(engine, "ticks")[signals["source_sequence"]]
    feature, prediction = (caused(rows(engine, name), signals) for name in ("features", "predictions"))
    stamps = [
        tick["ts_mono_ns"],
        *(record["ts_publish_ns"] for record in (tick, feature, prediction, signals)),
    ]
    assert (signal_hops(signals) == np.diff(np.stack(stamps), axis=0).T).all()


def test_histograms_count_every_record_of_their_hop(engine: inline.InlineEngine) -> None:
    features, predictions, signals = (rows(engine, name) for name in ("features", "predictions", "signals"))
    for role, name, spent in (
        ("indicators", "indicators", features["ts_publish_ns"] - features["ts_tick_ns"]),
        ("inference", "inference", predictions["ts_publish_ns"] - predictions["ts_feature_ns"]),
        ("signals", "signals", signal_hops(signals)[:, -1]),
        ("signals", "tick_to_signal", signals["ts_publish_ns"] - signals["ts_mono_ns"]),
    ):
        counts = engine.stats[role].histogram(name)
        assert (counts[0], counts[1], counts[2]) == (len(spent), spent.max(), spent.sum())
        for percent in (50.0, 99.0, 99.99):
            exact = float(np.percentile(spent, percent, method="inverted_cdf"))
            assert percentile(counts, percent) == pytest.approx(exact, rel=1e-3)


def test_table_of_the_slowest_has_the_slowest(engine: inline.InlineEngine) -> None:
    signals = rows(engine, "signals")
    total = signals["ts_publish_ns"] - signals["ts_mono_ns"]
    slow = read_slowest(engine.stats["signals"].table)
    assert slow["total_ns"].tolist() == sorted(total.tolist(), reverse=True)[:SLOWEST_MAX]
    named = signals[slow["sequence"]]
    assert (named["ts_publish_ns"] - named["ts_mono_ns"] == slow["total_ns"]).all()
    for name in ("source_sequence", "instrument_id", "ts_recv_ns"):
        assert (named[name] == slow[name]).all()
    assert (signal_hops(named)[:, :-1] == slow["hops_ns"]).all()


def test_no_record_grew_for_its_stamps() -> None:
    from hft_engine import records

    sizes = {"TICK": 128, "FEATURE": 576, "PREDICTION": 704, "SIGNAL": 128}  # the outputs of a set of models
    assert {name: getattr(records, f"{name}_DTYPE").itemsize for name in sizes} == sizes
