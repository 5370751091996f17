"""Splits: no label reaches into a test, whatever its span; without spans they are scikit-learn's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold, TimeSeriesSplit

from hft_engine.learn.splits import purged_k_fold, walk_forward


@given(st.integers(30, 200), st.integers(2, 6), st.integers(0, 9), st.integers(0, 20), st.integers(0, 99))
def test_nothing_learned_was_unknown_when_the_test_began(
    rows: int, folds: int, embargo: int, span: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    ts = np.sort(random.integers(0, 300, rows))
    known = ts + random.integers(0, span + 1, rows)
    tested: list[int] = []
    for fold in walk_forward(ts, known, folds, embargo):
        begin = ts[fold.test].min() if len(fold.test) else 10**9
        assert np.all(known[fold.train] < begin - embargo)
        assert fold.purged == np.count_nonzero(ts < begin) - len(fold.train) or not len(fold.test)
        tested += fold.test.tolist()
    assert len(tested) == len(set(tested))
    for fold in purged_k_fold(ts, known, folds, embargo):
        for row in fold.train[:: max(1, len(fold.train) // 20)]:
            before = known[row] < ts[fold.test].min(initial=10**9)
            after = ts[row] > known[fold.test].max(initial=-1) + embargo
            assert before or after


def test_without_spans_they_are_those_of_scikit_learn() -> None:
    ts = np.arange(60)
    for ours, (train, test) in zip(walk_forward(ts, ts, 5), TimeSeriesSplit(5).split(ts), strict=True):
        np.testing.assert_array_equal(ours.train, train)
        np.testing.assert_array_equal(ours.test, test)
        assert ours.purged == 0
    for ours, (train, test) in zip(purged_k_fold(ts, ts, 5), KFold(5).split(ts), strict=True):
        np.testing.assert_array_equal(ours.train, train)
        np.testing.assert_array_equal(ours.test, test)


def test_a_gap_is_what_a_span_purges() -> None:
    ts = np.arange(60)
    for ours, (train, test) in zip(
        walk_forward(ts, ts + 3, 5), TimeSeriesSplit(5, gap=3).split(ts), strict=True
    ):
        np.testing.assert_array_equal(ours.train, train)
        np.testing.assert_array_equal(ours.test, test)
        assert ours.purged == 3
