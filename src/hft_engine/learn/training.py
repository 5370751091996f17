"""Training of one task: walk-forward against the baselines, calibration, the final model and its report.

Every figure is out of sample: each test of the walk-forward is predicted by a model that learned only from labels known
before it began, its number of trees chosen on the newest of these. The calibration that a test is measured with was
fitted on the tests before it. The model that is kept then learns from all rows.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from hft_engine.config.schema import Config
from hft_engine.inference.model import QUANTILES, ModelMetadata
from hft_engine.inference.tables import Calibration
from hft_engine.learn.baselines import BASELINES
from hft_engine.learn.calibration import calibrated, fit_calibration
from hft_engine.learn.cleaning import Cleaner, Counts
from hft_engine.learn.equity import curves_of, equity_of
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.labels import UNKNOWN
from hft_engine.learn.measures import best_threshold, losses, measures, paired
from hft_engine.learn.report import MODEL, Comparison, FoldFigures, Report
from hft_engine.learn.samples import Samples, row_ns_of
from hft_engine.learn.splits import Fold, purged_k_fold, walk_forward
from hft_engine.learn.standing import Standing, fit_standing
from hft_engine.learn.tasks import Task

VALIDATION_SHARE = 0.15  # of the training rows, the newest, for early stopping
VALIDATION_ROWS_MIN = 100  # fewer say nothing: then a fixed number of trees
TREES_UNVALIDATED = 50
SHAP_ROWS_MAX = 2_000

Progress = Callable[[str, float], None]  # what is being done, share of the whole that is done


def _silent(text: str, share: float) -> None:
    pass


@dataclass(frozen=True)
class Trained:
    """``text``: the model as LightGBM writes it. ``out_of_sample``: rows of the samples that were tested, with their
    ``classes`` and ``probabilities`` by ``model`` and each baseline. ``curves``: equity by name, and its times.
    ``standing``: baselines that go on beside the model, learned from the same rows."""

    text: str
    metadata: ModelMetadata
    report: Report
    ts_ns: np.ndarray
    classes: np.ndarray
    probabilities: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]
    standing: Standing


def train(
    task: Task, samples: Samples, config: Config, progress: Progress = _silent, cross_validate: bool = False
) -> Trained:
    """On ``learning.threads`` threads. Raises TrainingError: too few rows, one class only, no column with a value."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    with threadpool_limits(config.learning.threads):
        return _train(task, samples, config, progress, cross_validate)


def _train(task: Task, samples: Samples, config: Config, progress: Progress, cross_validate: bool) -> Trained:
    started = time.perf_counter()
    learning = config.learning
    _check_columns(samples)
    rows_of_series = _rows_of(task, samples, config, np.ones(len(samples), np.bool_))
    _check_rows(task, rows_of_series.classes, learning.min_training_samples)
    tests = list(_walk(task, samples, config, progress))
    out = _joined(tests, task)
    calibration = fit_calibration(out.raw, out.classes, len(task.classes))
    threshold = (
        best_threshold(out.probabilities[MODEL][:, 1], out.classes == 1) if len(task.classes) == 2 else 0.5
    )
    progress(f"{task.name}: the final model", 0.9)
    trees = int(np.median([test.fold.trees for test in tests]))
    booster, counts = _final(task, samples, rows_of_series, config, trees)
    gain, shap = _importance(booster, samples, rows_of_series.rows, len(task.classes))
    curves, equity = _equity(task, samples, out, threshold, config)
    report = Report(
        task=task.name,
        text=task.text,
        classes=task.classes,
        source=samples.source,
        symbols=samples.symbols,
        rows=len(rows_of_series.rows),
        class_rows=_class_rows(task, rows_of_series.classes),
        begin_ns=int(samples.ts_ns.min()),
        end_ns=int(samples.ts_ns.max()),
        data_hash=samples.data_hash,
        features=samples.names,
        counts={**samples.counts, **counts},
        folds=tuple(test.fold for test in tests),
        figures={name: measures(p, out.classes) for name, p in out.probabilities.items()},
        comparisons=_comparisons(out, samples, learning.block_horizons * learning.prediction_horizon),
        cv_auc=_cv_auc(task, samples, config) if cross_validate else -1.0,
        threshold=threshold,
        trees=trees,
        calibrated=bool(calibration),
        equity=equity,
        importance_gain=gain,
        importance_shap=shap,
        seconds=round(time.perf_counter() - started, 2),
    )
    metadata = _metadata(task, samples, config, report, calibration)
    return Trained(
        booster.model_to_string(),
        metadata,
        report,
        samples.ts_ns[out.rows],
        out.classes,
        out.probabilities,
        curves,
        fit_standing(
            samples.rows[rows_of_series.rows], rows_of_series.classes, samples.names, len(task.classes)
        ),
    )


