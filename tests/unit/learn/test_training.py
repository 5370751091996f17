"""Training: what can be foretold is found, noise is called noise, and nothing is learned from what cannot teach."""

import gzip
from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from learning_data import BARS, config, noise, waves, write_bars

from hft_engine.inference.lightgbm_text import parse_model
from hft_engine.inference.tables import build_tables
from hft_engine.inference.trees import predict
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.samples import Samples, read_samples
from hft_engine.learn.tasks import TASKS
from hft_engine.learn.training import Trained, train

LEARNED = config(trees_max=60)
PEAKS, ENTRIES, REGIMES = (TASKS[name] for name in ("peak_detection", "entry_timing", "market_regime"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    path = write_bars(tmp_path_factory.mktemp("bars") / "waves.csv", waves(3_000))
    return read_samples(config(), [str(path)])


@pytest.fixture(scope="module")
def learned(planted: Samples) -> dict[str, Trained]:
    """By task, trained once for all tests that only look at it."""
    return {task.name: train(task, planted, LEARNED) for task in (PEAKS, REGIMES)}


@pytest.fixture(scope="module")
def random_walk(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    path = write_bars(tmp_path_factory.mktemp("bars") / "noise.csv", noise(1_500))
    return read_samples(config(), [str(path)])


def test_peaks_that_can_be_foretold_are(learned: dict[str, Trained]) -> None:
    found = learned[PEAKS.name]
    assert found.report.figures["model"]["auc"] > 0.95
    assert found.report.comparisons["majority"].better
    assert found.report.comparisons["last_return"].better
    assert found.metadata.calibration


def test_what_beats_every_baseline_is_told_so(learned: dict[str, Trained]) -> None:
    found = learned[REGIMES.name]
    assert found.report.unbeaten == (), found.report.comparisons
    assert "beats every baseline" in found.report.verdict


def test_of_a_random_walk_it_says_that_nothing_was_learned(random_walk: Samples) -> None:
    found = train(ENTRIES, random_walk, config())
    assert "majority" in found.report.unbeaten
    assert "does NOT beat" in found.report.verdict
    assert "--force" in found.report.verdict


def test_the_same_data_and_seed_give_the_same_model_and_figures(
    planted: Samples, learned: dict[str, Trained]
) -> None:
    one, other = learned[PEAKS.name], train(PEAKS, planted, LEARNED)
    assert one.text == other.text
    assert one.report.figures == other.report.figures


def test_no_test_row_moves_a_figure_of_an_earlier_test(planted: Samples, learned: dict[str, Trained]) -> None:
    """Spoil the last quarter: what was tested before it must not have known."""
    rows = planted.rows.copy()
    rows[2_300:] = np.random.default_rng(0).normal(size=rows[2_300:].shape)
    for task in (PEAKS, REGIMES):
        first = learned[task.name].report.folds[0]
        assert train(task, replace(planted, rows=rows), LEARNED).report.folds[0] == first


def test_the_final_model_compiled_gives_what_the_booster_gives(
    planted: Samples, learned: dict[str, Trained]
) -> None:
    found = learned[REGIMES.name]
    booster = lightgbm.Booster(model_str=found.text)
    tables = build_tables(parse_model(found.text.encode(), "test"), range(len(planted.names)))
    np.testing.assert_allclose(
        predict(tables, planted.rows), booster.predict(planted.rows), rtol=0, atol=1e-12
    )


def test_shap_importance_adds_up_to_what_the_model_says(
    planted: Samples, learned: dict[str, Trained]
) -> None:
    found = learned[PEAKS.name]
    booster = lightgbm.Booster(model_str=found.text)
    shares = booster.predict(planted.rows[:50], pred_contrib=True)
    np.testing.assert_allclose(
        shares.sum(axis=1), booster.predict(planted.rows[:50], raw_score=True), atol=1e-9
    )
    best = max(found.report.importance_shap, key=lambda name: found.report.importance_shap[name])
    assert found.report.importance_gain[best] > 0


def test_real_bars_give_a_report_with_every_baseline(tmp_path: Path) -> None:
    lines = gzip.decompress((BARS / "longish.csv.gz").read_bytes()).splitlines(keepends=True)
    (tmp_path / "some.csv").write_bytes(b"".join(lines[:2_000]))
    samples = read_samples(config(), [str(tmp_path / "some.csv")])
    for task in TASKS.values():
        report = train(task, samples, config(trees_max=10)).report
        assert set(report.figures) == {"model", "majority", "last_return", "logistic"}
        assert len(report.folds) == 3
        assert all(fold.purged > 0 for fold in report.folds)
        assert report.figures["majority"]["log_loss"] > 0
        assert set(report.equity) == {"always long", *report.figures}


def test_too_few_rows_are_refused_with_their_number(tmp_path: Path) -> None:
    samples = read_samples(config(), [str(write_bars(tmp_path / "few.csv", waves(90)))])
    with pytest.raises(ValueError, match=r"\d+ rows have a label, MIN_TRAINING_SAMPLES .* is 100") as error:
        train(ENTRIES, samples, config())
    assert isinstance(error.value, TrainingError)


def test_labels_of_one_class_are_refused(tmp_path: Path) -> None:
    samples = read_samples(config(), [str(write_bars(tmp_path / "flat.csv", np.linspace(100, 200, 400)))])
    with pytest.raises(ValueError, match=r"all 33[0-9] labels are 'no_peak'"):
        train(PEAKS, samples, config())


def test_a_price_that_stands_still_has_no_regimes_and_nobody_is_warned_in_numpy_s_words(
    tmp_path: Path,
) -> None:
    samples = read_samples(config(), [str(write_bars(tmp_path / "flat.csv", np.full(400, 100.0)))])
    samples.bars[:, :4] = 100.0
    samples.column("bar_volatility")[:] = 0.0
    still = replace(samples, rows=np.nan_to_num(samples.rows) * 0.0)
    with pytest.raises(TrainingError, match="0 rows have a label"):
        train(REGIMES, still, config())


def test_a_set_without_any_value_is_refused(planted: Samples) -> None:
    empty = replace(planted, names=(), rows=planted.rows[:, :0])
    with pytest.raises(ValueError, match="every feature is NaN"):
        train(PEAKS, empty, config())


def test_a_column_that_is_nan_half_the_time_is_learned_from_all_the_same(planted: Samples) -> None:
    rows = planted.rows.copy()
    rows[::2, planted.names.index("bar_rsi")] = np.nan
    found = train(PEAKS, replace(planted, rows=rows), config(folds=2, trees_max=10))
    assert np.isfinite(
        [value for figures in found.report.figures.values() for value in figures.values()]
    ).all()
