"""Latency histograms against HdrHistogram's own Python port."""

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from numba import njit

from hft_engine.shm.histogram import new_counts, record, record_one
from hft_engine.shm.histogram_view import BUCKETS_0, HIGHEST_NS, percentile, summary


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_percentiles_equal_hdrhistogram(seed: int) -> None:
    reference = HdrHistogram(1, HIGHEST_NS, 3)
    counts = new_counts()
    for value in (10 ** np.random.default_rng(seed).uniform(0, 10.5, 3_000)).astype(np.int64):
        record_one(counts, value)
        reference.record_value(int(value))
    for percent in (0.1, 1, 25, 50, 90, 99, 99.9, 99.99):
        # ours never says more than the largest value seen; the port gives the bucket's upper end
        assert percentile(counts, percent) == min(reference.get_value_at_percentile(percent), counts[1])
    assert counts[0] == reference.get_total_count()


def test_bucket_of_every_power_of_two_and_its_neighbours_equals_hdrhistogram() -> None:
    reference = HdrHistogram(1, HIGHEST_NS, 3)
    for exponent in range(36):
        for value in {max(1, (1 << exponent) + d) for d in (-1, 0, 1)}:
            counts = new_counts()
            record_one(counts, value)
            slot = int(np.flatnonzero(counts[BUCKETS_0:])[0])
            assert slot == reference._counts_index_for(value), value


def test_values_out_of_range_are_clamped_and_counted() -> None:
    counts = new_counts()
    record_one(counts, -5)
    record_one(counts, HIGHEST_NS + 10)
    assert summary(counts)["count"] == 2
    assert counts[3] == 1
    assert counts[1] == HIGHEST_NS


def test_empty_histogram_has_zero_percentiles() -> None:
    assert summary(new_counts()) == {"count": 0, "p50": 0.0, "p99": 0.0, "p999": 0.0, "max": 0.0}


def test_values_counted_at_once_are_as_if_counted_one_by_one() -> None:
    @njit
    def count(counts: np.ndarray, value: int, times: int) -> None:
        record(counts, value, times)

    at_once, one_by_one = new_counts(), new_counts()
    for value, times in ((17, 3), (123_456, 16), (HIGHEST_NS + 10, 2), (99, 0)):
        count(at_once, value, times)
        for _ in range(times):
            record_one(one_by_one, value)
    assert (at_once == one_by_one).all()
