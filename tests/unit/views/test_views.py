"""What a person or a script sees of a run, whether or not anybody in it still moves."""

import io
import json
import subprocess
import sys

import msgspec
import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from rich.console import Console

from hft_engine.cli import main
from hft_engine.feed.health.worst import FILE, Worst
from hft_engine.feed.line_table import write_lines
from hft_engine.feed.states import FeedState
from hft_engine.inference.served import Served, ServedSet, write_served
from hft_engine.publisher.events import EventFile
from hft_engine.records import LINE_DTYPE, TICK_DTYPE, HealthCause, HealthState, TickFlag, TickKind
from hft_engine.runtime import supervisor
from hft_engine.runtime.messages import Event
from hft_engine.runtime.rundir import RunError
from hft_engine.shm.counters import ActorState
from hft_engine.views import status, tail
from hft_engine.views.panels import bar, health_line, lines, losses, models_line
from hft_engine.views.status import collect, render
from hft_engine.views.top import watch


def gone() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        return child.pid


def test_the_object_has_the_promised_shape(fake_run):
    made = fake_run()
    made.signals(5)
    made.latency(1_000, 2_000, 3_000)
    state = orjson.loads(orjson.dumps(collect(made.path)))
    assert state["state"] == "running"
    assert state["run_id"] == made.directory.run_id
    assert state["layout"] == "dedicated"
    assert 90.0 <= state["uptime_s"] < 120.0
    assert [actor["role"] for actor in state["actors"]] == made.roles[:-1]
    assert set(state["actors"][0]) == {"role", "pid", "state", "restarts", "heartbeat_age_ms"}
    signals = next(ring for ring in state["rings"] if ring["name"] == "signals")
    assert (signals["capacity"], signals["published"]) == (1_024, 5)
    assert signals["readers"][0] == {"role": "publisher", "position": 0, "lag": 5, "lapped": 0}
    assert set(state["feed"]) == {
        "venue",
        "state",
        "frames",
        "events",
        "rejected",
        "gaps",
        "reconnects",
        "lines",
    }
    assert state["signals"] == {"published": 5}
    assert next(iter(state["latency_us"])) == "tick_to_signal"
    assert state["latency_us"]["tick_to_signal"] == {
        "count": 3,
        "p50": pytest.approx(2.0, rel=1e-3),
        "p99": pytest.approx(3.0, rel=1e-3),
        "p999": pytest.approx(3.0, rel=1e-3),
        "max": 3.0,
    }


def test_lag_and_laps_are_shown_per_reader(fake_run):
    made = fake_run()
    made.signals(100)
    made.rings["signals"].poll(1, np.zeros(30, made.rings["signals"].dtype), 30)
    readers = next(r for r in collect(made.path)["rings"] if r["name"] == "signals")["readers"]
    assert [reader["lag"] for reader in readers] == [100, 70]


def test_each_actors_state_is_judged_from_outside(fake_run):
    made = fake_run()
    made.beat("feed", age_ms=5_000)
    made.beat("inference", pid=gone())
    made.beat("signals", state=ActorState.STARTING)
    made.beat("publisher", pid=gone(), state=ActorState.STOPPED)
    made.stats["supervisor"].counter("restarts.feed").set(2)
    actors = {actor["role"]: actor for actor in collect(made.path)["actors"]}
    assert actors["feed"]["state"] == "hung"
    assert actors["feed"]["restarts"] == 2
    assert actors["feed"]["heartbeat_age_ms"] >= 5_000
    assert actors["indicators"]["state"] == "running"
    assert actors["inference"]["state"] == "dead"
    assert actors["signals"]["state"] == "starting"
    assert actors["publisher"]["state"] == "stopped"


def test_a_dead_supervisor_is_shown(fake_run):
    assert collect(fake_run(pid=gone()).path)["state"] == "dead"


def test_the_feed_is_shown_by_name_of_its_state(fake_run):
    made = fake_run()
    assert collect(made.path)["feed"]["state"] == "starting"
    made.stats["feed"].declare(("state", "frames", "gaps"), ())
    made.stats["feed"].counter("state").set(3)
    made.stats["feed"].counter("gaps").set(7)
    feed = collect(made.path)["feed"]
    assert (feed["state"], feed["gaps"], feed["venue"]) == ("live", 7, "demo")


