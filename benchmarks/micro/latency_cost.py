"""What always-on latency costs: ticks a second through every stage, with the recording and with it compiled out.

    journal --> replay actor --ticks--> indicators --features--> inference --predictions--> signals     (one process)

Compiled out (``HFT_LATENCY=off`` when the kernels are compiled, which keeps them in a folder of their own) there are no
stamps of publication, no histograms and no table of the slowest. What the engine needs the clock for besides stays:
the bound of an inference cycle, deadlines. Two loads: the model of 100 trees x 31 leaves on every tick, and no model,
where the same recording weighs more. A worker process for each build, and a second one of the normal build, whose
difference from the first is what this measurement cannot tell apart; they take turns, forwards and backwards. Rates are
per second of CPU time: a replay is one thread that never waits, and what others take of the machine is not its cost.
Where a process's memory came to lie moves its rate by percents: a run starts each build's process SETS times, takes the
best round of each, for what disturbs a round can only make it slower, and of those the median.
"""

import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np

from benchmarks import harness, machine, workload
from benchmarks.load.engine_run import Scratch
from benchmarks.load.replay import configuration, write_journal
from hft_engine import inline
from hft_engine.config.schema import Config

BUILDS = {"on": "", "off": "off", "again": ""}  # worker -> HFT_LATENCY
LOADS = ("model", "no_model")
TARGET_PERCENT = 3.0
SETS = 4
Rates = dict[tuple[str, str], list[float]]  # by load and build; a round, a set or a run


class Plan(msgspec.Struct, frozen=True):
    """What a worker replays."""

    config: Config
    journal: str


class Worker:
    """One build in a process of its own, which replays when it is told to."""

    def __init__(self, build: str, config: Config, journal: Path) -> None:
        environment = {**os.environ, "HFT_LATENCY": BUILDS[build]}
        environment.pop("NUMBA_CACHE_DIR", None)
        plan = msgspec.json.encode(Plan(config, str(journal))).decode()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.micro.latency_cost", "--worker", plan],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=machine.ROOT,
            env=environment,
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()

    def replay(self, load: str) -> tuple[float, str]:
        """(ticks a second of CPU time, hash over the signals). Raises RuntimeError."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(load, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a worker ended with status {self._process.wait()}; its output is above")
        rate, signal_hash = json.loads(answer)
        return float(rate), str(signal_hash)


def work(plan: str) -> int:
    """A worker: a load's name a line in, rate and hash a line out."""
    made = msgspec.json.decode(plan, type=Plan)
    config, journal = made.config, made.journal
    logging.getLogger("hft").setLevel(logging.ERROR)  # one load has no model, and says so every time
    without = msgspec.structs.replace(config, inference=msgspec.structs.replace(config.inference, model=None))
    Path(config.engine.data_dir).mkdir(parents=True, exist_ok=True)
    for line in sys.stdin:
        answer = replay_once(config if line.strip() == "model" else without, journal)
        print(json.dumps(answer), flush=True)
    return 0


def replay_once(config: Config, journal: str) -> tuple[float, str]:
    """(ticks a second of CPU time, hash over the signals)."""
    made = inline.make(config, "replay", False, {"replay": {"paths": [journal], "speed": 0.0}})
    started = time.process_time()
    made.run()
    seconds = time.process_time() - started
    signals = made.rings["signals"]
    newest = signals.slots[(signals.published - 1) & (signals.capacity - 1)]
    return made.rings["ticks"].published / seconds, f"{int(newest['chain_hash']):016x}"


def measure(workers: dict[str, Worker], rounds: int, rates: Rates) -> None:
    """Adds a rate a round; the order of the builds is turned round every time."""
    hashes: dict[str, set[str]] = {load: set() for load in LOADS}
    for load in LOADS:
        for round_ in range(-1, rounds):  # the first one warms up
            for build in list(workers)[:: 1 if round_ % 2 else -1]:
                rate, signal_hash = workers[build].replay(load)
                hashes[load].add(signal_hash)
                if round_ >= 0:
                    rates[load, build].append(rate)
    if any(len(found) != 1 for found in hashes.values()):
        raise RuntimeError(f"the builds gave different signals: {hashes}")


def cost_percent(base: Sequence[float], other: Sequence[float]) -> list[float]:
    """By how many percent ``other`` is slower than ``base``, run by run."""
    return [100.0 * (1.0 - b / a) for a, b in zip(base, other, strict=True)]


def of_runs(rates: Rates, rounds: int, sets: int) -> Rates:
    """Of rates of rounds those of runs: of each set of processes the best round, of a run's sets the median."""
    best = {key: np.array(each).reshape(-1, sets, rounds).max(axis=2) for key, each in rates.items()}
    return {key: np.median(each, axis=1).tolist() for key, each in best.items()}


def tell(report: harness.Report, rates: Rates) -> None:
    for load in LOADS:
        on, off, again = (rates[load, build] for build in BUILDS)
        reference = ("compiled out", off)
        report.add(f"latency_on_{load}_ticks_per_s", on, "1/s", reference, more_is_better=True)
        both = cost_percent(off, on) + cost_percent(off, again)
        target = TARGET_PERCENT if load == "model" else None
        report.add(f"latency_cost_{load}_percent", both, "%", None, target)
        nanoseconds = [1e9 / one - 1e9 / other for one, other in zip(on + again, off + off, strict=True)]
        noise = statistics.median(cost_percent(on, again))
        report.note(
            f"{load}: latency costs {statistics.median(nanoseconds):.0f} ns a tick; the same build against itself "
            f"differs by {noise:+.2f} %."
        )


def main() -> int:
    report = harness.Report("latency_cost", harness.options(__doc__ or ""))
    rounds, sets = report.opts.count(4, 3), report.opts.count(SETS, 1)
    scratch = Scratch()
    try:
        report.progress("making a journal and a model ...")
        symbols, ticks = workload.market_ticks(report.opts.count(400_000, 150_000))
        journal = write_journal(scratch.disk / "session", ticks, symbols)
        model = scratch.disk / "model.txt"
        workload.train_model(model, workload.model_rows(20_000))
        config = configuration(scratch, model, "inline")
        report.sense_jitter()
        rates: Rates = {(load, build): [] for load in LOADS for build in BUILDS}
        for run in range(report.opts.runs):
            report.progress(f"run {run + 1} of {report.opts.runs} ...")
            for _ in range(sets):
                with ExitStack() as stack:
                    workers = {build: stack.enter_context(Worker(build, config, journal)) for build in BUILDS}
                    measure(workers, rounds, rates)
        report.sense_jitter()
    finally:
        scratch.remove()
    tell(report, of_runs(rates, rounds, sets))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(work(sys.argv[2]) if sys.argv[1:2] == ["--worker"] else main())
