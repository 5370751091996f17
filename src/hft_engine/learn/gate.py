"""The gate: whether a candidate is better than its rival on rows that neither has learned from, decided as they come.

Both score the same rows. Their log losses are averaged over blocks of time, because rows near in time are not
independent, and the difference d_b = loss of the rival - loss of the candidate of block b is bet on:

    K_b = mean over j of the product over i <= b of (1 + bet_j g_i),      g_i = clip(d_i / c_i, -1, 1)

``c_i`` is ``WIDTH`` times the robust scale (1.4826 times the median absolute difference) of the blocks before i, or the
largest of them where that is more: known before block i is, and only a record is ever cut off. Where the candidate is
no better, E[g_i | past] <= 0, K is a non-negative supermartingale, and by Ville's inequality it ever reaches 1/alpha
with probability at most alpha, whenever and however often one looks. Betting on bounded means: Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", J. R. Stat. Soc. B 86 (2024); a mixture of bets needs no
choice of one. E-processes for forecasts: Choe and Ramdas, "Comparing sequential forecasters", Operations Research
(2023). The other direction is bet on as well: a candidate proven worse need not be tested to the end.

After a promotion it is watched for the moment from which on it is worse: an e-detector (Shin, Ramdas and Rinaldo,
"E-detectors", New England J. Stat. Data Sci. 2, 2024), the same bets with each product started afresh whenever it falls
below 1. Of a model that is not worse the mean number of blocks until it is wrongly called so is at least
``RUN_LENGTH``.

Pure: no clock, no file, no ring.
"""

import math
from enum import StrEnum

import numpy as np

ALPHA = 0.05  # chance that a candidate that is no better is promoted
RUN_LENGTH = 1_000  # blocks until a model that is no worse is rolled back by mistake, mean, at least
BETS = np.array([0.1, 0.25, 0.5, 0.9])
WIDTH = 2.5
WARM_BLOCKS = 4  # that only the scale is learned from
_BLOCKS_SQUARE, _BLOCKS_LINEAR = 10.0, 18.0  # fitted to scripts/gate_calibration.py
_NORMAL = 1.4826  # standard deviation over median absolute value
_WIDTH_MIN = 1e-6  # nats a row: smaller differences are those of one and the same model


def blocks_max(effect: float) -> int:
    """Blocks after which a candidate is refused: those within which one that is better by ``effect`` is found four
    times in five. ``effect``: mean of the blocks' differences over their standard deviation."""
    return WARM_BLOCKS + math.ceil(_BLOCKS_SQUARE / effect**2 + _BLOCKS_LINEAR / effect)


class Scale:
    """Differences against those before them, cut off at -1 and 1; 0 while there are too few to know."""

    def __init__(self) -> None:
        self._sizes: list[float] = []

    def bounded(self, difference: float) -> float:
        sizes = self._sizes
        known = len(sizes) >= WARM_BLOCKS
        width = max(WIDTH * _NORMAL * float(np.median(sizes)), *sizes, _WIDTH_MIN) if known else math.inf
        sizes.append(abs(difference))
        return max(-1.0, min(1.0, difference / width))


class Verdict(StrEnum):
    UNDECIDED = "undecided"
    BETTER = "better"
    NOT_BETTER = "not better"


class Gate:
    """One candidate against one rival. ``capital``: what betting on the candidate has made of 1, the e-value."""

    def __init__(self, effect: float, alpha: float = ALPHA) -> None:
        self.effect = effect
        self.blocks = 0
        self.gain = 0.0  # sum of the differences
        self.capital = 1.0
        self._scale = Scale()
        self._better, self._worse = np.zeros(len(BETS)), np.zeros(len(BETS))  # ln of each bet's capital
        self._target = 1.0 / alpha
        self.reason = ""

    @property
    def mean(self) -> float:
        """Nats a row that the candidate saved so far."""
        return self.gain / max(1, self.blocks)

    def add(self, difference: float) -> Verdict:
        """The next block: mean over its rows of the rival's log loss minus the candidate's, in nats."""
        self.blocks += 1
        self.gain += difference
        bounded = self._scale.bounded(difference)
        self._better += np.log1p(BETS * bounded)
        self._worse += np.log1p(-BETS * bounded)
        self.capital = float(np.exp(self._better).mean())
        return self._verdict()

    def _verdict(self) -> Verdict:
        told = f"{self.mean:+.4f} nats a row over {self.blocks} blocks, e-value {self.capital:.3g}"
        if self.capital >= self._target:
            self.reason = f"better: {told}"
            return Verdict.BETTER
        if float(np.exp(self._worse).mean()) >= self._target:
            self.reason = f"worse: {told}"
            return Verdict.NOT_BETTER
        if self.blocks >= blocks_max(self.effect):
            self.reason = f"not proven better: {told}, {self._target:.0f} asked for"
            return Verdict.NOT_BETTER
        self.reason = f"undecided: {told}"
        return Verdict.UNDECIDED


class Watch:
    """A promoted model against the one whose place it took. ``evidence``: that it is worse since some block."""

    def __init__(self, run_length: float = RUN_LENGTH) -> None:
        self.blocks = 0
        self.evidence = 0.0
        self._scale = Scale()
        self._logs = np.zeros(len(BETS))
        self._target = run_length

    def add(self, difference: float) -> bool:
        """The next block: mean over its rows of the old model's log loss minus the new one's. True: it is worse."""
        self.blocks += 1
        bounded = self._scale.bounded(difference)
        self._logs = np.maximum(self._logs, 0.0) + np.log1p(-BETS * bounded)
        self.evidence = float(np.exp(self._logs).mean())
        return self.evidence >= self._target


def block_means(differences: np.ndarray, ts_ns: np.ndarray, block_ns: int) -> dict[int, float]:
    """Mean difference of each block of time by its number: ``ts_ns // block_ns``. Both float64[n], int64[n]."""
    numbers, block = np.unique(ts_ns // block_ns, return_inverse=True)
    means = np.bincount(block, differences) / np.bincount(block)
    return dict(zip(numbers.tolist(), means.tolist(), strict=True))
