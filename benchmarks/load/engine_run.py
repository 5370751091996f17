"""A whole engine for a benchmark: its own configuration, run root and data directory; all removed at the end."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np
import psutil
import yaml

from hft_engine.config.schema import Config
from hft_engine.feed.states import FEED_STATES
from hft_engine.records import SIGNAL_DTYPE
from hft_engine.runtime import rundir
from hft_engine.runtime.rundir import SHM, Manifest
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring_file import RingView
from hft_engine.shm.segment import SegmentError

START_TIMEOUT_S = 120.0  # the kernels may have to be compiled
STOP_TIMEOUT_S = 15.0


class EngineError(RuntimeError):
    """The engine of a benchmark did not start, or ended; the text has its last lines."""


class Scratch:
    """Two private directories: one in shared memory for runs, one on disk for data and logs."""

    def __init__(self) -> None:
        root = SHM if os.access(SHM, os.W_OK) else Path(tempfile.gettempdir())
        self.run_root = Path(tempfile.mkdtemp(prefix="hft_bench-", dir=root))
        self.disk = Path(tempfile.mkdtemp(prefix="hft_bench-"))

    def remove(self) -> None:
        shutil.rmtree(self.run_root, ignore_errors=True)
        shutil.rmtree(self.disk, ignore_errors=True)


class EngineRun:
    """``hft start`` in a process of its own, with the configuration's directories replaced by private ones."""

    def __init__(self, config: Config, scratch: Scratch) -> None:
        engine = msgspec.structs.replace(
            config.engine,
            run_root=str(scratch.run_root),
            data_dir=str(scratch.disk / "data"),
            log_dir=str(scratch.disk / "logs"),
        )
        self._root = str(scratch.run_root)
        file = scratch.disk / "engine.yaml"
        settings = msgspec.to_builtins(msgspec.structs.replace(config, engine=engine))
        if settings["simulator"] is None:
            del settings["simulator"]
        file.write_text(yaml.safe_dump(settings))
        self._output = scratch.disk / "engine.out"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hft_engine", "start", "--config", str(file)],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=scratch.disk,
            )

    def __enter__(self) -> "EngineRun":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def until_live(self) -> None:
        """Waits until the feed is live. Raises EngineError."""
        self._wait(self._is_live, "become live")
        self.manifest: Manifest = rundir.read_manifest(self.directory)

    def _is_live(self) -> bool:
        runs = rundir.live_runs(self._root)
        if not runs:
            return False
        self.directory = runs[0]
        try:
            state = self.stats("feed").counters().get("state", 0)
        except (SegmentError, OSError):
            return False
        return FEED_STATES[state] == "live"

    def _wait(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise EngineError(f"the engine did not {what}:\n{self._output.read_text()[-2000:]}")
            time.sleep(0.05)

    def stats(self, role: str) -> Stats:
        return Stats.attach(self.directory / f"{role}.stats", writable=False)

    def signals(self) -> "SignalTail":
        return SignalTail(self.directory, self.stats("feed"))

    def lapped(self) -> int:
        """Records that any reader of any ring missed."""
        from hft_engine.shm import layout
        from hft_engine.topology import DTYPES

        total = 0
        for entry in self.manifest.rings:
            view = RingView(self.directory / entry.file, DTYPES[entry.dtype])
            words = (view.reader_words(i) for i in range(len(view.roles)))
            total += sum(int(reader[layout.R_LAPPED]) for reader in words)
        return total

    def processes(self) -> dict[str, psutil.Process]:
        """The actor processes, by name of the process."""
        from hft_engine.shm import layout

        found = {}
        for name, roles in self.manifest.processes.items():
            found[name] = psutil.Process(int(self.stats(roles[0]).vitals[layout.V_PID]))
        return found


class SignalTail:
    """Reads the signals ring from outside, slowing nobody."""

    def __init__(self, directory: Path, feed: Stats) -> None:
        self._view = RingView(directory / "signals.ring", SIGNAL_DTYPE)
        self._feed = feed
        self._position = 0

    def read(self) -> np.ndarray:
        """SIGNAL_DTYPE: what is new. ``source_sequence`` counts the venue's ticks alone, as who sent them does.

        The feed's own ticks, which tell of the data's health, take numbers of the ring: nearly all of them when an
        instrument is first heard of, so those that there are now are taken as those that there were at the signal.
        """
        first, rows = self._view.read(self._position, self._view.capacity)
        self._position = first + len(rows)
        rows["source_sequence"] -= self._feed.counters()["health_ticks"]
        return rows
