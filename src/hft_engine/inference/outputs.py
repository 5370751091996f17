"""From the trees' sums to the outputs: LightGBM's transforms, calibration curves, ensembles. Compiled; pure."""

from math import exp, log, log1p

import numpy as np

from hft_engine.inference.tables import PROBABILITY_MIN, Transform
from hft_engine.kernel import kernel

_SIGMOID, _SOFTMAX, _EXP = int(Transform.SIGMOID), int(Transform.SOFTMAX), int(Transform.EXP)
_SIGNED_SQUARE, _LOG1P_EXP = int(Transform.SIGNED_SQUARE), int(Transform.LOG1P_EXP)
_NO, _YES = np.uint64(0), np.uint64(1)


@kernel()
def transform(kind, sigmoid, at, outputs, out):  # type: ignore[no-untyped-def]
    """Sums ``out[at:at + outputs]`` of one model become its outputs."""
    if kind == _SOFTMAX:
        _softmax(at, outputs, out)
        return
    for k in range(at, at + outputs):
        if kind == _SIGMOID:
            out[k] = 1.0 / (1.0 + exp(-sigmoid * out[k]))
        elif kind == _EXP:
            out[k] = exp(out[k])
        elif kind == _LOG1P_EXP:
            out[k] = log1p(exp(out[k]))
        elif kind == _SIGNED_SQUARE:
            out[k] = out[k] * abs(out[k])


@kernel()
def _softmax(at, outputs, out):  # type: ignore[no-untyped-def]
    highest = out[at]
    for k in range(at, at + outputs):
        highest = max(highest, out[k])
    total = 0.0
    for k in range(at, at + outputs):
        out[k] = exp(out[k] - highest)
        total += out[k]
    for k in range(at, at + outputs):
        out[k] /= total


@kernel()
def calibrate(points, start, at, outputs, out):  # type: ignore[no-untyped-def]
    """Each output through its own curve; several are scaled to sum to 1 again."""
    total = 0.0
    for k in range(at, at + outputs):
        count = np.uint64(points[start])
        out[k] = _on_curve(points, start + _YES, count, out[k])
        total += out[k]
        start += _YES + count + count
    if outputs > _YES:
        for k in range(at, at + outputs):
            out[k] /= total


@kernel(cache=True)
def _on_curve(points, first, count, x):  # type: ignore[no-untyped-def]
    """As ``numpy.interp``: straight between the points, level beyond them."""
    if not x > points[first]:
        return points[first + count]
    low, high = _NO, count  # x lies above the point ``low`` and not above the point ``high``
    while low + _YES < high:
        middle = (low + high) >> _YES
        if x > points[first + middle]:
            low = middle
        else:
            high = middle
    y = first + count
    if high == count:
        return points[y + low]
    share = (x - points[first + low]) / (points[first + high] - points[first + low])
    return points[y + low] + share * (points[y + high] - points[y + low])


@kernel()
def combined(points, start, stacked, out):  # type: ignore[no-untyped-def]
    """An ensemble of the outputs before it, as ``models.ensemble`` has it: what is NaN is left out."""
    count, intercept = np.uint64(points[start]), points[start + _YES]
    total, weights, known = 0.0, 0.0, False
    for i in range(count):
        term = start + np.uint64(2) + np.uint64(3) * i
        probability, weight = out[np.uint64(points[term])], points[term + _YES]
        if np.isnan(probability):
            continue
        if points[term + np.uint64(2)] > 0.0:
            probability = 1.0 - probability
        total += weight * (_log_odds(probability) if stacked else probability)
        weights += weight
        known = True
    if stacked:
        return 1.0 / (1.0 + exp(-(total + intercept))) if known else np.nan
    return total / weights if weights > 0.0 else np.nan


@kernel()
def _log_odds(probability):  # type: ignore[no-untyped-def]
    clipped = min(max(probability, PROBABILITY_MIN), 1.0 - PROBABILITY_MIN)
    return log(clipped / (1.0 - clipped))
