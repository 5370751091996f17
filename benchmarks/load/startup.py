"""Start-up and memory of the demo: ``hft start --demo --detach`` cold and warm, and an actor killed and started again.

    hft start --demo --detach ... kernels (compiled, or from the cache) ... actors ... venue ... tick ... signal
    ^ from here                                                                        ^ first  ^ first visible

Cold: a kernel cache of its own, empty; every kernel is compiled. Warm: the same cache, full. Restart: an actor is
killed with SIGKILL; from there until the one in its place has published its first record, as a view sees it. A feed's
includes its new connection, and the venue's next tick.

Memory, of the warm engine after some seconds: what each process has for itself (private pages) and its share of what
the engine's processes share (code, compiled kernels), from /proc/PID/smaps_rollup; shared-memory segments once, by the
blocks they hold. The reference of the times is a Python process that starts and imports what the kernels need.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import harness, machine
from benchmarks.load.engine_run import EngineError, Scratch
from hft_engine.records import PREDICTION_DTYPE, SIGNAL_DTYPE, TICK_DTYPE
from hft_engine.runtime import rundir
from hft_engine.runtime.rundir import Manifest
from hft_engine.shm import layout
from hft_engine.shm.counters import ActorState, Stats
from hft_engine.shm.ring_file import RingView
from hft_engine.shm.segment import SegmentError

COLD_TARGET_S, WARM_TARGET_S = 25.0, 4.0
MEMORY_TARGET_MB, RESTART_TARGET_MS = 400.0, 150.0
FIRST_S = 120.0  # longest wait for a first tick or signal
RESTARTED_S = 20.0
LOOK_S = 0.002
SETTLED_S = 2.0  # after the start, before memory is read and after a restart
KILLED = {
    "feed": ("ticks", TICK_DTYPE),
    "inference": ("predictions", PREDICTION_DTYPE),
}  # role -> what it writes
PLAIN = "import numba, numpy, msgspec, zmq"


@dataclass(frozen=True)
class Started:
    """Seconds from the command until the first tick and the first signal were visible."""

    tick_s: float
    signal_s: float


class Demo:
    """The demo engine, detached as a person starts it, with directories and a kernel cache of its own."""

    def __init__(self, scratch: Scratch, kernels: Path, layout_: str) -> None:
        self._root = str(scratch.run_root)
        self._settings = [
            f"--set=engine.run_root={self._root}",
            f"--set=engine.data_dir={scratch.disk / 'data'}",
            f"--set=engine.log_dir={scratch.disk / 'logs'}",
            f"--set=engine.layout={layout_}",
        ]
        self._env = {**os.environ, "XDG_CACHE_HOME": str(kernels)}
        self._env.pop("NUMBA_CACHE_DIR", None)

    def start(self) -> Started:
        """Start it and wait for its first tick and signal. Raises EngineError."""
        begun_s = time.monotonic()
        starter = subprocess.Popen(
            self._command("start", "--demo", "--detach"),
            cwd=machine.ROOT,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            tick_s = self._first("ticks", TICK_DTYPE, starter) - begun_s
            signal_s = self._first("signals", SIGNAL_DTYPE, starter) - begun_s
        finally:
            starter.communicate()
        self.manifest: Manifest = rundir.read_manifest(self.directory)
        return Started(tick_s, signal_s)

    def stop(self) -> None:
        """In order; does nothing when it does not run."""
        subprocess.run(
            self._command("stop"), cwd=machine.ROOT, env=self._env, capture_output=True, check=False
        )

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "hft_engine", *words, *self._settings]

    def _first(self, ring: str, dtype: np.dtype, starter: "subprocess.Popen[str]") -> float:
        """When the ring's first record was visible, on the monotonic clock."""
        until_s = time.monotonic() + FIRST_S
        while not self._published(ring, dtype):
            if starter.poll() or time.monotonic() > until_s:
                self.stop()
                raise EngineError(f"no first record on {ring}:\n{starter.communicate()[0]}")
            time.sleep(LOOK_S)
        return time.monotonic()

    def _published(self, ring: str, dtype: np.dtype) -> int:
        runs = rundir.live_runs(self._root)
        if not runs:
            return 0
        self.directory = runs[0]
        try:
            return self.ring(ring, dtype).published
        except (SegmentError, OSError):  # being made
            return 0

    def ring(self, name: str, dtype: np.dtype) -> RingView:
        return RingView(self.directory / f"{name}.ring", dtype)

    def stats(self, role: str) -> Stats:
        return Stats.attach(self.directory / f"{role}.stats", writable=False)

    def pid(self, role: str) -> int:
        return int(self.stats(role).vitals[layout.V_PID])

    def processes(self) -> dict[str, int]:
        """The engine's processes by name: supervisor, fork server, actors."""
        actors = {name: self.pid(roles[0]) for name, roles in self.manifest.processes.items()}
        return {"supervisor": self.manifest.pid, "fork server": _parent(self.pid("signals")), **actors}


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextmanager
def demo(kernels: Path, layout_: str) -> Iterator[Demo]:
    """A demo that is stopped, and whose directories are removed."""
    scratch = Scratch()
    made = Demo(scratch, kernels, layout_)
    try:
        yield made
    finally:
        made.stop()
        scratch.remove()


@dataclass(frozen=True)
class Footprint:
    """Megabytes. ``private``: pages nobody else maps; ``share``: its part of pages that several map, files' included;
    no segments of shared memory in either.
    """

    private: float
    share: float


