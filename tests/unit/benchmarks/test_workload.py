import numpy as np
import pytest
from benchmarks import workload
from benchmarks.load import venue
from benchmarks.micro.decode import Pipeline

from hft_engine.config.schema import SignalsConfig
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.offline import compute
from hft_engine.records import PREDICTION_DTYPE, TickKind
from hft_engine.signals.rules import C_RULES, decide, new_states, rule_table
from support.streams import messages

COUNT = 6_000


def test_every_tick_of_the_load_fires_exactly_one_rule_once_it_is_warm() -> None:
    ticks = workload.alternating_ticks(COUNT, 10_000.0)
    features, _ = compute(ticks, workload.INDICATORS, workload.INSTRUMENTS)
    predictions = np.zeros(len(features), PREDICTION_DTYPE)
    for name in ("instrument_id", "ts_venue_ns", "price", "values"):
        predictions[name] = features[name]
    table = rule_table(
        SignalsConfig(cooldown_ms=0, rules=workload.RULES), feature_schema(workload.INDICATORS).names
    )
    states, counts = new_states(workload.INSTRUMENTS), np.zeros(C_RULES + len(table), np.int64)
    fired = [decide(table, states, predictions, i, counts) for i in range(COUNT)]
    warm = fired[12 * workload.INSTRUMENTS :]
    assert min(warm) >= 0
    assert set(warm) == {0, 1, 2, 3}


def test_the_load_keeps_its_schedule_in_the_venues_time() -> None:
    ticks = workload.alternating_ticks(COUNT, 10_000.0)
    assert set(np.diff(ticks["ts_venue_ns"])) == {100_000}
    assert set(ticks["kind"]) == {TickKind.TRADE, TickKind.QUOTE}


def test_frames_on_the_wire_are_whole_websocket_messages_that_the_decoder_takes() -> None:
    frames, offsets = venue._wire_frames(venue.Load(10_000.0, 300))
    payloads = messages(frames.tobytes())
    assert len(payloads) == 300 == len(offsets) - 1
    assert Pipeline().run(payloads) == 300


@pytest.mark.parametrize("events", [1, 10, 50])
def test_market_frames_hold_the_ticks_in_order(events: int) -> None:
    symbols, ticks = workload.market_ticks(500, instruments=10)
    frames = workload.frames_of(symbols, ticks, events)
    assert len(frames) == -(-500 // events)
    assert Pipeline().run(frames) == 500


def test_the_models_columns_are_all_known_after_the_warm_up() -> None:
    ticks = workload.alternating_ticks(30_000, 10_000.0)
    features, _ = compute(ticks, workload.INDICATORS, workload.INSTRUMENTS)
    names = feature_schema(workload.INDICATORS).names
    columns = [names.index(name) for name in workload.MODEL_FEATURES]
    assert not np.isnan(features["values"][-1_000:, columns]).any()
