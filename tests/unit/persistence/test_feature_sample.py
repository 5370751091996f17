"""A sample of live feature vectors: which are taken, what a restart and a crash leave, where it ends."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.features import feature_schema
from hft_engine.persistence.feature_sample import FILE, FeatureSampler, SampleError, is_taken, read_sample
from hft_engine.records import FEATURE_DTYPE
from hft_engine.shm.ring import Ring
from hft_engine.shm.ring_file import create_ring

SCHEMA = feature_schema(IndicatorConfig())
CAPACITY = 4_096


def vectors(first: int, count: int) -> np.ndarray:
    rows = np.zeros(count, FEATURE_DTYPE)
    rows["source_sequence"] = 2 * np.arange(first, first + count)
    rows["instrument_id"], rows["price"] = 3, 1.5
    rows["values"] = np.arange(first, first + count)[:, None] + np.arange(63) / 64
    return rows


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    path = tmp_path / "features.ring"
    create_ring(path, FEATURE_DTYPE, CAPACITY, [], gating=False)
    return Ring.attach(path, FEATURE_DTYPE, np.zeros(64, np.int64))


@pytest.fixture
def make_sampler(make_ctx, tmp_path: Path):
    def make(stats=None, **persistence) -> FeatureSampler:
        ctx = dataclasses.replace(make_ctx(stats=stats, **persistence), feature_schema=SCHEMA)
        ctx.stats.declare(("sampled_features", "lapped_features"), ())
        return FeatureSampler(ctx, tmp_path / "session")

    return make


def kept(tmp_path: Path) -> np.ndarray:
    head, rows = read_sample(tmp_path / "session" / FILE)
    assert head.names == SCHEMA.names and head.schema == SCHEMA.hash
    return rows


def test_every_vector_is_kept_as_it_was(ring: Ring, make_sampler, tmp_path: Path) -> None:
    sampler = make_sampler(feature_sample=1)
    ring.publish_rows(vectors(0, 700))
    sampler.tend()
    ring.publish_rows(vectors(700, 800))
    sampler.close()
    rows, wanted = kept(tmp_path), vectors(0, 1_500)
    np.testing.assert_array_equal(rows["values"], wanted["values"][:, : len(SCHEMA)])
    np.testing.assert_array_equal(rows["source_sequence"], wanted["source_sequence"])
    assert set(rows["instrument_id"]) == {3} and set(rows["price"]) == {1.5}


def test_one_of_so_many_is_chosen_by_its_sequence_alone() -> None:
    taken = is_taken(np.arange(100_000), 100)
    assert 850 < taken.sum() < 1_150
    assert (np.diff(np.flatnonzero(taken)) != 100).any()
    np.testing.assert_array_equal(is_taken(np.arange(500, 600), 100), taken[500:600])
    assert is_taken(np.arange(10), 1).all()


def test_a_new_life_goes_on_where_the_file_ends_and_a_record_cut_short_is_taken_again(
    ring: Ring, make_sampler, tmp_path: Path
) -> None:
    ring.publish_rows(vectors(0, 1_000))
    make_sampler(feature_sample=1).close()
    path = tmp_path / "session" / FILE
    path.write_bytes(path.read_bytes()[:-100])
    ring.publish_rows(vectors(1_000, 500))
    make_sampler(feature_sample=1).close()
    np.testing.assert_array_equal(kept(tmp_path)["sequence"], np.arange(1_500))


def test_vectors_that_were_overwritten_are_counted(ring: Ring, make_sampler, tmp_path: Path) -> None:
    sampler = make_sampler(feature_sample=1)
    for first in range(0, 3 * CAPACITY, 1_024):
        ring.publish_rows(vectors(first, 1_024))
    sampler.close()
    rows, lapped = kept(tmp_path), sampler._lapped.value
    assert lapped >= 2 * CAPACITY and lapped + len(rows) == 3 * CAPACITY
    assert rows["sequence"][0] == lapped


def test_the_file_ends_where_the_configuration_says(ring: Ring, make_sampler, tmp_path: Path, events) -> None:
    sampler = make_sampler(feature_sample=1, feature_sample_mb=1)
    for first in range(0, 4 * 1_024, 1_024):
        ring.publish_rows(vectors(first, 1_024))
        sampler.tend()
    sampler.close()
    assert 0 < (tmp_path / "session" / FILE).stat().st_size <= 1_000_000
    assert [kind for kind, _ in events] == ["feature_sample_full"]


@pytest.mark.parametrize("data", [b"", b"no json\n", b'{"names": 3}\n'])
def test_what_is_no_sample_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / FILE
    path.write_bytes(data)
    with pytest.raises(SampleError, match="no sample of features"):
        read_sample(path)
