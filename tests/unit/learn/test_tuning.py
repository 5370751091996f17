"""`hft tune`: the same search twice, a search that goes on, and tests that no trial sees."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from learning_data import config, waves, write_bars

from hft_engine.cli import main
from hft_engine.config.load import load_config
from hft_engine.learn import tuning
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.rows import labelled
from hft_engine.learn.samples import Samples, read_samples
from hft_engine.learn.tasks import TASKS
from hft_engine.learn.tuning import SPACE, Tuned, tune
from hft_engine.learn.walking import split_of

pytestmark = pytest.mark.filterwarnings("default")  # Optuna's own
TASK = TASKS["entry_timing"]
CONFIG = config(folds=3, trees_max=15)
TRIALS = 10  # some beyond the random ones


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    file = write_bars(tmp_path_factory.mktemp("tuning") / "waves.csv", waves(3_000))
    return read_samples(CONFIG, [str(file)])


@pytest.fixture(scope="module")
def tuned(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tune(TASK, samples, CONFIG, tmp_path_factory.mktemp("registry"), TRIALS)


def test_what_is_found_is_no_worse_than_what_the_configuration_has(tuned: Tuned) -> None:
    assert tuned.trials == TRIALS
    assert tuned.loss <= tuned.before  # the configuration's keys are the first trial
    assert set(tuned.learning) == set(SPACE)
    assert all(low <= tuned.learning[name] <= high for name, (low, high, _) in SPACE.items())


def test_the_fragment_is_a_configuration_and_tells_the_verdict(tuned: Tuned, tmp_path: Path) -> None:
    text = Path(tuned.file).read_text()
    assert tuned.verdict in text
    assert yaml.safe_load(text) == {"learning": tuned.learning}
    (tmp_path / "engine.yaml").write_text(text)
    loaded = load_config(tmp_path / "engine.yaml", (), env={}, dotenv_path=None)
    assert loaded.learning.leaves == tuned.learning["leaves"]


def test_a_search_that_was_stopped_goes_on(samples: Samples, tmp_path: Path) -> None:
    first = tune(TASK, samples, CONFIG, tmp_path, 3)
    again = tune(TASK, samples, CONFIG, tmp_path, 3)
    assert (first.trials, again.trials) == (3, 3) and again.learning == first.learning
    more = tune(TASK, samples, CONFIG, tmp_path, 5)
    assert more.trials == 5 and more.loss <= first.loss


def test_what_the_verdict_is_measured_on_moves_no_trial(
    samples: Samples, tuned: Tuned, tmp_path: Path
) -> None:
    """Noise in the place of every row from the first unseen test on: the same keys are found."""
    every = labelled(TASK, samples, CONFIG)
    begin = samples.ts_ns[split_of(TASK, samples, CONFIG, every, 1).test.rows].min()
    rows = samples.rows.copy()
    later = np.flatnonzero(samples.ts_ns >= begin)
    others = [
        i for i, name in enumerate(samples.names) if name != "bar_volatility"
    ]  # which labels are made of
    rows[np.ix_(later, others)] = np.random.default_rng(0).normal(size=(len(later), len(others)))
    spoilt = tune(TASK, dataclasses.replace(samples, rows=rows), CONFIG, tmp_path, TRIALS)
    assert (spoilt.learning, spoilt.loss) == (tuned.learning, tuned.loss)
    assert spoilt.gain != tuned.gain


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(TrainingError, match=r"hft-engine\[tune\]"):
        tuning.check_extra()


def test_the_command_prints_the_keys_and_whether_they_are_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bars(tmp_path / "waves.csv", waves(1_500))
    sets = ("learning.folds=3", "learning.trees_max=10", "learning.leaf_rows_min=20")
    options = [part for key in sets for part in ("--set", key)]
    result = CliRunner().invoke(
        main, ["tune", "--data", "waves.csv", "--model", "entry_timing", "--trials", "2", *options]
    )
    assert result.exit_code in (0, 1), result.output
    assert "learning:" in result.output and "beyond chance" in result.output
    assert (tmp_path / "data" / "models" / "tuned-entry_timing.yaml").exists()
