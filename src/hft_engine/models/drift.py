"""Drift: how far what a model is served has moved from what it learned from, feature by feature.

The training snapshot lies in the model's metadata: each feature's deciles, and the share of the rows in each bucket
between two of them. What is served is counted into the same buckets, so a monitor is a table of counts, whatever comes.

    PSI = sum over buckets of (now - then) * ln(now / then)

the population stability index (Siddiqi, *Credit Risk Scorecards*, 2006): below ``PSI_SOME`` nothing to speak of, from
``PSI_STRONG`` on another population; the usual thresholds. Without drift its mean is about (buckets - 1) / rows
(Yurdakul and Naranjo, *Journal of Risk Model Validation* 14, 2020), so fewer than ``ROWS_MIN`` rows say nothing. Rows
that are near in time are alike: a short stretch of one market differs from a long one without anything being wrong.

KS is the largest difference of the two distribution functions at the deciles: the Kolmogorov-Smirnov statistic, from
below. A feature that is unknown (NaN) has a bucket of its own in both.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

PSI_SOME, PSI_STRONG = 0.1, 0.25
ROWS_MIN = 500
SHARE_MIN = 1e-4  # of a bucket that nothing fell into: its logarithm must be finite

Level = Literal["too few", "none", "some", "strong"]


class DriftSnapshot(msgspec.Struct, frozen=True):
    """What was learned from. ``edges`` by feature, ascending; ``shares``: of the rows at or below the first edge, at or
    below the next, ..., above the last, and unknown: two more than edges."""

    features: tuple[str, ...]
    edges: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...]


class FeatureDrift(msgspec.Struct, frozen=True):
    """``then`` and ``now``: shares of the buckets; ``edges`` between them; the last bucket is of what is unknown."""

    name: str
    psi: float
    ks: float
    level: Level
    rows: int
    edges: tuple[float, ...]
    then: tuple[float, ...]
    now: tuple[float, ...]


def edges_of(quantiles: Sequence[float]) -> tuple[float, ...]:
    """The borders of a feature's buckets: its inner quantiles, each once. None of a feature that was never known."""
    return tuple(np.unique([q for q in quantiles[1:-1] if np.isfinite(q)]).tolist())


def shares_of(values: np.ndarray, edges: Sequence[float]) -> tuple[float, ...]:
    """Shares of ``values`` (float64[n]) in the buckets of ``edges``, as in DriftSnapshot."""
    counts = count_buckets(values, edges)
    return tuple((counts / max(1, counts.sum())).tolist())


def count_buckets(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """int64[edges + 2]: how many of ``values`` fell into each bucket; the last: NaN."""
    unknown = np.isnan(values)
    places = np.searchsorted(np.asarray(edges, np.float64), values[~unknown], side="left")
    return np.append(np.bincount(places, minlength=len(edges) + 1), unknown.sum()).astype(np.int64)


def snapshot_of(
    quantiles: Mapping[str, Sequence[float]], shares: Mapping[str, Sequence[float]]
) -> DriftSnapshot:
    """From a model's metadata. Features without shares, of models made before they were kept, are left out."""
    names = tuple(name for name in quantiles if name in shares)
    return DriftSnapshot(
        names,
        tuple(edges_of(quantiles[name]) for name in names),
        tuple(tuple(shares[name]) for name in names),
    )


def psi_of(then: np.ndarray, now: np.ndarray) -> float:
    """The population stability index of two distributions over the same buckets (shares, float64[k])."""
    a, b = np.maximum(then, SHARE_MIN), np.maximum(now, SHARE_MIN)
    return float(((b - a) * np.log(b / a)).sum())


def ks_of(then: np.ndarray, now: np.ndarray) -> float:
    """The largest difference of the distribution functions at the buckets' borders."""
    return float(np.abs(np.cumsum(now) - np.cumsum(then)).max())


class DriftMonitor:
    """Counts what is served; any number of rows, always the same few hundred words of memory."""

    def __init__(self, snapshot: DriftSnapshot) -> None:
        self.snapshot = snapshot
        self.rows = 0
        self._counts = [np.zeros(len(edges) + 2, np.int64) for edges in snapshot.edges]

    def add(self, rows: np.ndarray) -> None:
        """``rows`` float64[n, features]: in the order of ``snapshot.features``."""
        for k, edges in enumerate(self.snapshot.edges):
            self._counts[k] += count_buckets(rows[:, k], edges)
        self.rows += len(rows)

    def drifts(self) -> tuple[FeatureDrift, ...]:
        """The strongest first."""
        found = [self._drift(k) for k in range(len(self._counts))]
        return tuple(sorted(found, key=lambda drift: (-drift.psi, drift.name)))

    def _drift(self, k: int) -> FeatureDrift:
        then = np.array(self.snapshot.shares[k])
        now = self._counts[k] / max(1, self.rows)
        psi = psi_of(then, now) if self.rows else 0.0
        return FeatureDrift(
            self.snapshot.features[k],
            psi,
            ks_of(then, now) if self.rows else 0.0,
            level_of(psi, self.rows),
            self.rows,
            self.snapshot.edges[k],
            tuple(then.tolist()),
            tuple(now.tolist()),
        )


def drift_of(snapshot: DriftSnapshot, rows: np.ndarray) -> tuple[FeatureDrift, ...]:
    """Of one batch of rows, float64[n, features] in the order of ``snapshot.features``; the strongest first."""
    monitor = DriftMonitor(snapshot)
    monitor.add(rows)
    return monitor.drifts()


def level_of(psi: float, rows: int) -> Level:
    if rows < ROWS_MIN:
        return "too few"
    return "strong" if psi >= PSI_STRONG else "some" if psi >= PSI_SOME else "none"
