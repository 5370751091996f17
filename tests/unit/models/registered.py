"""A small trained model, and an entry for it."""

import msgspec
import numpy as np

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.features import feature_schema
from hft_engine.inference.model import ModelMetadata
from hft_engine.models.registry import Entry

FEATURES = ("bar_rsi", "bar_return_1", "bar_volatility")
CLASSES = {
    "peak_detection": ("no_peak", "peak"),
    "entry_timing": ("wait", "enter"),
    "market_regime": ("ranging", "trend_up", "trend_down", "volatile"),
}


def made(task: str, seed: int = 0, **changes: object) -> tuple[str, ModelMetadata]:
    """(LightGBM text, metadata) of a model on three bar features."""
    import lightgbm

    random = np.random.default_rng(seed)
    rows = random.normal(size=(400, 3)) * [20, 0.01, 0.02] + [50, 0, 0.03]
    count = len(CLASSES[task])
    label = np.digitize(rows[:, 0], np.quantile(rows[:, 0], np.linspace(0, 1, count + 1)[1:-1]))
    objective = {"objective": "multiclass", "num_class": count} if count > 2 else {"objective": "binary"}
    data = lightgbm.Dataset(rows, label, feature_name=list(FEATURES))
    booster = lightgbm.train({**objective, "verbose": -1, "num_threads": 1, "seed": seed}, data, 6)
    metadata = ModelMetadata(
        name=task,
        version="",
        sha256="",
        feature_schema_hash=feature_schema(IndicatorConfig()).hash,
        features=FEATURES,
        label="test",
        horizon="5 rows",
        training_data="random numbers",
        training_start="2026-01-01",
        training_end="2026-01-02",
        training_rows=400,
        metrics={},
        params={"seed": seed},
        created="2026-01-03",
        lightgbm_version=lightgbm.__version__,
        task=task,
        classes=CLASSES[task],
        rows_are="bars",
    )
    return booster.model_to_string(), msgspec.structs.replace(metadata, **changes)


def entry(task: str, version: str, **changes: object) -> Entry:
    plain = Entry(
        name=task,
        version=version,
        begin_ns=1,
        end_ns=2,
        data_hash="d" * 64,
        code_hash="c" * 64,
        feature_hash="f" * 64,
        metrics={"auc": 0.7, "log_loss": 0.4},
    )
    return msgspec.structs.replace(plain, **changes)