# ---- rows -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """Rows of the samples that have a label, in order of the samples."""

    rows: np.ndarray
    classes: np.ndarray
    known_ns: np.ndarray


def _rows_of(task: Task, samples: Samples, config: Config, fit: np.ndarray) -> _Rows:
    classes, known = task.label(samples, config, fit)
    rows = np.flatnonzero((classes != UNKNOWN) & samples.usable)
    return _Rows(rows, classes[rows], samples.ts_ns[known[rows]])


def _check_columns(samples: Samples) -> None:
    if not samples.names:
        raise TrainingError(
            f"{samples.source}: every feature is NaN in all {len(samples)} rows; record longer than the longest window "
            "of the indicators section, or shorten the windows"
        )


def _check_rows(task: Task, classes: np.ndarray, least: int) -> None:
    if len(classes) < least:
        raise TrainingError(
            f"{task.name}: {len(classes)} rows have a label, MIN_TRAINING_SAMPLES "
            f"(learning.min_training_samples) is {least}; record longer or name more data"
        )
    if len(np.unique(classes)) < 2:
        only = task.classes[int(classes[0])]
        raise TrainingError(
            f"{task.name}: all {len(classes)} labels are {only!r}, there is nothing to tell apart; name more data, or "
            "change learning.peak_prominence, learning.barrier_width or learning.prediction_horizon"
        )


def _class_rows(task: Task, classes: np.ndarray) -> dict[str, int]:
    return dict(zip(task.classes, np.bincount(classes, minlength=len(task.classes)).tolist(), strict=True))


# ---- walk-forward ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Test:
    fold: FoldFigures
    rows: np.ndarray
    classes: np.ndarray
    raw: np.ndarray
    probabilities: dict[str, np.ndarray]


def _walk(task: Task, samples: Samples, config: Config, progress: Progress) -> Iterator[_Test]:
    learning = config.learning
    embargo_ns = learning.embargo * row_ns_of(samples)
    every = _rows_of(task, samples, config, np.ones(len(samples), np.bool_))
    seen: list[_Test] = []
    ts_ns = samples.ts_ns[every.rows]
    for number, fold in enumerate(walk_forward(ts_ns, every.known_ns, learning.folds, embargo_ns)):
        progress(f"{task.name}: test {number + 1} of {learning.folds}", 0.9 * number / learning.folds)
        begin = int(ts_ns[fold.test].min())
        rows = _rows_of(task, samples, config, samples.ts_ns < begin)
        test = _test(
            task, samples, config, _again(rows, every, fold, samples, begin - embargo_ns), fold, seen
        )
        if test is not None:
            seen.append(test)
            yield test
    if not seen:
        raise TrainingError(
            f"{task.name}: no test of the walk-forward has two classes to learn from; name more data, or lower "
            "learning.folds"
        )


@dataclass(frozen=True)
class _Split:
    train: _Rows
    test: _Rows
    purged: int


def _again(rows: _Rows, every: _Rows, fold: Fold, samples: Samples, known_before_ns: int) -> _Split:
    """The fold with labels as they were known then: those of the training rows know nothing of the test."""
    tested = np.isin(rows.rows, every.rows[fold.test])
    ts_ns = samples.ts_ns[rows.rows]
    before = ts_ns < samples.ts_ns[every.rows[fold.test]].min()
    train = before & (rows.known_ns < known_before_ns)
    return _Split(_pick(rows, train), _pick(rows, tested), int(before.sum() - train.sum()))


def _pick(rows: _Rows, mask: np.ndarray) -> _Rows:
    return _Rows(rows.rows[mask], rows.classes[mask], rows.known_ns[mask])


