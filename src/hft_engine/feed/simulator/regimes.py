"""Market regimes of the synthetic market: which instrument trends, reverts or jumps when, with the truth kept.

Every instrument is in one regime at a time; at the end of a trend the opposite trend often follows, which leaves a
peak or a trough to find. ``truths`` says what really happened, for tests and for judging detectors.
"""

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

TRUTHS_MAX = 100_000  # a day of 50 instruments has some 30,000; older ones are dropped
REGIME_MEAN_S = 45.0
REGIME_MIN_S = 5.0
REVERSAL_PROBABILITY = 0.7  # that the opposite trend follows a trend
JUMPS_PER_S = 1 / 180  # of one instrument
JUMP_SIZE = 0.002  # standard deviation of the log price's jump
JUMP_EXCITATION = 8.0  # times the instrument's usual rate, dying away as any burst does


class Regime(IntEnum):
    CALM = 0
    TREND_UP = 1
    TREND_DOWN = 2
    MEAN_REVERTING = 3
    VOLATILE = 4


DRIFT_PER_S = np.array([0.0, 6e-5, -6e-5, 0.0, 0.0])  # of the log price
VOLATILITY = np.array([0.6, 0.8, 0.8, 1.0, 2.5])  # times the instrument's own
REVERSION_PER_S = np.array([0.02, 0.0, 0.0, 0.3, 0.0])  # pull of the log price toward its anchor
EXTRA_SPREAD = np.array([0.2, 0.5, 0.5, 0.5, 2.0])  # mean number of ticks above the usual spread
FIRST_WEIGHTS = np.array([0.3, 0.2, 0.2, 0.2, 0.1])


@dataclass(frozen=True)
class Truth:
    """``kind``: a regime's name in lower case at its begin, ``peak``, ``trough``, ``jump_up`` or ``jump_down``."""

    ts_ns: int
    instrument_id: int
    kind: str
    price: float


class Regimes:
    """Arrays with an element per instrument: ``current`` (Regime), ``anchor`` (log price)."""

    def __init__(self, rng: np.random.Generator, log_price: np.ndarray, start_ns: int) -> None:
        count = len(log_price)
        self._rng = rng
        self.truths: deque[Truth] = deque(maxlen=TRUTHS_MAX)
        self.anchor = log_price.copy()
        self.current = rng.choice(len(Regime), count, p=FIRST_WEIGHTS).astype(np.int64)
        # The first regimes are cut short at random, so that changes come from the first seconds on.
        self._ends_ns = start_ns + (rng.exponential(REGIME_MEAN_S, count) * 1e9).astype(np.int64)
        for i in range(count):
            self._note(start_ns, i, Regime(self.current[i]).name.lower(), log_price[i])

    def advance(self, now_ns: int, span_s: float, log_price: np.ndarray) -> np.ndarray:
        """Begins the regimes and adds the jumps that fall due; returns the ids of the instruments that jumped."""
        for i in np.flatnonzero(self._ends_ns <= now_ns):
            self._change(int(i), now_ns, log_price[i])
        jumps = self._rng.poisson(JUMPS_PER_S * span_s * len(log_price))
        jumped = self._rng.integers(0, len(log_price), jumps)
        for i in jumped:
            size = self._rng.normal(0.0, JUMP_SIZE)
            log_price[i] += size
            self.anchor[i] += size
            self._note(now_ns, int(i), "jump_up" if size > 0 else "jump_down", log_price[i])
        return jumped

    def _change(self, i: int, now_ns: int, log_price: float) -> None:
        old = Regime(self.current[i])
        new = self._next(old)
        if old is Regime.TREND_UP and new is Regime.TREND_DOWN:
            self._note(now_ns, i, "peak", log_price)
        if old is Regime.TREND_DOWN and new is Regime.TREND_UP:
            self._note(now_ns, i, "trough", log_price)
        self.current[i] = new
        self.anchor[i] = log_price
        lasts_s = REGIME_MIN_S + self._rng.exponential(REGIME_MEAN_S - REGIME_MIN_S)
        self._ends_ns[i] = now_ns + int(lasts_s * 1e9)
        self._note(now_ns, i, new.name.lower(), log_price)

    def _next(self, old: Regime) -> Regime:
        if old in (Regime.TREND_UP, Regime.TREND_DOWN) and self._rng.random() < REVERSAL_PROBABILITY:
            return Regime.TREND_DOWN if old is Regime.TREND_UP else Regime.TREND_UP
        others = [regime for regime in Regime if regime is not old]
        return others[int(self._rng.integers(len(others)))]

    def _note(self, now_ns: int, i: int, kind: str, log_price: float) -> None:
        self.truths.append(Truth(now_ns, i, kind, float(np.exp(log_price))))
