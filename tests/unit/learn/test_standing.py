"""The baselines that go on beside a model say what those of the report say."""

import msgspec
import numpy as np
import pytest

from hft_engine.learn.baselines import BASELINES, Question
from hft_engine.learn.standing import Standing, fit_standing

NAMES = ("a", "b", "c")


def data(classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(classes)
    rows = random.normal(size=(600, 3)) * [1.0, 5.0, 0.1]
    rows[random.random(rows.shape) < 0.05] = np.nan
    score = np.nan_to_num(rows[:, 0]) + random.normal(size=600) * 0.5
    return rows, np.digitize(score, np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1]))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", ["majority", "logistic"])
def test_it_says_what_the_report_s_baseline_says(classes: int, name: str) -> None:
    rows, labels = data(classes)
    standing = fit_standing(rows[:400], labels[:400], NAMES, classes)
    read = msgspec.json.decode(msgspec.json.encode(standing), type=Standing)
    question = Question(rows[:400], labels[:400], rows[:400, 0], rows[400:], rows[400:, 0], classes)
    expected = BASELINES[name](question)
    np.testing.assert_allclose(read.probabilities(rows[400:])[name], expected, atol=1e-6)


def test_a_class_that_was_never_seen_is_hardly_ever_foretold() -> None:
    rows, labels = data(2)
    standing = fit_standing(rows, labels * 2, NAMES, 4)
    chances = standing.probabilities(rows)["logistic"]
    assert chances.shape == (600, 4)
    assert chances[:, [1, 3]].max() < 1e-3
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