def _test(
    task: Task, samples: Samples, config: Config, split: _Split, fold: Fold, seen: list[_Test]
) -> _Test | None:
    """None where there is only one class on either side."""
    train, test, count = split.train, split.test, len(task.classes)
    if min(len(np.unique(train.classes)), len(np.unique(test.classes))) < 2:
        return None
    cleaner = Cleaner.fit(samples.rows[train.rows])
    booster, trees = _fit(
        cleaner.winsorised(samples.rows[train.rows]), train, samples.ts_ns, samples.names, config, count
    )
    raw = _predicted(booster, samples.rows[test.rows], count)
    earlier = (
        fit_calibration(
            np.concatenate([one.raw for one in seen]), np.concatenate([one.classes for one in seen]), count
        )
        if seen
        else ()
    )
    probabilities = {MODEL: calibrated(raw, earlier)}
    last = samples.column("bar_return_1")
    for name, baseline in BASELINES.items():
        probabilities[name] = baseline(
            samples.rows[train.rows],
            train.classes,
            last[train.rows],
            samples.rows[test.rows],
            last[test.rows],
            count,
        )
    figures = FoldFigures(
        int(samples.ts_ns[test.rows].min()),
        int(samples.ts_ns[test.rows].max()),
        len(train.rows),
        len(test.rows),
        split.purged,
        trees,
        {name: measures(p, test.classes) for name, p in probabilities.items()},
    )
    return _Test(figures, test.rows, test.classes, raw, probabilities)


# ---- LightGBM -------------------------------------------------------------------------------------------------


def params_of(config: Config, classes: int) -> dict[str, Any]:
    """LightGBM's parameters: the same rows and seed give the same model."""
    learning = config.learning
    shape = {"objective": "multiclass", "num_class": classes} if classes > 2 else {"objective": "binary"}
    return {
        **shape,
        "num_leaves": learning.leaves,
        "learning_rate": learning.learning_rate,
        "min_data_in_leaf": learning.leaf_rows_min,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "seed": learning.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": learning.threads,
        "verbose": -1,
    }


def _fit(
    rows: np.ndarray, train: _Rows, ts_ns: np.ndarray, names: tuple[str, ...], config: Config, classes: int
) -> tuple[Any, int]:
    """(booster, its trees a class). The newest rows, purged from the others, say when to stop."""
    import lightgbm

    learning = config.learning
    params = params_of(config, classes)
    stamps = ts_ns[train.rows]
    border = int(np.quantile(stamps, 1.0 - VALIDATION_SHARE, method="lower"))
    newest, older = stamps >= border, train.known_ns < border
    if newest.sum() < VALIDATION_ROWS_MIN or len(np.unique(train.classes[older])) < len(
        np.unique(train.classes)
    ):
        data = lightgbm.Dataset(rows, train.classes, feature_name=list(names))
        return lightgbm.train(params, data, min(TREES_UNVALIDATED, learning.trees_max)), TREES_UNVALIDATED
    data = lightgbm.Dataset(rows[older], train.classes[older], feature_name=list(names))
    booster = lightgbm.train(
        params,
        data,
        learning.trees_max,
        valid_sets=[lightgbm.Dataset(rows[newest], train.classes[newest], reference=data)],
        callbacks=[lightgbm.early_stopping(learning.early_stopping, verbose=False)],
    )
    return booster, max(1, int(booster.best_iteration))


def _final(task: Task, samples: Samples, rows: _Rows, config: Config, trees: int) -> tuple[Any, Counts]:
    import lightgbm

    counts: Counts = {}
    cleaner = Cleaner.fit(samples.rows[rows.rows])
    cleaned = cleaner.winsorised(samples.rows[rows.rows], counts)
    data = lightgbm.Dataset(cleaned, rows.classes, feature_name=list(samples.names))
    return lightgbm.train(params_of(config, len(task.classes)), data, trees), counts


def _predicted(booster: Any, rows: np.ndarray, classes: int) -> np.ndarray:
    """float64[n, classes]."""
    raw = np.asarray(booster.predict(rows, num_threads=1))
    return np.column_stack([1.0 - raw, raw]) if classes == 2 else raw


