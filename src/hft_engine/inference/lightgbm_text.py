"""LightGBM's native text format, read into plain arrays without LightGBM and without pickle.

The format is that of ``Booster.save_model`` in LightGBM 3 and 4 (``version=v3`` and ``version=v4``): a
header of ``key=value`` lines, one block of such lines a tree, ``end of trees``, then remarks that do not
change a prediction. What would change one and is not understood is refused.
"""

from pathlib import Path

import numpy as np
from msgspec import Struct

from hft_engine.inference.errors import ModelError, damaged
from hft_engine.inference.model_lines import Lines
from hft_engine.inference.model_trees import KEYS, Trees, read_trees

MODEL_BYTES_MAX = 256 * 1024 * 1024  # about 70,000 trees of 31 leaves; more is a wrong file, not a model
VERSIONS = ("v3", "v4")
SMALLEST = b"""tree
version=v4
num_class=1
num_tree_per_iteration=1
max_feature_idx=0
feature_names=x

Tree=0
num_leaves=2
num_cat=0
split_feature=0
threshold=0.5
decision_type=2
left_child=-1
right_child=-2
leaf_value=-1.5 1

end of trees
"""


class Objective(Struct, frozen=True):
    """What turns raw scores into outputs. An empty name (custom objective) leaves them as they are."""

    name: str = ""
    sigmoid: float = 1.0
    sqrt: bool = False


class Ensemble(Struct, frozen=True, eq=False):
    """A whole model. Tree ``i`` adds to output ``i % trees_per_iteration``."""

    version: str
    num_class: int
    trees_per_iteration: int
    objective: Objective
    average_output: bool  # random forest: the sums are divided by the number of iterations
    feature_names: tuple[str, ...]
    trees: Trees


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
    _check_text(data, source)
    head, body, tail = _sections(data, source)
    header = _Header(head.decode(), f"{source}, header")
    _check_tail(tail.decode(), source)
    lines = Lines(body, KEYS)
    _check_sizes(lines, header, source)
    names = tuple(header.text("feature_names").split(" "))
    return _checked(_ensemble(header, names, read_trees(lines, source, len(names))), header, source)


def _check_text(data: bytes, source: str) -> None:
    if not data.startswith(b"tree\n"):
        raise ModelError(
            f"{source} is not a LightGBM text model (its first line is not 'tree'); "
            "write one with Booster.save_model(path)"
        )
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{source} is damaged at byte {error.start}; save or copy the model again"
        ) from error


def _sections(data: bytes, source: str) -> tuple[bytes, bytes, bytes]:
    """(header, trees, what follows)."""
    body, end, tail = data.partition(b"\nend of trees\n")
    if not end:
        raise ModelError(
            f"{source} is truncated: there is no 'end of trees' line; save or copy the model again"
        )
    header, first, trees = body.partition(b"\nTree=")
    if not first:
        raise ModelError(f"{source} has no trees; train it for at least one iteration")
    return header, b"Tree=" + trees + b"\n", tail


def _check_tail(tail: str, source: str) -> None:
    for line in tail.splitlines():
        key, _, value = line.partition(":")
        if key == "pandas_categorical" and value not in ("null", "[]"):
            raise ModelError(
                f"{source} was trained on pandas categories, whose codes only that data frame knows; "
                "train on numeric columns with categorical_feature=[...] instead"
            )


def _check_sizes(lines: Lines, header: "_Header", source: str) -> None:
    """The trees must be as long as the header promises."""
    if "tree_sizes" in header and header.whole("tree_sizes") != np.diff(lines.starts).tolist():
        raise ModelError(
            f"{source} is damaged: its trees do not have the sizes its header gives; "
            "save or copy the model again, as binary, line ends unchanged"
        )


class _Header:
    """Its ``key=value`` lines. Every error names the section and the key."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
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

    def number(self, key: str) -> int:
        try:
            return int(self.text(key))
        except ValueError as error:
            raise self.error(f"{key!r} is not a number") from error

    def whole(self, key: str) -> list[int]:
        try:
            return list(map(int, self.text(key).split()))
        except ValueError as error:
            raise self.error(f"{key!r} holds something that is not a number") from error

    def error(self, cause: str) -> ModelError:
        return damaged(self._where, cause)


def _ensemble(header: _Header, names: tuple[str, ...], trees: Trees) -> Ensemble:
    return Ensemble(
        version=header.text("version"),
        num_class=header.number("num_class"),
        trees_per_iteration=header.number("num_tree_per_iteration"),
        objective=_objective(header),
        average_output="average_output" in header,
        feature_names=names,
        trees=trees,
    )


def _objective(header: _Header) -> Objective:
    """From a line such as ``objective=binary sigmoid:1``; no such line means raw scores."""
    words = header.text("objective").split() if "objective" in header else [""]
    options = dict(word.partition(":")[::2] for word in words[1:])
    try:
        return Objective(words[0], float(options.get("sigmoid", "1")), "sqrt" in options)
    except (ValueError, IndexError) as error:
        raise header.error("'objective' cannot be read") from error


def _checked(ensemble: Ensemble, header: _Header, source: str) -> Ensemble:
    if ensemble.version not in VERSIONS:
        raise ModelError(
            f"{source} has format version {ensemble.version!r}, known are {', '.join(VERSIONS)}; "
            "save the model with LightGBM 3 or 4"
        )
    width = header.number("max_feature_idx") + 1
    if width != len(ensemble.feature_names):
        raise header.error(f"{len(ensemble.feature_names)} feature names for {width} features")
    if ensemble.trees_per_iteration < 1 or len(ensemble.trees) % ensemble.trees_per_iteration:
        raise header.error(f"{len(ensemble.trees)} trees are no whole number of iterations")
    return ensemble
