"""The rows of the samples that have a label, and whether there is enough of them to learn from."""

from dataclasses import dataclass

import numpy as np

from hft_engine.config.schema import Config
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.labels import UNKNOWN
from hft_engine.learn.samples import Samples
from hft_engine.learn.tasks import Task


@dataclass(frozen=True)
class Rows:
    """Rows of the samples that have a label, in order of the samples: ``rows`` int64[n] their indices, ``classes``
    int64[n], ``known_ns`` int64[n]: when each label was known."""

    rows: np.ndarray
    classes: np.ndarray
    known_ns: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, which: np.ndarray) -> "Rows":
        """Those that a mask or indices name."""
        return Rows(self.rows[which], self.classes[which], self.known_ns[which])


def labelled(task: Task, samples: Samples, config: Config, before_ns: int | None = None) -> Rows:
    """``before_ns``: a labeller with parameters of its own learns them from what came before only."""
    fit = np.ones(len(samples), np.bool_) if before_ns is None else samples.ts_ns < before_ns
    classes, known = task.label(samples, config, fit)
    rows = np.flatnonzero((classes != UNKNOWN) & samples.usable)
    return Rows(rows, classes[rows], samples.ts_ns[known[rows]])


def check_rows(task: Task, samples: Samples, rows: Rows, least: int) -> None:
    """Raises TrainingError where there is no column, too few rows, or only one class."""
    if not samples.names:
        raise TrainingError(
            f"{samples.source}: every feature is NaN in all {len(samples)} rows; record longer than the longest window "
            "of the indicators section, or shorten the windows"
        )
    if len(rows) < least:
        raise TrainingError(
            f"{task.name}: {len(rows)} rows have a label, MIN_TRAINING_SAMPLES "
            f"(learning.min_training_samples) is {least}; record longer or name more data"
        )
    if len(np.unique(rows.classes)) < 2:
        only = task.classes[int(rows.classes[0])]
        raise TrainingError(
            f"{task.name}: all {len(rows)} labels are {only!r}, there is nothing to tell apart; name more data, or "
            "change learning.peak_prominence, learning.barrier_width or learning.prediction_horizon"
        )
