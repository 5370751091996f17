"""Labels against references: scipy's peaks, and barriers walked in plain Python."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import find_peaks, peak_prominences

from hft_engine.learn import labels as lb


def walk(seed: int, rows: int = 400) -> np.ndarray:
    return 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, rows)))


@given(st.lists(st.integers(0, 6), min_size=3, max_size=80), st.integers(1, 90))
def test_prominences_are_those_of_scipy(values: list[int], reach: int) -> None:
    series = np.array(values, np.float64)
    places, _ = find_peaks(series)
    heights = lb.peak_prominences(series, reach)
    expected = np.zeros(len(series))
    if len(places):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a plateau wider than the window
            expected[places] = peak_prominences(series, places, wlen=2 * reach + 1)[0]
    np.testing.assert_array_equal(heights, expected)


@pytest.mark.parametrize("seed", range(3))
def test_rows_around_a_prominent_peak_are_marked(seed: int) -> None:
    close = walk(seed)
    found = lb.peaks(close, np.full(len(close), 0.02), 50, 2, 5)
    places, _ = find_peaks(np.log(close), prominence=0.02, wlen=101)
    known = found.known >= 0
    expected = np.zeros(len(close), np.int64)
    for place in places:
        expected[max(0, place - 2) : place + 6] = 1
    assert 0 < expected[known].mean() < 1
    np.testing.assert_array_equal(found.classes[known], expected[known])
    assert np.all(found.classes[~known] == lb.UNKNOWN)


def test_what_comes_after_a_label_was_known_does_not_change_it() -> None:
    close = walk(5)
    whole = lb.peaks(close, np.full(len(close), 0.02), 30, 2, 5)
    for end in range(60, 400, 37):
        part = lb.peaks(close[:end], np.full(end, 0.02), 30, 2, 5)
        settled = (whole.known >= 0) & (whole.known < end)
        assert settled.any()
        np.testing.assert_array_equal(part.classes[settled[:end]], whole.classes[settled])


def barrier_by_hand(high, low, close, width, horizon):  # type: ignore[no-untyped-def]
    for i in range(len(close)):
        label, known = lb.UNKNOWN, -1
        later = range(i + 1, min(i + horizon, len(close) - 1) + 1)
        for j in later:
            if low[j] <= close[i] * np.exp(-width[i]):
                label, known = lb.DOWN, j
                break
            if high[j] >= close[i] * np.exp(width[i]):
                label, known = lb.UP, j
                break
        if known < 0 and i + horizon < len(close):
            label, known = lb.NEITHER, i + horizon
        yield label, known


@pytest.mark.parametrize("seed", range(3))
def test_the_barrier_that_is_touched_first_is_the_label(seed: int) -> None:
    close = walk(seed, 300)
    high, low, width = close * 1.004, close * 0.996, np.full(300, 0.02)
    found = lb.triple_barrier(high, low, close, width, 8)
    expected = np.array(list(barrier_by_hand(high, low, close, width, 8)))
    np.testing.assert_array_equal(np.column_stack(found), expected)
    assert {lb.DOWN, lb.NEITHER, lb.UP} <= set(found.classes.tolist())


def test_a_row_that_touches_both_barriers_counts_as_a_loss() -> None:
    close = np.array([100.0, 100.0, 100.0])
    found = lb.triple_barrier(close * 1.5, close * 0.5, close, np.full(3, 0.01), 1)
    assert found.classes[0] == lb.DOWN


def test_the_horizon_s_move_beyond_the_band_is_the_label() -> None:
    close = np.array([100.0, 101.0, 100.0, 90.0, 100.0])
    found = lb.fixed_horizon(close, 2, np.array([0.02, 0.02, np.nan, 0.0, 0.0]))
    assert found.classes.tolist() == [lb.NEITHER, lb.DOWN, lb.UNKNOWN, lb.UNKNOWN, lb.UNKNOWN]
    assert found.known.tolist() == [2, 3, -1, -1, -1]
