"""Models side by side: a block is scored once, only on rows that nobody has learned from, and verdicts are right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learning_data import config, waves, write_bars

from hft_engine.learn.contest import Pairing, Trial, Vigil, block_ns_of, complete_blocks, newest_block
from hft_engine.learn.gate import Verdict
from hft_engine.learn.labels import UNKNOWN
from hft_engine.learn.samples import Samples, read_samples
from hft_engine.learn.tasks import TASKS

CONFIG = config(block_horizons=2, gate_effect=1.0)
TASK = TASKS["entry_timing"]
BLOCK_NS = 600_000_000_000  # two horizons of five bars of a minute


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    folder: Path = tmp_path_factory.mktemp("bars")
    return read_samples(CONFIG, [str(write_bars(folder / "waves.csv", waves(1_500)))])


def part(samples: Samples, rows: int) -> Samples:
    names = ("rows", "ts_ns", "series", "bars", "usable")
    return replace(samples, **{name: getattr(samples, name)[:rows] for name in names})


def knows(samples: Samples, skill: float, seed: int):  # type: ignore[no-untyped-def]
    """A model that knows the truth in part, and is wrong in part."""
    classes = np.maximum(TASK.label(samples, CONFIG, np.ones(len(samples), np.bool_)).classes, 0)
    noise = np.random.default_rng(seed).normal(size=len(samples))
    chance = 1.0 / (1.0 + np.exp(-(skill * (2.0 * classes - 1.0) + noise)))
    return lambda seen: np.column_stack([1.0 - chance, chance])[: len(seen)]


def judged(samples: Samples, ours: float, theirs: float, after_ns: int = 0) -> tuple[Verdict, Trial]:
    trial = Trial(knows(samples, ours, 1), {"live": knows(samples, theirs, 2)}, CONFIG, after_ns)
    verdict = Verdict.UNDECIDED
    for rows in range(100, len(samples), 50):
        verdict = trial.score(complete_blocks(TASK, part(samples, rows), CONFIG, BLOCK_NS))
        if verdict is not Verdict.UNDECIDED:
            break
    return verdict, trial


def test_the_better_of_two_passes_and_the_worse_does_not(samples: Samples) -> None:
    assert judged(samples, 1.0, 0.2)[0] is Verdict.BETTER
    assert judged(samples, 0.2, 1.0)[0] is Verdict.NOT_BETTER


def test_one_rival_that_is_not_beaten_is_enough_to_refuse(samples: Samples) -> None:
    rivals = {"poor": knows(samples, 0.0, 2), "good": knows(samples, 2.0, 3)}
    trial = Trial(knows(samples, 0.8, 1), rivals, CONFIG, 0)
    verdict = trial.score(complete_blocks(TASK, samples, CONFIG, BLOCK_NS))
    assert verdict is Verdict.NOT_BETTER
    assert trial.reason.startswith("against good worse")
    assert "poor" not in trial.reason


def test_each_block_counts_once_however_often_the_rows_are_seen(samples: Samples) -> None:
    once, often = (
        Trial(knows(samples, 0.5, 1), {"live": knows(samples, 0.5, 2)}, CONFIG, 0) for _ in range(2)
    )
    for rows in range(100, 400, 20):
        often.score(complete_blocks(TASK, part(samples, rows), CONFIG, BLOCK_NS))
    once.score(complete_blocks(TASK, part(samples, 380), CONFIG, BLOCK_NS))
    assert once.blocks == often.blocks > 20
    assert once.gates["live"].capital == pytest.approx(often.gates["live"].capital)


def test_rows_that_may_have_been_learned_from_are_not_scored(samples: Samples) -> None:
    border = int(samples.ts_ns[700])
    blocks = complete_blocks(TASK, samples, CONFIG, BLOCK_NS)
    ours, theirs = np.zeros(len(blocks.rows)), np.where(samples.ts_ns[blocks.rows] <= border, 9.0, 1.0)
    differences = Pairing(border).differences(blocks, ours, theirs)
    assert differences
    assert set(differences) == {1.0}


def test_no_block_is_scored_before_its_labels_are_known(samples: Samples) -> None:
    for rows in (200, 301, 402):
        seen = part(samples, rows)
        blocks = complete_blocks(TASK, seen, CONFIG, BLOCK_NS)
        again = TASK.label(samples, CONFIG, np.ones(len(samples), np.bool_)).classes[blocks.rows]
        np.testing.assert_array_equal(blocks.classes, again, err_msg="a later row changed a label")
        assert UNKNOWN not in blocks.classes
        assert blocks.number.max() <= newest_block(TASK, seen, CONFIG, BLOCK_NS)


def test_a_model_that_says_nothing_is_the_worst(samples: Samples) -> None:
    silent = Trial(lambda seen: np.full((len(seen), 2), np.nan), {"live": knows(samples, 0.0, 2)}, CONFIG, 0)
    assert silent.score(complete_blocks(TASK, samples, CONFIG, BLOCK_NS)) is Verdict.NOT_BETTER


def test_a_live_model_that_is_worse_than_the_one_before_it_is_seen(samples: Samples) -> None:
    blocks = complete_blocks(TASK, samples, CONFIG, BLOCK_NS)
    assert Vigil(knows(samples, -0.5, 1), knows(samples, 1.0, 2), 0).score(blocks)
    assert not Vigil(knows(samples, 1.0, 1), knows(samples, -0.5, 2), 0).score(blocks)


def test_a_block_is_as_long_as_so_many_horizons_whatever_the_rows_jitter(samples: Samples) -> None:
    assert block_ns_of(samples, CONFIG) == BLOCK_NS
    jitter = np.random.default_rng(1).integers(0, 50_000_000, len(samples))
    assert block_ns_of(replace(samples, ts_ns=samples.ts_ns + jitter), CONFIG) == BLOCK_NS
