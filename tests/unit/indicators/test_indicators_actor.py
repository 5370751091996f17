"""The indicators actor on private rings, driven by hand."""

import logging
from pathlib import Path

import numpy as np
import pytest
from indicator_samples import MINUTE_NS, MONDAY_NS, joined, market, trades, walk

from hft_engine.config.schema import Config, IndicatorConfig, InferenceConfig
from hft_engine.indicators import stage
from hft_engine.indicators.actor import PATIENCE_SHARE, TICKS_MAX, IndicatorsActor, warm
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.offline import compute
from hft_engine.indicators.stage import FEATURES_A_TURN
from hft_engine.instruments import InstrumentTable
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, TICK_DTYPE, BarFlag, BarKind
from hft_engine.runtime.actor import Actor, ActorContext, FatalError
from hft_engine.shm import layout
from hft_engine.shm.counters import Stats
from hft_engine.shm.histogram import summary
from hft_engine.shm.ring import Ring

INSTRUMENTS = 300


class Bench:
    """An actor and its rings; ``gating`` rings are those of a replay."""

    def __init__(
        self,
        tmp_path: Path,
        config: IndicatorConfig | None = None,
        gating: bool = True,
        bars: int = 64,
        features: int = 64,
        inference: InferenceConfig | None = None,
    ) -> None:
        self.ticks = Ring.private("ticks", TICK_DTYPE, 8192, ("indicators",), gating)
        self.features = Ring.private("features", FEATURE_DTYPE, features, ("inference",), gating)
        self.bars = Ring.private("bars", BAR_DTYPE, bars, ("persistence",), gating)
        self.stats = Stats.private()
        self.stats.declare(IndicatorsActor.counters, IndicatorsActor.histograms)
        indicators = config or IndicatorConfig()
        self.context = ActorContext(
            role="indicators",
            config=Config(indicators=indicators, inference=inference or InferenceConfig()),
            log=logging.getLogger("test.indicators"),
            instruments=InstrumentTable.private(INSTRUMENTS),
            stats=self.stats,
            rings={"ticks": self.ticks, "features": self.features, "bars": self.bars},
            feature_schema=feature_schema(IndicatorConfig()),
            run_id="test",
            run_dir=tmp_path,
            data_dir=tmp_path,
            log_dir=tmp_path,
        )
        self.actor = IndicatorsActor()
        self.got: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])

    def start(self) -> "Bench":
        self.actor.on_start(self.context)
        return self

    def drain(self) -> None:
        for ring, parts in zip((self.features, self.bars), self.got, strict=True):
            rows = np.zeros(ring.lag(0), ring.dtype)
            ring.poll(0, rows, len(rows))
            parts.append(rows)

    def run(self) -> tuple[np.ndarray, np.ndarray]:
        while self.ticks.lag(0):
            self.actor.do_work()
            self.drain()
        return np.concatenate(self.got[0]), np.concatenate(self.got[1])


def without_stamps(rows: np.ndarray) -> bytes:
    rows = rows.copy()
    rows["ts_publish_ns"] = 0
    return rows.tobytes()


def test_it_is_an_actor(tmp_path: Path) -> None:
    assert isinstance(IndicatorsActor(), Actor)
    assert Bench(tmp_path).start().actor.do_work() == 0


def test_records_are_those_of_an_offline_run_whatever_the_size_of_the_rings(tmp_path: Path) -> None:
    ticks = market(4_000, 40, seed=3)
    bench = Bench(tmp_path, bars=16).start()
    bench.ticks.publish_rows(ticks.copy())
    for got, expected in zip(bench.run(), compute(ticks, IndicatorConfig(), INSTRUMENTS), strict=True):
        assert without_stamps(got) == expected.tobytes()


@pytest.mark.parametrize("bar", ["second", "ticks"])
def test_evaluated_on_bars_an_instrument_gives_a_record_at_its_first_tick_from_each_bar_on(
    tmp_path: Path, bar: str
) -> None:
    config = IndicatorConfig(bar=bar, ticks_per_bar=7)
    ticks = market(4_000, 40, seed=3)
    every, bars = compute(ticks, config, INSTRUMENTS)
    bench = Bench(tmp_path, config, inference=InferenceConfig(evaluate="bars")).start()
    bench.ticks.publish_rows(ticks.copy())
    got, got_bars = bench.run()
    feeding = bars[(bars["kind"] == BarKind[bar.upper()]) & (bars["flags"] == BarFlag.NONE)]
    first = set()
    for closed in feeding:
        own = every["source_sequence"][every["instrument_id"] == closed["instrument_id"]]
        first |= set(own[np.searchsorted(own, closed["source_sequence"]) :][:1].tolist())
    expected = every[np.isin(every["source_sequence"], sorted(first))]
    expected["sequence"] = np.arange(len(expected))
    assert 40 < len(expected) < len(every) / 2
    assert without_stamps(got) == expected.tobytes()
    assert without_stamps(got_bars) == bars.tobytes()


@pytest.mark.parametrize(
    ("inference", "taken"),
    [
        (InferenceConfig(), [512, 131, 129, 128]),
        (InferenceConfig(evaluate="bars"), [512, 302]),
        (InferenceConfig(conflate_above=100), [1_408]),
    ],
)
def test_a_burst_waits_in_the_tick_ring_while_it_has_room_unless_features_are_few_or_to_pile_up(
    tmp_path: Path, inference: InferenceConfig, taken: list[int]
) -> None:
    bench = Bench(tmp_path, gating=False, features=8_192, bars=512, inference=inference).start()
    bench.ticks.publish_rows(market(1_408, 40, seed=3))
    assert bench.ticks.capacity // PATIENCE_SHARE == 1_024
    features = []
    for ticks in taken:
        before = bench.features.published
        assert bench.actor.do_work() == ticks
        features.append(bench.features.published - before)
    assert set(features[1:]) <= {FEATURES_A_TURN}


