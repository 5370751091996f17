"""`hft tune`: a search for better keys of ``learning``, by the tree-structured Parzen estimator (Optuna).

    a trial is scored on    the newest training rows of folds 1, 2, 3 of 5, which early stopping looks at too
    the verdict is on       tests 3, 4, 5: they begin where all those rows end, so no trial has seen them

A trial's score is its mean log loss over the folds; one that is worse than the median after a fold is given up. What
was tried lies in ``tuning.db`` of the registry's folder: the same search goes on where it stopped. (Bergstra et al.,
"Algorithms for Hyper-Parameter Optimization", NIPS 2011.)
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hft_engine.config.schema import Config, LearningConfig
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.fitting import fit, predicted
from hft_engine.learn.measures import losses, paired
from hft_engine.learn.rows import check_rows, labelled
from hft_engine.learn.samples import Samples, row_ns_of
from hft_engine.learn.tasks import Task
from hft_engine.learn.walking import Progress, Split, split_of

DATABASE = "tuning.db"
SPACE: dict[str, tuple[float, float, bool]] = {  # smallest, largest, whether on a logarithmic scale
    "leaves": (4, 127, True),
    "leaf_rows_min": (10, 500, True),
    "learning_rate": (0.01, 0.3, True),
    "feature_fraction": (0.3, 1.0, False),
    "bagging_fraction": (0.4, 1.0, False),
    "lambda_l2": (0.001, 100.0, True),
}
WHOLE = ("leaves", "leaf_rows_min")
STARTUP_TRIALS = 8  # at random, before the estimator has anything to go by

Keys = dict[str, Any]


class Tuned(msgspec.Struct, frozen=True):
    """``loss`` and ``before``: inner log loss of the best keys and of the configuration's; ``gain``: log loss saved a
    row on the tests that no trial saw, ``t`` over blocks of time, ``better``: beyond chance."""

    task: str
    trials: int
    pruned: int
    before: float
    loss: float
    learning: Keys
    gain: float
    t: float | None
    better: bool
    seconds: float
    file: str

    @property
    def verdict(self) -> str:
        """One sentence for people."""
        figures = f"{self.gain:+.5f} of log loss a row on tests that no trial saw, t {self.t or 0.0:.2f}"
        if self.better:
            return f"better beyond chance: {figures}"
        return f"NOT better beyond chance ({figures}); keep what the configuration has"


@dataclass(frozen=True)
class Search:
    """What trials are scored on; it can be sent to another process. ``splits``: of the folds up to the middle one."""

    samples: Samples
    splits: tuple[Split, ...]
    learning: LearningConfig
    classes: int

    def scores(self, keys: Keys) -> Iterator[float]:
        """The inner log loss of fold after fold."""
        for split in self.splits:
            loss = fit(self.samples, split.train, with_keys(self.learning, keys), self.classes).loss
            if np.isfinite(loss):
                yield loss

    def score(self, keys: Keys) -> float:
        """Their mean."""
        return float(np.mean(list(self.scores(keys))))


# scores several trials at once, anywhere: (the search, their keys) -> scores in order
Score = Callable[[Search, Sequence[Keys]], Sequence[float]]


def tune(
    task: Task,
    samples: Samples,
    config: Config,
    registry: Path,
    trials: int,
    progress: Progress = lambda text, share: None,
    score: Score | None = None,
    at_once: int = 1,
) -> Tuned:
    """Until the search has ``trials`` trials. ``score`` scores ``at_once`` trials somewhere else; without it they are
    made here, one after the other, and given up early. Raises TrainingError, also where the extra is not there.
    """
    from threadpoolctl import threadpool_limits

    optuna = _optuna()
    started = time.perf_counter()
    with threadpool_limits(config.learning.threads):
        search, unseen = _prepared(task, samples, config)
        study = _study(optuna, task, samples, config, registry)
        while (done := len(_finished(study))) < trials:
            progress(f"{task.name}: trial {done + 1} of {trials}", 0.9 * done / trials)
            if score is None:
                _try_here(optuna, study, search)
            else:
                _try_elsewhere(study, search, score, min(at_once, trials - done))
        progress(f"{task.name}: the verdict", 0.9)
        return _tuned(task, samples, config, study, search, unseen, registry, started)


def with_keys(learning: LearningConfig, keys: Keys) -> LearningConfig:
    return msgspec.structs.replace(learning, **keys)


def check_extra() -> None:
    """Raises TrainingError where the extra is not installed."""
    _optuna()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise TrainingError("tuning needs Optuna: pip install 'hft-engine[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _prepared(task: Task, samples: Samples, config: Config) -> tuple[Search, list[Split]]:
    """(what trials are scored on, the folds whose tests they do not see)."""
    learning = config.learning
    every = labelled(task, samples, config)
    check_rows(task, samples, every, learning.min_training_samples)
    splits = [split_of(task, samples, config, every, number) for number in range(learning.folds)]
    middle = (learning.folds + 1) // 2
    scored = tuple(split for split in splits[:middle] if split.says_something)
    search = Search(samples, scored, learning, len(task.classes))
    if not list(search.scores({})):
        raise TrainingError(
            f"{task.name}: no fold has rows enough for a validation of its own; name more data, or lower learning.folds"
        )
    return search, [split for split in splits[middle - 1 :] if split.says_something]


# ---- the study ------------------------------------------------------------------------------------------------


def _study(optuna: Any, task: Task, samples: Samples, config: Config, registry: Path) -> Any:
    """The search of these data and this configuration; a new one begins with what the configuration has."""
    registry.mkdir(parents=True, exist_ok=True)
    fixed = {key: value for key, value in msgspec.to_builtins(config.learning).items() if key != "threads"}
    text = repr((samples.data_hash, sorted(fixed.items()), sorted(SPACE.items())))
    study = optuna.create_study(
        study_name=f"{task.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}",
        storage=f"sqlite:///{(registry / DATABASE).resolve()}",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=0),
    )
    # a sampler that goes on must not draw again what it has drawn
    seed = config.learning.seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, constant_liar=True)
    if not study.trials:
        study.enqueue_trial({name: getattr(config.learning, name) for name in SPACE})
    return study


def _finished(study: Any) -> list[Any]:
    return [trial for trial in study.trials if trial.state.is_finished()]


def _keys(trial: Any) -> Keys:
    return {
        name: trial.suggest_int(name, int(low), int(high), log=log)
        if name in WHOLE
        else trial.suggest_float(name, low, high, log=log)
        for name, (low, high, log) in SPACE.items()
    }


def _try_here(optuna: Any, study: Any, search: Search) -> None:
    trial = study.ask()
    found: list[float] = []
    for step, loss in enumerate(search.scores(_keys(trial))):
        found.append(loss)
        trial.report(float(np.mean(found)), step)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
    study.tell(trial, float(np.mean(found)))


def _try_elsewhere(study: Any, search: Search, score: Score, count: int) -> None:
    trials = [study.ask() for _ in range(count)]
    for trial, loss in zip(trials, score(search, [_keys(trial) for trial in trials]), strict=True):
        study.tell(trial, loss)


# ---- what came out --------------------------------------------------------------------------------------------


def _tuned(
    task: Task,
    samples: Samples,
    config: Config,
    study: Any,
    search: Search,
    unseen: Sequence[Split],
    registry: Path,
    started: float,
) -> Tuned:
    finished = _finished(study)
    keys = {
        name: value if name in WHOLE else float(f"{value:.4g}") for name, value in study.best_params.items()
    }
    now, before = _test_losses(search, unseen, keys), _test_losses(search, unseen, {})
    ts_ns = np.concatenate([samples.ts_ns[split.test.rows] for split in unseen])
    learning = config.learning
    block_ns = learning.block_horizons * learning.prediction_horizon * row_ns_of(samples)
    result = paired(now, before, ts_ns, block_ns)
    file = registry / f"tuned-{task.name}.yaml"
    tuned = Tuned(
        task=task.name,
        trials=len(finished),
        pruned=sum(trial.state.name == "PRUNED" for trial in finished),
        before=search.score({}),
        loss=float(study.best_value),
        learning=keys,
        gain=float(result.gain),
        t=float(result.t) if np.isfinite(result.t) else None,
        better=bool(result.better),
        seconds=round(time.perf_counter() - started, 2),
        file=str(file),
    )
    file.write_text(fragment(tuned))
    return tuned


def _test_losses(search: Search, splits: Sequence[Split], keys: Keys) -> np.ndarray:
    """float64[n]: log loss of each row of the tests."""
    parts = []
    for split in splits:
        booster = fit(search.samples, split.train, with_keys(search.learning, keys), search.classes).booster
        raw = predicted(booster, search.samples.rows[split.test.rows], search.classes)
        parts.append(losses(raw, split.test.classes))
    return np.concatenate(parts)


def fragment(tuned: Tuned) -> str:
    """YAML for a configuration file."""
    lines = [
        f"# hft tune, {tuned.task}: {tuned.trials} trials, inner log loss {tuned.before:.5f} before, "
        f"{tuned.loss:.5f} now;",
        f"# {tuned.verdict}",
        "learning:",
        *(f"  {name}: {value}" for name, value in tuned.learning.items()),
    ]
    return "\n".join(lines) + "\n"
