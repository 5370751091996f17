"""The fork server with real processes: exit statuses, and the chain of death."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hft_engine.runtime.forkserver import ForkServer, ForkServerError
from hft_engine.runtime.linux import readable
from support.waiting import wait_for

TESTS = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": str(TESTS)}


@pytest.fixture
def server() -> Iterator[ForkServer]:
    made = ForkServer(["support.children"], ENV)
    assert [step.module for step in made.warming()] == ["support.children"]
    yield made
    made.close()


def ended(pidfd: int) -> bool:
    return readable(pidfd, 60.0)


@pytest.mark.parametrize(
    ("target", "payload", "status"),
    [("leave", b"0", 0), ("leave", b"7", 7), ("crash", b"", 70), ("kill_itself", b"", -signal.SIGKILL)],
)
def test_exit_status_of_a_child_is_reported(
    server: ForkServer, target: str, payload: bytes, status: int
) -> None:
    pid, pidfd = server.spawn("child", f"support.children:{target}", payload)
    assert ended(pidfd)
    assert server.reap(pid) == status
    os.close(pidfd)


def test_child_dies_with_the_fork_server(server: ForkServer) -> None:
    pid, pidfd = server.spawn("child", "support.children:stay", b"")
    os.kill(server.pid, signal.SIGKILL)
    assert ended(pidfd)
    os.close(pidfd)
    wait_for(lambda: not server.alive(), "fork server seen dead")
    wait_for(lambda: not _runs(pid), "child gone")
    with pytest.raises(ForkServerError, match=r"gone|ended|does not answer"):
        server.spawn("child", "support.children:stay", b"")


def test_everybody_dies_when_the_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, signal\nfrom hft_engine.runtime.forkserver import ForkServer\n"
        "s = ForkServer(['support.children'], dict(os.environ))\nlist(s.warming())\n"
        "pid, _ = s.spawn('child', 'support.children:stay', b'')\n"
        "print(s.pid, pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run([sys.executable, "-c", script], env=ENV, capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL
    server_pid, child_pid = map(int, run.stdout.split())
    wait_for(lambda: not _runs(server_pid), "fork server gone")
    wait_for(lambda: not _runs(child_pid), "child gone")


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_module_that_cannot_be_loaded_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    server = ForkServer(["no_such_module"], ENV)
    with pytest.raises(ForkServerError, match="no_such_module"):
        list(server.warming())
    server.close()
    assert "no_such_module" in capfd.readouterr().err
