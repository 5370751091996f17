"""How good probabilities are, and whether they are better than others by more than chance."""

import math
from typing import NamedTuple

import numpy as np

BLOCKS_MIN = 10  # paired differences that a verdict needs
T_CRITICAL = 1.645  # one-sided, 5 %


class Paired(NamedTuple):
    """``gain``: mean log loss of the other minus ours, per row; ``t``: over blocks; ``better``: beyond chance."""

    gain: float
    t: float
    better: bool


def measures(probabilities: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """AUC (of several classes the mean of one against the rest), average precision, log loss, Brier score, accuracy."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    count = probabilities.shape[1]
    hits = np.eye(count)[classes]
    shown = range(1, 2) if count == 2 else [k for k in range(count) if 0 < hits[:, k].sum() < len(classes)]
    found = {
        "auc": float(np.mean([roc_auc_score(hits[:, k], probabilities[:, k]) for k in shown])),
        "average_precision": float(
            np.mean([average_precision_score(hits[:, k], probabilities[:, k]) for k in shown])
        ),
        "log_loss": float(losses(probabilities, classes).mean()),
        "brier": float(((probabilities - hits) ** 2).sum(axis=1).mean() / (2.0 if count == 2 else 1.0)),
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == classes)),
    }
    return {name: round(value, 5) for name, value in found.items()}


def losses(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """float64[n]: -ln of the probability that what happened was given."""
    return np.asarray(-np.log(np.clip(probabilities[np.arange(len(classes)), classes], 1e-12, 1.0)))


def paired(ours: np.ndarray, theirs: np.ndarray, ts_ns: np.ndarray, block_ns: int) -> Paired:
    """Whether our losses are smaller than theirs. Rows of one stretch of time are not independent, of several series
    neither: the differences are averaged over blocks of ``block_ns`` and those means are tested (one-sided t).
    """
    difference = theirs - ours
    _, block = np.unique((ts_ns - ts_ns.min()) // max(1, block_ns), return_inverse=True)
    means = np.bincount(block, difference) / np.bincount(block)
    if len(means) < BLOCKS_MIN:
        return Paired(float(difference.mean()), math.nan, False)
    spread = float(means.std(ddof=1)) / math.sqrt(len(means))
    t = float(means.mean()) / spread if spread > 0 else math.copysign(math.inf, float(means.mean()) or -1.0)
    return Paired(float(difference.mean()), t, t > T_CRITICAL)


def best_threshold(probability: np.ndarray, positive: np.ndarray) -> float:
    """The probability from which on saying yes has the highest F1, where yes is rare: class imbalance is met here and
    not by weights, which would spoil the probabilities."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(positive, probability)
    score = 2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], 1e-12)
    return float(thresholds[int(score.argmax())])
