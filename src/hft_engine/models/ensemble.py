"""Several models' probabilities of the same thing as one. Formulas and sources: docs/models.md.

* ``average``            the mean.
* ``weighted``           the mean by weights that the user gives.
* ``stacking``           a logistic regression on the models' log odds, fitted to predictions out of sample. Wolpert,
                         "Stacked Generalization", Neural Networks 5 (1992).
* ``dynamic_ensemble``   weights that follow how well each model did lately: exponential weights on log losses that are
                         forgotten exponentially, in each regime by itself. Vovk's aggregating rule for log loss with
                         the forgetting of Raftery, Karny and Ettler, "Online Prediction Under Model Uncertainty via
                         Dynamic Model Averaging", Technometrics 52 (2010).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from hft_engine.inference.tables import PROBABILITY_MIN

Method = Literal["average", "weighted", "stacking", "dynamic_ensemble"]
METHODS: tuple[Method, ...] = ("average", "weighted", "stacking", "dynamic_ensemble")
HALF_LIFE = 200.0  # outcomes of a regime after which a loss counts half
WEIGHT_MIN = 0.01  # of a model: one that was wrong for long can come back


class EnsembleError(ValueError):
    """An ensemble is asked for what it cannot do; the text says what to do."""


class Ensemble:
    """``method``: of ``METHODS``; ``models``: their names; ``weights``: by name, of ``weighted``."""

    def __init__(
        self,
        models: Sequence[str],
        method: Method = "dynamic_ensemble",
        weights: Mapping[str, float] | None = None,
        half_life: float = HALF_LIFE,
    ) -> None:
        if method not in METHODS:
            raise EnsembleError(f"ensemble_method {method!r}: choose one of {', '.join(METHODS)}")
        if not models:
            raise EnsembleError("an ensemble needs at least one model")
        self.models, self.method = tuple(models), method
        self._fixed = self._given(weights or {})
        self._keep = 0.5 ** (1.0 / half_life)
        self._losses: dict[str, np.ndarray] = {}  # by regime: forgotten sums of log losses
        self._stack: tuple[np.ndarray, float] | None = None

    def _given(self, weights: Mapping[str, float]) -> np.ndarray:
        if self.method == "weighted" and set(weights) != set(self.models):
            raise EnsembleError(f"weighted: give a weight for each of {', '.join(self.models)}")
        values = np.array([weights.get(name, 1.0) for name in self.models], np.float64)
        if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
            raise EnsembleError("weighted: weights are numbers from 0 on, and one at least is above 0")
        return values / values.sum()

    def weights(self, regime: str = "") -> dict[str, float]:
        """What each model counts now, summing to 1. Of ``stacking`` the coefficients, which need not."""
        if self.method == "stacking":
            return dict(zip(self.models, self._stacked()[0].tolist(), strict=True))
        return dict(zip(self.models, self._weights(regime).tolist(), strict=True))

    def _weights(self, regime: str) -> np.ndarray:
        if self.method != "dynamic_ensemble" or regime not in self._losses:
            return self._fixed
        losses = self._losses[regime]
        raw = np.exp(-(losses - losses.min()))
        shares = np.maximum(raw / raw.sum(), WEIGHT_MIN)
        return np.asarray(shares / shares.sum())

    def combine(self, probabilities: Mapping[str, float], regime: str = "") -> float:
        """One probability of those of the models. One that is NaN, or not there, is left out; NaN where none is."""
        values = np.array([probabilities.get(name, np.nan) for name in self.models], np.float64)
        known = np.isfinite(values)
        if not known.any():
            return float("nan")
        if self.method == "stacking":
            coefficients, intercept = self._stacked()
            return float(_sigmoid(coefficients[known] @ _log_odds(values[known]) + intercept))
        weights = self._weights(regime)[known]
        return float(values[known] @ weights / weights.sum()) if weights.sum() > 0 else float("nan")

    def learn(self, probabilities: Mapping[str, float], happened: bool, regime: str = "") -> None:
        """What came of an earlier prediction: moves the weights of ``dynamic_ensemble``, in that regime only.

        A model that said nothing is charged the mean loss of the others.
        """
        values = np.array([probabilities.get(name, np.nan) for name in self.models], np.float64)
        known = np.isfinite(values)
        if not known.any():
            return
        given = np.clip(values if happened else 1.0 - values, PROBABILITY_MIN, 1.0)
        losses = np.where(known, -np.log(given), 0.0)
        losses = np.where(known, losses, losses[known].mean())
        self._losses[regime] = self._keep * self._losses.get(regime, np.zeros(len(values))) + losses

    def fit(self, probabilities: np.ndarray, happened: np.ndarray) -> None:
        """Of ``stacking``: fit to the models' predictions out of sample, float64[n, models], and what came of them."""
        from sklearn.linear_model import LogisticRegression

        if len(np.unique(happened)) < 2:
            raise EnsembleError("stacking: all outcomes are the same, there is nothing to learn")
        found = LogisticRegression(C=1.0).fit(_log_odds(probabilities), happened)
        self._stack = np.asarray(found.coef_[0], np.float64), float(found.intercept_[0])

    def _stacked(self) -> tuple[np.ndarray, float]:
        if self._stack is None:
            raise EnsembleError("stacking: call fit() with predictions out of sample first")
        return self._stack


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    clipped = np.clip(probabilities, PROBABILITY_MIN, 1.0 - PROBABILITY_MIN)
    return np.asarray(np.log(clipped / (1.0 - clipped)))


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-value)))
