"""LightGBM: its parameters, a fit that stops early, the final model, and what it makes of the features."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hft_engine.config.schema import Config, LearningConfig
from hft_engine.learn.cleaning import Cleaner, Counts
from hft_engine.learn.rows import Rows
from hft_engine.learn.samples import Samples

VALIDATION_SHARE = 0.15  # of the training rows, the newest, for early stopping
VALIDATION_ROWS_MIN = 100  # fewer say nothing: then a fixed number of trees
TREES_UNVALIDATED = 50
SHAP_ROWS_MAX = 2_000

# (parameters, rows, classes, names of the columns, trees) -> booster
FitFinal = Callable[[dict[str, Any], np.ndarray, np.ndarray, tuple[str, ...], int], Any]


class Fitted(NamedTuple):
    """``trees`` a class; ``loss``: log loss on the newest training rows, infinite where there were too few."""

    booster: Any
    trees: int
    loss: float


def params_of(learning: LearningConfig, classes: int) -> dict[str, Any]:
    """LightGBM's parameters: the same rows and seed give the same model."""
    shape = {"objective": "multiclass", "num_class": classes} if classes > 2 else {"objective": "binary"}
    return {
        **shape,
        "num_leaves": learning.leaves,
        "learning_rate": learning.learning_rate,
        "min_data_in_leaf": learning.leaf_rows_min,
        "feature_fraction": learning.feature_fraction,
        "bagging_fraction": learning.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": learning.lambda_l2,
        "seed": learning.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": learning.threads,
        "verbose": -1,
    }


def fit(samples: Samples, train: Rows, learning: LearningConfig, classes: int) -> Fitted:
    """The newest rows, purged from the others, say when to stop."""
    import lightgbm

    params, names = params_of(learning, classes), list(samples.names)
    rows = Cleaner.fit(samples.rows[train.rows]).winsorised(samples.rows[train.rows])
    stamps = samples.ts_ns[train.rows]
    border = int(np.quantile(stamps, 1.0 - VALIDATION_SHARE, method="lower"))
    newest, older = stamps >= border, train.known_ns < border
    fewer = len(np.unique(train.classes[older])) < len(np.unique(train.classes))
    if newest.sum() < VALIDATION_ROWS_MIN or fewer:
        data = lightgbm.Dataset(rows, train.classes, feature_name=names)
        trees = min(TREES_UNVALIDATED, learning.trees_max)
        return Fitted(lightgbm.train(params, data, trees), trees, np.inf)
    data = lightgbm.Dataset(rows[older], train.classes[older], feature_name=names)
    booster = lightgbm.train(
        params,
        data,
        learning.trees_max,
        valid_sets=[lightgbm.Dataset(rows[newest], train.classes[newest], reference=data)],
        callbacks=[lightgbm.early_stopping(learning.early_stopping, verbose=False)],
    )
    (loss,) = booster.best_score["valid_0"].values()
    return Fitted(booster, max(1, int(booster.best_iteration)), float(loss))


def fit_here(
    params: dict[str, Any], rows: np.ndarray, classes: np.ndarray, names: tuple[str, ...], trees: int
) -> Any:
    """A booster of so many trees, on this machine."""
    import lightgbm

    return lightgbm.train(params, lightgbm.Dataset(rows, classes, feature_name=list(names)), trees)


def fit_final(
    samples: Samples, rows: Rows, config: Config, classes: int, trees: int, fitted: FitFinal = fit_here
) -> tuple[Any, Counts]:
    """The model that is kept, of all rows; and what was cleaned."""
    counts: Counts = {}
    cleaned = Cleaner.fit(samples.rows[rows.rows]).winsorised(samples.rows[rows.rows], counts)
    return fitted(params_of(config.learning, classes), cleaned, rows.classes, samples.names, trees), counts


def predicted(booster: Any, rows: np.ndarray, classes: int) -> np.ndarray:
    """float64[n, classes]."""
    raw = np.asarray(booster.predict(rows, num_threads=1))
    return np.column_stack([1.0 - raw, raw]) if classes == 2 else raw


def importance(
    booster: Any, samples: Samples, rows: np.ndarray, classes: int
) -> tuple[dict[str, float], dict[str, float]]:
    """By gain, and by the mean absolute SHAP value of rows spread over the training set (LightGBM's exact TreeSHAP)."""
    width = len(samples.names)
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), SHAP_ROWS_MAX)).astype(int)]
    shares = np.abs(np.asarray(booster.predict(samples.rows[chosen], pred_contrib=True, num_threads=1)))
    outputs = 1 if classes == 2 else classes
    shap = shares.reshape(len(chosen), outputs, width + 1)[:, :, :width].mean(axis=(0, 1))
    gain = booster.feature_importance("gain")
    return (
        {name: round(float(value), 4) for name, value in zip(samples.names, gain, strict=True)},
        {name: round(float(value), 6) for name, value in zip(samples.names, shap, strict=True)},
    )
