"""LightGBM's native text format, read into plain arrays without LightGBM and without pickle.

The format is that of ``Booster.save_model`` in LightGBM 3 and 4 (``version=v3`` and ``version=v4``): a
header of ``key=value`` lines, one block of such lines a tree, ``end of trees``, then remarks that do not
change a prediction. What would change one and is not understood is refused.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from hft_engine.inference.errors import ModelError

MODEL_BYTES_MAX = 256 * 1024 * 1024  # about 70,000 trees of 31 leaves; more is a wrong file, not a model
VERSIONS = ("v3", "v4")

CATEGORICAL_MASK = 1  # bits of ``decision_type``
DEFAULT_LEFT_MASK = 2
MISSING_SHIFT = 2
MISSING_MASK = 3
MISSING_NONE, MISSING_ZERO, MISSING_NAN = 0, 1, 2

_T = TypeVar("_T")


class Objective(Struct, frozen=True):
    """What turns raw scores into outputs. An empty name (custom objective) leaves them as they are."""

    name: str = ""
    sigmoid: float = 1.0
    sqrt: bool = False


class Tree(Struct, frozen=True, eq=False):
    """One tree with n leaves and n - 1 inner nodes. A child below zero is leaf ``~child``.

    ``threshold`` of a categorical node is the index of its bit set: the words
    ``cat_threshold[cat_boundaries[k]:cat_boundaries[k + 1]]``.
    """

    leaf_value: NDArray[np.float64]
    split_feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    decision_type: NDArray[np.uint8]
    left_child: NDArray[np.int32]
    right_child: NDArray[np.int32]
    cat_boundaries: NDArray[np.int64]
    cat_threshold: NDArray[np.uint32]


class Ensemble(Struct, frozen=True, eq=False):
    """A whole model. Tree ``i`` adds to output ``i % trees_per_iteration``."""

    version: str
    num_class: int
    trees_per_iteration: int
    objective: Objective
    average_output: bool  # random forest: the sums are divided by the number of iterations
    feature_names: tuple[str, ...]
    trees: tuple[Tree, ...]


def read_model_bytes(path: Path) -> bytes:
    """The file's content. Raises ModelError where there is none or it is too large."""
    try:
        size = path.stat().st_size
        if size > MODEL_BYTES_MAX:
            raise ModelError(f"model {path} has {size} bytes, the limit is {MODEL_BYTES_MAX}: is it a model?")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"model {path} cannot be read ({error.strerror}); check inference.model in the configuration"
        ) from error


def parse_model(data: bytes, source: str) -> Ensemble:
    """The ensemble in ``data``; ``source`` names it in errors. Raises ModelError."""
    text = _decoded(data, source)
    header_text, tree_text, tail = _sections(text, source)
    header = _Fields(header_text, f"{source}, header")
    _check_tail(tail, source)
    blocks = _tree_blocks(tree_text, header, source)
    names = tuple(header.text("feature_names").split(" "))
    trees = tuple(_tree(_Fields(block, f"{source}, tree {i}"), len(names)) for i, block in enumerate(blocks))
    return _checked(_ensemble(header, names, trees), header, source)


def _decoded(data: bytes, source: str) -> str:
    if not data.startswith(b"tree\n"):
        raise ModelError(
            f"{source} is not a LightGBM text model (its first line is not 'tree'); "
            "write one with Booster.save_model(path)"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{source} is damaged at byte {error.start}; save or copy the model again"
        ) from error


def _sections(text: str, source: str) -> tuple[str, str, str]:
    """(header, tree blocks, what follows)."""
    body, end, tail = text.partition("\nend of trees\n")
    if not end:
        raise ModelError(
            f"{source} is truncated: there is no 'end of trees' line; save or copy the model again"
        )
    header, first, trees = body.partition("\nTree=")
    if not first:
        raise ModelError(f"{source} has no trees; train it for at least one iteration")
    return header, "Tree=" + trees + "\n", tail


def _check_tail(tail: str, source: str) -> None:
    for line in tail.splitlines():
        key, _, value = line.partition(":")
        if key == "pandas_categorical" and value not in ("null", "[]"):
            raise ModelError(
                f"{source} was trained on pandas categories, whose codes only that data frame knows; "
                "train on numeric columns with categorical_feature=[...] instead"
            )


def _tree_blocks(text: str, header: "_Fields", source: str) -> list[str]:
    """The text of each tree; their sizes must be those the header promises."""
    starts = _tree_starts(text)
    blocks = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    promised = header.array("tree_sizes", int, np.int64) if "tree_sizes" in header else None
    if promised is not None and [len(block) for block in blocks] != promised.tolist():
        raise ModelError(
            f"{source} is damaged: its trees do not have the sizes its header gives; "
            "save or copy the model again, as binary, line ends unchanged"
        )
    return blocks


def _tree_starts(text: str) -> list[int]:
    starts = [0]
    while (found := text.find("\nTree=", starts[-1])) >= 0:
        starts.append(found + 1)
    return starts


