"""The compiled traversal against ``Booster.predict``, on every node type and objective."""

import mmap
from pathlib import Path

import lightgbm
import msgspec
import numpy as np
import pytest
from boosters import (
    CATEGORICAL,
    FEATURES,
    assert_equal_to_lightgbm,
    booster,
    edge_rows,
    label_of,
    ours,
    text_of,
    training_rows,
)
from numba import njit

from hft_engine.inference.lightgbm_text import parse_model
from hft_engine.inference.model_trees import Trees
from hft_engine.inference.tables import CATEGORICAL as CATEGORICAL_BIT
from hft_engine.inference.tables import FIRST_COLUMN, GROUP, LANES, ColumnMode, build_tables
from hft_engine.inference.trees import TOUCHED_MAX, predict, touch

SEED = 20_261


@njit
def _touch_and_forget(header, columns, nodes, bits, points, row, values, out):  # type: ignore[no-untyped-def]
    touch(header, columns, nodes, bits, points, row, values, out)


@pytest.mark.parametrize(
    ("missing", "options"),
    [
        (False, {}),
        (True, {}),
        (True, {"use_missing": False}),
        (False, {"zero_as_missing": True}),
        (True, {"zero_as_missing": True}),
    ],
    ids=["none", "nan", "missing_off", "zero", "zero_and_nan"],
)
@pytest.mark.parametrize("categorical", [False, True], ids=["numeric", "categorical"])
def test_every_way_of_missing_decides_as_lightgbm(missing: bool, options: dict, categorical: bool) -> None:
    rows = training_rows(SEED, categorical, missing)
    chosen = CATEGORICAL if categorical else "auto"
    model = booster(rows, label_of(rows, SEED), objective="regression", categorical_feature=chosen, **options)
    assert_equal_to_lightgbm(model, SEED)


@pytest.mark.parametrize("seed", range(6))
def test_any_mixture_of_decision_types_decides_as_lightgbm(seed: int) -> None:
    rows = training_rows(seed)
    text = text_of(booster(rows, label_of(rows, seed), trees=19)).decode()
    model = lightgbm.Booster(model_str=_with_random_decisions(text, seed))
    assert_equal_to_lightgbm(model, seed)


def _with_random_decisions(text: str, seed: int) -> str:
    """All six numeric decision types, and thresholds at and around zero, at random nodes."""
    random = np.random.default_rng(seed)
    lines = []
    for line in text.split("\n"):
        key, _, values = line.partition("=")
        if key == "decision_type":
            line = key + "=" + " ".join(str(random.choice([0, 2, 4, 6, 8, 10])) for _ in values.split())
        elif key == "threshold":
            zeros = [
                "0",
                "1e-36",
                "-1e-36",
                "1.0000000180025095e-35",
                "-1.0000000180025095e-35",
                "-2e-35",
                "inf",
                "-inf",
            ]
            words = [random.choice(zeros) if random.random() < 0.3 else word for word in values.split()]
            line = key + "=" + " ".join(words)
        elif key == "tree_sizes":  # LightGBM then reads line by line
            continue
        lines.append(line)
    return "\n".join(lines)


