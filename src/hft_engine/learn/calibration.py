"""Calibration: probabilities that come true as often as they say. Isotonic regression, kept as points of a line.

Fitted by scikit-learn on predictions for rows that the model had not seen, stored with the model, and applied inside
the compiled pass (``inference.trees``). Zadrozny and Elkan, "Transforming Classifier Scores into Accurate Multiclass
Probability Estimates", KDD 2002. Of several classes each is calibrated by itself; the results are scaled to sum to 1.
"""

import numpy as np

from hft_engine.inference.tables import Calibration

ROWS_MIN = 1_000  # of fewer, isotonic regression learns the noise
CLASS_ROWS_MIN = 300  # of each class: a curve of few steps makes many probabilities equal
POINTS_MAX = 200
EDGE = 1e-4  # no probability is nearer to 0 or 1: one wrong row must not cost an infinite loss


def fit_calibration(probabilities: np.ndarray, classes: np.ndarray, count: int) -> Calibration:
    """One curve an output: of two classes of the second, else of each; none where there are too few rows to learn from.

    ``probabilities`` float64[n, count], out of sample; ``classes`` int64[n].
    """
    from sklearn.isotonic import IsotonicRegression

    if len(classes) < ROWS_MIN or np.bincount(classes, minlength=count).min() < CLASS_ROWS_MIN:
        return ()
    curves = []
    for k in range(1, 2) if count == 2 else range(count):
        fitted = IsotonicRegression(y_min=EDGE, y_max=1.0 - EDGE, out_of_bounds="clip")
        fitted.fit(probabilities[:, k], (classes == k).astype(float))
        x, y = _thinned(fitted.X_thresholds_, fitted.y_thresholds_)
        curves.append((tuple(x.tolist()), tuple(y.tolist())))
    return tuple(curves)


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most POINTS_MAX of the points, the first and last among them."""
    at = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS_MAX)).round().astype(int))
    return x[at], y[at]


def calibrated(probabilities: np.ndarray, calibration: Calibration) -> np.ndarray:
    """float64[n, count] of probabilities of the same shape: what the compiled pass gives."""
    if not calibration:
        return probabilities
    if probabilities.shape[1] == 2:
        second = _on_curve(probabilities[:, 1], calibration[0])
        return np.column_stack([1.0 - second, second])
    out = np.column_stack([_on_curve(probabilities[:, k], curve) for k, curve in enumerate(calibration)])
    return np.asarray(out / out.sum(axis=1, keepdims=True))


def _on_curve(given: np.ndarray, curve: tuple[tuple[float, ...], tuple[float, ...]]) -> np.ndarray:
    return np.interp(given, np.array(curve[0]), np.array(curve[1]))
