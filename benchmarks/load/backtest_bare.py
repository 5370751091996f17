"""The floor: the same arithmetic as one compiled loop over an array of prices. No engine, nothing between.

``count_crosses`` is also what every contender's crosses are held against.
"""

import time
from importlib.metadata import version

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def count_crosses(
    prices: np.ndarray, fast_period: int, slow_period: int, band: float, from_first: bool
) -> int:
    """How often the EMAs change sides by more than ``band`` (relative), from the ``slow_period``-th price on.

    The EMAs start at the first price (``from_first``), or as the mean of their first window.
    """
    fast_weight, slow_weight = 2.0 / (fast_period + 1.0), 2.0 / (slow_period + 1.0)
    fast = slow = prices[0]
    side = crosses = 0
    for i in range(1, len(prices)):
        fast += (prices[i] - fast) * (fast_weight if from_first or i >= fast_period else 1.0 / (i + 1))
        slow += (prices[i] - slow) * (slow_weight if from_first or i >= slow_period else 1.0 / (i + 1))
        if i + 1 >= slow_period:
            spread = fast / slow - 1.0
            now = 1 if spread >= band else (-1 if spread <= -band else side)
            if now != side:
                side = now
                crosses += 1
    return crosses


class Contender:
    def __init__(self, variant: str, ticks: dict[str, np.ndarray], rule: dict[str, float]) -> None:
        self.version = version("numba")
        self._prices = np.ascontiguousarray(ticks["price"])
        self._rule = int(rule["fast"]), int(rule["slow"]), rule["band"]

    def run(self) -> tuple[int, int, float]:
        started = time.perf_counter()
        crosses = count_crosses(self._prices, *self._rule, False)
        return len(self._prices), int(crosses), time.perf_counter() - started
