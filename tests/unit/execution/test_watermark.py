"""A tick counts only when all that it caused can be read."""

import numpy as np
import pytest

from hft_engine.execution.watermark import Watermark
from hft_engine.records import FEATURE_DTYPE, PREDICTION_DTYPE, TICK_DTYPE
from hft_engine.shm.ring import Ring


@pytest.fixture
def rings() -> dict[str, Ring]:
    return {
        "ticks": Ring.private("ticks", TICK_DTYPE, 64, ("indicators", "execution")),
        "features": Ring.private("features", FEATURE_DTYPE, 64, ("inference",)),
        "predictions": Ring.private("predictions", PREDICTION_DTYPE, 64, ("signals",)),
    }


@pytest.fixture
def mark(rings: dict[str, Ring]) -> Watermark:
    return Watermark(rings["ticks"], rings["features"], rings["predictions"])


def publish(ring: Ring, count: int) -> None:
    ring.publish_rows(np.zeros(count, ring.dtype))


def read(ring: Ring, count: int) -> None:
    """The first reader of the ring takes some."""
    assert ring.poll(0, np.zeros(count, ring.dtype), count) == count


def test_ticks_that_nobody_has_read_do_not_count(rings: dict[str, Ring], mark: Watermark) -> None:
    publish(rings["ticks"], 5)
    assert mark.look() == 0


def test_ticks_that_caused_nothing_count_at_once(rings: dict[str, Ring], mark: Watermark) -> None:
    publish(rings["ticks"], 5)
    read(rings["ticks"], 3)
    assert mark.look() == 3


def test_a_tick_counts_when_its_feature_and_its_prediction_were_read_to_the_end(
    rings: dict[str, Ring], mark: Watermark
) -> None:
    publish(rings["ticks"], 4)
    publish(rings["features"], 4)
    read(rings["ticks"], 4)
    assert mark.look() == 0
    publish(rings["predictions"], 4)
    read(rings["features"], 4)
    assert mark.look() == 0
    read(rings["predictions"], 3)
    assert mark.look() == 0
    read(rings["predictions"], 1)
    assert mark.look() == 4


def test_what_comes_meanwhile_waits_for_the_next_round(rings: dict[str, Ring], mark: Watermark) -> None:
    publish(rings["ticks"], 3)
    publish(rings["features"], 1)
    read(rings["ticks"], 1)
    assert mark.look() == 0
    read(rings["features"], 1)
    publish(rings["features"], 1)
    read(rings["ticks"], 1)
    assert mark.look() == 1, "the round began when one tick was read; the second one's feature is not"


def test_one_look_at_stages_that_are_done_says_it_all(rings: dict[str, Ring], mark: Watermark) -> None:
    publish(rings["ticks"], 3)
    publish(rings["features"], 3)
    read(rings["ticks"], 1)
    assert mark.look() == 0, "a round has begun"
    publish(rings["predictions"], 3)
    read(rings["ticks"], 2)
    read(rings["features"], 3)
    read(rings["predictions"], 3)
    assert mark.look() == 3
