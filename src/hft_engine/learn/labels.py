"""Labels: what a model is to foretell, as compiled kernels over the closes of one series, oldest first.

Every label comes with ``known``: the row at whose end it was known. A sample may be learned from only after that row;
the splits (``learn.splits``) see to it. A row whose label never became known has the label ``UNKNOWN``.

* ``fixed_horizon``: where the close is so many rows later; up, down, or neither within a dead band.
* ``triple_barrier``: which of an upper, a lower and a time barrier is touched first. Lopez de Prado, "Advances in
  Financial Machine Learning" (2018), section 3.4.
* ``peaks``: a row near a local maximum of some prominence. The prominence is that of ``scipy.signal``: the height
  above the higher of the two valleys between the peak and the next higher ground, within a window.
"""

from typing import NamedTuple

import numpy as np

from hft_engine.kernel import kernel

UNKNOWN = -1
DOWN, NEITHER, UP = 0, 1, 2


class Labels(NamedTuple):
    """``classes`` int64[n]: the class, or UNKNOWN. ``known`` int64[n]: the row at whose end the class was known."""

    classes: np.ndarray
    known: np.ndarray


def fixed_horizon(close: np.ndarray, horizon: int, dead_band: np.ndarray) -> Labels:
    """DOWN, NEITHER or UP: ln(close ``horizon`` rows later / close) beyond ``dead_band[i]`` (float64[n], of ln price).

    Raises nothing: a row whose move or band is NaN is UNKNOWN.
    """
    labels = _empty(len(close))
    _fixed_horizon(_floats(close), horizon, _floats(dead_band), *labels)
    return labels


@kernel(cache=True)
def _fixed_horizon(
    close: np.ndarray, horizon: int, band: np.ndarray, classes: np.ndarray, known: np.ndarray
) -> None:
    for i in range(len(close) - horizon):
        moved = np.log(close[i + horizon] / close[i])
        if moved == moved and band[i] == band[i]:
            classes[i] = UP if moved > band[i] else (DOWN if moved < -band[i] else NEITHER)
            known[i] = i + horizon


def triple_barrier(
    high: np.ndarray, low: np.ndarray, close: np.ndarray, width: np.ndarray, horizon: int
) -> Labels:
    """UP or DOWN: the barrier at ln close[i] ± ``width[i]`` that a later row's high or low touches first, within
    ``horizon`` rows; NEITHER: none of them. A row that touches both counts as DOWN: nobody knows which came first.
    """
    labels = _empty(len(close))
    _triple_barrier(_floats(high), _floats(low), _floats(close), _floats(width), horizon, *labels)
    return labels


@kernel(cache=True)
def _triple_barrier(
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    width: np.ndarray,
    horizon: int,
    classes: np.ndarray,
    known: np.ndarray,
) -> None:
    rows = len(close)
    for i in range(rows):
        if not (close[i] > 0.0 and width[i] > 0.0):
            continue
        upper, lower = close[i] * np.exp(width[i]), close[i] * np.exp(-width[i])
        for j in range(i + 1, min(i + horizon + 1, rows)):
            if low[j] <= lower or high[j] >= upper:
                classes[i], known[i] = (DOWN if low[j] <= lower else UP), j
                break
        if known[i] < 0 and i + horizon < rows:
            classes[i], known[i] = NEITHER, i + horizon


def peaks(close: np.ndarray, prominence: np.ndarray, reach: int, before: int, after: int) -> Labels:
    """1 from ``before`` rows ahead of a peak to ``after`` rows behind it, else 0.

    A peak is a local maximum of ln close whose prominence within ``reach`` rows on either side is at least
    ``prominence[i]`` (float64[n], of ln price). Of a plateau the middle counts, rounded down.
    """
    labels = _empty(len(close))
    logs = np.log(_floats(close))
    heights = peak_prominences(logs, reach)
    _near_peaks(heights, _floats(prominence), reach, before, after, *labels)
    return labels


def peak_prominences(values: np.ndarray, reach: int) -> np.ndarray:
    """float64[n]: the prominence of each local maximum within ``reach`` rows on either side, 0 elsewhere.

    As ``scipy.signal.find_peaks`` and ``peak_prominences(values, peaks, wlen=2 * reach + 1)``.
    """
    heights = np.zeros(len(values))
    _prominences(_floats(values), reach, heights)
    return heights


@kernel(cache=True)
def _prominences(values: np.ndarray, reach: int, heights: np.ndarray) -> None:
    rows = len(values)
    i = 1
    while i < rows - 1:
        if values[i - 1] < values[i]:
            ahead = i + 1
            while ahead < rows - 1 and values[ahead] == values[i]:
                ahead += 1
            if values[ahead] < values[i]:
                at = (i + ahead - 1) // 2
                left = _valley(values, at, -1, max(0, at - reach))
                right = _valley(values, at, 1, min(rows - 1, at + reach))
                heights[at] = values[at] - max(left, right)
                i = ahead
        i += 1


@kernel(cache=True)
def _valley(values: np.ndarray, at: int, step: int, end: int) -> float:
    """The lowest value from ``at`` to ``end`` or to higher ground."""
    lowest = values[at]
    i = at
    while values[i] <= values[at]:
        lowest = min(lowest, values[i])
        if i == end:
            break
        i += step
    return lowest


@kernel(cache=True)
def _near_peaks(
    heights: np.ndarray,
    prominence: np.ndarray,
    reach: int,
    before: int,
    after: int,
    classes: np.ndarray,
    known: np.ndarray,
) -> None:
    rows = len(heights)
    for i in range(rows - before - reach):  # until then a peak ahead may still prove to be none
        classes[i] = 0
        known[i] = i + before + reach
    for at in range(rows):
        if heights[at] > 0.0 and heights[at] >= prominence[at]:
            for i in range(max(0, at - before), min(rows, at + after + 1)):
                if known[i] >= 0:
                    classes[i] = 1


def _empty(rows: int) -> Labels:
    return Labels(np.full(rows, UNKNOWN, np.int64), np.full(rows, -1, np.int64))


def _floats(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float64)
