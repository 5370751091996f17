"""The walk-forward of a task: each test is foretold by a model, and by the baselines, that know its past only.

A fold is a function of its number (``run_fold``), so folds may be computed anywhere and in any order; only the
calibration that a test is measured with, fitted on the tests before it, goes from one to the next (``walk``).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from hft_engine.config.schema import Config
from hft_engine.learn.baselines import BASELINES, Question
from hft_engine.learn.calibration import calibrated, fit_calibration
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.fitting import fit, predicted
from hft_engine.learn.measures import measures
from hft_engine.learn.report import MODEL, FoldFigures
from hft_engine.learn.rows import Rows, labelled
from hft_engine.learn.samples import Samples, row_ns_of
from hft_engine.learn.splits import Fold, purged_k_fold, walk_forward
from hft_engine.learn.tasks import TASKS, Task

Progress = Callable[[str, float], None]  # what is being done, share of the whole that is done


@dataclass(frozen=True)
class Split:
    """Of a fold, with labels as they were known then: those of the training rows know nothing of the test."""

    train: Rows
    test: Rows
    purged: int

    @property
    def says_something(self) -> bool:
        """Whether there are two classes on either side."""
        return min(len(np.unique(side.classes)) for side in (self.train, self.test)) > 1


@dataclass(frozen=True)
class FoldRun:
    """What a fold came to. ``raw``: the model's outputs, not calibrated; ``baselines``: their probabilities."""

    split: Split
    trees: int
    raw: np.ndarray
    baselines: dict[str, np.ndarray]


@dataclass(frozen=True)
class Tested:
    """A fold's test, as it is reported. ``probabilities``: of the calibrated model and each baseline."""

    fold: FoldFigures
    rows: np.ndarray
    classes: np.ndarray
    raw: np.ndarray
    probabilities: dict[str, np.ndarray]


# runs a function on each of some numbers, anywhere; results in order
Mapper = Callable[[Callable[[int], FoldRun | None], Iterable[int]], Iterable[FoldRun | None]]


def walk(
    task: Task, samples: Samples, config: Config, every: Rows, progress: Progress, mapper: Mapper = map
) -> Iterator[Tested]:
    """The tests in order of time; ``every``: all rows with a label. Raises TrainingError where none has two classes."""
    seen: list[Tested] = []
    folds = config.learning.folds
    run = partial(run_fold, task.name, samples, config, every)
    progress(f"{task.name}: test 1 of {folds}", 0.0)
    for number, found in enumerate(mapper(run, range(folds))):
        progress(f"{task.name}: test {min(number + 2, folds)} of {folds}", 0.9 * (number + 1) / folds)
        if found is not None:
            seen.append(_tested(found, samples, len(task.classes), seen))
            yield seen[-1]
    if not seen:
        raise TrainingError(
            f"{task.name}: no test of the walk-forward has two classes to learn from; name more data, or lower "
            "learning.folds"
        )


def run_fold(name: str, samples: Samples, config: Config, every: Rows, number: int) -> FoldRun | None:
    """Fold ``number`` of the task called ``name``; None where there is only one class on either side."""
    task = TASKS[name]
    split = split_of(task, samples, config, every, number)
    if not split.says_something:
        return None
    found = fit(samples, split.train, config.learning, len(task.classes))
    last = samples.column("bar_return_1")
    train, test = split.train, split.test
    question = Question(
        samples.rows[train.rows], train.classes, last[train.rows], samples.rows[test.rows], last[test.rows],
        len(task.classes),
    )  # fmt: skip
    return FoldRun(
        split,
        found.trees,
        predicted(found.booster, samples.rows[test.rows], len(task.classes)),
        {who: baseline(question) for who, baseline in BASELINES.items()},
    )


def split_of(task: Task, samples: Samples, config: Config, every: Rows, number: int) -> Split:
    """Training and test rows of fold ``number``."""
    embargo_ns = config.learning.embargo * row_ns_of(samples)
    ts_ns = samples.ts_ns[every.rows]
    fold: Fold = list(walk_forward(ts_ns, every.known_ns, config.learning.folds, embargo_ns))[number]
    begin = int(ts_ns[fold.test].min())
    rows = labelled(task, samples, config, begin)
    tested = np.isin(rows.rows, every.rows[fold.test])
    before = samples.ts_ns[rows.rows] < begin
    train = before & (rows.known_ns < begin - embargo_ns)
    return Split(rows.pick(train), rows.pick(tested), int(before.sum() - train.sum()))


def _tested(found: FoldRun, samples: Samples, classes: int, seen: list[Tested]) -> Tested:
    test = found.split.test
    earlier = (
        fit_calibration(
            np.concatenate([one.raw for one in seen]), np.concatenate([one.classes for one in seen]), classes
        )
        if seen
        else ()
    )
    probabilities = {MODEL: calibrated(found.raw, earlier), **found.baselines}
    figures = FoldFigures(
        int(samples.ts_ns[test.rows].min()),
        int(samples.ts_ns[test.rows].max()),
        len(found.split.train),
        len(test),
        found.split.purged,
        found.trees,
        {name: measures(p, test.classes) for name, p in probabilities.items()},
    )
    return Tested(figures, test.rows, test.classes, found.raw, probabilities)


def cv_auc(task: Task, samples: Samples, config: Config, rows: Rows) -> float:
    """Mean AUC over purged k folds; -1 where no fold has two classes."""
    embargo_ns = config.learning.embargo * row_ns_of(samples)
    found = []
    for fold in purged_k_fold(samples.ts_ns[rows.rows], rows.known_ns, config.learning.folds, embargo_ns):
        split = Split(rows.pick(fold.train), rows.pick(fold.test), fold.purged)
        if split.says_something:
            booster = fit(samples, split.train, config.learning, len(task.classes)).booster
            raw = predicted(booster, samples.rows[split.test.rows], len(task.classes))
            found.append(measures(raw, split.test.classes)["auc"])
    return round(float(np.mean(found)), 5) if found else -1.0
