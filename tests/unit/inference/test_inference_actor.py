"""The inference actor on private rings, driven by hand."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from boosters import FEATURES
from test_model import Schema, metadata, text_with_names, train

from hft_engine.config.schema import Config, InferenceConfig
from hft_engine.inference import actor as actor_module
from hft_engine.inference import recent
from hft_engine.inference.actor import InferenceActor, warm
from hft_engine.inference.kernels import RECORDS_MAX
from hft_engine.inference.model import compile_model, load_model, write_model
from hft_engine.inference.trees import predict
from hft_engine.instruments import InstrumentTable
from hft_engine.records import FEATURE_DTYPE, PREDICTION_DTYPE
from hft_engine.runtime.actor import ActorContext, ControlError, FatalError
from hft_engine.runtime.messages import Ping, SwapModel
from hft_engine.shm import layout
from hft_engine.shm.counters import Stats
from hft_engine.shm.histogram import summary
from hft_engine.shm.ring import Ring

SEED = 3
_CARRIED = (
    *("source_sequence", "ts_venue_ns", "ts_recv_ns", "ts_mono_ns"),
    *("instrument_id", "kind", "flags", "venue_id", "price", "values"),
)


class Bench:
    """An actor, its rings, and what it said."""

    def __init__(
        self, tmp_path: Path, model: Path | None = None, deadline_ms: int = 0, gating: bool = False
    ) -> None:
        self.features = Ring.private("features", FEATURE_DTYPE, 1024, ("inference",), gating)
        self.predictions = Ring.private("predictions", PREDICTION_DTYPE, 256, ("signals",), gating)
        self.events: list[tuple[str, str]] = []
        self.stats = Stats.private()
        self.stats.declare(InferenceActor.counters, InferenceActor.histograms)
        inference = InferenceConfig(model=str(model) if model else None, deadline_ms=deadline_ms)
        self.context = ActorContext(
            role="inference",
            config=Config(inference=inference),
            log=logging.getLogger("test.inference"),
            instruments=InstrumentTable.private(4),
            stats=self.stats,
            rings={"features": self.features, "predictions": self.predictions},
            feature_schema=Schema(),
            run_id="test",
            run_dir=tmp_path,
            data_dir=tmp_path,
            log_dir=tmp_path,
            emit=lambda kind, text: self.events.append((kind, text)),
        )
        self.actor = InferenceActor()

    def start(self) -> "Bench":
        self.actor.on_start(self.context)
        return self

    def run(self) -> np.ndarray:
        """Everything the actor puts out until there is nothing left to do."""
        parts = []
        scratch = np.zeros(256, PREDICTION_DTYPE)
        while self.actor.do_work() or self.predictions.lag(0):
            count = self.predictions.poll(0, scratch, 256)
            parts.append(scratch[:count].copy())
        return np.concatenate(parts) if parts else scratch[:0]

    def swap(self, path: Path) -> dict[str, object]:
        """The reply to ``SwapModel``."""
        return self.until(self.actor.on_control(SwapModel(path=str(path))))

    def until(self, reply: "Future[dict[str, object]]") -> dict[str, object]:
        """A swap's reply, the actor being driven until it is there."""
        deadline = time.monotonic() + 60.0
        while not reply.done():
            assert time.monotonic() < deadline, "no reply to a swap"
            self.actor.tend()
            time.sleep(0.001)
        return reply.result()

    def count(self, name: str) -> int:
        return int(self.stats.counter(name).value)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return lambda **options: Bench(tmp_path, **options).start()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return _written(tmp_path / "one.txt")


def _written(path: Path, name: str = "one", **params: object) -> Path:
    write_model(path, text_with_names(train(**params)), metadata(name=name))
    return path


