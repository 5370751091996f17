"""Reading LightGBM's text format: what is taken, and what is refused with which words."""

from pathlib import Path

import numpy as np
import pytest
from boosters import CATEGORICAL, FEATURES, booster, label_of, text_of, training_rows

from hft_engine.inference.errors import ModelError
from hft_engine.inference.lightgbm_text import SMALLEST, parse_model, read_model_bytes
from hft_engine.inference.model_lines import Lines

SEED = 5


@pytest.fixture(scope="module")
def text() -> str:
    rows = training_rows(SEED)
    label = (label_of(rows, SEED) > 0).astype(float)
    return text_of(booster(rows, label, trees=4, objective="binary", sigmoid=0.5)).decode()


def test_header_and_trees_are_read(text: str) -> None:
    ensemble = parse_model(text.encode(), "m")
    assert ensemble.version == "v4"
    assert (ensemble.objective.name, ensemble.objective.sigmoid) == ("binary", 0.5)
    assert (ensemble.num_class, ensemble.trees_per_iteration, ensemble.average_output) == (1, 1, False)
    assert ensemble.feature_names == tuple(f"Column_{i}" for i in range(FEATURES))
    assert len(ensemble.trees) == 4


def test_sets_of_categories_are_read() -> None:
    rows = training_rows(SEED, categorical=True)
    model = booster(rows, label_of(rows, SEED), categorical_feature=CATEGORICAL)
    trees = parse_model(text_of(model), "m").trees
    assert len(trees.words) and len(trees.set_words) == trees.first_set[-1]


def test_a_truncated_file_is_refused_wherever_it_is_cut(text: str) -> None:
    data = text.encode()
    end = data.index(b"\nend of trees\n") + len(b"\nend of trees")
    for cut in [*range(0, 120), *np.linspace(120, end, 150).astype(int).tolist(), end]:
        with pytest.raises(ModelError, match="m"):
            parse_model(data[:cut], "m")


