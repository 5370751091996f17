"""`hft lat`: figures against known histograms, the last minute apart from the rest, the slowest by name."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import orjson
import pytest

from hft_engine.records import SIGNAL_DTYPE
from hft_engine.runtime.snapshots import KEPT, Snapshots, read_snapshots
from hft_engine.shm.histogram import record_one
from hft_engine.signals.slowest_table import ROWS_WORD, STAMP, read_slowest
from hft_engine.views import lat
from hft_engine.views.lat import ROWS, collect, render

SECOND = 1_000_000_000


def declare(made):
    for role, _, *_ in ROWS:
        names = [one for of, one, *_ in ROWS if of == role]
        made.stats[role].declare((), names)
    return {name: made.stats[role].histogram(name) for role, name, *_ in ROWS}


def hop(found, name):
    return next(row for row in found["hops"] if row["hop"] == name)


def signals(made, *spent, now_ns=None):
    """Signals whose hops are ``spent`` (ns, four each), visible now."""
    now_ns = now_ns or time.monotonic_ns()
    rows = np.zeros(len(spent), SIGNAL_DTYPE)
    rows["instrument_id"] = made.instruments.id_of("AAPL")
    rows["source_sequence"] = 500 + np.arange(len(spent))
    rows["ts_publish_ns"] = now_ns
    rows["ts_mono_ns"] = now_ns - np.sum(spent, axis=1)
    rows["hop_low_ns"] = np.array(spent)[:, :3] & 0xFFFFFFFF
    rows["hop_high_ns"] = np.array(spent)[:, :3] >> 32
    made.rings["signals"].publish_rows(rows)


def test_percentiles_are_those_of_what_was_recorded(fake_run):
    made = fake_run()
    histograms = declare(made)
    for value in range(1, 10_001):
        record_one(histograms["inference"], value * 100)
    found = orjson.loads(orjson.dumps(collect(made.path)))
    assert [row["hop"] for row in found["hops"]] == [name for _, name, *_ in ROWS]
    expected = {"count": 10_000, "p50": 500, "p99": 990, "p999": 999, "p9999": 999.9, "max": 1_000}
    for window in ("since_start", "last_minute"):
        assert hop(found, "inference")[window] == pytest.approx(expected, rel=1e-3)
        assert set(hop(found, "feed")[window].values()) == {0}
    assert found["window_s"] == found["uptime_s"] >= 90  # nobody has taken a snapshot


def test_last_minute_is_what_came_after_the_snapshot_before_it(fake_run, monkeypatch):
    made = fake_run()
    histograms = declare(made)
    snapshots = Snapshots(made.path, made.roles[:-1])
    now_ns = time.monotonic_ns()
    monkeypatch.setattr(lat, "time", SimpleNamespace(monotonic_ns=lambda: now_ns))
    for value in [5_000_000] * 1_000:
        record_one(histograms["signals"], value)
    snapshots.take(now_ns - 75 * SECOND)
    for value in [3_000_000] * 10:
        record_one(histograms["signals"], value)
    snapshots.take(now_ns - 65 * SECOND)
    for value in [1_000] * 99 + [2_000_000]:
        record_one(histograms["signals"], value)
    snapshots.take(now_ns - 30 * SECOND)
    found = collect(made.path)
    assert found["window_s"] == 65
    of = hop(found, "signals")
    assert of["since_start"] == pytest.approx(
        {"count": 1_110, "p50": 5_000, "p99": 5_000, "p999": 5_000, "p9999": 5_000, "max": 5_000}, rel=1e-3
    )
    assert of["last_minute"] == pytest.approx(
        {"count": 100, "p50": 1, "p99": 1, "p999": 2_000, "p9999": 2_000, "max": 2_000}, rel=1e-3
    )


def test_a_histogram_that_a_snapshot_did_not_know_counts_from_zero(fake_run):
    made = fake_run()
    Snapshots(made.path, made.roles[:-1]).take(time.monotonic_ns() - 61 * SECOND)
    record_one(declare(made)["feed"], 7_000)
    assert hop(collect(made.path), "feed")["last_minute"]["count"] == 1


def test_only_the_latest_snapshots_are_kept(fake_run):
    made = fake_run()
    snapshots = Snapshots(made.path, made.roles[:-1])
    for second in range(KEPT + 3):
        snapshots.take(second * SECOND)
    assert [s.taken_ns // SECOND for s in read_snapshots(made.path)] == list(range(3, KEPT + 3))
    assert not list(made.path.glob("*.new"))


def test_a_full_file_system_costs_a_snapshot_and_nothing_else(fake_run, monkeypatch):
    made = fake_run()
    snapshots = Snapshots(made.path, made.roles[:-1])
    snapshots.take(SECOND)
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    snapshots.take(2 * SECOND)
    monkeypatch.undo()
    assert [s.taken_ns for s in read_snapshots(made.path)] == [SECOND]
    assert not list(made.path.glob("*.new"))


def test_slowest_of_the_last_minute_come_from_the_ring(fake_run):
    made = fake_run()
    declare(made)
    old_ns = time.monotonic_ns() - 100 * SECOND
    signals(made, (9 * SECOND, 0, 0, 0), now_ns=old_ns)
    Snapshots(made.path, made.roles[:-1]).take(time.monotonic_ns() - 62 * SECOND)
    signals(made, (1, 2, 3, 4), (10, 5 * SECOND, 30, 40), *[(1, 1, 1, 1)] * 30)
    slowest = collect(made.path)["slowest"]["last_minute"]
    assert len(slowest) == 16
    assert slowest[0]["sequence"] == 2
    assert slowest[0]["source_sequence"] == 501
    assert slowest[0]["symbol"] == "AAPL"
    assert slowest[0]["total_ns"] == 5 * SECOND + 80
    assert slowest[0]["hops_ns"] == {"feed": 10, "indicators": 5 * SECOND, "inference": 30, "signals": 40}
    assert slowest[1]["hops_ns"] == {"feed": 1, "indicators": 2, "inference": 3, "signals": 4}


def test_slowest_since_the_start_come_from_the_table(fake_run):
    made = fake_run()
    declare(made)
    table = made.stats["signals"].table
    table[ROWS_WORD : ROWS_WORD + 16] = 100, 7, 70, 0, 0, 10, 20, 30, 900, 8, 80, 0, 0, 100, 200, 300
    found = collect(made.path)["slowest"]["since_start"]
    assert [(row["sequence"], row["source_sequence"], row["total_ns"]) for row in found] == [
        (8, 80, 900),
        (7, 70, 100),
    ]
    assert found[0]["hops_ns"]["signals"] == 300
    table[STAMP] = 1  # its writer was stopped inside a row: shown all the same
    assert len(read_slowest(table)) == 2


@pytest.mark.parametrize("columns", ["80", "170"])
def test_table_for_people_has_every_hop_and_the_slowest(fake_run, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    made = fake_run()
    record_one(declare(made)["tick_to_signal"], 12_345_000)
    signals(made, (1_000, 2_000, 3_000, 4_000))
    render(collect(made.path))
    shown = capsys.readouterr().out
    assert "prediction visible" in shown
    assert shown.count("12,345 ") == 10, "five figures, since the start and in the last minute"
    assert "…" not in shown, "a figure or a name is cut off"
    assert "10.0" in shown  # the signal's total
    assert "AAPL" in shown


def test_command_answers_while_a_process_of_the_run_is_stopped(fake_run):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as hung:
        made = fake_run(pid=hung.pid)
        declare(made)
        os.kill(hung.pid, signal.SIGSTOP)
        try:
            command = [sys.executable, "-m", "hft_engine", "lat", "--json", "--run", made.directory.run_id]
            root = str(made.path.parent.parent)
            environment = {**os.environ, "HFT_RUN_ROOT": root}
            answer = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=100, env=environment
            )
        finally:
            hung.kill()
    assert answer.returncode == 0, answer.stderr
    assert orjson.loads(answer.stdout)["run_id"] == made.directory.run_id