def test_a_slow_reader_of_bars_in_a_replay_stops_the_stage_and_loses_nothing(tmp_path: Path) -> None:
    """More bars fall due at one tick than the bar ring holds."""
    ticks = trades(
        np.full(INSTRUMENTS, 10.0),
        stamps_ns=np.full(INSTRUMENTS, MONDAY_NS),
        instrument=np.arange(INSTRUMENTS),
    )
    last = trades(np.array([11.0]), stamps_ns=MONDAY_NS + MINUTE_NS + 1_000_000_000)
    bench = Bench(tmp_path, bars=32).start()
    bench.ticks.publish_rows(joined(ticks, last))
    while bench.actor.do_work():
        rows = np.zeros(64, FEATURE_DTYPE)
        bench.features.poll(0, rows, 64)
    stalled = bench.ticks.lag(0)
    assert stalled == 1 and bench.bars.room() < 32
    _, bars = bench.run()
    assert len(bars) == 2 * INSTRUMENTS
    assert bars.tobytes() != b"" and (bars["sequence"] == np.arange(2 * INSTRUMENTS)).all()


def test_a_full_feature_ring_in_a_replay_stops_the_stage(tmp_path: Path) -> None:
    bench = Bench(tmp_path).start()
    bench.ticks.publish_rows(trades(walk(100, 10.0, 1e-3)))
    assert bench.actor.do_work() == 64
    assert bench.actor.do_work() == 0
    assert bench.ticks.lag(0) == 36


def test_a_live_stage_never_waits_for_its_readers(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gating=False, bars=16).start()
    bench.ticks.publish_rows(market(2_000, 50, seed=9))
    done = 0
    while bench.ticks.lag(0):
        done += bench.actor.do_work()
    assert done == 2_000
    assert bench.features.published > bench.features.capacity


def test_work_is_bounded_and_small_batches_are_visible_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gating=False).start()
    bench.ticks.publish_rows(trades(walk(2 * TICKS_MAX, 10.0, 1e-3)))
    assert bench.actor.do_work() == min(TICKS_MAX, bench.features.capacity)
    stamps = bench.features.slots["ts_publish_ns"]
    assert len(set(stamps.tolist())) == bench.features.capacity // stage.BATCH_MAX


def test_a_backlog_beyond_patience_is_taken_up_in_one_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gating=False, features=1_024).start()
    bench.ticks.publish_rows(trades(walk(7_000, 10.0, 1e-3)))
    taken = bench.actor.do_work()
    assert 7_000 - bench.ticks.capacity // PATIENCE_SHARE < taken < TICKS_MAX
    assert bench.features.published == taken


def test_counters_and_latencies_are_those_of_the_stage(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gating=False).start()
    bench.ticks.publish_rows(market(500, 3, seed=1))
    while bench.ticks.lag(0):
        bench.actor.do_work()
    counter = bench.context.counter
    assert counter("ticks").value == 500
    assert counter("features").value == bench.features.published
    assert counter("bars").value == bench.bars.published
    assert summary(bench.context.histogram("indicators"))["count"] == bench.features.published


@pytest.mark.parametrize("unacknowledged", [0, 5])
def test_a_restarted_actor_goes_on_as_if_nothing_had_happened(tmp_path: Path, unacknowledged: int) -> None:
    """Its predecessor may have died after publishing, before it let go of its input."""
    ticks = market(7_000, 20, seed=4)
    bench = Bench(tmp_path).start()
    bench.ticks.publish_rows(ticks[:5_000].copy())
    bench.run()
    position = layout.W_READER_0 + layout.R_POSITION
    bench.ticks.head[position] -= unacknowledged
    bench.actor = IndicatorsActor()
    bench.start()
    bench.ticks.publish_rows(ticks[5_000:].copy())
    for got, expected in zip(bench.run(), compute(ticks, IndicatorConfig(), INSTRUMENTS), strict=True):
        assert without_stamps(got) == expected.tobytes()


def test_a_restart_after_the_ring_went_round_rebuilds_from_what_is_left(tmp_path: Path) -> None:
    ticks = trades(walk(30_000, 10.0, 1e-3))
    bench = Bench(tmp_path).start()
    for part in np.split(ticks, 10):
        bench.ticks.publish_rows(part.copy())
        bench.run()
    bench.actor = IndicatorsActor()
    bench.start()
    bench.ticks.publish_rows(ticks[:1].copy())
    assert bench.actor.do_work() == 1
    newest = bench.features.slots[30_000 % 64]
    assert newest["source_sequence"] == 30_000
    assert np.isfinite(newest["values"][:19]).all()


def test_a_configuration_that_cannot_work_is_fatal_with_the_key(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"indicators\.ema_fast"):
        Bench(tmp_path, IndicatorConfig(ema_fast=30)).start()
    with pytest.raises(FatalError, match=r"indicators.extensions: 'gone.py:f'"):
        Bench(tmp_path, IndicatorConfig(extensions=("gone.py:f",))).start()
    with pytest.raises(FatalError, match=r"rings.bars is 8"):
        Bench(tmp_path, bars=8).start()


def test_warming_compiles_what_production_runs(tmp_path: Path) -> None:
    warm()
    before = len(stage.duty.signatures)
    bench = Bench(tmp_path).start()
    bench.ticks.publish_rows(trades(np.ones(3)))
    bench.run()
    assert len(stage.duty.signatures) == before
