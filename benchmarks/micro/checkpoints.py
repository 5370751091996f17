"""What a checkpoint of the indicators costs the ticks that come meanwhile, and how long a step of it holds them up.

The same stage, the same market, with 10 to 10,000 instruments: no checkpoint, one after the other without a rest (the
worst there is: the engine takes one a second), and the steps between two duty cycles. Beside them the two other ways
to have a copy: the whole state at once, and a fork of the process (Redis's way), whose child does nothing.
"""

import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.micro.indicators import CROWDS, Crowd, crowd_pattern
from hft_engine.indicators.stage import IndicatorStage
from hft_engine.indicators.state import C_INSTRUMENTS
from hft_engine.runtime import snapshot
from hft_engine.runtime.checkpoint import CheckpointFile
from hft_engine.runtime.snapshot import Snapshots
from hft_engine.shm.counters import Stats

CHUNK = 4_096
SHM = Path("/dev/shm")


class Kept:
    """A crowd whose stage takes checkpoints. ``steps``: nanoseconds of each step so far."""

    def __init__(self, crowd: Crowd, directory: Path, instruments: int) -> None:
        self._crowd = crowd
        stage: IndicatorStage = crowd._stage._stage
        columns = stage.columns
        stats = Stats.private()
        stats.declare(snapshot.COUNTERS, ())
        row_bytes = sum(column.row_bytes for column in columns)
        file = CheckpointFile.open(directory / f"{instruments}.ckpt", 1, row_bytes, instruments)
        counters = [stats.counter(name) for name in snapshot.COUNTERS]
        self._snapshots = Snapshots(
            file,
            columns,
            lambda: int(stage.state.clock[C_INSTRUMENTS]),
            lambda facts: None,
            1,
            counters,
        )
        self._stage, self._taken, self.steps = stage, counters[0], [0]
        self._none = np.zeros(snapshot.CONTROL_WORDS, np.int64), np.zeros(1, np.int64)
        self._snapshots.complete()  # what is first reserved and mapped is not what is measured
        self._snapshots.complete()

    def without(self, ticks: int) -> float:
        """Nanoseconds a tick, no checkpoint being taken."""
        self._stage.take_snapshots(*self._none)
        return self._crowd.run(ticks)

    def during(self, ticks: int) -> float:
        """Nanoseconds a tick while checkpoints are taken, a step every CHUNK ticks; the steps are not in it."""
        self._stage.take_snapshots(self._snapshots.control, self._snapshots.marks)
        spent = 0.0
        for _ in range(0, ticks, CHUNK):
            self._step()
            spent += self._crowd.run(CHUNK)
        return spent / (ticks // CHUNK)

    def _step(self) -> None:
        self._snapshots._due_ns = 0
        before = time.perf_counter_ns()
        self._snapshots.tend()
        self.steps.append(time.perf_counter_ns() - before)

    def at_once_us(self) -> float:
        """The whole state, copied in one go."""
        copy = self._stage.state.rows.copy()  # so that its pages are there
        before = time.perf_counter_ns()
        copy[:] = self._stage.state.rows
        return (time.perf_counter_ns() - before) / 1e3


def fork_us() -> float:
    """How long a fork keeps its parent."""
    before = time.perf_counter_ns()
    child = os.fork()
    if child == 0:
        os._exit(0)
    spent = time.perf_counter_ns() - before
    os.waitpid(child, 0)
    return spent / 1e3


def main() -> int:
    report = harness.Report("checkpoints", harness.options(__doc__ or ""))
    ticks = report.opts.count(50, 10) * CHUNK
    pattern = crowd_pattern(3_000)
    with tempfile.TemporaryDirectory(dir=SHM if os.access(SHM, os.W_OK) else None) as scratch:
        report.progress("warming the crowds ...")
        made = {count: Kept(Crowd(count, pattern), Path(scratch), count) for count in CROWDS}
        for count, kept in made.items():
            compare(report, count, kept, ticks)
    return report.finish()


def compare(report: harness.Report, count: int, kept: Kept, ticks: int) -> None:
    ways: dict[str, Callable[[], float]] = {
        f"{count:,}, none": functools.partial(kept.without, ticks),
        f"{count:,}, all the time": functools.partial(kept.during, ticks),
        f"{count:,}, copied at once": kept.at_once_us,
        f"{count:,}, fork": fork_us,
    }
    none, during, once, fork = report.interleave(ways).values()
    report.add(f"checkpoint_tick_{count}_instruments_ns", during, "ns", ("no checkpoint", none))
    steps = [float(np.percentile(kept.steps, 99)) / 1e3]
    report.add(f"checkpoint_step_{count}_instruments_us_p99", steps, "us", ("copied at once", once))
    report.add(f"checkpoint_fork_{count}_instruments_us", fork, "us", ("step p99", steps))


if __name__ == "__main__":
    raise SystemExit(main())
