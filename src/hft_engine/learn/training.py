"""Training of one task: walk-forward against the baselines, calibration, the final model and its report.

Every figure is out of sample: each test of the walk-forward is predicted by a model that learned only from labels known
before it began, its number of trees chosen on the newest of these. The calibration that a test is measured with was
fitted on the tests before it. The model that is kept then learns from all rows.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from hft_engine.config.schema import Config
from hft_engine.inference.model import QUANTILES, ModelMetadata
from hft_engine.inference.tables import Calibration
from hft_engine.learn.baselines import BASELINES
from hft_engine.learn.calibration import fit_calibration
from hft_engine.learn.equity import curves_of, equity_of
from hft_engine.learn.fitting import FitFinal, fit_final, fit_here, importance, params_of
from hft_engine.learn.measures import best_threshold, losses, measures, paired
from hft_engine.learn.report import MODEL, Comparison, Report
from hft_engine.learn.rows import check_rows, labelled
from hft_engine.learn.samples import Samples, row_ns_of
from hft_engine.learn.standing import Standing, fit_standing
from hft_engine.learn.tasks import Task
from hft_engine.learn.walking import Mapper, Progress, Tested, cv_auc, walk
from hft_engine.models.drift import edges_of, shares_of


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


@dataclass(frozen=True)
class Workshop:
    """Where the work is done: the folds of the walk-forward, and the fit of the final model."""

    mapper: Mapper = map
    fit_final: FitFinal = fit_here


HERE = Workshop()


def train(
    task: Task,
    samples: Samples,
    config: Config,
    progress: Progress = _silent,
    cross_validate: bool = False,
    workshop: Workshop = HERE,
) -> Trained:
    """On ``learning.threads`` threads. Raises TrainingError: too few rows, one class only, no column with a value."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    with threadpool_limits(config.learning.threads):
        return _train(task, samples, config, progress, cross_validate, workshop)


def _train(
    task: Task, samples: Samples, config: Config, progress: Progress, cross_validate: bool, workshop: Workshop
) -> Trained:
    started = time.perf_counter()
    learning = config.learning
    every = labelled(task, samples, config)
    check_rows(task, samples, every, learning.min_training_samples)
    tests = list(walk(task, samples, config, every, progress, workshop.mapper))
    out = _joined(tests)
    calibration = fit_calibration(out.raw, out.classes, len(task.classes))
    threshold = (
        best_threshold(out.probabilities[MODEL][:, 1], out.classes == 1) if len(task.classes) == 2 else 0.5
    )
    progress(f"{task.name}: the final model", 0.9)
    trees = int(np.median([test.fold.trees for test in tests]))
    booster, counts = fit_final(samples, every, config, len(task.classes), trees, workshop.fit_final)
    gain, shap = importance(booster, samples, every.rows, len(task.classes))
    curves, equity = _equity(task, samples, out, threshold, config)
    report = Report(
        task=task.name,
        text=task.text,
        classes=task.classes,
        source=samples.source,
        symbols=samples.symbols,
        rows=len(every),
        class_rows=_class_rows(task, every.classes),
        begin_ns=int(samples.ts_ns.min()),
        end_ns=int(samples.ts_ns.max()),
        data_hash=samples.data_hash,
        features=samples.names,
        counts={**samples.counts, **counts},
        folds=tuple(test.fold for test in tests),
        figures={name: measures(p, out.classes) for name, p in out.probabilities.items()},
        comparisons=_comparisons(out, samples, learning.block_horizons * learning.prediction_horizon),
        cv_auc=cv_auc(task, samples, config, every) if cross_validate else -1.0,
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
        fit_standing(samples.rows[every.rows], every.classes, samples.names, len(task.classes)),
    )


def _class_rows(task: Task, classes: np.ndarray) -> dict[str, int]:
    return dict(zip(task.classes, np.bincount(classes, minlength=len(task.classes)).tolist(), strict=True))


# ---- what came out --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _OutOfSample:
    rows: np.ndarray
    classes: np.ndarray
    raw: np.ndarray
    probabilities: dict[str, np.ndarray]


def _joined(tests: list[Tested]) -> _OutOfSample:
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
        params={**params_of(config.learning, len(task.classes)), "num_iterations": report.trees},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        lightgbm_version=lightgbm.__version__,
        notes=report.verdict,
        task=task.name,
        classes=task.classes,
        threshold=report.threshold,
        calibration=calibration,
        rows_are="ticks" if any(name.startswith("tick_") for name in samples.names) else "bars",
        quantiles=quantiles,
        shares={
            name: shares_of(samples.rows[:, i], edges_of(quantiles[name]))
            for i, name in enumerate(samples.names)
        },
    )


def encoded(report: Report) -> bytes:
    """JSON for people and programs."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
