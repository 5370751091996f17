import json
import re
from pathlib import Path

import pytest
from benchmarks import harness, jitter

from hft_engine.shm.histogram_view import new_counts, percentile


def _report() -> harness.Report:
    report = harness.Report("sample", harness.options("A sample.", ["--quick", "--runs", "3"]))
    report.add(
        "speed_per_s", [3.0e6, 1.0e6, 2.0e6], "1/s", ("peer", [4.0e6, 4.0e6]), 1.5e6, more_is_better=True
    )
    report.add("delay_us", [130.0], "us", target=120.0)
    return report


def test_the_last_line_is_one_json_object_with_the_agreed_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert _report().finish() == 0
    last = json.loads(capsys.readouterr().out.rstrip("\n").split("\n")[-1])
    assert set(last) == {"benchmark", "configuration", "machine", "notes", "results"}
    assert last["configuration"] == {"quick": True, "runs": 3}
    assert {"cpu", "cores", "kernel", "python", "versions", "commit"} <= set(last["machine"])
    for result in last["results"]:
        assert {"name", "value", "unit", "reference", "ratio"} <= set(result)


def test_a_figure_is_the_median_with_its_spread_and_the_ratio_to_its_reference() -> None:
    speed, _ = _report().results
    assert (speed["value"], speed["min"], speed["max"], speed["runs"]) == (2.0e6, 1.0e6, 3.0e6, 3)
    assert (speed["reference"], speed["ratio"], speed["reference_name"]) == (4.0e6, 0.5, "peer")


def test_a_target_is_met_from_the_right_side() -> None:
    speed, delay = _report().results
    assert speed["met"] is True
    assert delay["met"] is False


def test_the_table_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    _report().finish()
    rows = [line for line in capsys.readouterr().out.split("\n") if line.startswith("|")]
    assert len(rows) == 4
    assert re.fullmatch(r"[|-]+", rows[1])
    assert "MISSED" in rows[3]


def test_each_measurement_runs_as_often_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []
    report = harness.Report("sample", harness.options("A sample.", ["--runs", "4"]))
    report.measure("calls", lambda: calls.append(1))
    assert len(calls) == 4
    assert "run 4 of 4" in capsys.readouterr().err


def test_a_benchmark_lists_its_own_arguments_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    def own(parser: harness.Parser) -> None:
        parser.add_argument("--size", type=int, default=4, help="of the thing")

    assert harness.options("A sample.", ["--size", "7"], own).extra == {"size": 7}
    with pytest.raises(SystemExit):
        harness.options("A sample.", ["--help"], own)
    assert "of the thing" in capsys.readouterr().out


def test_a_contender_that_fails_is_named_and_the_others_go_on() -> None:
    report = harness.Report("sample", harness.options("A sample.", ["--runs", "3"]))

    def tires() -> int:
        if len(order) > 2:
            raise harness.LeftOutError("no answer; remedy: start it")
        order.append("a")
        return 1

    order: list[str] = []
    runs = report.interleave({"a": tires, "b": lambda: order.append("b")})
    assert order == ["a", "b", "a", "b", "b"]
    assert list(runs) == ["b"]
    assert report.notes == ["Left out: a: no answer; remedy: start it."]


def test_jitter_sees_every_due_instant_of_the_schedule() -> None:
    sensed = jitter.measure(0.02, rate=10_000.0)
    cores = len(harness.os.sched_getaffinity(0))
    assert sensed.lateness[0] >= cores * 199
    assert 0.0 <= sensed.stolen_percent <= 100.0


def test_a_histogram_between_two_copies_holds_only_what_came_between() -> None:
    from hft_engine.shm.histogram import record_one

    counts = new_counts()
    record_one(counts, 1_000_000)
    before = counts.copy()
    for _ in range(10):
        record_one(counts, 50)
    between = jitter.since(counts, before)
    assert between[0] == 10
    assert percentile(between, 99.0) == 50


def test_every_benchmark_that_is_run_exists() -> None:
    from benchmarks import all as every

    folder = Path(every.__file__).parent
    assert all((folder / f"{name.replace('.', '/')}.py").is_file() for name in every.NAMES)
