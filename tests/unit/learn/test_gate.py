"""The gate: seldom wrong about equal candidates, seldom blind to better ones, quick to see a promoted one fail."""

import math

import numpy as np
import pytest

from hft_engine.learn.gate import ALPHA, WARM_BLOCKS, Gate, Verdict, Watch, block_means, blocks_max

EFFECT = 0.5
RUNS = 150  # scripts/gate_calibration.py does a thousand


def verdict_of(differences: np.ndarray, effect: float = EFFECT) -> Gate:
    gate = Gate(effect)
    for difference in differences:
        if gate.add(float(difference)) is not Verdict.UNDECIDED:
            break
    return gate


def promoted(make, shift: float) -> int:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(3)
    blocks = blocks_max(EFFECT)
    return sum(verdict_of(make(rng, blocks) + shift).reason.startswith("better") for _ in range(RUNS))


KINDS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "heavy": lambda rng, n: rng.standard_t(3, n) / math.sqrt(3.0),
    "skewed": lambda rng, n: (4.0 - rng.gamma(4.0, 1.0, n)) / 2.0,
}


@pytest.mark.parametrize("kind", KINDS)
def test_equal_candidates_are_hardly_ever_promoted_and_better_ones_mostly(kind: str) -> None:
    assert promoted(KINDS[kind], 0.0) <= ALPHA * RUNS
    assert promoted(KINDS[kind], EFFECT) >= 0.8 * RUNS


def test_a_worse_candidate_is_refused_before_the_last_block() -> None:
    gate = verdict_of(np.random.default_rng(1).standard_normal(400) - 1.0)
    assert gate.reason.startswith("worse")
    assert gate.blocks < blocks_max(EFFECT)


def test_what_is_not_decided_by_the_last_block_is_refused_with_the_figures() -> None:
    gate = verdict_of(np.tile([0.01, -0.01], 200))
    assert gate.blocks == blocks_max(EFFECT)
    assert gate.reason.startswith("not proven better: ")
    assert "20 asked for" in gate.reason


def test_the_same_model_twice_is_never_better() -> None:
    gate = verdict_of(np.zeros(400))
    assert gate.capital == 1.0
    assert gate.reason.startswith("not proven better")


def test_the_unit_of_the_differences_does_not_matter() -> None:
    differences = np.random.default_rng(5).standard_normal(80) + 0.4
    capitals = [verdict_of(differences * scale).capital for scale in (1.0, 1e-3, 1e3)]
    assert capitals == pytest.approx([capitals[0]] * 3)


def test_one_lucky_block_does_not_decide() -> None:
    differences = np.random.default_rng(2).standard_normal(40) * 0.01
    differences[20] = 1_000.0
    lucky, gate = Gate(EFFECT), Gate(EFFECT)
    for difference in differences[:20]:
        lucky.add(float(difference))
        gate.add(float(difference))
    assert lucky.add(1_000.0) is Verdict.UNDECIDED
    assert lucky.capital <= 1.9 * gate.capital


def test_nothing_is_bet_before_the_scale_is_known() -> None:
    gate = Gate(EFFECT)
    for _ in range(WARM_BLOCKS):
        gate.add(1.0)
    assert gate.capital == 1.0


def test_a_smaller_effect_needs_more_blocks() -> None:
    assert blocks_max(0.2) > blocks_max(0.5) > blocks_max(1.0) > WARM_BLOCKS


def test_a_promoted_model_that_becomes_worse_later_is_seen_soon() -> None:
    rng = np.random.default_rng(4)
    watch = Watch()
    assert not any(watch.add(float(d)) for d in rng.standard_normal(300) + 0.5), "good blocks"
    after = next(i for i, d in enumerate(rng.standard_normal(300) - 0.8) if watch.add(float(d)))
    assert after < 100, "what it gained before does not shield it"


def test_a_promoted_model_that_is_no_worse_stays() -> None:
    rng = np.random.default_rng(6)
    assert not any(Watch().add(float(d)) for d in rng.standard_normal(50))
    lost = sum(
        any(map(watch.add, rng.standard_normal(200).tolist())) for watch in [Watch() for _ in range(20)]
    )
    assert lost <= 2


def test_rows_of_one_block_of_time_count_once() -> None:
    ts_ns = np.array([5, 1, 9, 10, 12, 31])
    assert block_means(np.array([1.0, 2.0, 3.0, 4.0, 8.0, 7.0]), ts_ns, 10) == {0: 2.0, 1: 6.0, 3: 7.0}