def test_the_health_of_data_is_shown_with_the_worst_by_name(fake_run):
    made = fake_run()
    assert collect(made.path)["health"]["clock_offset_ms"] is None
    made.stats["feed"].declare(("health_live", "health_stale", "clock_offset_us"), ())
    for name, value in (("health_live", 48), ("health_stale", 2), ("clock_offset_us", 12_300)):
        made.stats["feed"].counter(name).set(value)
    worst = Worst("AAPL", "quote", "stale", "silence", 1)
    (made.path / FILE).write_bytes(msgspec.json.encode([worst]))
    state = collect(made.path)
    assert state["health"]["instruments"] | {"live": 48, "stale": 2} == state["health"]["instruments"]
    assert state["health"]["worst"] == [msgspec.to_builtins(worst)]
    line = health_line(state["health"]).plain
    assert "48 live, 2 stale" in line and "12.3 ms" in line and "AAPL quote stale (silence)" in line


def test_changes_of_health_are_told_line_by_line(fake_run, capsys):
    made = fake_run()
    made.instruments.id_of("AAPL")
    rows = np.zeros(3, TICK_DTYPE)
    rows["kind"] = TickKind.TRADE, TickKind.HEALTH, TickKind.HEALTH
    rows["health_state"][1:] = HealthState.LIVE, HealthState.GAPPED
    rows["health_before"][2], rows["health_cause"][2] = HealthState.LIVE, HealthCause.SEQUENCE
    rows["gap_from_ns"][2], rows["gap_to_ns"][2], rows["missing"][2] = 5_000_000, 12_000_000, 3
    rows["flags"][2] = TickFlag.UNFIT
    made.rings["ticks"].publish_rows(rows)
    tail.tail_health(made.path, 1, follow=False)
    (line,) = capsys.readouterr().out.splitlines()
    for word in ("AAPL", "trade", "live -> gapped", "sequence", "gap 7 ms", "3 missing", "no signals"):
        assert word in line


def test_a_replay_is_shown_as_one(fake_run):
    made = fake_run(source="replay")
    assert collect(made.path)["feed"]["state"] == "replaying"
    made.stats["replay"].declare(("finished",), ())
    made.stats["replay"].counter("finished").set(1)
    assert collect(made.path)["feed"]["state"] == "finished"


def test_no_run_is_a_clear_error(tmp_path):
    with pytest.raises(RunError, match="still starting"):
        collect(tmp_path)


def test_the_states_are_those_of_the_supervisor():
    assert status.ENGINE_STATES == supervisor.ENGINE_STATES


