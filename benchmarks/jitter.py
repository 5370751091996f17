"""The machine's own jitter: what a program that does nothing but look at the clock would measure.

A compiled loop spins on one core. It keeps two histograms: ``gaps`` between two looks at the clock (how long the
core was taken away), and ``lateness`` of an ideal system under the same open-loop schedule as the load: tick i is
due at t0 + i * period and is "handled" at the first look at the clock after that. No real system can do better on
this machine at this moment; a latency is judged by its excess over it.
"""

import os
from dataclasses import dataclass

import numpy as np
from numba import njit

from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import new_counts, percentile, record

GAP_NS = 1_000  # a shorter one is the loop itself


@njit(nogil=True, cache=True)
def _spin(duration_ns: int, period_ns: int, gaps: np.ndarray, lateness: np.ndarray) -> tuple[int, int]:
    """Returns (nanoseconds that were lost in gaps over GAP_NS, nanoseconds spun: the last gap may outlast the end)."""
    started: int = mono_ns()
    before = started
    due = started + period_ns
    lost = 0
    while before - started < duration_ns:
        now: int = mono_ns()
        gap = now - before
        record(gaps, gap)
        if gap > GAP_NS:
            lost += gap
        while due <= now:
            record(lateness, now - due)
            due += period_ns
        before = now
    return lost, before - started


@dataclass(frozen=True)
class Jitter:
    """Of one core or several: histograms, and the share of time that was taken away."""

    gaps: np.ndarray
    lateness: np.ndarray
    stolen_percent: float

    def lateness_us(self, percent: float) -> float:
        return percentile(self.lateness, percent) / 1e3

    def summary(self) -> dict[str, float]:
        return {
            "p50_us": self.lateness_us(50.0),
            "p99_us": self.lateness_us(99.0),
            "p999_us": self.lateness_us(99.9),
            "max_us": int(self.gaps[1]) / 1e3,
            "stolen_percent": round(self.stolen_percent, 3),
        }


def measure(seconds: float, rate: float = 10_000.0) -> Jitter:
    """Spin ``seconds`` on each core that this process may use, one after the other."""
    allowed = os.sched_getaffinity(0)
    gaps, lateness = new_counts(), new_counts()
    lost = spun = 0
    _spin(1, 1_000_000, new_counts(), new_counts())
    try:
        for core in sorted(allowed):
            os.sched_setaffinity(0, {core})
            gone, elapsed = _spin(int(seconds * 1e9), int(1e9 / rate), gaps, lateness)
            lost, spun = lost + gone, spun + elapsed
    finally:
        os.sched_setaffinity(0, allowed)
    return Jitter(gaps, lateness, 100.0 * lost / spun)


def joined(parts: list[Jitter]) -> Jitter:
    """Several measurements as one (before and after a load)."""
    gaps, lateness = parts[0].gaps.copy(), parts[0].lateness.copy()
    for part in parts[1:]:
        merge(gaps, part.gaps)
        merge(lateness, part.lateness)
    return Jitter(gaps, lateness, sum(part.stolen_percent for part in parts) / len(parts))


def merge(into: np.ndarray, counts: np.ndarray) -> None:
    """Add one histogram to another."""
    largest = max(int(into[1]), int(counts[1]))
    into += counts
    into[1] = largest


def since(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """What a histogram counted between two copies of it. The largest value is that of its whole life."""
    counts = after - before
    counts[1] = after[1]
    return counts
