"""Trains the demo model on real bars and says honestly how good it is.

    python scripts/train_demo_model.py [--config FILE] [--bars FOLDER] [--out FILE]

The model gives P(up): the probability that the close ``HORIZON_BARS`` bars ahead is above the present one. Its
features are the ``bar_*`` ones that have no unit of price, computed by the engine's own indicators with the
``indicators`` section of the configuration: a model fits only the section it was trained with.

Walk-forward: for each fold the model learns from everything whose label was known before the fold begins, and is
measured on the fold; the figures in the metadata are those. The shipped model then learns from all bars.

The bars are daily and one-minute ones, the demo's are of one second. So that the model does not take the
smaller moves of short bars for something new, each series is also shown with its moves shrunk; so that it
does not learn that shares rose for seventy years, which says nothing of the next seconds, with its moves
reversed (``MOVE_SCALES``).

Deterministic: the same bars, configuration and LightGBM version give the same file.
"""

import argparse
import csv
import gzip
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hft_engine.config.load import load_config
from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.offline import features_of_bars
from hft_engine.inference.model import ModelMetadata, write_model

ROOT = Path(__file__).resolve().parent.parent
FEATURES = (
    "bar_rsi",
    "bar_sma_deviation",
    "bar_ema_spread",
    "bar_macd_ratio",
    "bar_bollinger_position",
    "bar_bollinger_bandwidth",
    "bar_return_1",
    "bar_return_5",
    "bar_return_20",
    "bar_volatility",
)
HORIZON_BARS = 5
DEAD_BAND = 0.1  # moves below this share of the usual move over the horizon are neither up nor down: left out
MOVE_SCALES = (1.0, -1.0, 0.03, -0.03)  # minus: up and down change places
TREES = 100
PARAMS: dict[str, Any] = {
    "objective": "binary",
    "num_leaves": 31,
    "learning_rate": 0.05,
    "min_data_in_leaf": 100,
    "lambda_l2": 5.0,
    "feature_fraction": 0.8,
    "seed": 7,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
DATE_FORMATS = ("%Y-%m-%d", "%m/%d/%Y", "%Y-%m-%d %H:%M")
SERIES = ("longest", "spx", "msft", "bitcoin", "intraday")  # spx only from where longest ends
# Years where a fold begins; each ends where the next begins.
FOLDS = (1970, 1980, 1990, 2000, 2010, 2018)


@dataclass(frozen=True)
class Bars:
    """Columns of one series, oldest first. ``ts_ns`` UTC nanoseconds."""

    name: str
    ts_ns: np.ndarray
    prices: np.ndarray  # float64[n, 4]: open, high, low, close
    volume: np.ndarray


@dataclass(frozen=True)
class Samples:
    """One row a bar that has a label. ``known_ns``: when the label was known; ``last_up``: the last bar rose."""

    rows: np.ndarray
    label: np.ndarray
    ts_ns: np.ndarray
    known_ns: np.ndarray
    last_up: np.ndarray

    def where(self, mask: np.ndarray) -> "Samples":
        return Samples(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))


def main() -> int:
    options = _options()
    config = load_config(options.config).indicators
    series = list(_all_series(options.bars))
    real = _joined([_samples(bars, config) for bars in series])
    shown = _joined([_samples(_scaled(bars, scale), config) for scale in MOVE_SCALES for bars in series])
    metrics = _walk_forward(real, shown)
    model = _train(shown)
    written = write_model(options.out, model.model_to_string(), _metadata(config, real, metrics))
    _report(Console(), written, np.asarray(model.predict(real.rows, num_threads=1)), options.out)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the demo model on real bars.")
    parser.add_argument("--config", type=Path, default=ROOT / "config/demo.yaml")
    parser.add_argument("--bars", type=Path, default=ROOT / "tests/data/bars")
    parser.add_argument("--out", type=Path, default=ROOT / "models/demo/direction.txt")
    return parser.parse_args()


def _all_series(folder: Path) -> Iterator[Bars]:
    end = 0
    for name in SERIES:
        bars = _read(folder / f"{name}.csv.gz")
        if name == "spx":  # the same index as longest: only what comes after it
            bars = _after(bars, end)
        yield bars
        end = int(bars.ts_ns[-1])


def _read(path: Path) -> Bars:
    with gzip.open(path, "rt", encoding="utf-8-sig") as file:
        rows = [{key.lower(): value for key, value in row.items()} for row in csv.DictReader(file)]
    rows.sort(key=_stamp)
    prices = np.array([[float(row[key]) for key in ("open", "high", "low", "close")] for row in rows])
    return Bars(
        path.name.partition(".")[0],
        np.array([_stamp(row) for row in rows]),
        prices,
        np.array([float(row["volume"]) for row in rows]),
    )


def _stamp(row: Mapping[str, str]) -> int:
    text = row.get("date") or row["timestamp"]
    for form in DATE_FORMATS:
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()) * 1_000_000_000
        except ValueError:
            continue
    raise SystemExit(f"bars: {text!r} is not a date in any of {', '.join(DATE_FORMATS)}")


def _after(bars: Bars, ts_ns: int) -> Bars:
    later = bars.ts_ns > ts_ns
    return Bars(bars.name, bars.ts_ns[later], bars.prices[later], bars.volume[later])


def _scaled(bars: Bars, scale: float) -> Bars:
    """The same path with every relative move ``scale`` times as large (in logarithms)."""
    first = bars.prices[0, 3]
    prices = first * (bars.prices / first) ** scale
    if scale < 0:
        prices = prices[:, [0, 2, 1, 3]]  # what was high is low
    return Bars(bars.name, bars.ts_ns, prices, bars.volume)


