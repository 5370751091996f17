"""A model swap is recorded before it is made, and repeated at the same record by a next life and by a replay."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from test_inference_actor import Bench, _written, feature_rows
from test_model import Schema

from hft_engine.inference import recent
from hft_engine.inference.model import is_whole, load_model
from hft_engine.runtime.actor import FatalError
from hft_engine.runtime.rundir import LOCK
from hft_engine.runtime.session_events import read_events


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    return _written(tmp_path / "one.txt"), _written(tmp_path / "two.txt", num_leaves=5)


def live(folder: Path, models: tuple[Path, Path], deadline_ms: int = 0) -> Bench:
    data = folder / "data"
    data.mkdir()
    made = Bench(data, model=models[0], deadline_ms=deadline_ms)
    (data / LOCK).touch()
    made.context.session_dir = data / "journal" / "session"
    return made.start()


def replay(folder: Path, models: tuple[Path, Path], rows: np.ndarray, chunk: int) -> np.ndarray:
    again = Bench(folder / "scratch", model=models[0], gating=True)
    again.context.history_dir = folder / "data" / "journal" / "session"
    again.start()
    parts = []
    for start in range(0, len(rows), chunk):
        again.features.publish_rows(rows[start : start + chunk])
        parts.append(again.run())
    return np.concatenate(parts)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def results(predictions: np.ndarray) -> list[object]:
    return [(int(p["source_sequence"]), int(p["model_id"]), p["outputs"].tobytes()) for p in predictions]


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_a_swap_outlives_the_actor_and_comes_again_at_its_record(tmp_path: Path, models, chunk: int) -> None:
    made = live(tmp_path, models)
    rows = feature_rows(40)
    made.features.publish_rows(rows[:15])
    out = [made.run()]
    made.swap(models[1])
    models[1].write_text("gone")  # the copy that was kept counts
    made.start()
    made.features.publish_rows(rows[15:])
    out.append(made.run())
    happened = results(np.concatenate(out))
    assert len({model for _, model, _ in happened}) == 2
    (event,) = read_events(made.context.session_dir, "inference")[0]
    assert (event.kind, event.sequence) == ("model_swap", int(rows["source_sequence"][14]) + 1)
    assert results(replay(tmp_path, models, rows, chunk)) == happened


def test_a_model_that_is_not_to_be_had_ends_a_replay_with_the_reason(tmp_path: Path, models) -> None:
    made = live(tmp_path, models)
    made.swap(models[1])
    for copy in (tmp_path / "data" / "models").iterdir():
        copy.unlink()
    models[1].unlink()
    with pytest.raises(
        FatalError, match=r"swapped to model one 1 at tick 0, which is not to be had: .*two\.txt"
    ):
        replay(tmp_path, models, feature_rows(1), 1)


@pytest.mark.parametrize("damage", ["text", "metadata"])
def test_a_copy_that_a_loss_of_power_cut_short_is_passed_over(tmp_path: Path, models, damage: str) -> None:
    made = live(tmp_path, models)
    made.swap(models[1])
    end = {"text": "[0-9a-f].txt", "metadata": ".meta.json"}[damage]
    copies = list((tmp_path / "data" / "models").glob(f"*{end}"))
    assert len(copies) == 2  # of the first model, and of the one that was swapped in
    for copy in copies:
        copy.write_bytes(copy.read_bytes()[:-3])
    rows = feature_rows(4)
    made.start()
    made.features.publish_rows(rows)
    happened = results(made.run())
    assert {model for _, model, _ in happened} == {load_model(models[1], Schema()).model_id}
    assert results(replay(tmp_path, models, rows, 4)) == happened
    made.swap(models[0])
    made.swap(models[1])
    assert all(is_whole(path, sha256_of(path)) for path in (tmp_path / "data" / "models").glob("*.txt"))


def test_a_swap_back_writes_no_copy_and_reads_no_tree(tmp_path: Path, models, monkeypatch) -> None:
    made = live(tmp_path, models)
    made.swap(models[1])
    made.swap(models[0])
    copies = sorted((tmp_path / "data" / "models").iterdir())
    times = [copy.stat().st_mtime_ns for copy in copies]
    monkeypatch.setattr(recent, "compile_model", None)
    made.swap(models[1])
    assert [copy.stat().st_mtime_ns for copy in copies] == times


def test_what_came_too_late_is_recorded_and_missed_by_a_replay(tmp_path: Path, models) -> None:
    made = live(tmp_path, models, deadline_ms=100_000)
    rows = feature_rows(40)
    late = rows.copy()
    late["ts_mono_ns"] = np.iinfo(np.int64).max // 2
    late["ts_mono_ns"][[3, 4, 20, 39]] = 1
    made.features.publish_rows(late)
    happened = results(made.run())
    assert len(happened) == 36 and made.count("late_dropped") == 4
    told = [(e.data["from"], e.data["to"]) for e in read_events(made.context.session_dir, "inference")[0]]
    assert told == [(3, 5), (20, 21), (39, 40)]
    assert results(replay(tmp_path, models, rows, 9)) == happened
