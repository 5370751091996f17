"""How far a feature vector lies outside what the models were trained on. Compiled; pure.

The share of the features that the models use, and whose training range is known, that lie outside that range. A range
of n training rows is left by chance by one value in (n + 1) / 2 (the next of n + 1 exchangeable values is the least or
the greatest of them), so that a share of more than a few in a hundred says that the market is another one. A tree
answers there as at its outermost threshold, however far away. What is NaN is missing, not strange.

``limits``: float64[1 + 2 * FEATURES_MAX], how many features have a range, then the least, then the greatest value of
each, infinite where there is no range.
"""

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.records import FEATURES_MAX


@kernel(forceinline=True)
def strangeness(limits, values):  # type: ignore[no-untyped-def]
    """The share, 0 to 1; 0 where no range is known."""
    if limits[0] == 0.0:
        return 0.0
    outside = np.int64(0)
    for i in range(FEATURES_MAX):
        value = values[i]
        outside += np.int64(value < limits[1 + i]) + np.int64(value > limits[1 + FEATURES_MAX + i])
    return outside / limits[0]
