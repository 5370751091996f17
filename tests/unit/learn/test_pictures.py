"""The pictures of a card: numbers on axes are round, one name has one colour, an empty bin is no point."""

import re

import numpy as np

from hft_engine.learn import pictures
from hft_engine.learn.card import reliability


def test_marks_are_round_numbers_within_the_axis() -> None:
    np.testing.assert_allclose(pictures.ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert pictures.ticks(-0.44, 4.63) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert pictures.ticks(2.0, 2.0) == [2.0]
    for low, high in ((-0.0003, 0.0011), (-7.0, 0.0), (0.0, 1e6)):
        found = pictures.ticks(low, high)
        assert 2 <= len(found) <= 6
        assert low <= found[0] and found[-1] <= high


def test_a_name_has_the_same_colour_in_every_picture() -> None:
    line = np.linspace(0, 1, 5)
    square = pictures.square({"model": (line, line), "logistic": (line, line)}, "a", "b", diagonal=True)
    time = pictures.over_time(np.arange(5.0), {"logistic": line, "model": line}, "sum")
    for picture in (square, time):
        for name in ("model", "logistic"):
            assert re.search(rf'fill="{re.escape(pictures.colour_of(name, 9))}"/><text[^>]*>{name}', picture)


def test_a_picture_of_rare_events_is_zoomed_to_them() -> None:
    rare = np.array([0.01, 0.04])
    picture = pictures.square({"model": (rare, rare)}, "a", "b", diagonal=True, zoomed=True)
    assert ">0.05<" in picture and ">1<" not in picture


def test_a_bin_without_a_row_is_no_point_of_a_calibration_curve() -> None:
    score = np.array([0.0, 0.0, 0.0, 1.0, 1.0])  # two tenths begin within the gap
    foretold, happened = reliability(score, score > 0.5)
    assert (foretold.tolist(), happened.tolist()) == ([0.0, 1.0], [0.0, 1.0])
    assert len(reliability(np.full(10, 0.3), np.ones(10))[0]) == 1