def footprint(pid: int) -> Footprint:
    """Of one process, from smaps_rollup."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kb = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    own = kb["Pss_Anon"] + kb["Pss_File"]
    private = min(own, kb["Private_Clean"] + kb["Private_Dirty"])
    return Footprint(private / 1024, (own - private) / 1024)


def segments_mb(directory: Path) -> float:
    """What a run's segments hold, each once."""
    return sum(file.stat().st_blocks * 512 for file in directory.rglob("*") if file.is_file()) / 2**20


def restart_ms(running: Demo, role: str) -> float:
    """Kill the process of ``role``; milliseconds until its successor's first record is visible."""
    name, dtype = KILLED[role]
    ring, pid = running.ring(name, dtype), running.pid(role)
    killed_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    _until(lambda: running.pid(role) != pid, f"a successor of {role}")
    before = ring.published
    _until(lambda: ring.published > before, f"the first record of the new {role}")
    took_ms = 1e3 * (time.monotonic() - killed_s)
    _until(lambda: running.stats(role).state == ActorState.RUNNING, f"{role} running")
    return took_ms


def _until(true: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + RESTARTED_S
    while not true():
        if time.monotonic() > until_s:
            raise EngineError(f"waited {RESTARTED_S} s in vain for {what}")
        time.sleep(LOOK_S / 10)


def plain_start_s() -> float:
    """A Python process that imports what the engine is made of, and ends."""
    begun_s = time.monotonic()
    subprocess.run([sys.executable, "-c", PLAIN], check=True)
    return time.monotonic() - begun_s


@dataclass
class Results:
    """Of all runs; memory of the last warm engine."""

    plain_s: list[float]
    cold: list[Started]
    warm: list[Started]
    restarts_ms: dict[str, list[float]]
    memory: dict[str, Footprint]
    segments: list[float]
    totals: list[float]


def measure(report: harness.Report, layout_: str, warm_only: bool) -> Results:
    """Cold, warm, memory and restarts, run after run."""
    found = Results([], [], [], {role: [] for role in KILLED}, {}, [], [])
    scratch = Scratch()
    try:
        for run in range(report.opts.runs):
            kernels = scratch.disk / f"kernels-{0 if warm_only else run}"
            found.plain_s.append(plain_start_s())
            if not warm_only:
                report.progress(f"cold, run {run + 1} of {report.opts.runs} ...")
                with demo(kernels, layout_) as cold:
                    found.cold.append(cold.start())
            _fill(kernels)
            report.progress(f"warm, run {run + 1} of {report.opts.runs} ...")
            with demo(kernels, layout_) as warm:
                found.warm.append(warm.start())
                _inspect(warm, found)
            if not warm_only:
                shutil.rmtree(kernels)
    finally:
        scratch.remove()
    return found


def _fill(kernels: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(kernels)}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-m", "hft_engine", "warm"]
    subprocess.run(command, env=environment, cwd=machine.ROOT, check=True, capture_output=True)


def _inspect(running: Demo, found: Results) -> None:
    time.sleep(SETTLED_S)
    found.memory = {name: footprint(pid) for name, pid in running.processes().items()}
    found.segments.append(segments_mb(running.directory))
    found.totals.append(sum(one.private + one.share for one in found.memory.values()) + found.segments[-1])
    for role, taken in found.restarts_ms.items():
        taken.append(restart_ms(running, role))
        time.sleep(SETTLED_S / 4)


def tell(report: harness.Report, found: Results, layout_: str) -> None:
    """Figures, and the memory of each process."""
    reference = (f"python -c '{PLAIN}'", found.plain_s)
    for kind, starts, target in (("cold", found.cold, COLD_TARGET_S), ("warm", found.warm, WARM_TARGET_S)):
        if starts:
            report.add(f"{kind}_to_tick_s", [start.tick_s for start in starts], "s", reference, target)
            report.add(f"{kind}_to_signal_s", [start.signal_s for start in starts], "s", reference, target)
    for role, taken in found.restarts_ms.items():
        plain_ms = [1e3 * seconds for seconds in found.plain_s]
        report.add(f"restart_{role}_ms", taken, "ms", (reference[0], plain_ms), RESTART_TARGET_MS)
    report.add("engine_memory_mb", found.totals, "MB", target=MEMORY_TARGET_MB)
    report.add("engine_segments_mb", found.segments, "MB")
    rows = [(name, one.private, one.share) for name, one in found.memory.items()]
    rows.append(("segments", found.segments[-1], 0.0))
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    report.show(
        f"startup: memory, layout {layout_}",
        ("process", "private MB", "share of common MB", "both MB"),
        [(name, f"{own:.1f}", f"{share:.1f}", f"{own + share:.1f}") for name, own, share in rows],
    )


def _arguments(parser: harness.Parser) -> None:
    parser.add_argument("--layout", default="dedicated", choices=("dedicated", "compact", "inline"))
    parser.add_argument(
        "--warm-only", action="store_true", help="no cold start: the kernels' compilation takes long"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    opts = harness.options(__doc__ or "", arguments, _arguments)
    report = harness.Report("startup", opts)
    report.sense_jitter()
    found = measure(report, opts.extra["layout"], opts.extra["warm_only"])
    report.sense_jitter()
    tell(report, found, opts.extra["layout"])
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
