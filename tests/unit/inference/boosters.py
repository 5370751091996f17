"""Small boosters of every kind, and rows that sit on every edge of a decision."""

import lightgbm
import numpy as np

from hft_engine.inference.lightgbm_text import parse_model
from hft_engine.inference.tables import build_tables
from hft_engine.inference.trees import predict

FEATURES = 8
ROWS = 600
CATEGORICAL = [2, 5]
QUIET = {"verbose": -1, "num_threads": 1, "deterministic": True, "min_data_in_leaf": 3, "num_leaves": 15}
EDGES = [np.nan, 0.0, -0.0, 1e-36, -1e-36, 1e-35, -1e-35, 1.1e-35, -1.1e-35, np.inf, -np.inf, 1e300, -1e300]
CATEGORY_EDGES = [
    np.nan,
    -1.0,
    -0.99,
    -0.5,
    -1e-36,
    0.5,
    31.0,
    32.0,
    63.9,
    1000.0,
    2.0**31 - 1,
    2.0**31,
    3e9,
    1e300,
]


def training_rows(seed: int, categorical: bool = False, missing: bool = False) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(ROWS, FEATURES))
    rows[:, 1] = np.round(rows[:, 1])  # many zeros
    rows[random.random(ROWS) < 0.3, 3] = 0.0
    if missing:
        rows[random.random(rows.shape) < 0.15] = np.nan
    if categorical:
        rows[:, CATEGORICAL] = random.integers(0, 70, (ROWS, len(CATEGORICAL)))
    return rows


def booster(rows: np.ndarray, label: np.ndarray, trees: int = 11, **params: object) -> lightgbm.Booster:
    categorical = params.pop("categorical_feature", "auto")
    data = lightgbm.Dataset(
        rows, label, categorical_feature=categorical, params={"verbose": -1, "max_bin": 63}
    )
    return lightgbm.train({**QUIET, **params}, data, trees)


def label_of(rows: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed + 1).normal(size=len(rows))
    clean = np.nan_to_num(rows)
    return clean[:, 0] + clean[:, 1] * clean[:, 3] + np.sin(clean[:, 2]) + 0.3 * noise


def text_of(model: lightgbm.Booster) -> bytes:
    return str(model.model_to_string()).encode()


def edge_rows(model: lightgbm.Booster, seed: int) -> np.ndarray:
    """Random rows, then rows of every edge value, thresholds themselves and their neighbours among them."""
    random = np.random.default_rng(seed + 2)
    trees = parse_model(text_of(model), "booster").trees
    thresholds = np.unique(np.concatenate([tree.threshold for tree in trees]))
    near = np.concatenate([thresholds, np.nextafter(thresholds, 9e9), np.nextafter(thresholds, -9e9)])
    values = np.concatenate([near, EDGES, CATEGORY_EDGES, np.arange(70.0)])
    mixed = random.choice(values, size=(3000, FEATURES))
    categories = np.concatenate([CATEGORY_EDGES, np.arange(70.0)])
    mixed[::2, CATEGORICAL] = random.choice(categories, size=(1500, len(CATEGORICAL)))
    return np.concatenate([training_rows(seed + 3), training_rows(seed + 4, True, True), mixed])


def ours(data: bytes, rows: np.ndarray) -> np.ndarray:
    ensemble = parse_model(data, "booster")
    return predict(build_tables(ensemble, range(rows.shape[1])), rows)


def assert_equal_to_lightgbm(model: lightgbm.Booster, seed: int) -> None:
    """Bit for bit, which is more than the 1e-12 that is promised."""
    rows = edge_rows(model, seed)
    expected = model.predict(rows, num_threads=1).reshape(len(rows), -1)
    np.testing.assert_array_equal(ours(text_of(model), rows), expected, err_msg=f"seed {seed}")
