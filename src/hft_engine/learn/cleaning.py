"""Missing and wild values: small gaps interpolated, the rest imputed, outliers winsorised; each counted.

Interpolation is of bars, before features are computed from them; it looks one gap ahead, so a filled bar is never a
sample itself. What is imputed and where values are cut off is learned from training rows alone. LightGBM itself takes
missing values as they are, and to a tree winsorising makes no difference afterwards: every threshold lies within the
limits, so a value beyond one goes the way of the limit. Nothing of this has to be done to a live value, therefore.
"""

from dataclasses import dataclass

import numpy as np

GAP_BARS_MAX = 3  # longer ones are no gaps but times without a market
WINSOR_SHARE = 0.001  # cut off at either end

Counts = dict[str, int]


def interpolated(bars: np.ndarray, gap_max: int = GAP_BARS_MAX) -> tuple[np.ndarray, np.ndarray]:
    """(bars with small gaps filled, bool[n] which rows are filled). ``bars`` float64[n, 5]: OHLC and volume.

    A row is a gap where a price is missing or not positive. At most ``gap_max`` in a row, between two good ones, are
    put on the straight line between these in ln price, with volume 0; longer gaps become NaN whole.
    """
    bars = bars.copy()
    prices = bars[:, :4]
    bad = ~np.all((prices > 0.0) & np.isfinite(prices), axis=1)
    bars[bad] = np.nan
    filled = np.zeros(len(bars), np.bool_)
    for begin, end in _runs(bad):
        if begin == 0 or end == len(bars) or end - begin > gap_max:
            continue
        share = (np.arange(begin, end) - begin + 1.0) / (end - begin + 1.0)
        left, right = np.log(bars[begin - 1, 3]), np.log(bars[end, 0])
        bars[begin:end, :4] = np.exp(left + share * (right - left))[:, None]
        bars[begin:end, 4] = 0.0
        filled[begin:end] = True
    bars[:, 4] = np.nan_to_num(np.maximum(bars[:, 4], 0.0))
    return bars, filled


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """[begin, end) of each stretch that is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@dataclass(frozen=True)
class Cleaner:
    """``low``, ``high``, ``centre`` float64[k]: where values are cut off, and what takes a missing one's place."""

    low: np.ndarray
    high: np.ndarray
    centre: np.ndarray

    @classmethod
    def fit(cls, rows: np.ndarray) -> "Cleaner":
        """Limits are quantiles of the training rows, the centre is their median; 0 of a column without a value."""
        finite = np.where(np.isfinite(rows), rows, np.nan)
        empty = np.isnan(finite).all(axis=0)
        finite[:, empty] = 0.0
        low, centre, high = np.nanquantile(finite, [WINSOR_SHARE, 0.5, 1.0 - WINSOR_SHARE], axis=0)
        return cls(low, high, centre)

    def winsorised(self, rows: np.ndarray, counts: Counts | None = None) -> np.ndarray:
        """Values beyond the limits at the limits; infinities are missing, missing stay missing."""
        known = np.where(np.isfinite(rows), rows, np.nan)
        cut = np.clip(known, self.low, self.high)
        _count(counts, "winsorised", int(np.count_nonzero(cut != known) - np.count_nonzero(np.isnan(known))))
        return cut

    def imputed(self, rows: np.ndarray, counts: Counts | None = None) -> np.ndarray:
        """Winsorised, and the missing ones in the centre: for models that take none."""
        cut = self.winsorised(rows, counts)
        missing = np.isnan(cut)
        _count(counts, "imputed", int(missing.sum()))
        return np.where(missing, self.centre, cut)


def _count(counts: Counts | None, name: str, number: int) -> None:
    if counts is not None:
        counts[name] = counts.get(name, 0) + number
