"""Where features pile up, each instrument's newest is predicted, the rest counted, and a replay leaves out the same."""

from ctypes import CFUNCTYPE, c_int64, c_void_p
from pathlib import Path

import msgspec
import numpy as np
import pytest
from test_inference_actor import Bench, _written, feature_rows

from hft_engine.inference.conflation import newest_of_each
from hft_engine.runtime.chain import ATTENTION
from hft_engine.runtime.rundir import LOCK
from hft_engine.runtime.session_events import read_events

ABOVE = 50


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return _written(tmp_path / "one.txt")


def rows_of(count: int, instruments: int, first: int = 0) -> np.ndarray:
    rows = feature_rows(count, first)
    rows["instrument_id"] = np.random.default_rng(first).integers(0, instruments, count)
    return rows


def live(folder: Path, model: Path) -> Bench:
    data = folder / "data"
    data.mkdir()
    made = Bench(data, model=model)
    config = made.context.config
    inference = msgspec.structs.replace(config.inference, conflate_above=ABOVE)
    made.context.config = msgspec.structs.replace(config, inference=inference)
    (data / LOCK).touch()
    made.context.session_dir = data / "journal" / "session"
    return made.start()


def expected(rows: np.ndarray) -> np.ndarray:
    """By a plain loop: the last record of each instrument."""
    newest = {int(row["instrument_id"]): i for i, row in enumerate(rows)}
    return rows[sorted(newest.values())]["source_sequence"]


def test_newest_of_each() -> None:
    assert newest_of_each(np.array([3, 1, 3, 2, 1, 7])).tolist() == [2, 3, 4, 5]
    assert newest_of_each(np.array([], np.int32)).tolist() == []


def test_a_pile_is_thinned_out_and_counted(tmp_path: Path, model: Path) -> None:
    made = live(tmp_path, model)
    rows = rows_of(400, 6)
    made.features.publish_rows(rows)
    made.actor.tend()
    out = made.run()
    assert out["source_sequence"].tolist() == expected(rows).tolist()
    assert made.count("conflated") == 400 - len(out)
    assert made.features.seen(0) == 400 and made.features.lapped(0) == 0


def test_a_small_pile_and_one_of_many_instruments_are_left_alone(tmp_path: Path, model: Path) -> None:
    made = live(tmp_path, model)
    for rows in (rows_of(ABOVE, 2), rows_of(200, 150, ABOVE)):
        made.features.publish_rows(rows)
        made.actor.tend()
        assert len(made.run()) == len(rows)
    assert made.count("conflated") == 0 and not read_events(made.context.session_dir, "inference")[0]


def test_compiled_code_asks_for_the_look_at_a_pile_and_carries_it_out_alone(
    tmp_path: Path, model: Path
) -> None:
    """As under ``runtime.chain``: Python comes only when it is asked for."""
    made = live(tmp_path, model)
    rows = rows_of(400, 6)
    made.features.publish_rows(rows)
    call = made.actor.native()
    kernel = CFUNCTYPE(c_int64, c_void_p, c_int64, c_int64, c_int64)(call.address)

    def turn() -> int:
        return int(kernel(call.wiring.ctypes.data, len(call.wiring), call.reader, call.argument))

    assert turn() == ATTENTION
    made.actor.tend()
    while (done := turn()) > 0:
        assert done != ATTENTION
    assert done == 0 and made.features.lag(0) == 0
    assert made.predictions.published == len(expected(rows))


@pytest.mark.parametrize("chunk", [1, 64, 900])
def test_a_replay_and_a_next_life_leave_out_the_same(tmp_path: Path, model: Path, chunk: int) -> None:
    made = live(tmp_path, model)
    rows = rows_of(900, 5)
    made.features.publish_rows(rows[:400])
    made.actor.tend()  # it is written down, then the actor dies
    made.start()
    out = [made.run()]
    made.features.publish_rows(rows[400:])
    made.actor.tend()
    happened = np.concatenate([*out, made.run()])["source_sequence"].tolist()
    assert happened == [*expected(rows[:400]), *expected(rows[400:])]
    again = Bench(tmp_path / "scratch", model=model, gating=True)
    again.context.history_dir = made.context.session_dir
    again.start()
    parts = []
    for start in range(0, len(rows), chunk):
        again.features.publish_rows(rows[start : start + chunk])
        parts.append(again.run())
    assert np.concatenate(parts)["source_sequence"].tolist() == happened