@pytest.mark.parametrize(
    "objective",
    [
        {"objective": "binary"},
        {"objective": "binary", "sigmoid": 0.37},
        {"objective": "multiclass", "num_class": 3},
        {"objective": "multiclass", "num_class": 4, "categorical_feature": CATEGORICAL},
        {"objective": "multiclassova", "num_class": 3, "sigmoid": 1.7},
        {"objective": "regression"},
        {"objective": "regression", "reg_sqrt": True},
        {"objective": "regression_l1"},
        {"objective": "huber"},
        {"objective": "fair"},
        {"objective": "quantile"},
        {"objective": "mape"},
        {"objective": "poisson"},
        {"objective": "gamma"},
        {"objective": "tweedie"},
        {"objective": "cross_entropy"},
        {"objective": "cross_entropy_lambda"},
        {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
        {
            "objective": "multiclass",
            "num_class": 3,
            "boosting": "rf",
            "bagging_freq": 1,
            "bagging_fraction": 0.6,
        },
        {"objective": "binary", "boosting": "dart", "drop_rate": 0.5},
        {"objective": "regression", "extra_trees": True, "monotone_constraints": [1] + [0] * (FEATURES - 1)},
    ],
    ids=lambda params: "-".join(f"{value}" for value in params.values() if not isinstance(value, list)),
)
def test_every_objective_gives_lightgbms_outputs(objective: dict) -> None:
    rows = training_rows(SEED, "categorical_feature" in objective, missing=True)
    label = _label_for(objective["objective"], label_of(rows, SEED), int(objective.get("num_class", 1)))
    assert_equal_to_lightgbm(booster(rows, label, **objective), SEED)


def _label_for(objective: str, raw: np.ndarray, classes: int) -> np.ndarray:
    if objective == "binary":
        return (raw > 0).astype(float)
    if classes > 1:
        return np.clip(np.digitize(raw, np.linspace(-1, 1, classes - 1)), 0, classes - 1).astype(float)
    if objective.startswith("cross_entropy"):
        return 1 / (1 + np.exp(-raw))
    return np.abs(raw) + 0.1 if objective in ("poisson", "gamma", "tweedie", "mape") else raw


@pytest.mark.parametrize("objective", ["lambdarank", "rank_xendcg"])
def test_ranking_models_give_lightgbms_scores(objective: str) -> None:
    rows = training_rows(SEED)
    label = np.random.default_rng(SEED).integers(0, 4, len(rows))
    data = lightgbm.Dataset(rows, label, group=[20] * 30, params={"verbose": -1})
    params = {"objective": objective, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 3}
    assert_equal_to_lightgbm(lightgbm.train(params, data, 7), SEED)


def test_a_custom_objective_gives_raw_scores() -> None:
    def gradients(score: np.ndarray, data: lightgbm.Dataset) -> tuple[np.ndarray, np.ndarray]:
        return score - data.get_label(), np.ones_like(score)

    rows = training_rows(SEED)
    assert_equal_to_lightgbm(booster(rows, label_of(rows, SEED), objective=gradients), SEED)


def test_trees_of_one_leaf_are_constants() -> None:
    rows = training_rows(SEED)
    model = booster(rows, np.ones(len(rows)), trees=3, objective="regression", min_data_in_leaf=1_000)
    assert all(len(tree.leaf_value) == 1 for tree in parse_model(text_of(model), "booster").trees)
    expected = model.predict(rows, num_threads=1)
    np.testing.assert_array_equal(ours(text_of(model), rows)[:, 0], expected)


@pytest.mark.parametrize(
    "trees",
    [
        base + more
        for base in (0, LANES, GROUP, GROUP + LANES, 2 * GROUP)
        for more in (-1, 0, 1)
        if base + more > 0
    ],
)
def test_any_number_of_trees_fills_the_lanes_and_groups(trees: int) -> None:
    rows = training_rows(SEED)
    assert_equal_to_lightgbm(booster(rows, label_of(rows, SEED), trees=trees), SEED)


def test_several_outputs_take_turns_over_the_end_of_a_group() -> None:
    rows = training_rows(SEED)
    label = _label_for("multiclass", label_of(rows, SEED), 3)
    model = booster(rows, label, trees=GROUP // 3 + 5, objective="multiclass", num_class=3, num_leaves=4)
    assert_equal_to_lightgbm(model, SEED)


def test_siblings_lie_in_one_cache_line() -> None:
    rows = training_rows(SEED)
    tables = build_tables(
        parse_model(text_of(booster(rows, label_of(rows, SEED))), "booster"), range(FEATURES)
    )
    assert tables.nodes.ctypes.data % 64 == 0


def test_more_columns_than_a_step_can_name_are_refused() -> None:
    count = CATEGORICAL_BIT - FIRST_COLUMN
    ensemble = parse_model(text_of(booster(training_rows(SEED), label_of(training_rows(SEED), SEED))), "m")
    with pytest.raises(ValueError, match=f"{count} columns for its features, at most {count - 1}"):
        build_tables(msgspec.structs.replace(ensemble, trees=_one_tree_over(count)), range(count))
    build_tables(msgspec.structs.replace(ensemble, trees=_one_tree_over(count - 1)), range(count - 1))


def _one_tree_over(features: int) -> Trees:
    """Each feature is asked for once, one below the other."""
    inner, none = np.arange(features), np.zeros(0, np.int64)
    return Trees(
        first_node=np.array([0, features]),
        first_leaf=np.array([0, features + 1]),
        leaf_value=np.zeros(features + 1),
        split_feature=inner.astype(np.int32),
        threshold=np.zeros(features),
        decision_type=np.zeros(features, np.uint8),
        left_child=(~inner).astype(np.int32),
        right_child=np.where(inner == features - 1, ~features, inner + 1).astype(np.int32),
        first_set=np.zeros(2, np.int64),
        set_words=none,
        words=none.astype(np.uint32),
    )


def test_a_deep_unbalanced_tree_is_walked_to_its_end() -> None:
    rows = training_rows(SEED)
    model = booster(rows, np.exp(3 * rows[:, 0]), trees=5, num_leaves=200, min_data_in_leaf=1)
    assert_equal_to_lightgbm(model, SEED)


def test_features_are_taken_from_their_positions() -> None:
    rows = training_rows(SEED, missing=True)
    model = booster(rows, label_of(rows, SEED))
    wanted = edge_rows(model, SEED)
    positions = np.random.default_rng(SEED).permutation(64)[:FEATURES]
    vectors = np.full((len(wanted), 64), np.nan)
    vectors[:, positions] = wanted
    tables = build_tables(parse_model(text_of(model), "booster"), positions.tolist())
    np.testing.assert_array_equal(predict(tables, vectors)[:, 0], model.predict(wanted, num_threads=1))


def test_one_vector_gives_one_row_of_outputs() -> None:
    rows = training_rows(SEED)
    model = booster(rows, label_of(rows, SEED))
    tables = build_tables(parse_model(text_of(model), "booster"), range(FEATURES))
    assert predict(tables, rows[7]).tolist() == predict(tables, rows)[7].tolist()


def test_a_column_is_made_once_however_many_nodes_use_it() -> None:
    rows = training_rows(SEED)
    tables = build_tables(
        parse_model(text_of(booster(rows, label_of(rows, SEED))), "booster"), range(FEATURES)
    )
    assert len(tables.columns) <= 1 + FEATURES
    assert set(tables.columns["mode"][1:]) == {ColumnMode.NAN_IS_ZERO}


def test_a_fraction_between_minus_one_and_zero_is_category_zero_as_in_lightgbm() -> None:
    random = np.random.default_rng(SEED)
    rows = random.integers(0, 3, (3_000, 1)).astype(float)
    label = (rows[:, 0] == 0).astype(float) + random.normal(0, 0.1, len(rows))
    data = lightgbm.Dataset(rows, label, categorical_feature=[0], params={"verbose": -1})
    params = {
        "objective": "regression",
        "verbose": -1,
        "num_threads": 1,
        "min_data_per_group": 1,
        "cat_smooth": 0,
    }
    model = lightgbm.train(params, data, 5)
    edges = np.array(
        [[-1.5], [-1.0], [-0.999], [-0.5], [-0.2], [0.0], [0.4], [0.999], [1.0], [2.0], [np.nan]]
    )
    expected = model.predict(edges)
    assert len(set(expected)) > 1  # category 0 is told apart
    tables = build_tables(parse_model(model.model_to_string().encode(), "m"), range(1))
    assert [float(predict(tables, row)[0]) for row in edges] == expected.tolist()


def _resident_kb(array: np.ndarray) -> int:
    """Of the mapping that ``array`` lies in: what this process has read or written."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if "-" in first:
            begin, end = (int(part, 16) for part in first.split("-"))
            inside = begin <= array.ctypes.data < end
        elif inside and first == "Rss:":
            return int(line.split()[1])
    raise AssertionError("no such mapping")


def test_touching_reads_every_line_though_nobody_asks_for_what_it_read() -> None:
    rows = training_rows(SEED)
    tables = build_tables(
        parse_model(text_of(booster(rows, label_of(rows, SEED), trees=1)), "booster"), (*range(FEATURES),)
    )
    memory = mmap.mmap(-1, TOUCHED_MAX * tables.nodes.itemsize)
    nodes = np.frombuffer(memory, tables.nodes.dtype)
    before = (tables.bits, tables.points, tables.row, rows[0], np.zeros(1))
    _touch_and_forget(tables.header, tables.columns, tables.nodes, *before)  # compiled
    nodes[: len(tables.nodes)] = tables.nodes
    assert _resident_kb(nodes) < 16
    _touch_and_forget(tables.header, tables.columns, nodes, *before)
    assert _resident_kb(nodes) == len(memory) >> 10