def test_what_follows_the_trees_changes_no_prediction_and_may_be_missing(text: str) -> None:
    cut = text.index("\nend of trees\n") + len("\nend of trees\n")
    assert len(parse_model(text[:cut].encode(), "m").trees) == 4


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_file_is_refused_or_read_but_never_crashes(text: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    end = text.index("\nend of trees\n")
    for _ in range(60):
        data = bytearray(text.encode())
        data[random.integers(0, end)] = random.integers(0, 256)
        try:
            parse_model(bytes(data), "m")
        except ModelError as error:
            assert "m" in str(error)


def _changed(text: str, key: str, value: str) -> bytes:
    """The model with the first ``key=`` line replaced and no sizes to check."""
    lines = [line for line in text.split("\n") if not line.startswith("tree_sizes=")]
    first = next(i for i, line in enumerate(lines) if line.startswith(key + "="))
    lines[first] = f"{key}={value}"
    return "\n".join(lines).encode()


@pytest.mark.parametrize("write", ["%.17g", "%r", "%.3e", "%.0f", "%.8f"])
def test_numbers_are_those_that_python_reads(write: str) -> None:
    random = np.random.default_rng(SEED)
    # Every size, subnormal ones too.
    bits = random.integers(0, 2**64, 3_000, np.uint64).view(np.float64)
    near = random.normal(0.0, 1.0, 3_000)
    edges = [0.0, -0.0, 5e-324, 1.7976931348623157e308, 1e15 - 1, 1e15, 2.0**53 + 2, float("inf")]
    words = [write % value for value in [*bits[np.isfinite(bits)].tolist(), *near.tolist(), *edges]]
    lines = Lines(f"Tree=0\nvalue={' '.join(words)}\n".encode(), ("value",))
    values, bad = lines.numbers("value", np.array([len(words)]))
    assert bad == -1
    assert values.tobytes() == np.array([float(word) for word in words]).tobytes()


@pytest.mark.parametrize(
    "word", ["0x10", "1_0", "1,5", "--1", "+-1", "-", "1e", "e5", "1.5.2", "1-", "x", "½"]
)
def test_a_word_that_is_no_number_is_found(word: str) -> None:
    text = f"Tree=0\nvalue=1 2\nTree=1\nother=7\nvalue=3 {word}\n"
    assert Lines(text.encode(), ("value",)).numbers("value", np.array([2, 2]))[1] == 1


def test_lines_are_found_by_their_whole_keys_and_the_last_of_two_counts() -> None:
    lines = Lines(b"Tree=0\nkeys=1\nke=2\nkey=3\nno line\n=4\nkey=5\r\nTree=1\nkey=", ("key", "none"))
    assert (lines.value("key", 0), lines.value("key", 1), lines.value("none", 0)) == ("5\r", "", None)
    assert lines.starts.tolist() == [0, lines.text.index(b"Tree=1"), len(lines.text)]
    assert lines.has("key").tolist() == [True, True]
    assert lines.numbers("key", np.array([1, 0]))[0].tolist() == [5.0]


def test_the_model_that_kernels_are_warmed_with_is_one() -> None:
    (tree,) = parse_model(SMALLEST, "m").trees
    assert tree.leaf_value.tolist() == [-1.5, 1.0]


@pytest.mark.parametrize(
    ("key", "value", "cause"),
    [
        ("version", "v9", "format version 'v9'"),
        ("is_linear", "1", "linear_tree=False"),
        ("num_leaves", "0", "'num_leaves' is 0"),
        ("num_leaves", "many", "'num_leaves' is not a number"),
        ("num_leaves", "3", "values, not"),
        ("num_leaves", "9e15", "'leaf_value' has .* values, not 9000000000000000"),
        ("num_cat", "-1", "'num_cat' is -1"),
        ("num_cat", "3", "'cat_boundaries' is missing"),
        ("left_child", "99999999999 " * 4, "values, not"),
        ("leaf_value", "1 2 x", "'leaf_value' holds something that is not a number"),
        ("num_tree_per_iteration", "3", "no whole number of iterations"),
        ("num_tree_per_iteration", "0", "no whole number of iterations"),
        ("max_feature_idx", "3", "8 feature names for 4 features"),
        ("objective", "", "'objective' cannot be read"),
        ("objective", "binary sigmoid:x", "'objective' cannot be read"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(text: str, key: str, value: str, cause: str) -> None:
    with pytest.raises(ModelError, match=cause):
        parse_model(_changed(text, key, value), "m")


@pytest.mark.parametrize(
    ("key", "index", "value", "cause"),
    [
        ("left_child", 0, "0", "do not form a tree"),
        ("right_child", 1, "99", "do not form a tree"),
        ("left_child", 2, "-99", "do not form a tree"),
        ("split_feature", 1, "8", "names a feature outside 0..7"),
        ("split_feature", 1, "-1", "names a feature outside 0..7"),
        ("decision_type", 0, "1", "sets of categories do not fit"),
        ("decision_type", 0, "12", "a kind of node this version does not know"),
        ("decision_type", 0, "16", "a kind of node this version does not know"),
        ("left_child", 1, "2147483648", "'left_child' holds something that is not a number in range"),
        ("decision_type", 0, "2.5", "'decision_type' holds something that is not a number in range"),
        ("decision_type", 0, "-1", "'decision_type' holds something that is not a number in range"),
        ("leaf_value", 3, "nan", "not a number"),
        ("leaf_value", 3, "inf", "not a number"),
        ("threshold", 3, "nan", "not a number"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(
    text: str, key: str, index: int, value: str, cause: str
) -> None:
    line = next(line for line in text.split("\n") if line.startswith(key + "="))
    words = line.partition("=")[2].split()
    words[index] = value
    with pytest.raises(ModelError, match=cause):
        parse_model(_changed(text, key, " ".join(words)), "m")


def test_a_node_that_is_its_own_child_is_refused(text: str) -> None:
    lines = dict(line.split("=", 1) for line in reversed(text.split("\n")) if "=" in line)
    sides = {key: lines[key].split() for key in ("left_child", "right_child")}
    links = [(key, i, int(word)) for key, words in sides.items() for i, word in enumerate(words)]
    above = next(link for link in links if any(link[2] == other[1] and other[2] > 0 for other in links))
    below = next(link for link in links if link[1] == above[2] and link[2] > 0)
    sides[above[0]][above[1]], sides[below[0]][below[1]] = str(below[2]), str(above[2])
    changed = _changed(text, "left_child", " ".join(sides["left_child"])).decode()
    with pytest.raises(ModelError, match="do not form a tree"):
        parse_model(_changed(changed, "right_child", " ".join(sides["right_child"])), "m")


def test_linear_trees_of_lightgbm_are_refused() -> None:
    rows = training_rows(SEED)
    model = booster(rows, label_of(rows, SEED), trees=3, linear_tree=True)
    with pytest.raises(ModelError, match="linear, which is not supported"):
        parse_model(text_of(model), "m")


def test_pandas_categories_are_refused(text: str) -> None:
    with pytest.raises(ModelError, match="pandas categories"):
        parse_model(text.replace("pandas_categorical:null", 'pandas_categorical:[["a"]]').encode(), "m")


def test_trees_of_other_sizes_than_promised_are_refused(text: str) -> None:
    damaged = text.replace("shrinkage=", "shrinkage=0", 1)
    with pytest.raises(ModelError, match="do not have the sizes"):
        parse_model(damaged.encode(), "m")


def test_a_model_without_trees_is_refused(text: str) -> None:
    header = text[: text.index("\nTree=0")]
    with pytest.raises(ModelError, match="has no trees"):
        parse_model((header + "\nend of trees\n").encode(), "m")


@pytest.mark.parametrize("data", [b"", b"\x80\x04pickle", b"{}", b"tree\n\xff\xfe"])
def test_another_kind_of_file_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"m is (not a LightGBM text model|damaged)"):
        parse_model(data, "m")


def test_a_missing_file_is_named_with_the_key_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.txt cannot be read .* inference\.model"):
        read_model_bytes(tmp_path / "nowhere.txt")


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_model_bytes(tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    with pytest.raises(ModelError, match="the limit is"):
        read_model_bytes(path)
