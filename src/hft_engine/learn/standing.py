"""Baselines that go on beside a model, as data: what a candidate must beat live where no model is.

The same as in its report (``learn.baselines``): the shares of the classes, and a logistic regression on imputed,
winsorised, standardised features; learned from all rows of the training, written beside the model as ``FILE``.
"""

import msgspec
import numpy as np

from hft_engine.learn.baselines import Question, majority
from hft_engine.learn.cleaning import Cleaner

FILE = "baselines.json"
LOGISTIC = "logistic"
_Floats = tuple[float, ...]


class Standing(msgspec.Struct, frozen=True):
    """``majority``: the share of each class. The others: of each feature where it is cut off and what takes a missing
    one's place, its centre and scale; of each class its coefficients and intercept."""

    features: tuple[str, ...]
    majority: _Floats
    low: _Floats
    high: _Floats
    missing: _Floats
    centre: _Floats
    scale: _Floats
    coefficients: tuple[_Floats, ...]
    intercepts: _Floats

    def probabilities(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """By the baseline's name; float64[n, classes]. ``rows`` float64[n, k]: ``features`` in order."""
        cleaner = Cleaner(np.array(self.low), np.array(self.high), np.array(self.missing))
        standard = (cleaner.imputed(rows) - np.array(self.centre)) / np.array(self.scale)
        scores = standard @ np.array(self.coefficients).T + np.array(self.intercepts)
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        return {
            "majority": np.tile(np.array(self.majority), (len(rows), 1)),
            LOGISTIC: chances / chances.sum(axis=1, keepdims=True),
        }


def fit_standing(rows: np.ndarray, classes: np.ndarray, names: tuple[str, ...], count: int) -> Standing:
    """``rows`` float64[n, k], ``classes`` int64[n] of 0 to ``count`` - 1, at least two of them there."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    cleaner = Cleaner.fit(rows)
    imputed = cleaner.imputed(rows)
    scaler = StandardScaler().fit(imputed)
    model = LogisticRegression(C=1.0, max_iter=500).fit(scaler.transform(imputed), classes)
    coefficients, intercepts = np.zeros((count, rows.shape[1])), np.full(count, -np.inf)
    if len(model.classes_) == 2:  # scikit-learn has one score then, that of the second class
        first, second = model.classes_
        coefficients[second], intercepts[first], intercepts[second] = model.coef_[0], 0.0, model.intercept_[0]
    else:
        coefficients[model.classes_], intercepts[model.classes_] = model.coef_, model.intercept_
    unmet = np.log(1e-9)  # of a class that was never seen
    share = majority(Question(rows, classes, rows[:, 0], rows[:1], rows[:1, 0], count))[0]
    return Standing(
        features=names,
        majority=tuple(share.tolist()),
        low=tuple(cleaner.low.tolist()),
        high=tuple(cleaner.high.tolist()),
        missing=tuple(cleaner.centre.tolist()),
        centre=tuple(scaler.mean_.tolist()),
        scale=tuple(scaler.scale_.tolist()),
        coefficients=tuple(tuple(row) for row in coefficients.tolist()),
        intercepts=tuple(np.where(np.isfinite(intercepts), intercepts, unmet).tolist()),
    )
