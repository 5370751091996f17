"""Latency histograms as the percentile files (.hgrm) that the HdrHistogram plotter reads, written and read back.

One line a step: value in microseconds, quantile, values so far, 1 / (1 - quantile). Steps halve their distance to 1
as HdrHistogram's PercentileIterator does (Gil Tene), five to a halving.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hft_engine.shm.histogram_view import BUCKETS, SUB_BITS, new_counts, percentile

SUFFIX = ".hgrm"
STEPS_PER_HALVING = 5
_HEADER = f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n\n"


def joined(runs: Sequence[np.ndarray]) -> np.ndarray:
    """One histogram of all."""
    whole = new_counts()
    for counts in runs:
        largest = max(int(whole[1]), int(counts[1]))
        whole += counts
        whole[1] = largest
    return whole


def of_values(values_ns: np.ndarray) -> np.ndarray:
    """The histogram of an array of nanoseconds."""
    from hft_engine.shm.histogram import record_one

    counts = new_counts()
    for value in values_ns.tolist():
        record_one(counts, int(value))
    return counts


def _quantiles(total: int) -> Iterator[float]:
    left = 1.0
    while left * total >= 0.5:
        for step in range(STEPS_PER_HALVING):
            yield 1.0 - left + left / 2 * step / STEPS_PER_HALVING
        left /= 2
    yield 1.0


def text(counts: np.ndarray) -> str:
    """The percentile file of a histogram of nanoseconds."""
    total = int(counts[0])
    lines = []
    for quantile in _quantiles(total):
        value_us = percentile(counts, 100.0 * quantile) / 1e3
        so_far = max(1, int(np.ceil(quantile * total - 1e-9))) if total else 0
        odds = f"{1.0 / (1.0 - quantile):14.2f}" if quantile < 1.0 else ""
        lines.append(f"{value_us:12.3f} {quantile:14.12f} {so_far:10d} {odds}".rstrip())
    mean_us = int(counts[2]) / max(1, total) / 1e3
    return (
        _HEADER
        + "\n".join(lines)
        + f"\n#[Mean    = {mean_us:12.3f}, StdDeviation   = {_deviation_us(counts):12.3f}]"
        + f"\n#[Max     = {int(counts[1]) / 1e3:12.3f}, Total count    = {total:12d}]"
        + f"\n#[Buckets = {BUCKETS:12d}, SubBuckets     = {1 << SUB_BITS:12d}]\n"
    )


def _deviation_us(counts: np.ndarray) -> float:
    """From the buckets' lower ends: good to a thousandth, as the values are."""
    from hft_engine.shm.histogram_view import BUCKETS_0, HALF_BITS

    slots = np.flatnonzero(counts[BUCKETS_0:])
    if not len(slots):
        return 0.0
    bucket = np.maximum((slots >> HALF_BITS) - 1, 0)
    values = ((slots - (bucket << HALF_BITS)) << bucket).astype(float)
    weights = counts[BUCKETS_0:][slots].astype(float)
    mean = np.average(values, weights=weights)
    return float(np.sqrt(np.average((values - mean) ** 2, weights=weights))) / 1e3


def read(file: Path) -> list[tuple[float, float]]:
    """(1 / (1 - quantile), microseconds) of each step of a file; the last, the maximum, at twice the odds."""
    points: list[tuple[float, float]] = []
    for line in file.read_text().splitlines()[2:]:
        if line.startswith("#"):
            break
        value, *_, odds = line.split()
        last = len(line.split()) == 3
        points.append((2 * points[-1][0] if last and points else float(odds), float(value)))
    return points
