"""What a person must get for bad input, and what must not be left of the attempt."""

import os
import subprocess
from pathlib import Path

import psutil

from support.waiting import wait_for

PROGRESS = "  compiling kernels"  # of a slow machine, or where a test runs first


def assert_refused(answer: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    """A non-zero exit and exactly one line on stderr, which holds ``parts``; no traceback anywhere."""
    output = f"exit {answer.returncode}\nstdout: {answer.stdout}\nstderr: {answer.stderr}"
    assert answer.returncode != 0, output
    assert "Traceback" not in answer.stdout + answer.stderr, output
    lines = [line for line in answer.stderr.splitlines() if line.strip() and not line.startswith(PROGRESS)]
    assert len(lines) == 1, output
    assert lines[0].startswith("error: "), output
    for part in parts:
        assert part in lines[0], f"{part!r} is not in it\n{output}"
    assert "error" not in answer.stdout, output


def processes_of(run_root: Path) -> list[psutil.Process]:
    """Everything that was started for this run root, also what no longer has us as an ancestor."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("HFT_RUN_ROOT") == str(run_root):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


def assert_nothing_left(run_root: Path, timeout_s: float = 5.0) -> None:
    """No process and no file of an engine of this root; ends what there is when it fails."""
    try:
        wait_for(lambda: not processes_of(run_root), "all processes of the engine gone", timeout_s)
        assert not list(run_root.rglob("*")), "files left in the run root"
    finally:
        for process in processes_of(run_root):
            process.kill()
