"""Real faults on real processes: what dies is restarted, what hangs is seen, and no orphan is left."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from support.engine import Engine, demo, hft
from support.waiting import wait_for

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.expects_errors("restart: ", "hang: ", "connection lost: ", "gap of ", "data are missing"),
]


PATIENT = (
    "supervisor.hang_kill_ms=13000"  # a machine that starves a process for seconds would be a second restart
)


def actor(engine: Engine, role: str) -> dict[str, object]:
    found: dict[str, object] = next(a for a in engine.status()["actors"] if a["role"] == role)
    return found


def runs_again(engine: Engine, role: str, pid: int) -> bool:
    now = actor(engine, role)
    return now["state"] == "running" and now["pid"] != pid


def test_every_killed_actor_is_restarted_and_signals_go_on(tmp_path: Path) -> None:
    with demo(tmp_path, PATIENT, "supervisor.stop_deadline_ms=14000") as engine:
        engine.wait_for_signals()
        for role in ("persistence", "signals", "inference", "indicators", "feed", "publisher", "simulator"):
            pid = engine.pid_of(role)
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda role=role, pid=pid: runs_again(engine, role, pid), f"{role} restarted")
            assert actor(engine, role)["restarts"] == 1
        wait_for(lambda: engine.status()["feed"]["state"] == "live", "feed live again", 90)
        engine.wait_for_signals(more_than=engine.status()["signals"]["published"])
        for ring in engine.status()["rings"]:
            for reader in ring["readers"]:
                assert reader["lag"] >= 0


def test_hung_actor_is_shown_killed_and_restarted(tmp_path: Path) -> None:
    with demo(tmp_path) as engine:
        pid = engine.pid_of("inference")
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: actor(engine, "inference")["state"] == "hung", "shown as hung", 60)
        wait_for(lambda: runs_again(engine, "inference", pid), "restarted", 60)


def test_status_works_while_the_supervisor_is_stopped(tmp_path: Path) -> None:
    with demo(tmp_path) as engine:
        pid = engine.supervisor_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            assert engine.told_status()["feed"]["state"] == "live"
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("victim", ["supervisor", "forkserver"])
def test_no_orphan_outlives_the_supervisor(tmp_path: Path, victim: str, run_root: Path) -> None:
    with demo(tmp_path) as engine:
        processes = engine.processes()
        if victim == "supervisor":
            os.kill(engine.supervisor_pid(), signal.SIGKILL)
            _, alive = psutil.wait_procs(processes, timeout=20)
            assert not alive
            answer = hft("stop", *engine.options)
            assert "no engine is running; removed what hft-" in answer.stdout
            assert not list(run_root.iterdir())
            return
        (fork_server,) = [p for p in processes if p.name() == "hft:forkserver"]
        before = engine.pid_of("feed")
        os.kill(fork_server.pid, signal.SIGKILL)
        wait_for(lambda: runs_again(engine, "feed", before), "all started again", 90)
        wait_for(lambda: engine.status()["feed"]["state"] == "live", "feed live again", 90)


@pytest.mark.expects_errors("signals ended with signal SIGKILL again after 1 restarts")
def test_actor_that_keeps_dying_stops_the_engine_with_the_reason(tmp_path: Path) -> None:
    with demo(tmp_path, "supervisor.restarts_max=1") as engine:
        supervisor = psutil.Process(engine.supervisor_pid())
        pid = engine.pid_of("signals")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: runs_again(engine, "signals", pid), "restarted once")
        os.kill(engine.pid_of("signals"), signal.SIGKILL)
        psutil.wait_procs([supervisor], timeout=60)
        assert not supervisor.is_running()
        log = (tmp_path / "logs" / "trading_agent.log").read_text()
        assert "signals ended with signal SIGKILL again after 1 restarts in 60 s" in log
