"""Arrays that cross into a kernel as addresses."""

import numpy as np
import pytest
from numba import njit

from hft_engine.kernel import kernel
from hft_engine.wiring import bytes_of, wire, wired, wired_rows
from hft_engine.words import copy_values

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


@kernel()
def _square(wiring, out):  # type: ignore[no-untyped-def]
    rows = wired_rows(wiring, 0, 3)
    for i in range(len(rows)):
        for j in range(rows.shape[1]):
            out[i * 3 + j] = rows[i, j] * rows[i, j]


def test_records_are_seen_as_rows_of_words_in_a_kernel_that_counts_no_references() -> None:
    out = np.zeros(6, np.int64)
    _square(wire([np.arange(6).reshape(2, 3)]), out)
    assert out.tolist() == [0, 1, 4, 9, 16, 25]


@pytest.mark.parametrize("words", [1, 5, 8, 63])
def test_a_field_of_words_is_copied_whole_and_nothing_beside_it(words: int) -> None:
    source = np.zeros(2, np.dtype([("before", "<f8"), ("values", "<f8", (words,)), ("after", "<f8")]))
    target = np.zeros(2, np.dtype([("before", "<i8", (3,)), ("values", "<f8", (words,)), ("after", "<f8")]))
    source["values"] = np.arange(2 * words).reshape(2, words) + 0.5
    source["before"] = source["after"] = -1.0
    source["values"][1, 0] = np.nan

    @kernel()
    def copy(target, source):  # type: ignore[no-untyped-def]
        copy_values(target[1].values, source[1].values)

    copy(target, source)
    assert target["values"][1].tobytes() == source["values"][1].tobytes()
    assert not target["values"][0].any()
    assert not target["before"].any() and not target["after"].any()


@njit
def _sum(buffer):  # type: ignore[no-untyped-def]
    return bytes_of(buffer).sum()


def test_a_kernel_sees_the_bytes_of_a_bytearray_wherever_they_are_by_then() -> None:
    buffer = bytearray()
    assert _sum(buffer) == 0
    for _ in range(3):
        buffer += bytes([1, 2, 250])
    assert _sum(buffer) == 3 * 253