class _Fields:
    """The ``key=value`` lines of one section. Every error names the section and the key."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self._values = dict(self._pair(line) for line in text.split("\n") if line)

    @staticmethod
    def _pair(line: str) -> tuple[str, str]:
        key, _, value = line.partition("=")
        return key, value

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def text(self, key: str) -> str:
        if key not in self._values:
            raise self.error(f"{key!r} is missing")
        return self._values[key]

    def number(self, key: str, kind: Callable[[str], _T]) -> _T:
        try:
            return kind(self.text(key))
        except ValueError as error:
            if isinstance(error, ModelError):
                raise
            raise self.error(f"{key!r} is not a number") from error

    def array(self, key: str, kind: Callable[[str], float], dtype: type, size: int | None = None) -> NDArray:
        try:
            values: NDArray = np.array([kind(word) for word in self.text(key).split()], dtype)
        except (ValueError, OverflowError) as error:
            if isinstance(error, ModelError):
                raise
            raise self.error(f"{key!r} holds something that is not a number in range") from error
        if size is not None and len(values) != size:
            raise self.error(f"{key!r} has {len(values)} values, not {size}")
        return values

    def error(self, cause: str) -> ModelError:
        return ModelError(f"{self.where}: {cause}; the file is damaged, save or copy the model again")


def _tree(fields: _Fields, feature_count: int) -> Tree:
    if "is_linear" in fields and fields.text("is_linear") != "0":
        raise ModelError(f"{fields.where} is linear, which is not supported; train with linear_tree=False")
    leaves = fields.number("num_leaves", int)
    if leaves < 1:
        raise fields.error(f"'num_leaves' is {leaves}")
    tree = _tree_arrays(fields, leaves)
    _check_numbers(tree, fields)
    _check_children(tree, fields)
    _check_features(tree, fields, feature_count)
    return tree


def _tree_arrays(fields: _Fields, leaves: int) -> Tree:
    inner = leaves - 1

    def of_nodes(key: str, kind: Callable[[str], float], dtype: type) -> NDArray:
        return fields.array(key, kind, dtype, inner) if inner else np.empty(0, dtype)

    categorical = inner > 0 and fields.number("num_cat", int) > 0
    return Tree(
        leaf_value=fields.array("leaf_value", float, np.float64, leaves),
        split_feature=of_nodes("split_feature", int, np.int32),
        threshold=of_nodes("threshold", float, np.float64),
        decision_type=of_nodes("decision_type", int, np.uint8),
        left_child=of_nodes("left_child", int, np.int32),
        right_child=of_nodes("right_child", int, np.int32),
        cat_boundaries=fields.array("cat_boundaries", int, np.int64)
        if categorical
        else np.zeros(1, np.int64),
        cat_threshold=fields.array("cat_threshold", int, np.uint32)
        if categorical
        else np.empty(0, np.uint32),
    )


def _check_numbers(tree: Tree, fields: _Fields) -> None:
    if not np.isfinite(tree.leaf_value).all() or np.isnan(tree.threshold).any():  # infinite: only NaN apart
        raise fields.error("a leaf value or threshold is not a number")
    if (((tree.decision_type >> MISSING_SHIFT) & MISSING_MASK) > MISSING_NAN).any() or (
        tree.decision_type >= 16
    ).any():
        raise ModelError(
            f"{fields.where}: 'decision_type' holds a kind of node this version does not know; "
            "save the model with LightGBM 3 or 4"
        )


def _check_children(tree: Tree, fields: _Fields) -> None:
    """Every inner node but the root, and every leaf, is the child of exactly one node; no cycles."""
    inner = len(tree.threshold)
    children = np.concatenate([tree.left_child, tree.right_child])
    expected = np.concatenate([np.arange(1, inner), ~np.arange(inner + 1)]) if inner else children
    if not np.array_equal(np.sort(children), np.sort(expected)):
        raise fields.error("its children do not form a tree")
    parents = np.tile(np.arange(inner), 2)
    if (parents[children >= 0] >= children[children >= 0]).any():  # LightGBM numbers a child after its parent
        raise fields.error("its children do not form a tree")


def _check_features(tree: Tree, fields: _Fields, feature_count: int) -> None:
    if ((tree.split_feature < 0) | (tree.split_feature >= feature_count)).any():
        raise fields.error(f"'split_feature' names a feature outside 0..{feature_count - 1}")
    sets = tree.threshold[(tree.decision_type & CATEGORICAL_MASK) != 0]
    bounds = tree.cat_boundaries
    ordered = len(bounds) > 0 and bounds[0] == 0 and (np.diff(bounds) > 0).all()
    if (
        not ordered
        or bounds[-1] != len(tree.cat_threshold)
        or not ((sets >= 0) & (sets < len(bounds) - 1) & (sets == np.floor(sets))).all()
    ):
        raise fields.error("its sets of categories do not fit its nodes")


def _ensemble(header: _Fields, names: tuple[str, ...], trees: tuple[Tree, ...]) -> Ensemble:
    return Ensemble(
        version=header.text("version"),
        num_class=header.number("num_class", int),
        trees_per_iteration=header.number("num_tree_per_iteration", int),
        objective=_objective(header),
        average_output="average_output" in header,
        feature_names=names,
        trees=trees,
    )


def _objective(header: _Fields) -> Objective:
    """From a line such as ``objective=binary sigmoid:1``; no such line means raw scores."""
    words = header.text("objective").split() if "objective" in header else [""]
    options = dict(word.partition(":")[::2] for word in words[1:])
    try:
        return Objective(words[0], float(options.get("sigmoid", "1")), "sqrt" in options)
    except (ValueError, IndexError) as error:
        raise header.error("'objective' cannot be read") from error


def _checked(ensemble: Ensemble, header: _Fields, source: str) -> Ensemble:
    if ensemble.version not in VERSIONS:
        raise ModelError(
            f"{source} has format version {ensemble.version!r}, known are {', '.join(VERSIONS)}; "
            "save the model with LightGBM 3 or 4"
        )
    width = header.number("max_feature_idx", int) + 1
    if width != len(ensemble.feature_names):
        raise header.error(f"{len(ensemble.feature_names)} feature names for {width} features")
    if ensemble.trees_per_iteration < 1 or len(ensemble.trees) % ensemble.trees_per_iteration:
        raise header.error(f"{len(ensemble.trees)} trees are no whole number of iterations")
    return ensemble
