"""The trees of a model's text as plain arrays, read all at once, and refused where they are none.

What is wrong with one is looked for where something is: a model is read while ticks flow, and the interpreter's time is
theirs.
"""

from collections.abc import Callable, Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from hft_engine.inference.errors import ModelError, damaged
from hft_engine.inference.model_lines import Lines
from hft_engine.kernel import kernel

KEYS = (
    "is_linear",
    "num_leaves",
    "num_cat",
    "leaf_value",
    "split_feature",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "cat_boundaries",
    "cat_threshold",
)

CATEGORICAL_MASK = 1  # bits of ``decision_type``
DEFAULT_LEFT_MASK = 2
MISSING_SHIFT = 2
MISSING_MASK = 3
MISSING_NONE, MISSING_ZERO, MISSING_NAN = 0, 1, 2

_NOT_NUMBERS = "holds something that is not a number in range"
_UNFIT = "its sets of categories do not fit its nodes"


class Tree(Struct, frozen=True, eq=False):
    """One tree with n leaves and n - 1 inner nodes. A child below zero is leaf ``~child``."""

    leaf_value: NDArray[np.float64]
    split_feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    decision_type: NDArray[np.uint8]
    left_child: NDArray[np.int32]
    right_child: NDArray[np.int32]


class Trees(Struct, frozen=True, eq=False):
    """All trees of a model, as ``Tree`` has each, one behind the other: nodes and leaves of tree i from
    ``first_node[i]`` and ``first_leaf[i]`` up to those of tree i + 1.

    ``threshold`` of a categorical node is the number of its set among those of its tree, which begin at
    ``first_set[i]``; set k is the next ``set_words[k]`` words of ``words``, lowest category first.
    """

    first_node: NDArray[np.int64]
    first_leaf: NDArray[np.int64]
    leaf_value: NDArray[np.float64]
    split_feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    decision_type: NDArray[np.uint8]
    left_child: NDArray[np.int32]
    right_child: NDArray[np.int32]
    first_set: NDArray[np.int64]
    set_words: NDArray[np.int64]
    words: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.first_node) - 1

    def __iter__(self) -> Iterator[Tree]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, number: int) -> Tree:
        nodes = slice(self.first_node[number], self.first_node[number + 1])
        leaves = slice(self.first_leaf[number], self.first_leaf[number + 1])
        return Tree(
            self.leaf_value[leaves],
            self.split_feature[nodes],
            self.threshold[nodes],
            self.decision_type[nodes],
            self.left_child[nodes],
            self.right_child[nodes],
        )


def read_trees(lines: Lines, source: str, feature_count: int) -> Trees:
    """The trees of ``lines``, which were read with KEYS; ``source`` names them in errors. Raises ModelError."""
    return _Reader(lines, source).trees(feature_count)