def test_no_view_needs_a_compiler_or_sockets():
    code = (
        "import sys, hft_engine.views.status, hft_engine.views.tail, hft_engine.views.top; "
        "sys.exit('numba' in sys.modules or 'zmq' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_people_see_what_was_lost(fake_run, capsys):
    made = fake_run()
    made.stats["signals"].counter("weak").set(12)
    render(collect(made.path))
    shown = capsys.readouterr().out
    assert "signals: weak 12" in shown
    assert "tick → signal" in shown


def test_only_losses_are_listed():
    assert (
        losses({"feed": {"frames": 5, "gaps": 2, "rejected": 0}, "signals": {"signals": 3}}) == "feed: gaps 2"
    )


@pytest.mark.parametrize(("fraction", "full"), [(0.0, 0), (0.5, 6), (1.0, 12), (3.0, 12)])
def test_the_bar_of_a_reader_fills_with_its_lag(fraction, full):
    assert bar(fraction).plain.count("█") == full


def test_tail_prints_the_latest_signals_with_names(fake_run, capsys):
    made = fake_run()
    made.signals(5)
    tail.tail_signals(made.path, 2, follow=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "22:13:20.123Z  AAPL     BUY  0.75      101.5000  model_up" in lines[0]
    assert lines[0].endswith("12.5 µs  #3")


def test_tail_follows_until_the_engine_ends(fake_run, capsys, monkeypatch):
    made = fake_run()
    made.signals(1)
    naps = []

    def nap(seconds):  # stands for time that passes: something is published, then the engine ends
        naps.append(seconds)
        if len(naps) == 1:
            made.signals(3)
        else:
            monkeypatch.setattr("hft_engine.views.run.is_alive", lambda pid: False)

    monkeypatch.setattr(tail.time, "sleep", nap)
    tail.tail_signals(made.path, 10, follow=True)
    captured = capsys.readouterr()
    assert [line.rpartition("#")[2] for line in captured.out.splitlines()] == ["0", "1", "2", "3"]
    assert "the engine has ended" in captured.err


def test_tail_says_how_many_signals_it_could_not_show(fake_run):
    made = fake_run()
    lines = tail._signals(tail.RunView(made.path), 10)
    assert next(lines) == []
    made.signals(3_000)
    assert next(lines)[0] == f"... {3_000 - 1_024:,} signals came faster than they could be shown"


def test_tail_events_shows_past_ones_and_each_new_one_once(fake_run):
    made = fake_run()
    file = EventFile(made.path)
    for i in range(5):
        file.append(Event(0, "feed", "state", f"event {i}", i))
    batches = tail._events(made.path / "events.jsonl", 2)
    assert [line.rpartition(" ")[2] for line in next(batches)] == ["3", "4"]
    assert next(batches) == []
    file.append(Event(0, "feed", "state", "event 5", 5))
    file.close()
    assert [line.rpartition(" ")[2] for line in next(batches)] == ["5"]
    assert next(batches) == []


def test_tail_of_a_run_without_events_is_empty(fake_run, capsys):
    tail.tail_events(fake_run().path, 10, follow=False)
    assert capsys.readouterr().out == ""


def test_top_draws_everything_once(fake_run, monkeypatch):
    made = fake_run()
    made.signals(3)
    monkeypatch.setattr("hft_engine.views.top.REFRESH_S", 0.0)
    out = io.StringIO()
    watch(made.path, Console(file=out, width=140), refreshes=1)
    shown = out.getvalue()
    for word in ("running", "indicators", "predictions", "tick → signal", "latest signals", "AAPL"):
        assert word in shown


def _rows_of_lines(count):
    rows = np.zeros(count, LINE_DTYPE)
    for i, row in enumerate(rows):
        row["name"], row["venue"] = f"options-of-the-index.{i + 2}", "polygon-options"
        row["mirrors"] = "main" if i else ""
        row["state"], row["delayed"] = FeedState.AUTHENTICATING, i
        row["wanted"], row["acks_missing"] = 1_000, 12
        row["events"], row["frames"], row["reconnects"], row["gaps"] = 1_234_567_890, 98_765_432, 321, 45
        row["first"], row["second"], row["lead_us_mean"] = 3, 1, 123_456
    return rows


def test_the_lines_of_a_feed_fit_into_80_columns(fake_run):
    made = fake_run()
    write_lines(made.stats["feed"].table, _rows_of_lines(3))
    out = io.StringIO()
    Console(file=out, width=80).print(lines(collect(made.path)["feed"]["lines"]))
    shown = out.getvalue()
    assert "…" not in shown and all(len(text) <= 80 for text in shown.splitlines())
    for word in (
        "authenticating",
        "delayed",
        "1,234,567,890",
        "98,765,432",
        "321",
        "45",
        "75%",
        "123,456",
        "988",
    ):
        assert word in shown


def _plain(value):
    if isinstance(value, dict):
        return all(type(key) is str and _plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_plain, value))
    return type(value) in (str, int, float, bool, type(None))


def test_the_object_is_json(fake_run):
    json.loads(orjson.dumps(collect(fake_run().path)))


def test_the_command_prints_json_where_the_figures_come_from_numpy(fake_run, monkeypatch):
    made = fake_run()
    made.latency(1_000, 2_000, 3_000)
    made.signals(5)
    write_lines(made.stats["feed"].table, _rows_of_lines(2))
    made.stats["feed"].declare(("health_live", "clock_offset_us"), ())
    made.stats["feed"].counter("health_live").set(np.int64(7))
    made.stats["feed"].counter("clock_offset_us").set(np.int64(12_345))
    monkeypatch.setattr("hft_engine.cli.running.chosen_run", lambda *_: made.path)
    answer = CliRunner().invoke(main, ["status", "--json"])
    assert answer.exit_code == 0, answer.output
    state = json.loads(answer.stdout)
    assert state["latency_us"]["tick_to_signal"]["max"] == 3.0
    assert state["health"]["clock_offset_ms"] == 12.345
    assert state["feed"]["lines"][0]["lead_us"]["mean"] == 123_456
    assert _plain(collect(made.path))


def test_status_names_the_models_in_use_and_how_much_lay_outside_their_training(fake_run):
    made = fake_run()
    assert collect(made.path)["models"]["members"] == [] and models_line(collect(made.path)["models"]) == ""
    members = [
        Served("peak", "3", "ab" * 32, ["peak"], 0),
        Served("regime", "2", "cd" * 32, ["regime.up"], 70),
    ]
    write_served(made.path, ServedSet(7, members))
    made.stats["inference"].declare(("predictions", "features_missing", "out_of_distribution"), ())
    for name, value in (("predictions", 1_200), ("features_missing", 5), ("out_of_distribution", 42)):
        made.stats["inference"].counter(name).set(value)
    told = collect(made.path)["models"]
    assert told["model_id"] == 7 and told["members"][1]["since"] == 70
    assert models_line(told) == "models peak 3, regime 2; 42 of 1,205 records out of distribution"
