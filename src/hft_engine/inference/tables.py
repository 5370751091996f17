"""Tree ensembles as flat tables that the compiled traversal walks; built once, when a model is loaded.

Every numeric decision of LightGBM, whatever its handling of missing values, becomes ``row[column] <=
threshold``: what differs between nodes (NaN counts as zero; zero counts as missing; missing goes left) is
moved into the *columns*, values computed once a record. Zero counts as missing: the column holds NaN there,
and a comparison with NaN is false, so a missing value goes to the second child. Where missing goes to the
left, the column holds the negated value, the threshold is negated, and the children change places.

Decision rules: LightGBM ``include/LightGBM/tree.h``, ``NumericalDecision`` and ``CategoricalDecision``.

Siblings lie in pairs, so that a node needs one child index; roots too, in the order of the trees, so that no
table of roots is needed. A leaf is a node that always chooses its first child (column 0 is minus infinity), which
is the root of the tree that the same lane walks next, LANES trees on: a lane never waits for a deeper tree beside
it. Every node that is passed writes its threshold to its tree's place in the row; the last to do so is the leaf,
whose threshold is its value.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from hft_engine.inference.lightgbm_text import Ensemble, Objective
from hft_engine.inference.model_trees import (
    CATEGORICAL_MASK,
    DEFAULT_LEFT_MASK,
    MISSING_MASK,
    MISSING_NAN,
    MISSING_NONE,
    MISSING_SHIFT,
    MISSING_ZERO,
    Trees,
)
from hft_engine.kernel import kernel

# One curve an output: x rising, y not falling, both within 0 and 1, straight lines between the points, level beyond the
# first and last. Of several outputs the results are scaled to sum to 1. None: outputs are as LightGBM has them.
Calibration = tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]

LANES = 12  # trees walked side by side
GROUP = 256  # trees whose leaves are gathered before they are added up; even, for roots lie in pairs
NOWHERE = 0  # place in a row that is written and never read ...
FIRST_LEAF = 1  # ... of the first tree's leaf in a group ...
FIRST_COLUMN = FIRST_LEAF + GROUP  # ... of column 0
STEP = 2  # words from a node's threshold to its step
PAIR = 2 * STEP  # words of two siblings
ROOTS = PAIR  # the first root, behind the pair of which node 0 is one
PLACE_BITS = (
    16  # of a step, lowest first: where in the row its column is, where its threshold goes; then the child
)
CATEGORICAL = 1 << 15  # bit of a column's place in a step
PLACE_MASK = CATEGORICAL - 1
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


_WORDS_A_LINE = 8
_COLUMNS_MAX = CATEGORICAL - FIRST_COLUMN
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
        ("first_root", "<u8"),  # in ``nodes``
        ("trees", "<u8"),
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
NODE_DTYPE = np.dtype(np.uint64)  # words; see Tables


class Tables(Struct, frozen=True, eq=False):
    """A set of models as ``trees.evaluate`` takes it, in its order.

    ``header``   HEADER_DTYPE, one row a member; an ensemble of members is a row without trees behind theirs.
    ``columns``  COLUMN_DTYPE; column 0 is the constant minus infinity.
    ``nodes``    uint64, four words a pair of siblings, two pairs a cache line: the thresholds of both, the bits of a
                 float64, then the steps of both. A node is known by the index of its threshold; its step is STEP words
                 on: PLACE_BITS for the column's place in the row, as many for the place that its threshold is written
                 to, then the index of its first child. To that if ``row[column] <= threshold``, else to the one
                 behind. With CATEGORICAL set: to the first if the category in the column is a member of the set that
                 begins at ``bits[threshold]``. Node 0 is where a lane ends and stays; roots begin at ROOTS.
    ``bits``     uint32: of each set its number of words, then the words, lowest category first.
    ``points``   float64: of each calibration curve its number of points, then their x, then their y. Of an ensemble how
                 many outputs it combines, its intercept, then of each its index, its weight, and 1 where the
                 probability of no counts.
    ``row``      float64 scratch: NOWHERE, the leaves of a group of trees, the columns.
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
    nodes = np.zeros(ROOTS, NODE_DTYPE)
    return Tables(header, columns, nodes, np.zeros(1, np.uint32), np.zeros(1), row_of(columns))


