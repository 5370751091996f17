"""What a run needs follows from its topology."""

import pytest

from hft_engine import topology
from hft_engine.config.schema import Config, EngineConfig, LearningConfig, SimulatorConfig


def test_only_kernels_that_a_run_calls_are_loaded_before_it() -> None:
    live, demo = topology.build(Config()), topology.build(Config(simulator=SimulatorConfig()))
    replayed = topology.build(Config(), "replay")
    optional = {"feed.simulator.actor", "persistence.replay_stage", "execution.actor"}

    def loaded(made: topology.Topology) -> set[str]:
        return {name for name in optional if f"hft_engine.{name}" in topology.preload(made)}

    assert (loaded(live), loaded(demo)) == (set(), {"feed.simulator.actor"})
    assert loaded(replayed) == {"persistence.replay_stage"}
    assert set(topology.preload(demo)) < set(topology.PRELOAD)


@pytest.mark.parametrize("layout", ["dedicated", "compact", "inline"])
def test_learning_has_processes_of_its_own_that_the_engine_can_do_without(layout: str) -> None:
    config = Config(engine=EngineConfig(layout=layout), learning=LearningConfig(live=True))  # type: ignore[arg-type]
    made = topology.build(config)
    for role in topology.LEARNING:
        process = made.process_of(role)
        assert process is not None
        assert [one.name for one in process.roles] == [role]
        assert process.optional
        assert not process.hot
    assert not any(process.optional for process in made.processes if process.name not in topology.LEARNING)


def test_a_replay_and_an_engine_that_was_not_told_to_do_not_learn() -> None:
    learning = Config(learning=LearningConfig(live=True))
    for made in (topology.build(Config()), topology.build(learning, "replay")):
        assert all(made.process_of(role) is None for role in topology.LEARNING)
