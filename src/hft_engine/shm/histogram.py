"""Latency histograms in HdrHistogram's bucket layout, in shared memory: one writer, readable by any process.

1 ns to 68 s at three significant digits. Values up to 2047 ns are exact; above, buckets double and each is cut in
1024 parts, so an error is at most 1/1024 of the value. Layout and formulas: HdrHistogram (Gil Tene),
``AbstractHistogram.countsArrayIndex``; the tests compare with its Python port.

``counts`` int64[HISTOGRAM_WORDS]: word 0 total, 1 largest value, 2 sum of values, 3 saturated, 8... the buckets.
"""

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.shm.histogram_view import (
    BUCKETS_0,
    HALF_BITS,
    HIGHEST_NS,
    HISTOGRAM_WORDS,
    LAST_SLOT,
    RECORDING,
    SUB_BITS,
    new_counts,
    percentile,
    summary,
)
from hft_engine.words import leading_zeros

__all__ = ["HISTOGRAM_WORDS", "new_counts", "percentile", "record", "summary"]

_SUB_MASK = (1 << SUB_BITS) - 1


@kernel(forceinline=True)
def record(counts: np.ndarray, value_ns: int, times: int = 1) -> None:
    """Count one value, or so many alike. Negative ones count as 0; ones over 68 s as 68 s, and as saturated."""
    if not RECORDING or times == 0:
        return
    value = max(value_ns, 0)
    if value > HIGHEST_NS:
        counts[3] += times
        value = HIGHEST_NS
    bucket = 64 - leading_zeros(value | _SUB_MASK) - SUB_BITS
    slot = (bucket << HALF_BITS) + (value >> bucket)
    counts[BUCKETS_0 + min(slot, LAST_SLOT)] += times
    counts[0] += times
    counts[1] = max(counts[1], value)
    counts[2] += value * times


@kernel(cache=True)
def record_one(counts: np.ndarray, value_ns: int) -> None:
    """``record`` for callers in Python."""
    record(counts, value_ns)
