"""The demo as a person meets it: start, look, stop, with real processes and a real socket."""

import os
from pathlib import Path

import pytest

from support.engine import Engine, demo, hft, settings
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ROUNDS = int(os.environ.get("HFT_ROUNDS", "2"))
ROLES = {"simulator", "feed", "indicators", "inference", "signals", "publisher", "persistence"}
RINGS = {"ticks", "bars", "features", "predictions", "signals"}


def each_signal_has_its_latency(engine: Engine) -> bool:
    """Two counters, one after the other: a signal in between is in one of them only."""
    status = engine.status()
    count, published = status["latency_us"]["tick_to_signal"]["count"], status["signals"]["published"]
    return bool(count == published > 0)


def test_demo_is_live_within_seconds_and_leaves_nothing(tmp_path: Path, run_root: Path) -> None:
    with demo(tmp_path, learning=True) as engine:
        engine.wait_for_signals()
        wait_for(lambda: all(a["state"] == "running" for a in engine.status()["actors"]), "every actor")
        status = engine.told_status()
        assert status["state"] == "running"
        assert {actor["role"] for actor in status["actors"]} == ROLES | {"trainer", "shadow"}
        assert all(actor["state"] == "running" and actor["restarts"] == 0 for actor in status["actors"])
        assert status["feed"]["state"] == "live"
        assert status["feed"]["rejected"] == 0
        assert {ring["name"] for ring in status["rings"]} == RINGS
        assert all(reader["lapped"] == 0 for ring in status["rings"] for reader in ring["readers"])
        wait_for(lambda: each_signal_has_its_latency(engine), "as many latencies as signals")
        stopped = engine.stop()
        assert stopped.returncode == 0, stopped.stderr
        assert "stopped hft-" in stopped.stdout
    assert not list(run_root.iterdir())
    assert (tmp_path / "logs" / "trading_agent.log").stat().st_size > 0


def test_second_start_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with demo(tmp_path) as engine:
        second = hft("start", "--demo", "--detach", *engine.options)
        assert second.returncode != 0
        assert "already running" in second.stderr
        assert "hft stop" in second.stderr
        assert engine.status()["state"] == "running"


def test_stopping_a_stopped_engine_says_so(tmp_path: Path) -> None:
    answer = hft("stop", *settings(tmp_path))
    assert answer.returncode == 0
    assert "no engine is running" in answer.stdout


@pytest.mark.parametrize("layout", ["compact", "inline"])
def test_other_layouts_run_the_same_roles(tmp_path: Path, layout: str) -> None:
    with demo(tmp_path, f"engine.layout={layout}") as engine:
        engine.wait_for_signals()
        status = engine.status()
        assert status["layout"] == layout
        assert {actor["role"] for actor in status["actors"]} == ROLES
        pids = {actor["pid"] for actor in status["actors"]}
        assert len(pids) == {"compact": 4, "inline": 2}[layout]


@pytest.mark.timeout(900)
def test_rounds_of_start_and_stop_leave_nothing(tmp_path: Path, run_root: Path) -> None:
    for _ in range(ROUNDS):
        with demo(tmp_path):
            pass
        assert not list(run_root.iterdir())