class _Reader:
    def __init__(self, lines: Lines, source: str) -> None:
        self._lines, self._source = lines, source

    def trees(self, feature_count: int) -> Trees:
        """Raises ModelError."""
        self._check_linear()
        leaves = self._numbers("num_leaves", np.ones(len(self._lines.starts) - 1, np.int64), np.int64)
        self._refuse(leaves < 1, lambda tree: self._error(tree, f"'num_leaves' is {leaves[tree]}"))
        inner = leaves - 1
        set_words, sets, words = self._categories(inner)
        trees = Trees(
            first_node=_begins(inner),
            first_leaf=_begins(leaves),
            leaf_value=self._numbers("leaf_value", leaves, np.float64),
            split_feature=self._numbers("split_feature", inner, np.int32),
            threshold=self._numbers("threshold", inner, np.float64),
            decision_type=self._numbers("decision_type", inner, np.uint8),
            left_child=self._numbers("left_child", inner, np.int32),
            right_child=self._numbers("right_child", inner, np.int32),
            first_set=_begins(sets),
            set_words=set_words,
            words=words,
        )
        self._check_numbers(trees)
        self._check_children(trees)
        self._check_features(trees, feature_count)
        return trees

    def _categories(self, inner: NDArray[np.int64]) -> tuple[NDArray, NDArray, NDArray]:
        """(words of each set, sets of each tree, the words)."""
        sets = np.zeros(len(inner), np.int64)
        split = inner > 0
        sets[split] = self._numbers("num_cat", split.astype(np.int64), np.int64)
        if not sets.any():
            return np.empty(0, np.int64), sets, np.empty(0, np.uint32)
        self._refuse(sets < 0, lambda tree: self._error(tree, f"'num_cat' is {sets[tree]}"))
        edges = np.where(sets > 0, sets + 1, 0)
        bounds = self._numbers("cat_boundaries", edges, np.int64)
        first, last = _begins(edges)[:-1][sets > 0], _begins(edges)[1:][sets > 0] - 1
        within = np.ones(len(bounds), bool)
        within[first] = False
        grown = np.diff(bounds, prepend=0)
        unfit = np.where(within, grown <= 0, bounds != 0)
        self._refuse(unfit, lambda tree: self._error(tree, _UNFIT), _begins(edges))
        words = np.zeros(len(inner), np.int64)
        words[sets > 0] = bounds[last]
        return grown[within], sets, self._numbers("cat_threshold", words, np.uint32)

    def _numbers(self, key: str, counts: NDArray[np.int64], dtype: type) -> NDArray:
        """``counts`` values a tree, as ``dtype``."""
        values, bad = self._lines.numbers(key, counts)
        if bad >= 0:
            raise self._error(bad, self._cause(key, bad, int(counts[bad])))
        if dtype is np.float64:
            return values
        with np.errstate(invalid="ignore"):  # what is beyond the type is found out by its difference
            found: NDArray = values.astype(dtype)
        self._refuse(
            found != values, lambda tree: self._error(tree, f"{key!r} {_NOT_NUMBERS}"), _begins(counts)
        )
        return found

    def _cause(self, key: str, tree: int, count: int) -> str:
        """Why a line does not hold ``count`` numbers."""
        text = self._lines.value(key, tree)
        if text is None:
            return f"{key!r} is missing"
        words = text.split()
        try:
            for word in words:
                float(word)
        except ValueError:
            return f"{key!r} {_NOT_NUMBERS if count != 1 else 'is not a number'}"
        return f"{key!r} has {len(words)} values, not {count}"

    def _check_linear(self) -> None:
        for tree in np.flatnonzero(self._lines.has("is_linear")).tolist():
            if self._lines.value("is_linear", tree) != "0":
                raise ModelError(
                    f"{self._where(tree)} is linear, which is not supported; train with linear_tree=False"
                )

    def _check_numbers(self, trees: Trees) -> None:
        # A leaf must be finite, a threshold may be infinite: only NaN falls to both sides of it.
        for begins, bad in (
            (trees.first_leaf, ~np.isfinite(trees.leaf_value)),
            (trees.first_node, np.isnan(trees.threshold)),
        ):
            self._refuse(
                bad, lambda tree: self._error(tree, "a leaf value or threshold is not a number"), begins
            )
        kind = trees.decision_type
        strange = (((kind >> MISSING_SHIFT) & MISSING_MASK) > MISSING_NAN) | (kind >= 16)
        self._refuse(
            strange,
            lambda tree: ModelError(
                f"{self._where(tree)}: 'decision_type' holds a kind of node this version does not know; "
                "save the model with LightGBM 3 or 4"
            ),
            trees.first_node,
        )

    def _check_children(self, trees: Trees) -> None:
        seen = np.zeros(len(trees.threshold) + len(trees.leaf_value), np.bool_)
        bad = no_tree(trees.first_node, trees.first_leaf, trees.left_child, trees.right_child, seen)
        if bad >= 0:
            raise self._error(bad, "its children do not form a tree")

    def _check_features(self, trees: Trees, feature_count: int) -> None:
        outside = (trees.split_feature < 0) | (trees.split_feature >= feature_count)
        cause = f"'split_feature' names a feature outside 0..{feature_count - 1}"
        self._refuse(outside, lambda tree: self._error(tree, cause), trees.first_node)
        by_set = (trees.decision_type & CATEGORICAL_MASK) != 0
        number, sets = trees.threshold, np.repeat(np.diff(trees.first_set), np.diff(trees.first_node))
        unfit = by_set & ~((number >= 0) & (number < sets) & (number == np.floor(number)))
        self._refuse(unfit, lambda tree: self._error(tree, _UNFIT), trees.first_node)

    def _refuse(
        self,
        bad: NDArray[np.bool_],
        error: Callable[[int], ModelError],
        begins: NDArray[np.int64] | None = None,
    ) -> None:
        """Raises ``error`` of the first tree with something bad. ``begins``: of each tree's items; None: one each."""
        if bad.any():
            first = int(np.argmax(bad))
            raise error(first if begins is None else int(np.searchsorted(begins, first, side="right")) - 1)

    def _where(self, tree: int) -> str:
        return f"{self._source}, tree {tree}"

    def _error(self, tree: int, cause: str) -> ModelError:
        return damaged(self._where(tree), cause)


def _begins(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where so many each begin, one behind the other, and where the last end."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


@kernel(cache=True)
def no_tree(first_node, first_leaf, left, right, seen):  # type: ignore[no-untyped-def]
    """The first tree whose children form none: every node but the root, and every leaf, is the child of exactly one
    node with a lower number, as LightGBM numbers them. -1: none. ``seen``: one a node and leaf, all false.
    """
    nodes = first_node[-1]
    for tree in range(len(first_node) - 1):
        own, leaves = first_node[tree], first_leaf[tree + 1] - first_leaf[tree]
        inner = first_node[tree + 1] - own
        for node in range(2 * inner):
            parent = node >> 1
            child = np.int64(right[own + parent] if node & 1 else left[own + parent])
            if child >= inner or child < -leaves or (child >= 0 and child <= parent):
                return tree
            place = own + child if child >= 0 else nodes + first_leaf[tree] + ~child
            if seen[place]:
                return tree
            seen[place] = True
    return -1
