"""Calibration: probabilities that come true as often as they say. Isotonic regression, kept as points of a line.

Fitted by scikit-learn on predictions for rows that the model had not seen, stored with the model, and applied inside
the compiled pass (``inference.trees``). Zadrozny and Elkan, "Transforming Classifier Scores into Accurate Multiclass
Probability Estimates", KDD 2002. Of several classes each is calibrated by itself; the results are scaled to sum to 1.
"""

import numpy as np

from hft_engine.inference.tables import Calibration

ROWS_MIN = 1_000  # of fewer, isotonic regression learns the noise
CLASS_ROWS_MIN = 300  # of each class: a curve of few steps makes many probabilities equal
POINT_ROWS = 40  # each point of a curve is made of at least so many: single rows at the ends would say 0 or 1
POINTS_MAX = 100
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
        given, share, rows = _grouped(probabilities[:, k], classes == k)
        fitted = IsotonicRegression(y_min=EDGE, y_max=1.0 - EDGE, out_of_bounds="clip").fit(
            given, share, rows
        )
        curves.append((tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist())))
    return tuple(curves)


def _grouped(given: np.ndarray, happened: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of alike probabilities together: their mean, how often it happened (half an observation of either kind
    added: Krichevsky and Trofimov), how many they are."""
    groups = np.array_split(np.argsort(given, kind="stable"), min(POINTS_MAX, len(given) // POINT_ROWS))
    count = np.array([len(group) for group in groups], np.float64)
    hits = np.array([np.count_nonzero(happened[group]) for group in groups])
    return np.array([given[group].mean() for group in groups]), (hits + 0.5) / (count + 1.0), count


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
