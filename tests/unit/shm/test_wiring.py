"""Arrays that cross into a kernel as addresses."""

import numpy as np
import pytest
from numba import njit

from hft_engine.shm.wiring import wire, wired

PAIR = np.dtype([("number", "<i8"), ("value", "<f8")])


@njit
def _double(wiring):  # type: ignore[no-untyped-def]
    pairs, out = wired(wiring, 0, PAIR), wired(wiring, 1, np.float64)
    for i in range(len(pairs)):
        out[i] = pairs[i].number * pairs[i].value
    return len(out)


def test_a_kernel_sees_the_arrays_that_were_wired() -> None:
    pairs = np.array([(2, 1.5), (3, 2.5)], PAIR)
    out = np.zeros(4)
    assert _double(wire([pairs, out])) == 4
    assert out.tolist() == [3.0, 7.5, 0.0, 0.0]


def test_an_array_with_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="array 1 of a kernel's wiring is not contiguous"):
        wire([np.zeros(4), np.zeros(8)[::2]])
