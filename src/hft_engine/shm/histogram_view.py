"""Reading latency histograms: numpy only, so that status and views need no compiler."""

import os

import numpy as np

# Read when kernels are compiled. "off" is for measuring what the recording costs, and for nothing else.
RECORDING = os.environ.get("HFT_LATENCY") != "off"

SUB_BITS = 11  # 2048 sub-buckets: three significant digits
HALF_BITS = SUB_BITS - 1
HIGHEST_NS = (1 << 36) - 1  # 68.7 s
BUCKETS = 36 - SUB_BITS + 1
LAST_SLOT = (BUCKETS + 1) * (1 << HALF_BITS) - 1
BUCKETS_0 = 8  # words before the buckets
HISTOGRAM_WORDS = BUCKETS_0 + LAST_SLOT + 1


def new_counts() -> np.ndarray:
    """An empty histogram in this process's own memory."""
    return np.zeros(HISTOGRAM_WORDS, np.int64)


def _highest_equivalent(slot: int) -> int:
    bucket = max((slot >> HALF_BITS) - 1, 0)
    sub = slot - (bucket << HALF_BITS)
    return ((sub + 1) << bucket) - 1


def percentile(counts: np.ndarray, percent: float) -> int:
    """The value (ns) that ``percent`` of the recorded values do not exceed; 0 of an empty histogram."""
    buckets = counts[BUCKETS_0:]
    cumulative = np.cumsum(buckets)
    total = int(cumulative[-1])
    if total == 0:
        return 0
    wanted = max(1, int(np.ceil(percent / 100.0 * total - 1e-9)))
    slot = int(np.searchsorted(cumulative, wanted))
    return min(_highest_equivalent(slot), int(counts[1]))


def since(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    """What was recorded between two copies of one histogram; its largest value to three digits."""
    recorded = np.maximum(now - before, 0)
    used = np.flatnonzero(recorded[BUCKETS_0:])
    recorded[0] = recorded[BUCKETS_0:].sum()
    recorded[1] = min(_highest_equivalent(int(used[-1])), int(now[1])) if len(used) else 0
    return recorded


def summary(counts: np.ndarray) -> dict[str, float]:
    """``count`` and p50, p99, p999, max in microseconds."""
    frozen = counts.copy()
    return {
        "count": int(frozen[0]),
        "p50": percentile(frozen, 50.0) / 1e3,
        "p99": percentile(frozen, 99.0) / 1e3,
        "p999": percentile(frozen, 99.9) / 1e3,
        "max": int(frozen[1]) / 1e3,
    }
