"""Tree ensembles as flat tables that the compiled traversal walks; built once, when a model is loaded.

Every numeric decision of LightGBM, whatever its handling of missing values, becomes ``row[column] <=
threshold``: what differs between nodes (NaN counts as zero; zero counts as missing; missing goes left) is
moved into the *columns*, values computed once a record. Zero counts as missing: the column holds NaN there,
and a comparison with NaN is false, so a missing value goes to the second child. Where missing goes to the
left, the column holds the negated value, the threshold is negated, and the children change places.

Decision rules: LightGBM ``include/LightGBM/tree.h``, ``NumericalDecision`` and ``CategoricalDecision``.

Node order: the root of tree i is node i, so that no table of roots is needed; then siblings in pairs, so
that a node needs one child index. A leaf is a node that always chooses itself (column 0 is minus infinity)
and keeps its value in ``threshold``.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from hft_engine.inference.lightgbm_text import (
    CATEGORICAL_MASK,
    DEFAULT_LEFT_MASK,
    MISSING_MASK,
    MISSING_NAN,
    MISSING_NONE,
    MISSING_SHIFT,
    MISSING_ZERO,
    Ensemble,
    Objective,
    Tree,
)

# One curve an output: x rising, y not falling, both within 0 and 1, straight lines between the points, level beyond the
# first and last. Of several outputs the results are scaled to sum to 1. None: outputs are as LightGBM has them.
Calibration = tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]

LANES = 8  # trees walked side by side; the table is filled up with empty trees to a multiple of it
CATEGORICAL = 1 << 31  # bit of a node's ``column``
ZERO = float(np.float32(1e-35))  # LightGBM's kZeroThreshold: no further from zero than this is zero
PROBABILITY_MIN = 1e-6  # log odds are those of probabilities at least so far from 0 and 1


class Transform(IntEnum):
    """How raw sums become outputs; LightGBM ``src/objective``, ``ConvertOutput``."""

    NONE = 0
    SIGMOID = 1  # each output by itself
    SOFTMAX = 2
    EXP = 3
    SIGNED_SQUARE = 4
    LOG1P_EXP = 5
    WEIGHTED = 6  # an ensemble: the mean, by weights, of outputs of the members before it
    STACKED = 7  # an ensemble: the logistic of the weighted sum of their log odds


_PLAIN = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg")
_TRANSFORMS = {
    "": Transform.NONE,
    "none": Transform.NONE,
    "custom": Transform.NONE,
    "binary": Transform.SIGMOID,
    "multiclassova": Transform.SIGMOID,
    "cross_entropy": Transform.SIGMOID,
    "cross_entropy_lambda": Transform.LOG1P_EXP,
    "multiclass": Transform.SOFTMAX,
    "poisson": Transform.EXP,
    "gamma": Transform.EXP,
    "tweedie": Transform.EXP,
    **dict.fromkeys(_PLAIN, Transform.NONE),
}
_SQRT_ALLOWED = ("regression", "regression_l1", "fair", "quantile", "mape")


class ColumnMode(IntEnum):
    """What a column holds where the feature is NaN or zero."""

    AS_IS = 0
    NAN_IS_ZERO = 1
    ZERO_IS_NAN = 2


HEADER_DTYPE = np.dtype(
    [
        ("model_id", "<i8"),  # of the set, the same in each row; -1: no model
        ("set_outputs", "<u8"),  # of all members together, the same in each row
        ("first_tree", "<u8"),
        ("end_tree", "<u8"),  # ``first_tree`` and a multiple of LANES
        ("first_output", "<u8"),
        ("output_count", "<u8"),
        ("first_point", "<u8"),  # in ``points``
        ("divisor", "<f8"),  # of the sums: iterations of a random forest, else 1
        ("transform", "<i8"),  # Transform
        ("sigmoid", "<f8"),
        ("categorical", "<i8"),  # 1: some node tests a set of categories
        ("needs", "<u8"),  # a bit for each slot of the vector: no output while one of these is NaN
        ("curves", "<i8"),  # of the calibration: 0, 1 or one an output
    ]
)
COLUMN_DTYPE = np.dtype([("sign", "<f8"), ("source", "<u4"), ("mode", "<u4")])
NODE_DTYPE = np.dtype([("threshold", "<f8"), ("child", "<u4"), ("column", "<u4")])  # four a cache line


class Tables(Struct, frozen=True, eq=False):
    """A set of models as ``trees.evaluate`` takes it, in its order.

    ``header``   HEADER_DTYPE, one row a member; an ensemble of members is a row without trees behind theirs.
    ``columns``  COLUMN_DTYPE; column 0 is the constant minus infinity.
    ``nodes``    NODE_DTYPE. To ``child`` if ``row[column] <= threshold``, else to ``child + 1``. With
                 CATEGORICAL set in ``column``: to ``child`` if the category in the column is a member of the
                 set that begins at ``bits[threshold]``, else to ``child + 1``.
    ``bits``     uint32: of each set its number of words, then the words, lowest category first.
    ``points``   float64: of each calibration curve its number of points, then their x, then their y. Of an ensemble how
                 many outputs it combines, its intercept, then of each its index, its weight, and 1 where the
                 probability of no counts.
    ``row``      float64 scratch, one value a column.
    """

    header: NDArray
    columns: NDArray
    nodes: NDArray
    bits: NDArray[np.uint32]
    points: NDArray[np.float64]
    row: NDArray[np.float64]


def empty_tables() -> Tables:
    """The tables of no model: ``model_id`` -1."""
    header = np.zeros(1, HEADER_DTYPE)
    header["model_id"] = -1
    columns = np.zeros(1, COLUMN_DTYPE)
    nodes = np.zeros(1, NODE_DTYPE)
    return Tables(header, columns, nodes, np.zeros(1, np.uint32), np.zeros(1), np.zeros(1))


def build_tables(
    ensemble: Ensemble,
    positions: Sequence[int],
    model_id: int = 0,
    needs_all: bool = False,
    calibration: Calibration = (),
) -> Tables:
    """The tables of ``ensemble`` whose feature i is found at ``positions[i]`` of a feature vector.

    ``needs_all``: no output while a feature that it uses is NaN, where ``trees.evaluate`` is told what is missing; else
    NaN is taken as LightGBM does. ``calibration``: see ``Calibration``. Raises ValueError for an objective that
    is not known, or a calibration that is none.
    """
    builder = _Builder(ensemble.trees, positions)
    header = np.zeros(1, HEADER_DTYPE)
    header["model_id"] = model_id
    header["end_tree"] = builder.lanes
    header["set_outputs"] = header["output_count"] = ensemble.trees_per_iteration
    header["divisor"] = _divisor(ensemble)
    header["transform"] = transform_of(ensemble.objective)
    header["sigmoid"] = ensemble.objective.sigmoid
    header["curves"] = len(calibration)
    header["categorical"] = any(len(tree.cat_threshold) for tree in ensemble.trees)
    columns = np.array(builder.columns.rows, COLUMN_DTYPE)
    if needs_all:
        header["needs"] = np.bitwise_or.reduce(np.uint64(1) << columns["source"][1:].astype(np.uint64))
    bits = np.array(builder.bits, np.uint32)
    points = _points(calibration, ensemble.trees_per_iteration)
    return Tables(header, columns, builder.nodes, bits, points, np.zeros(len(columns)))


def _points(calibration: Calibration, outputs: int) -> NDArray[np.float64]:
    """The curves one after the other, as ``Tables.points`` says."""
    if calibration and len(calibration) != outputs:
        raise ValueError(f"calibration has {len(calibration)} curves for {outputs} outputs")
    parts: list[float] = []
    for x, y in calibration:
        rising = len(x) == len(y) > 0 and np.isfinite([*x, *y]).all() and (np.diff(x) > 0).all()
        if not rising or (np.diff(y) < 0).any() or min(y) < 0.0 or max(y) > 1.0:
            raise ValueError("a calibration curve does not rise from point to point within 0 and 1")
        parts += [float(len(x)), *x, *y]
    return np.array(parts or [0.0])


def transform_of(objective: Objective) -> Transform:
    """The transform of an objective. Raises ValueError where it is not known."""
    if objective.name not in _TRANSFORMS:
        raise ValueError(f"objective {objective.name!r} is not supported")
    if objective.sqrt and objective.name in _SQRT_ALLOWED:
        return Transform.SIGNED_SQUARE
    return _TRANSFORMS[objective.name]


def _divisor(ensemble: Ensemble) -> float:
    return len(ensemble.trees) / ensemble.trees_per_iteration if ensemble.average_output else 1.0


class _Columns:
    """The distinct (feature, mode, sign) that nodes ask for, numbered from 1."""

    def __init__(self, positions: Sequence[int]) -> None:
        self._positions = positions
        self.rows: list[tuple[float, int, int]] = [(0.0, 0, 0)]
        self._numbers: dict[tuple[float, int, int], int] = {}

    def number(self, feature: int, mode: ColumnMode, sign: float) -> int:
        row = (sign, self._positions[feature], int(mode))
        if row not in self._numbers:
            self._numbers[row] = len(self.rows)
            self.rows.append(row)
        return self._numbers[row]


class _Builder:
    """Fills the node table, tree by tree."""

    def __init__(self, trees: Sequence[Tree], positions: Sequence[int]) -> None:
        self.columns = _Columns(positions)
        self.bits: list[int] = [0]
        self.lanes = -(-len(trees) // LANES) * LANES
        self.nodes = np.zeros(self.lanes + sum(2 * len(tree.threshold) for tree in trees), NODE_DTYPE)
        self._next = self.lanes
        for empty in range(len(trees), self.lanes):
            self._leaf(empty, 0.0)
        for number, tree in enumerate(trees):
            self._tree(number, tree)

    def _tree(self, root: int, tree: Tree) -> None:
        sets = self._sets(tree)
        pending = [(root, 0 if len(tree.threshold) else ~0)]  # breadth first: near the root, near in memory
        for slot, node in pending:
            if node < 0:
                self._leaf(slot, tree.leaf_value[~node])
            else:
                pending.extend(self._inner(slot, tree, node, sets))

    def _leaf(self, slot: int, value: float) -> None:
        self.nodes[slot] = (value, slot, 0)

    def _inner(self, slot: int, tree: Tree, node: int, sets: list[int]) -> list[tuple[int, int]]:
        """Writes one inner node; returns (slot, node) of its children."""
        first, second = int(tree.left_child[node]), int(tree.right_child[node])
        child = self._next
        self._next += 2
        if tree.decision_type[node] & CATEGORICAL_MASK:
            column = CATEGORICAL | self.columns.number(int(tree.split_feature[node]), ColumnMode.AS_IS, 1.0)
            self.nodes[slot] = (sets[int(tree.threshold[node])], child, column)
            return [(child, first), (child + 1, second)]
        threshold, column, swapped = self._numeric(tree, node)
        self.nodes[slot] = (threshold, child, column)
        return [(child, second), (child + 1, first)] if swapped else [(child, first), (child + 1, second)]

    def _numeric(self, tree: Tree, node: int) -> tuple[float, int, bool]:
        """(threshold, column, children swapped) of a numeric node."""
        decision, feature = int(tree.decision_type[node]), int(tree.split_feature[node])
        threshold = _clear_of_zero(float(tree.threshold[node]))
        missing = (decision >> MISSING_SHIFT) & MISSING_MASK
        mode = _MODES[missing]
        if missing == MISSING_NONE or not decision & DEFAULT_LEFT_MASK:
            return threshold, self.columns.number(feature, mode, 1.0), False
        return _negated(threshold), self.columns.number(feature, mode, -1.0), True

    def _sets(self, tree: Tree) -> list[int]:
        """Adds a tree's sets of categories; returns where each begins in ``bits``."""
        starts = []
        for a, b in zip(tree.cat_boundaries[:-1], tree.cat_boundaries[1:], strict=True):
            starts.append(len(self.bits))
            self.bits += [int(b - a), *tree.cat_threshold[a:b].tolist()]
        return starts


_MODES = {
    MISSING_NONE: ColumnMode.NAN_IS_ZERO,
    MISSING_ZERO: ColumnMode.ZERO_IS_NAN,
    MISSING_NAN: ColumnMode.AS_IS,
}


def _negated(threshold: float) -> float:
    """The T for which ``not (-x <= T)`` is ``not (x > threshold)``: true for NaN too."""
    if threshold == np.inf:
        return np.nan  # no x is greater: every comparison false
    return -float(np.nextafter(threshold, np.inf))


def _clear_of_zero(threshold: float) -> float:
    """The threshold that decides for all of [-ZERO, ZERO] as ``threshold`` does for 0.

    LightGBM replaces values that small by 0 before it predicts; moving the threshold spares doing so.
    """
    if 0.0 <= threshold < ZERO:
        return ZERO
    if -ZERO <= threshold < 0.0:
        return float(np.nextafter(-ZERO, -np.inf))
    return threshold