def feature_rows(count: int, first: int = 0) -> np.ndarray:
    random = np.random.default_rng(SEED + first)
    rows = np.zeros(count, FEATURE_DTYPE)
    rows["values"] = random.normal(size=rows["values"].shape)
    rows["values"][random.random(rows["values"].shape) < 0.1] = np.nan
    rows["source_sequence"] = np.arange(first, first + count) * 3
    for name in ("ts_venue_ns", "ts_recv_ns", "instrument_id", "kind", "flags", "venue_id", "price"):
        rows[name] = random.integers(1, 200, count)
    rows["ts_mono_ns"] = rows["ts_publish_ns"] = time.monotonic_ns()
    return rows


def expected_outputs(path: Path, rows: np.ndarray) -> np.ndarray:
    return predict(load_model(path, Schema()).tables, rows["values"])[:, 0]


def assert_carried(out: np.ndarray, rows: np.ndarray) -> None:
    for name in _CARRIED:
        np.testing.assert_array_equal(out[name], rows[name], err_msg=name)


def test_without_a_model_features_pass_through_in_order(bench: Callable[..., Bench]) -> None:
    b = bench()
    rows = feature_rows(700)
    b.features.publish_rows(rows)
    out = b.run()
    assert_carried(out, rows)
    assert out["sequence"].tolist() == list(range(700))
    assert set(out["model_id"]) == {-1} and set(out["output_count"]) == {0}
    assert np.isnan(out["outputs"]).all()
    assert (b.count("passed_through"), b.count("predictions")) == (700, 0)


