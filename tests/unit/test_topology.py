"""What a run needs follows from its topology."""

from hft_engine import topology
from hft_engine.config.schema import Config, SimulatorConfig


def test_only_kernels_that_a_run_calls_are_loaded_before_it() -> None:
    live, demo = topology.build(Config()), topology.build(Config(simulator=SimulatorConfig()))
    replayed = topology.build(Config(), "replay")
    optional = {"feed.simulator.actor", "persistence.replay_stage", "execution.actor"}

    def loaded(made: topology.Topology) -> set[str]:
        return {name for name in optional if f"hft_engine.{name}" in topology.preload(made)}

    assert (loaded(live), loaded(demo)) == (set(), {"feed.simulator.actor"})
    assert loaded(replayed) == {"persistence.replay_stage"}
    assert set(topology.preload(demo)) < set(topology.PRELOAD)