def _importance(
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


# ---- what came out --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _OutOfSample:
    rows: np.ndarray
    classes: np.ndarray
    raw: np.ndarray
    probabilities: dict[str, np.ndarray]


def _joined(tests: list[_Test], task: Task) -> _OutOfSample:
    return _OutOfSample(
        np.concatenate([test.rows for test in tests]),
        np.concatenate([test.classes for test in tests]),
        np.concatenate([test.raw for test in tests]),
        {name: np.concatenate([test.probabilities[name] for test in tests]) for name in (MODEL, *BASELINES)},
    )


def _comparisons(out: _OutOfSample, samples: Samples, block_rows: int) -> dict[str, Comparison]:
    ours, ts_ns = losses(out.probabilities[MODEL], out.classes), samples.ts_ns[out.rows]
    found = {}
    for name in BASELINES:
        result = paired(
            ours, losses(out.probabilities[name], out.classes), ts_ns, block_rows * row_ns_of(samples)
        )
        t = round(result.t, 3) if np.isfinite(result.t) else None
        found[name] = Comparison(round(result.gain, 6), t, result.better)
    return found


def _equity(
    task: Task, samples: Samples, out: _OutOfSample, threshold: float, config: Config
) -> tuple[dict[str, np.ndarray], Any]:
    positions = {"always long": np.ones(len(out.rows))}
    for name, probabilities in out.probabilities.items():
        positions[name] = _position(
            task, samples, out, probabilities, threshold, config.learning.prediction_horizon
        )
    curves = {
        name: curves_of(samples, out.rows, position, config.learning.cost_bps)
        for name, position in positions.items()
    }
    return {name: curve.equity for name, curve in curves.items()} | {"ts_ns": curves[MODEL].ts_ns}, {
        name: equity_of(curve) for name, curve in curves.items()
    }


def _position(
    task: Task, samples: Samples, out: _OutOfSample, probabilities: np.ndarray, threshold: float, horizon: int
) -> np.ndarray:
    """Series by series: a position lasts over rows of its own series only."""
    position = np.zeros(len(out.rows))
    for number in np.unique(samples.series[out.rows]):
        own = np.flatnonzero(samples.series[out.rows] == number)
        own = own[np.argsort(out.rows[own])]
        position[own] = task.position(probabilities[own], threshold, horizon)
    return position


def _cv_auc(task: Task, samples: Samples, config: Config) -> float:
    """Mean AUC over purged k folds."""
    rows = _rows_of(task, samples, config, np.ones(len(samples), np.bool_))
    ts_ns, found = samples.ts_ns[rows.rows], []
    embargo_ns = config.learning.embargo * row_ns_of(samples)
    for fold in purged_k_fold(ts_ns, rows.known_ns, config.learning.folds, embargo_ns):
        train = _Rows(rows.rows[fold.train], rows.classes[fold.train], rows.known_ns[fold.train])
        tested = rows.classes[fold.test]
        if min(len(np.unique(train.classes)), len(np.unique(tested))) < 2:
            continue
        booster, _ = _fit(
            samples.rows[train.rows], train, samples.ts_ns, samples.names, config, len(task.classes)
        )
        raw = _predicted(booster, samples.rows[rows.rows[fold.test]], len(task.classes))
        found.append(measures(raw, tested)["auc"])
    return round(float(np.mean(found)), 5) if found else -1.0


def _metadata(
    task: Task, samples: Samples, config: Config, report: Report, calibration: Calibration
) -> ModelMetadata:
    import lightgbm

    first, last = (
        datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="seconds")
        for ns in (report.begin_ns, report.end_ns)
    )
    quantiles = {
        name: tuple(np.nanquantile(samples.rows[:, i], QUANTILES).tolist())
        for i, name in enumerate(samples.names)
    }
    metrics = {
        f"{who}_{name}": value for who, figures in report.figures.items() for name, value in figures.items()
    }
    return ModelMetadata(
        name=task.name,
        version="",  # given by the registry
        sha256="",  # filled in when the file is written
        feature_schema_hash=samples.schema.hash,
        features=samples.names,
        label=f"P({task.text})",
        horizon=f"{config.learning.prediction_horizon} rows",
        training_data=samples.source,
        training_start=first,
        training_end=last,
        training_rows=report.rows,
        metrics=metrics,
        params={**params_of(config, len(task.classes)), "num_iterations": report.trees},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        lightgbm_version=lightgbm.__version__,
        notes=report.verdict,
        task=task.name,
        classes=task.classes,
        threshold=report.threshold,
        calibration=calibration,
        rows_are="ticks" if any(name.startswith("tick_") for name in samples.names) else "bars",
        quantiles=quantiles,
    )


def encoded(report: Report) -> bytes:
    """JSON for people and programs."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