def row_of(columns: NDArray) -> NDArray[np.float64]:
    """The scratch that these columns need."""
    return np.zeros(FIRST_COLUMN + len(columns))


def node_words(count: int) -> NDArray[np.uint64]:
    """So many zeroed words from the beginning of a cache line on: no pair of siblings then lies in two."""
    spare = np.zeros(count + _WORDS_A_LINE, NODE_DTYPE)
    first = -(spare.ctypes.data // spare.itemsize) % _WORDS_A_LINE
    return spare[first : first + count]


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
    is not known, a calibration that is none, or more columns than a step can name.
    """
    nodes = _Nodes(ensemble.trees)
    columns, numbers = _columns(nodes, positions)
    header = np.zeros(1, HEADER_DTYPE)
    header["model_id"] = model_id
    header["first_root"], header["trees"] = ROOTS, len(ensemble.trees)
    header["set_outputs"] = header["output_count"] = ensemble.trees_per_iteration
    header["divisor"] = _divisor(ensemble)
    header["transform"] = transform_of(ensemble.objective)
    header["sigmoid"] = ensemble.objective.sigmoid
    header["curves"] = len(calibration)
    header["categorical"] = bool(nodes.categorical.any())
    if needs_all:
        header["needs"] = np.bitwise_or.reduce(np.uint64(1) << columns["source"][1:].astype(np.uint64))
    points = _points(calibration, ensemble.trees_per_iteration)
    return Tables(header, columns, nodes.laid_out(numbers), nodes.bits, points, row_of(columns))


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


class _Nodes:
    """The inner nodes of all trees, one after the other, decided as the module says. All at once: a model
    is read while ticks flow, and the interpreter's time is theirs.

    ``first``, ``second``: the children; a negative one is ``~`` a leaf, both counted through all trees. ``roots``: too.
    """

    def __init__(self, trees: Trees) -> None:
        self.trees = trees
        inner = np.diff(trees.first_node)
        tree_of = np.repeat(np.arange(len(trees)), inner)
        self.feature = trees.split_feature
        left, right = (
            np.where(child >= 0, child + trees.first_node[tree_of], child - trees.first_leaf[tree_of])
            for child in (trees.left_child, trees.right_child)
        )
        self.roots = np.where(inner > 0, trees.first_node[:-1], ~trees.first_leaf[:-1])
        self.categorical = (trees.decision_type & CATEGORICAL_MASK) != 0
        missing = (trees.decision_type >> MISSING_SHIFT) & MISSING_MASK
        numeric_left = ~self.categorical & ((trees.decision_type & DEFAULT_LEFT_MASK) != 0)
        self.mode = np.where(self.categorical, ColumnMode.AS_IS, _MODES[missing])
        self.negative = numeric_left & (missing != MISSING_NONE)
        self.first = np.where(self.negative, right, left)
        self.second = np.where(self.negative, left, right)
        clear = _clear_of_zero(trees.threshold)
        self.threshold = np.where(self.negative, _negated(clear), clear)
        self.bits, sets = _sets(trees.set_words, trees.words)
        own = (trees.first_set[tree_of] + trees.threshold)[self.categorical].astype(np.int64)
        self.threshold[self.categorical] = sets[own]

    def laid_out(self, columns: NDArray[np.int64]) -> NDArray[np.uint64]:
        """``Tables.nodes``, each tree breadth first: near the root, near in memory. ``columns``: of each node."""
        trees = len(self.roots)
        roots = trees + max(0, LANES - (trees - 1) % GROUP - 1) if trees else LANES  # each lane begins at one
        nodes = node_words(ROOTS + STEP * (roots + roots % 2 + 2 * len(self.threshold)))
        waiting = np.empty((2, 1 + 2 * len(self.threshold)), np.int64)
        children = self.first, self.second
        bits = self.threshold.view(np.uint64), self.trees.leaf_value.view(np.uint64)
        lay_out(roots, self.roots, *bits, *children, columns, waiting, nodes)
        return nodes


@kernel(cache=True)
def lay_out(laid, roots, threshold, leaf_value, first, second, columns, waiting, nodes):  # type: ignore[no-untyped-def]
    """Fills ``nodes``, of which ``laid`` are roots. ``waiting``: int64[2, nodes of a tree], scratch for the nodes to
    come and where they will be.
    """
    for empty in range(0, _root(laid + laid % 2), PAIR):
        nodes[empty + STEP] = nodes[empty + STEP + 1] = _step(0, NOWHERE, 0)
    free = _root(laid + laid % 2)
    for tree in range(len(roots)):
        leaf = FIRST_LEAF + tree % GROUP
        ahead = tree + LANES
        further = _root(ahead) if ahead < len(roots) and ahead % GROUP >= LANES else 0
        waiting[0, 0], waiting[1, 0] = roots[tree], _root(tree)
        done, known = 0, 1
        while done < known:
            node, place = waiting[0, done], waiting[1, done]
            done += 1
            if node < 0:
                nodes[place], nodes[place + STEP] = leaf_value[~node], _step(0, leaf, further)
                continue
            nodes[place], nodes[place + STEP] = threshold[node], _step(columns[node], leaf, free)
            waiting[0, known], waiting[0, known + 1] = first[node], second[node]
            waiting[1, known], waiting[1, known + 1] = free, free + 1
            known += 2
            free += PAIR


@kernel(forceinline=True)
def _root(tree):  # type: ignore[no-untyped-def]
    return ROOTS + PAIR * (tree >> 1) + (tree & 1)


@kernel(forceinline=True)
def _step(column, leaf, child):  # type: ignore[no-untyped-def]
    places = np.uint64(FIRST_COLUMN + column) | np.uint64(leaf) << np.uint64(PLACE_BITS)
    return places | np.uint64(child) << np.uint64(2 * PLACE_BITS)


_MODES = np.zeros(MISSING_MASK + 1, np.int64)
_MODES[MISSING_NONE] = ColumnMode.NAN_IS_ZERO
_MODES[MISSING_ZERO] = ColumnMode.ZERO_IS_NAN
_MODES[MISSING_NAN] = ColumnMode.AS_IS


def _columns(nodes: _Nodes, positions: Sequence[int]) -> tuple[NDArray, NDArray[np.int64]]:
    """(the distinct columns that nodes ask for, from number 1 on, and the ``column`` of each node)."""
    source = np.array(positions, np.int64)[nodes.feature]
    asked = (source * len(ColumnMode) + nodes.mode) * 2 + nodes.negative
    distinct, numbers = np.unique(asked, return_inverse=True)
    columns = np.zeros(1 + len(distinct), COLUMN_DTYPE)
    columns["sign"][1:] = np.where(distinct % 2, -1.0, 1.0)
    columns["source"][1:], columns["mode"][1:] = np.divmod(distinct // 2, len(ColumnMode))
    if len(columns) > _COLUMNS_MAX:
        raise ValueError(
            f"{len(columns) - 1} columns for its features, at most {_COLUMNS_MAX - 1} are supported"
        )
    return columns, (1 + numbers + np.where(nodes.categorical, CATEGORICAL, 0)).astype(np.int64)


def _sets(
    lengths: NDArray[np.int64], words: NDArray[np.uint32]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """(``Tables.bits``, where in it each set of categories begins)."""
    begins = 1 + np.cumsum(lengths + 1) - (lengths + 1)
    bits = np.zeros(1 + len(lengths) + len(words), np.uint32)
    bits[begins] = lengths
    own = np.ones(len(bits), bool)
    own[0] = False
    own[begins] = False
    bits[own] = words
    return bits, begins


def _negated(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """The T for which ``not (-x <= T)`` is ``not (x > threshold)``: true for NaN too."""
    none_greater = threshold == np.inf  # every comparison false
    return np.where(none_greater, np.nan, -np.nextafter(threshold, np.inf))


def _clear_of_zero(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """The threshold that decides for all of [-ZERO, ZERO] as ``threshold`` does for 0.

    LightGBM replaces values that small by 0 before it predicts; moving the threshold spares doing so.
    """
    below = (threshold >= -ZERO) & (threshold < 0.0)
    clear = np.where(below, np.nextafter(-ZERO, -np.inf), threshold)
    return np.where((threshold >= 0.0) & (threshold < ZERO), ZERO, clear)