def _samples(bars: Bars, config: IndicatorConfig) -> Samples:
    schema = feature_schema(config)
    open_, high, low, close = bars.prices.T
    vectors = features_of_bars(open_, high, low, close, bars.volume, bars.ts_ns, config)
    rows = vectors[:, [schema.index(name) for name in FEATURES]]
    move = np.log(bars.prices[HORIZON_BARS:, 3] / bars.prices[:-HORIZON_BARS, 3])
    rows, known = rows[:-HORIZON_BARS], bars.ts_ns[HORIZON_BARS:]
    usual = rows[:, FEATURES.index("bar_volatility")] * np.sqrt(HORIZON_BARS / config.volatility)
    useful = np.isfinite(rows).all(axis=1) & (np.abs(move) > DEAD_BAND * usual)
    last_up = rows[:, FEATURES.index("bar_return_1")] > 0
    every = Samples(rows, (move > 0).astype(float), bars.ts_ns[:-HORIZON_BARS], known, last_up)
    return every.where(useful)


def _joined(parts: list[Samples]) -> Samples:
    names = Samples.__dataclass_fields__
    return Samples(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _train(samples: Samples) -> lightgbm.Booster:
    data = lightgbm.Dataset(samples.rows, samples.label, feature_name=list(FEATURES))
    return lightgbm.train(PARAMS, data, TREES)


def _walk_forward(real: Samples, shown: Samples) -> dict[str, float]:
    """Metrics over all folds together: learned from ``shown`` before a fold, measured on ``real`` in it."""
    starts = [_year_ns(year) for year in FOLDS]
    measured, probabilities, bases = [], [], []
    for start, end in track(list(zip(starts, [*starts[1:], sys.maxsize], strict=True)), "walk-forward"):
        past = shown.where(shown.known_ns < start)
        ups = real.where(real.known_ns < start).label
        fold = real.where((real.ts_ns >= start) & (real.ts_ns < end))
        measured.append(fold)
        probabilities.append(_train(past).predict(fold.rows, num_threads=1))
        bases.append(np.full(len(fold.label), ups.mean()))
    return _metrics(_joined(measured), np.concatenate(probabilities), np.concatenate(bases))


def _year_ns(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000


def _metrics(fold: Samples, probability: np.ndarray, base: np.ndarray) -> dict[str, float]:
    up = fold.label > 0
    extreme = (probability > 0.7) | (probability < 0.3)
    figures = {
        "rows": float(len(up)),
        "auc": _auc(up, probability),
        "accuracy": float(np.mean((probability > 0.5) == up)),
        "log_loss": _log_loss(up, probability),
        "baseline_majority_accuracy": float(np.mean((base > 0.5) == up)),
        "baseline_constant_log_loss": _log_loss(up, base),
        "baseline_last_return_accuracy": float(np.mean(fold.last_up == up)),
        "baseline_last_return_auc": _auc(up, fold.last_up.astype(float)),
        "beyond_0.7_or_0.3_share": float(np.mean(extreme)),
        "beyond_0.7_or_0.3_accuracy": float(np.mean((probability > 0.5)[extreme] == up[extreme])),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def _auc(up: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve: the share of (up, down) pairs in the right order, ties half."""
    _, group, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group]
    ups, downs = int(up.sum()), int((~up).sum())
    return float((ranks[up].sum() - ups * (ups + 1) / 2) / (ups * downs))


def _log_loss(up: np.ndarray, probability: np.ndarray) -> float:
    return float(-np.mean(np.log(np.where(up, probability, 1 - probability))))


def _metadata(config: IndicatorConfig, real: Samples, metrics: dict[str, float]) -> ModelMetadata:
    first, last = (datetime.fromtimestamp(ns / 1e9, UTC).date().isoformat() for ns in _range(real.ts_ns))
    return ModelMetadata(
        name="demo-direction",
        version="1",
        sha256="",  # filled in when the file is written
        feature_schema_hash=feature_schema(config).hash,
        features=FEATURES,
        label=f"P(close {HORIZON_BARS} bars ahead > close); moves within {DEAD_BAND} of the usual one left out",
        horizon=f"{HORIZON_BARS} bars",
        training_data="DaveSkender/Stock.Indicators test quotes (Apache-2.0): " + ", ".join(SERIES),
        training_start=first,
        training_end=last,
        training_rows=len(real.label) * len(MOVE_SCALES),
        metrics=metrics,
        params={**PARAMS, "num_iterations": TREES, "move_scales": list(MOVE_SCALES)},
        created=datetime.now(UTC).date().isoformat(),
        lightgbm_version=lightgbm.__version__,
        needs_all_features=True,
        notes=(
            "For demonstration. Metrics are walk-forward, out of sample, folds from the years "
            + ", ".join(map(str, FOLDS))
            + ". Bars here are days and minutes; the demo venue's are seconds of a synthetic market."
        ),
    )


def _range(values: np.ndarray) -> tuple[int, int]:
    return int(values.min()), int(values.max())


def _report(console: Console, written: ModelMetadata, in_sample: np.ndarray, out: Path) -> None:
    table = Table(title=f"{written.name}: walk-forward, out of sample")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in written.metrics.items():
        table.add_row(name, f"{value:g}")
    console.print(table)
    low, middle, high = np.quantile(in_sample, [0.01, 0.5, 0.99])
    console.print(f"P(up) on the training bars: 1 % {low:.3f}, median {middle:.3f}, 99 % {high:.3f}")
    console.print(f"written: {out} ({out.stat().st_size:,} bytes), SHA-256 {written.sha256[:16]}")


if __name__ == "__main__":
    sys.exit(main())
