from pathlib import Path

import msgspec
import pytest
from benchmarks import harness, workload
from benchmarks.load.engine_run import Scratch
from benchmarks.load.replay import configuration, write_journal
from benchmarks.micro import latency_cost


class Steady:
    """A worker that always takes the same time."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def replay(self, load: str) -> tuple[float, str]:
        return self.rate, load


def test_cost_is_by_how_much_the_recording_build_is_slower() -> None:
    assert latency_cost.cost_percent([100.0, 200.0], [97.0, 200.0]) == pytest.approx([3.0, 0.0])


def test_a_run_is_the_median_of_its_sets_best_rounds() -> None:
    rates = {("model", "on"): [1.0, 3.0, 5.0, 4.0, 7.0, 6.0, 10.0, 20.0, 2.0, 1.0, 30.0, 3.0]}
    assert latency_cost.of_runs(rates, 2, 3) == {("model", "on"): [5.0, 20.0]}


def test_every_build_replays_every_load_in_every_round(capsys: pytest.CaptureFixture[str]) -> None:
    report = harness.Report("latency_cost", harness.options("test", ["--quick", "--runs", "1"]))
    workers = {"on": Steady(96.0), "off": Steady(100.0), "again": Steady(98.0)}
    rates = {(load, build): [] for load in latency_cost.LOADS for build in workers}
    latency_cost.measure(workers, 2, rates)  # type: ignore[arg-type]
    assert rates["model", "on"] == [96.0, 96.0]
    latency_cost.tell(report, latency_cost.of_runs(rates, 2, 1))
    found = {result["name"]: result for result in report.results}
    assert found["latency_cost_model_percent"]["value"] == pytest.approx(3.0)
    assert found["latency_on_model_ticks_per_s"]["ratio"] == pytest.approx(0.96)


def test_a_worker_replays_the_journal(tmp_path: Path) -> None:
    symbols, ticks = workload.market_ticks(3_000)
    journal = write_journal(tmp_path / "session", ticks, symbols)
    scratch = Scratch()
    try:
        config = configuration(scratch, tmp_path / "none", "inline")
        config = msgspec.structs.replace(
            config, inference=msgspec.structs.replace(config.inference, model=None)
        )
        rate, signal_hash = latency_cost.replay_once(config, str(journal))
        assert rate > 0
        assert signal_hash == latency_cost.replay_once(config, str(journal))[1] != "0" * 16
    finally:
        scratch.remove()
