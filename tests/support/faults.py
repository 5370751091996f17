"""Every kind of fault a test may inflict, by name: ``inflict(name, ground, role, seconds)``.

Of processes: those of ``hft chaos`` (``hft_engine.chaos.FAULTS``). Of the network: the proxy's. Of the disk: a file
system that is full, blocks that take long. Of time: the venue's clock steps. Of what is stored: flipped bytes.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hft_engine import chaos
from hft_engine.runtime.rundir import read_manifest
from support.engine import ROOT
from support.proxy import Proxy

CLOCK_STEP_MS = 2_000.0
FREE_BLOCKS_MAX = 64  # that others freed since


class SteppingVenue:
    """A venue in a process of its own, whose clock can be stepped."""

    def __init__(self, api_key: str, ticks_per_s: float, seed: int) -> None:
        command = [sys.executable, "-m", "support.stepping_venue", api_key, str(ticks_per_s), str(seed)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
        environment.pop("HFT_RUN_ROOT", None)
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url.startswith("ws://"), "the venue did not start"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2].partition("/")[0])

    def step(self, milliseconds: float) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{milliseconds}\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


@dataclass
class Ground:
    """What faults act on: a run, the way to its venue, its venue, its data."""

    run_dir: Path
    proxy: Proxy
    venue: SteppingVenue
    data_dir: Path


Inflict = Callable[[Ground, str, float], None]


def _reset(ground: Ground, role: str, seconds: float) -> None:
    ground.proxy.reset()


def _held(after: int) -> Inflict:
    def inflict(ground: Ground, role: str, seconds: float) -> None:
        ground.proxy.hold(after)
        time.sleep(seconds)
        ground.proxy.heal()

    return inflict


def _refused(ground: Ground, role: str, seconds: float) -> None:
    ground.proxy.refuse()
    time.sleep(seconds)
    ground.proxy.heal()


def _throttled(ground: Ground, role: str, seconds: float) -> None:
    ground.proxy.throttle(60_000)
    time.sleep(seconds)
    ground.proxy.heal()


def _stepped(milliseconds: float) -> Inflict:
    def inflict(ground: Ground, role: str, seconds: float) -> None:
        ground.venue.step(milliseconds)
        time.sleep(seconds)
        ground.venue.step(-milliseconds)

    return inflict


def _filled(ground: Ground, role: str, seconds: float) -> None:
    with full(ground.data_dir):
        time.sleep(seconds)


def _flipped(ground: Ground, role: str, seconds: float) -> None:
    segment = sorted(ground.data_dir.rglob("*.hftj"))[0]
    flip(segment, segment.stat().st_size // 2)


def _of_process(name: str) -> Inflict:
    def inflict(ground: Ground, role: str, seconds: float) -> None:
        victim = chaos.find_victim(ground.run_dir, read_manifest(ground.run_dir), role)
        chaos.FAULTS[name].inflict(victim, seconds)

    return inflict


NETWORK: dict[str, Inflict] = {
    "reset": _reset,
    "half-open": _held(0),
    "half-frame": _held(137),
    "refused": _refused,
    "throttled": _throttled,
}
CLOCK: dict[str, Inflict] = {"clock-forward": _stepped(CLOCK_STEP_MS), "clock-back": _stepped(-CLOCK_STEP_MS)}
DISK: dict[str, Inflict] = {"full-disk": _filled, "flip": _flipped}
FAULTS: dict[str, Inflict] = {name: _of_process(name) for name in chaos.FAULTS} | NETWORK | CLOCK | DISK


def inflict(name: str, ground: Ground, role: str, seconds: float) -> None:
    """Returns when the fault is over and, where it leaves something behind, healed."""
    FAULTS[name](ground, role, seconds)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """The (small) file system of ``folder`` full to the last block; only one of at most 64 MB is filled."""
    found = os.statvfs(folder)
    assert found.f_blocks * found.f_frsize <= 64 << 20, f"{folder} is no small file system"
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:  # others take and free blocks meanwhile
                file.write(bytes(found.f_frsize))
        assert os.statvfs(folder).f_bavail <= FREE_BLOCKS_MAX, f"{folder} did not fill up"
        yield
    finally:
        ballast.unlink()


def slow_disk(points: str, milliseconds: int) -> dict[str, str]:
    """Environment for an engine in which each of these fault points (comma between) takes that long."""
    armed = ",".join(f"{point}:slow@{milliseconds}" for point in points.split(","))
    return {"HFT_FAULT_POINTS": armed}


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    """One byte of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))
