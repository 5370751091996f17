"""A whole engine for system tests: started, watched and stopped through the commands a person uses."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from hft_engine.views.status import collect
from support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 170


def hft(*arguments: str, cwd: Path = ROOT, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
    """Run the command; never raises for its exit code."""
    command = [sys.executable, "-m", "hft_engine", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False)


def settings(directory: Path, *more: str) -> list[str]:
    """Options that keep an engine's files in ``directory``."""
    overrides = [f"engine.data_dir={directory / 'data'}", f"engine.log_dir={directory / 'logs'}", *more]
    return [part for override in overrides for part in ("--set", override)]


@dataclass
class Engine:
    """A running demo engine. ``options`` belong to every command that means it."""

    directory: Path
    options: list[str]

    def status(self) -> dict[str, Any]:
        """What ``hft status`` shows, without a process of its own for every look."""
        return collect(self.run_dir())

    def told_status(self) -> dict[str, Any]:
        """What the command says."""
        answer = hft("status", "--json", *self.options)
        assert answer.returncode == 0, answer.stderr
        state: dict[str, Any] = json.loads(answer.stdout)
        return state

    def run_dir(self) -> Path:
        (base,) = Path(os.environ["HFT_RUN_ROOT"]).glob("hft_engine-*")
        (run,) = base.iterdir()
        return run

    def supervisor_pid(self) -> int:
        return int(json.loads((self.run_dir() / "run.json").read_text())["pid"])

    def pid_of(self, role: str) -> int:
        return int(next(actor["pid"] for actor in self.status()["actors"] if actor["role"] == role))

    def processes(self) -> list[psutil.Process]:
        supervisor = psutil.Process(self.supervisor_pid())
        return [supervisor, *supervisor.children(recursive=True)]

    def stop(self) -> "subprocess.CompletedProcess[str]":
        return hft("stop", *self.options)

    def wait_for_signals(self, more_than: int = 0) -> None:
        wait_for(lambda: self.status()["signals"]["published"] > more_than, "signals", 90)


@contextmanager
def demo(
    directory: Path, *overrides: str, flags: Sequence[str] = (), learning: bool = False
) -> Iterator[Engine]:
    """``hft start --demo --detach``; stopped in the end, and nothing of it may be left. ``flags``: e.g. --resume.

    ``learning``: with its trainer and shadow, which most tests have no use for and would pay for.
    """
    options = settings(directory, f"learning.live={str(learning).lower()}", *overrides)
    started = hft("start", "--demo", "--detach", *flags, *options, timeout_s=START_TIMEOUT_S)
    assert started.returncode == 0, started.stdout + started.stderr
    engine = Engine(directory, options)
    processes: list[psutil.Process] = []
    try:
        processes = engine.processes()
        yield engine
    finally:
        engine.stop()
        _, alive = psutil.wait_procs(processes, timeout=20)
        for process in alive:
            process.kill()
        assert not alive, f"left running: {alive}"
