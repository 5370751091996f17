"""Splits that do not let the future in: walk-forward, and k folds, both purged and embargoed.

A label looks ahead: that of a row is known only at ``known_ns``. A training row is *purged* where its label was not yet
known when the test begins (its span reaches into the test), and after a test an *embargo* keeps out rows whose features
still remember it. Lopez de Prado, "Advances in Financial Machine Learning" (2018), sections 7.4.1 and 7.4.2.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Fold(NamedTuple):
    """Indices of rows. ``purged``: rows that would have been learned from, but for their labels or the embargo."""

    train: np.ndarray
    test: np.ndarray
    purged: int


def walk_forward(ts_ns: np.ndarray, known_ns: np.ndarray, folds: int, embargo_ns: int = 0) -> Iterator[Fold]:
    """``folds`` tests one after the other in time, each learned from all that was known ``embargo_ns`` before it.

    ``ts_ns`` int64[n]: when a row's features were known; ``known_ns``: when its label was. The rows' times are cut into
    ``folds`` + 1 parts of as many rows; the first is only learned from. Rows of one time stay together.
    """
    edges = _edges(ts_ns, folds + 1)
    for begin, end in pairwise(edges[1:]):
        test = (ts_ns >= begin) & (ts_ns < end)
        before = ts_ns < begin
        train = before & (known_ns < begin - embargo_ns)
        yield Fold(np.flatnonzero(train), np.flatnonzero(test), int(before.sum() - train.sum()))


def purged_k_fold(ts_ns: np.ndarray, known_ns: np.ndarray, folds: int, embargo_ns: int = 0) -> Iterator[Fold]:
    """Each part of the time is the test once; learned from before *and after* it, where no label or embargo overlaps.

    It uses more data than a walk forward and is no picture of trading: use it to compare, not to promise.
    """
    edges = _edges(ts_ns, folds)
    for begin, end in pairwise(edges):
        test = (ts_ns >= begin) & (ts_ns < end)
        tested_until = max(int(known_ns[test].max(initial=begin)), end - 1)
        train = (known_ns < begin) | (ts_ns > tested_until + embargo_ns)
        train &= ~test
        yield Fold(np.flatnonzero(train), np.flatnonzero(test), int((~test).sum() - train.sum()))


def _edges(ts_ns: np.ndarray, parts: int) -> np.ndarray:
    """int64[parts + 1]: times that part the rows into as many each; the last lies behind them all."""
    ordered = np.sort(ts_ns)
    inner = ordered[[len(ordered) * part // parts for part in range(parts)]]
    return np.append(inner, ordered[-1] + 1)