def test_running_without_a_model_is_said_and_is_no_warning(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        b = bench()
    text = "inference runs without a model (inference.model): features pass through unchanged"
    assert b.events == [("no_model", text)]
    assert caplog.text == ""


def test_with_a_model_every_record_gets_its_prediction(bench: Callable[..., Bench], model: Path) -> None:
    b = bench(model=model)
    rows = feature_rows(900)
    b.features.publish_rows(rows)
    out = b.run()
    assert_carried(out, rows)
    assert out["sequence"].tolist() == list(range(900))
    np.testing.assert_array_equal(out["outputs"][:, 0], expected_outputs(model, rows))
    assert np.isnan(out["outputs"][:, 1:]).all()
    assert set(out["model_id"]) == {load_model(model, Schema()).model_id}
    assert set(out["output_count"]) == {1} and set(out["ts_deadline_ns"]) == {0}
    assert b.count("predictions") == 900
    assert b.events[0][0] == "model_loaded"


def test_a_model_that_needs_all_features_gives_no_output_before_they_are_there(
    bench: Callable[..., Bench], model: Path
) -> None:
    used = [Schema().index(f"f{i}") for i in range(FEATURES)]
    write_model(model, model.read_text(), metadata(needs_all_features=True))
    b = bench(model=model)
    rows = feature_rows(200)
    rows["values"][:, max(used) + 1] = np.nan  # one that the model does not use
    b.features.publish_rows(rows)
    out = b.run()
    missing = np.isnan(rows["values"][:, used]).any(axis=1)
    assert_carried(out, rows)
    assert np.isnan(out["outputs"][missing]).all() and 0 < missing.sum() < 200
    np.testing.assert_array_equal(out["outputs"][~missing, 0], expected_outputs(model, rows[~missing]))
    assert b.count("features_missing") == missing.sum()
    assert b.count("predictions") == 200 - missing.sum()


def test_latency_runs_from_the_features_publication_to_ones_own(
    bench: Callable[..., Bench], model: Path
) -> None:
    b = bench(model=model)
    rows = feature_rows(50)
    b.features.publish_rows(rows)
    out = b.run()
    took = out["ts_publish_ns"] - rows["ts_publish_ns"]
    seen = summary(b.stats.histogram("inference"))
    assert (took > 0).all() and (np.diff(out["ts_publish_ns"]) >= 0).all()
    assert seen["count"] == 50
    assert int(b.stats.histogram("inference")[1]) == took.max()  # word 1: the largest


def test_work_is_bounded_by_the_batch(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.features.publish_rows(feature_rows(RECORDS_MAX + 40))
    handled = [b.actor.do_work() for _ in range(8)]
    assert max(handled) <= RECORDS_MAX
    assert sum(handled) == RECORDS_MAX + 40
    assert b.actor.do_work() == 0


def test_a_full_gating_ring_is_waited_for_and_nothing_lost(bench: Callable[..., Bench], model: Path) -> None:
    b = bench(model=model, gating=True)
    rows = feature_rows(600)
    b.features.publish_rows(rows)
    while b.actor.do_work():
        pass
    assert b.predictions.lag(0) == b.predictions.capacity
    out = b.run()
    assert_carried(out, rows)


def test_a_lapped_actor_counts_and_carries_on(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.features.publish_rows(feature_rows(5_000))
    out = b.run()
    assert len(out) + b.features.lapped(0) == 5_000
    assert b.features.lapped(0) > 0
    assert (np.diff(out["source_sequence"]) == 3).all()


def test_late_records_are_dropped_and_counted(bench: Callable[..., Bench], model: Path) -> None:
    b = bench(model=model, deadline_ms=60_000)
    rows = feature_rows(30)
    late = np.arange(30) % 3 == 0
    rows["ts_mono_ns"][late] -= 61_000_000_000
    b.features.publish_rows(rows)
    out = b.run()
    assert_carried(out, rows[~late])
    assert out["sequence"].tolist() == list(range(20))
    np.testing.assert_array_equal(out["ts_deadline_ns"], rows["ts_mono_ns"][~late] + 60_000_000_000)
    assert (b.count("late_dropped"), b.count("predictions")) == (10, 20)
    assert b.features.lag(0) == 0


def test_a_replay_knows_no_deadline(bench: Callable[..., Bench], model: Path) -> None:
    b = bench(model=model, deadline_ms=1, gating=True)
    rows = feature_rows(20)
    rows["ts_mono_ns"] -= 61_000_000_000
    b.features.publish_rows(rows)
    assert len(b.run()) == 20
    assert b.count("late_dropped") == 0


def test_a_model_is_swapped_between_two_records(
    bench: Callable[..., Bench], model: Path, tmp_path: Path
) -> None:
    other = _written(tmp_path / "two.txt", num_leaves=5)
    b = bench(model=model)
    first, second = feature_rows(10), feature_rows(10, first=10)
    b.features.publish_rows(first)
    out_first = b.run()
    reply = b.swap(other)
    b.features.publish_rows(second)
    out_second = b.run()
    np.testing.assert_array_equal(out_first["outputs"][:, 0], expected_outputs(model, first))
    np.testing.assert_array_equal(out_second["outputs"][:, 0], expected_outputs(other, second))
    assert (reply["model"], reply["version"]) == ("one", "1")
    assert reply["model_id"] == int(out_second["model_id"][0])
    assert reply["sequence"] == int(first["source_sequence"][-1]) + 1
    assert b.count("swaps") == 1 and b.events[-1][0] == "model_swapped"


def test_a_swap_gives_a_model_to_an_actor_that_had_none(bench: Callable[..., Bench], model: Path) -> None:
    b = bench()
    b.swap(model)
    rows = feature_rows(3)
    b.features.publish_rows(rows)
    np.testing.assert_array_equal(b.run()["outputs"][:, 0], expected_outputs(model, rows))


def test_a_refused_swap_keeps_the_old_model(bench: Callable[..., Bench], model: Path, tmp_path: Path) -> None:
    b = bench(model=model)
    with pytest.raises(ControlError, match=r"cannot be read.*the model in use stays"):
        b.swap(tmp_path / "none.txt")
    rows = feature_rows(5)
    b.features.publish_rows(rows)
    np.testing.assert_array_equal(b.run()["outputs"][:, 0], expected_outputs(model, rows))
    assert b.count("swaps_refused") == 1


def test_another_message_is_refused(bench: Callable[..., Bench]) -> None:
    with pytest.raises(ControlError, match="inference does not understand Ping"):
        bench().actor.on_control(Ping())


def test_a_model_that_cannot_be_used_stops_the_start(tmp_path: Path, model: Path) -> None:
    model.write_bytes(model.read_bytes()[:2_000])
    with pytest.raises(FatalError, match="truncated"):
        Bench(tmp_path, model=model).start()


def test_several_outputs_are_all_published(bench: Callable[..., Bench], tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    model = train(objective="multiclassova", num_class=2)
    write_model(path, text_with_names(model), metadata())
    b = bench(model=path)
    rows = feature_rows(40)
    b.features.publish_rows(rows)
    out = b.run()
    columns = rows["values"][:, [Schema().index(f"f{i}") for i in range(FEATURES)]]
    np.testing.assert_array_equal(out["outputs"][:, :2], model.predict(columns, num_threads=1))
    assert set(out["output_count"]) == {2} and np.isnan(out["outputs"][:, 2:]).all()


@pytest.mark.parametrize("undone", [0, 1, 7])
def test_a_restarted_actor_repeats_nothing_that_was_published(
    bench: Callable[..., Bench], model: Path, undone: int
) -> None:
    b = bench(model=model)
    rows = feature_rows(40)
    b.features.publish_rows(rows[:30])
    before = b.run()
    _set_position(b.features, 30 - undone)  # as left by one who died before it let go
    b.features.publish_rows(rows[30:])
    b.actor = InferenceActor()
    b.start()
    out = np.concatenate([before, b.run()])
    assert_carried(out, rows)
    assert out["sequence"].tolist() == list(range(40))


def _set_position(ring: Ring, position: int) -> None:
    ring.head[layout.W_READER_0 + layout.R_POSITION] = position


def test_the_same_features_give_the_same_bytes_however_they_arrive(tmp_path: Path, model: Path) -> None:
    rows = feature_rows(300)
    results = []
    for cuts in ([300], [1, 299], [100, 100, 100]):
        b = Bench(tmp_path, model=model).start()
        parts, first = [], 0
        for cut in cuts:
            b.features.publish_rows(rows[first : first + cut].copy())
            parts.append(b.run())
            first += cut
        out = np.concatenate(parts)
        out["ts_publish_ns"] = 0
        results.append(out.tobytes())
    assert len(set(results)) == 1


def test_warming_starts_no_thread() -> None:
    before = threading.active_count()
    warm()
    assert threading.active_count() <= before  # those of other tests' actors may end meanwhile


def test_counters_are_those_of_the_kernel() -> None:
    assert actor_module.COUNTERS is InferenceActor.counters


def test_keeping_warm_changes_no_result_and_no_counter(bench: Callable[..., Bench], model: Path) -> None:
    b = bench(model=model)
    rows = feature_rows(50)
    call = b.actor.native()
    keep_warm = call._replace(address=call.touch)
    keep_warm.run()  # before the first record
    b.features.publish_rows(rows[:20])
    before = b.run()
    seen = b.predictions.slots.tobytes(), b.predictions.head.tobytes(), b.features.head.tobytes()
    counters = b.stats.counters()
    keep_warm.run()
    assert (b.predictions.slots.tobytes(), b.predictions.head.tobytes(), b.features.head.tobytes()) == seen
    assert b.stats.counters() == counters
    b.features.publish_rows(rows[20:])
    out = np.concatenate([before, b.run()])
    np.testing.assert_array_equal(out["outputs"][:, 0], expected_outputs(model, rows))


def test_a_model_of_another_name_joins_the_set_and_rules_find_it_behind(
    bench: Callable[..., Bench], model: Path, tmp_path: Path
) -> None:
    b = bench(model=model)
    reply = b.swap(_written(tmp_path / "two.txt", name="two", num_leaves=5))
    rows = feature_rows(30)
    b.features.publish_rows(rows)
    out = b.run()
    np.testing.assert_array_equal(out["outputs"][:, 0], expected_outputs(model, rows))
    np.testing.assert_array_equal(out["outputs"][:, 1], expected_outputs(tmp_path / "two.txt", rows))
    assert set(out["output_count"]) == {2} and set(out["model_id"]) == {reply["model_id"]}
    assert reply["model_id"] != load_model(model, Schema()).model_id


def test_only_the_model_that_lacks_a_feature_says_nothing(tmp_path: Path, model: Path) -> None:
    needy = tmp_path / "needy.txt"
    write_model(needy, text_with_names(train()), metadata(name="needy", needs_all_features=True))
    b = Bench(tmp_path)
    b.context.config = Config(inference=InferenceConfig(models=(str(needy), str(model))))
    b.start()
    rows = feature_rows(200)
    b.features.publish_rows(rows)
    out = b.run()
    used = [Schema().index(f"f{i}") for i in range(FEATURES)]
    missing = np.isnan(rows["values"][:, used]).any(axis=1)
    assert 0 < missing.sum() < 200
    np.testing.assert_array_equal(np.isnan(out["outputs"][:, 0]), missing)
    np.testing.assert_array_equal(out["outputs"][:, 1], expected_outputs(model, rows))
    assert b.count("features_missing") == missing.sum()


def test_records_outside_the_training_range_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    known = dict.fromkeys((f"f{i}" for i in range(FEATURES)), (-5.0, *[0.0] * 9, 5.0))
    write_model(path, text_with_names(train()), metadata(quantiles=known))
    b = Bench(tmp_path)
    b.context.config = Config(inference=InferenceConfig(model=str(path), out_of_distribution_above=0.2))
    b.start()
    rows = feature_rows(3)
    rows["values"] = 0.0
    rows["values"][1, Schema().index("f0")] = 6.0  # one of eight
    rows["values"][2, [Schema().index("f0"), Schema().index("f1")]] = -6.0  # two of eight
    b.features.publish_rows(rows)
    np.testing.assert_allclose(b.run()["strangeness"], [0.0, 0.125, 0.25])
    assert b.count("out_of_distribution") == 1


def test_ticks_are_predicted_while_a_model_is_read(
    bench: Callable[..., Bench], model: Path, monkeypatch
) -> None:
    going, go_on = threading.Event(), threading.Event()

    def slow(*read: object) -> object:
        going.set()
        assert go_on.wait(60.0)
        return compile_model(*read)

    b = bench(model=model)
    monkeypatch.setattr(recent, "compile_model", slow)
    reply = b.actor.on_control(SwapModel(path=str(_written(model.with_name("two.txt"), num_leaves=5))))
    assert going.wait(60.0)
    rows = feature_rows(10)
    b.features.publish_rows(rows)
    np.testing.assert_array_equal(b.run()["outputs"][:, 0], expected_outputs(model, rows))
    assert not reply.done() and b.count("swaps") == 0
    go_on.set()
    assert b.until(reply)["sequence"] == int(rows["source_sequence"][-1]) + 1


def test_swaps_that_are_asked_for_together_are_made_in_their_order(
    bench: Callable[..., Bench], model: Path, tmp_path: Path
) -> None:
    b = bench(model=model)
    paths = [_written(tmp_path / f"{leaves}.txt", num_leaves=leaves) for leaves in (4, 5, 6)]
    replies = [b.actor.on_control(SwapModel(path=str(path))) for path in paths]
    refused = b.actor.on_control(SwapModel(path=str(tmp_path / "none.txt")))
    told = [b.until(reply) for reply in replies]
    with pytest.raises(ControlError, match="cannot be read"):
        b.until(refused)
    assert [each["sha256"] for each in told] == [load_model(p, Schema()).metadata.sha256 for p in paths]
    rows = feature_rows(10)
    b.features.publish_rows(rows)
    np.testing.assert_array_equal(b.run()["outputs"][:, 0], expected_outputs(paths[-1], rows))
    assert (b.count("swaps"), b.count("swaps_refused")) == (3, 1)


def test_who_waits_for_a_swap_when_the_engine_stops_is_told(bench: Callable[..., Bench], model: Path) -> None:
    b = bench(model=model)
    reply = b.actor.on_control(SwapModel(path=str(model)))
    b.actor.on_stop()
    with pytest.raises(ControlError, match="the engine stops"):
        reply.result(60.0)
