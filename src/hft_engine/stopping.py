"""Stopping an engine from outside: ask over the control plane, then by signal; sweep what a dead one left."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from hft_engine.runtime import run_record, rundir
from hft_engine.runtime.control import Client, ControlError
from hft_engine.runtime.limits import KILLED_GONE_S, STOP_COMMAND_S
from hft_engine.runtime.linux import readable
from hft_engine.runtime.messages import Stop

ASK_TIMEOUT_MS = 1_000


def stop(root: str | None, wanted: str | None, data_dir: Path, say: Callable[[str], None]) -> int:
    """Stop the run that is meant. 0 when nothing runs any more, saying so. Raises RunError when several run."""
    started = time.monotonic()
    runs = rundir.live_runs(root)
    if not runs:
        swept = rundir.sweep(root, salvage=run_record.salvage)
        say("no engine is running" + (f"; removed what {', '.join(swept)} had left" if swept else ""))
        return 0
    run_dir = runs[0] if len(runs) == 1 and not wanted else rundir.find_run(root, wanted, data_dir)
    pid = _supervisor_pid(run_dir)
    pidfd = os.pidfd_open(pid)
    try:
        if not _ask(run_dir):
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        if not readable(pidfd, STOP_COMMAND_S):
            say(f"the supervisor (pid {pid}) did not end in {STOP_COMMAND_S:.0f} s; killed")
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            readable(pidfd, 2 * KILLED_GONE_S)
    finally:
        os.close(pidfd)
    rundir.sweep(root, salvage=run_record.salvage)
    say(f"stopped {run_dir.name} ({time.monotonic() - started:.1f} s)")
    return 0


def _supervisor_pid(run_dir: Path) -> int:
    """From the manifest; a run that is still starting is given a moment to write it."""
    deadline = time.monotonic() + 2.0
    while True:
        try:
            return rundir.read_manifest(run_dir).pid
        except rundir.RunError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _ask(run_dir: Path) -> bool:
    client = Client(run_dir)
    try:
        client.request(Stop(), timeout_ms=ASK_TIMEOUT_MS)
        return True
    except ControlError:
        return False
    finally:
        client.close()
