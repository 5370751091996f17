"""Of what scripts/chaos.sh, chaos_scenarios.sh and kill_matrix.sh do at length, so much as a test run has time for."""

import os

import pytest
import yaml

from chaos import kills, matrix, scenarios
from support.faults import FAULTS

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SEED = int(os.environ.get("HFT_CHAOS_SEED", "4"))


def test_nothing_is_lost_or_done_twice_by_killing_actors_under_load() -> None:
    plan = kills.Plan(10, minutes=0.08, rate=3_000, seed=SEED, judge_times=False, pause_ms_max=5_000)
    assert not kills.trial(plan)


def test_a_diagonal_of_the_kill_matrix_ends_as_it_must() -> None:
    assert matrix.run_cells(matrix.diagonal(), SEED) == []


def test_every_scenario_names_faults_that_there_are_and_every_fault_is_in_one() -> None:
    declared = scenarios.load(scenarios.FILE)
    named = {fault["name"] for scenario in declared.values() for fault in scenarios._flat(scenario["faults"])}
    assert named == set(FAULTS)
    assert len(FAULTS) >= 12


def test_a_scenario_with_an_unknown_fault_is_refused(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"mine": {"rate": 1, "faults": [{"name": "flood"}]}}))
    with pytest.raises(scenarios.ScenarioError, match="no fault 'flood'; there are: kill, "):
        scenarios.load(path)


def test_a_seed_makes_the_same_pairs_again() -> None:
    import random

    once, again = (scenarios.pairs(5, random.Random(9)) for _ in range(2))
    assert once == again
    kinds = len(FAULTS) - len(scenarios.NOT_PAIRED)
    assert len(scenarios.pairs(0, random.Random(9))) == kinds * (kinds - 1) // 2
