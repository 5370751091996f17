"""The short form of ``benchmarks.load.swaps``: a live engine, some swaps, and the proof; no figure is asserted."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.load import swaps

from hft_engine.records import SIGNAL_DTYPE


@pytest.mark.timeout(400)  # a whole engine, whose kernels may have to be compiled
def test_swaps_in_a_live_engine_lose_and_double_no_signal_and_each_tells_its_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HFT_RUN_ROOT")  # it has one of its own, and removes it
    run = swaps.run_once(swaps.Plan(swaps=6, rate=2_000.0, pairs=2, period_s=0.5))
    assert run.proof.swaps == len(run.answered) == 6
    assert run.proof.signals > 3_000 and run.proof.sets_seen > 1
    assert len(run.with_swaps) == len(run.without) == 2
    assert all(leg.shape[1] > 300 for phase in (*run.with_swaps, *run.without) for leg in phase)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([7, 7, 8, 8, 9], None),
        ([7, 7, 7, 8, 9], "1 signals are of other models than those in force, from 2 on"),
    ],
)
def test_a_signal_of_other_models_than_those_in_force_is_found(ids: list[int], message: str | None) -> None:
    sets = [SimpleNamespace(since=since, model_id=model) for since, model in ((0, 7), (30, 8), (50, 9))]
    signals = np.zeros(5, SIGNAL_DTYPE)
    signals["source_sequence"], signals["model_id"] = [0, 29, 30, 49, 50], ids
    recorded = SimpleNamespace(model_sets=sets)
    if message is None:
        swaps.check_models(recorded, signals, 2)
        return
    with pytest.raises(RuntimeError, match=message):
        swaps.check_models(recorded, signals, 2)


def test_a_swap_that_the_session_does_not_tell_of_is_found() -> None:
    recorded = SimpleNamespace(model_sets=[SimpleNamespace(since=0, model_id=7)])
    with pytest.raises(RuntimeError, match="tells of 1 sets of models after 1 swaps"):
        swaps.check_models(recorded, np.zeros(1, SIGNAL_DTYPE), 1)


def test_models_of_the_series_differ_and_are_read(tmp_path: Path) -> None:
    models = swaps.Models(tmp_path)
    texts = {models.write(number).read_text() for number in (1, 2, 999)} | {models.first.read_text()}
    assert len(texts) == 4 and len({len(text) for text in texts}) == 1
