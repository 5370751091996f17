"""What a model must beat: the majority, the last return, and a logistic regression. All give probabilities."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hft_engine.learn.cleaning import Cleaner

RETURN_BINS = 9
_PRIOR = 1.0  # observations of every class that each bin begins with


@dataclass(frozen=True)
class Question:
    """What is foretold from what: training ``rows`` with their ``classes`` and ``last`` returns, then the ``test`` rows
    with theirs. ``count``: how many classes there are."""

    rows: np.ndarray
    classes: np.ndarray
    last: np.ndarray
    test: np.ndarray
    test_last: np.ndarray
    count: int


Baseline = Callable[[Question], np.ndarray]  # float64[test rows, count]


def majority(question: Question) -> np.ndarray:
    """The share of each class in training, whatever the row."""
    count = question.count
    share = (np.bincount(question.classes, minlength=count) + _PRIOR) / (
        len(question.classes) + count * _PRIOR
    )
    return np.tile(share, (len(question.test), 1))


def last_return(question: Question) -> np.ndarray:
    """The share of each class among training rows whose last return fell into the same of ``RETURN_BINS`` quantiles."""
    last = question.last
    edges = (
        np.nanquantile(last, np.linspace(0.0, 1.0, RETURN_BINS + 1)[1:-1]) if np.isfinite(last).any() else []
    )
    table = np.full((RETURN_BINS, question.count), _PRIOR)
    np.add.at(table, (np.searchsorted(edges, np.nan_to_num(last)), question.classes), 1.0)
    shares = table / table.sum(axis=1, keepdims=True)
    return np.asarray(shares[np.searchsorted(edges, np.nan_to_num(question.test_last))])


def logistic(question: Question) -> np.ndarray:
    """scikit-learn's logistic regression on imputed, winsorised, standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    cleaner = Cleaner.fit(question.rows)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=500))
    model.fit(cleaner.imputed(question.rows), question.classes)
    out = np.full((len(question.test), question.count), 1e-9)
    out[:, model[-1].classes_] = model.predict_proba(cleaner.imputed(question.test))
    return out / out.sum(axis=1, keepdims=True)


BASELINES: dict[str, Baseline] = {"majority": majority, "last_return": last_return, "logistic": logistic}
