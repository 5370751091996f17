"""Model swaps under load: whether a signal is lost, doubled or of no known models, and what swaps cost in latency.

    load process --websocket, 10 ticks a frame--> feed --> indicators --> inference --> signals     compact, spinning
      10,000 ticks/s                                           ^ hft model swap     (publisher, journal and SQLite on)

Every swap is to a model of 100 trees x 31 leaves that was never there before. Phases with swaps and phases without take
turns in one run of the engine, so that whatever else changes about the machine touches both; one with swaps goes on
until the last is answered. Latency: of every signal, from the moment its tick was due at the venue and from the frame's
leaving the socket.

Then the session is replayed offline. The benchmark fails unless the live signals are the replay's byte for byte (none
lost, none doubled, each of the same models), the ring had them all and in order, every swap that was answered is in the
session, and each signal carries the id of the one set of models that was in force at its tick.
"""

import math
import multiprocessing
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import msgspec
import numpy as np

from benchmarks import harness, workload
from benchmarks.load import overload, overload_load
from benchmarks.load.engine_run import EngineRun, Scratch
from benchmarks.load.overload import Session
from benchmarks.load.overload_burst import Part
from benchmarks.load.overload_load import Phase
from benchmarks.load.overload_watch import Watch
from benchmarks.load.venue import expect, venue_process
from hft_engine.config.schema import Config
from hft_engine.inference.model import read_metadata, write_model
from hft_engine.recorded_session import RecordedSession, find_session
from hft_engine.runtime.control import Client
from hft_engine.runtime.messages import SwapModel
from hft_engine.verify import verify

SWAPS, QUICK_SWAPS, RATE = 1_000, 40, 10_000.0
PERIOD_S = 0.75  # between two swaps
ASKING = 4  # swaps that wait for their replies at a time
PAIRS = 10  # phases of each kind
CALM_S = 9.0  # a phase without swaps at most
LEG_S = 1.5  # phases are made of such
WARM_S = 3.0
P99_RATIO_MAX = 1.1  # target
_DIGITS = re.compile(r"(\.\d)\d{3}")


@dataclass(frozen=True)
class Plan:
    """``pairs`` phases that share the ``swaps``, and as many without, at ``rate`` ticks a second."""

    swaps: int = SWAPS
    rate: float = RATE
    pairs: int = PAIRS
    period_s: float = PERIOD_S

    @property
    def in_phase(self) -> int:
        return -(-self.swaps // self.pairs)

    @property
    def swapping_legs(self) -> int:
        """At least: a phase goes on until its last swap is answered."""
        return math.ceil(self.in_phase * self.period_s / LEG_S)

    @property
    def calm_legs(self) -> int:
        return min(self.swapping_legs, math.ceil(CALM_S / LEG_S))


@dataclass
class Proof:
    """What the session says afterwards."""

    swaps: int
    signals: int
    sets_seen: int  # different model ids among the signals
    signal_hash: str


@dataclass
class Run:
    """ns; of each phase its legs. ``answered``: of each swap from the command to its reply."""

    proof: Proof
    with_swaps: list[list[np.ndarray]] = field(default_factory=list)
    without: list[list[np.ndarray]] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)


class Models:
    """Models of one kind without end, none like another: each has other values in the leaves of its first tree."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.first = folder / "model.txt"
        self._text = workload.train_model(self.first, workload.model_rows(20_000))
        self._metadata = read_metadata(self.first)

    def write(self, number: int) -> Path:
        """Model ``number``, from 1 on."""
        head, mark, rest = self._text.partition("leaf_value=")
        line, end, tail = rest.partition("\n")
        values = _DIGITS.sub(rf"\g<1>{number % 1000:03d}", line)
        path = self._folder / f"{number}.txt"
        about = msgspec.structs.replace(self._metadata, version=str(number + 1))
        write_model(path, f"{head}{mark}{values}{end}{tail}", about)
        return path


class Swapper:
    """``count`` swaps, one due every ``period_s`` from ``begin`` on, ASKING at most unanswered at a time.

    What is no part of a swap, writing the models and connecting to the engine, is done before.
    """

    def __init__(self, run_dir: Path, models: Models, first: int, count: int, period_s: float) -> None:
        self._paths = [models.write(number) for number in range(first, first + count)]
        self._period_s = period_s
        self._clients: SimpleQueue[Client] = SimpleQueue()
        self._own = [Client(run_dir) for _ in range(min(count, ASKING))]
        for client in self._own:
            self._clients.put(client)
        self._pool = ThreadPoolExecutor(ASKING)
        self._swaps: list[Future[float]] = []

    def begin(self) -> None:
        began = time.monotonic()
        self._swaps = [
            self._pool.submit(self._swap, path, began + i * self._period_s)
            for i, path in enumerate(self._paths)
        ]

    @property
    def done(self) -> bool:
        """Whether all are answered."""
        return all(swap.done() for swap in self._swaps)

    def answered(self) -> list[float]:
        """Waits for all; of each the ns from the command to its reply. Raises what the first to fail raised."""
        try:
            with self._pool:
                return [swap.result() for swap in self._swaps]
        finally:
            for client in self._own:
                client.close()
            for path in self._paths:
                path.unlink()

    def _swap(self, path: Path, due: float) -> float:
        client = self._clients.get()
        try:
            time.sleep(max(0.0, due - time.monotonic()))
            asked = time.monotonic_ns()
            client.request(SwapModel(str(path)), "inference")
            return float(time.monotonic_ns() - asked)
        finally:
            self._clients.put(client)


def configuration(url: str, model: Path) -> Config:
    """A signal of every trade, a third of the ticks."""
    config = overload.engine_configuration(overload.VARIANTS["compact"], url, model)
    signals = msgspec.structs.replace(config.signals, cooldown_ms=0, rules=workload.TRADE_RULES)
    return msgspec.structs.replace(config, signals=signals)


@contextmanager
def _running(scratch: Scratch, model: Path) -> Iterator[tuple[Session, Watch, Path]]:
    shared = multiprocessing.RawArray("q", 1)
    with (
        venue_process(overload_load.serve, workload.INSTRUMENTS, shared) as (url, channel),
        EngineRun(configuration(url, model), scratch) as engine,
    ):
        engine.until_live()
        expect(channel)  # "subscribed"
        with Watch(engine, np.frombuffer(shared, np.int64)) as watch:
            yield Session(engine, channel, watch), watch, engine.directory


def run_once(plan: Plan) -> Run:
    """One engine, all swaps, the proof. Raises RuntimeError where something is lost, doubled or not to be told."""
    scratch = Scratch()
    try:
        models = Models(scratch.disk)
        phases: list[tuple[bool, list[Part]]] = []
        answered: list[float] = []
        with _running(scratch, models.first) as (session, watch, run_dir):
            session.play([Phase("warm", plan.rate, WARM_S)])
            for pair in range(plan.pairs):
                for swapping in (pair % 2 == 0, pair % 2 == 1):  # either kind comes first in turn
                    count = min(plan.in_phase, plan.swaps - len(answered)) if swapping else 0
                    swapper = Swapper(run_dir, models, len(answered) + 1, count, plan.period_s)
                    session.play([Phase("calm down", plan.rate, LEG_S)])
                    legs = plan.swapping_legs if swapping else plan.calm_legs
                    phases.append((swapping, _play(session, plan.rate, legs, swapper)))
                    answered += swapper.answered()
            signals = watch.signals()
        run = Run(prove(scratch.disk / "data", signals, len(answered)), answered=answered)
        for swapping, parts in phases:
            (run.with_swaps if swapping else run.without).append([latencies(part, signals) for part in parts])
        return run
    finally:
        scratch.remove()


def _play(session: Session, rate: float, legs: int, swapper: Swapper) -> list[Part]:
    """At least so many legs, and until ``swapper`` is done."""
    parts: list[Part] = []
    swapper.begin()
    while len(parts) < legs or not swapper.done:
        parts += session.play([Phase("leg", rate, LEG_S)])
    return parts


def latencies(part: Part, signals: np.ndarray) -> np.ndarray:
    """int64[2, n]: of the signals of a leg from when their ticks were due, and from the socket, ns."""
    sources = signals["source_sequence"]
    rows = signals[(sources >= part.first) & (sources < part.first + part.phase.ticks)]
    at = rows["ts_publish_ns"]
    return np.stack([at - part.due_ns(rows["source_sequence"]), at - rows["ts_mono_ns"]])


def prove(data_dir: Path, seen: np.ndarray, swaps: int) -> Proof:
    """``seen``: the signals as they were read from the ring. Raises RuntimeError for what is not proven."""
    recorded = RecordedSession(find_session(data_dir))
    kept = recorded.signals
    if kept["sequence"].tolist() != list(range(len(kept))):
        raise RuntimeError("the journal lacks signals, or has some twice")
    if not np.array_equal(seen["chain_hash"], kept["chain_hash"][: len(seen)]) or len(seen) < len(kept):
        raise RuntimeError(f"{len(kept)} signals are journalled, the ring showed {len(seen)}, or others")
    check_models(recorded, kept, swaps)
    verdict = verify(recorded.path)
    if not verdict.identical:
        raise RuntimeError(f"the replay differs: {verdict.difference or verdict.unstable}")
    return Proof(swaps, len(kept), len(np.unique(kept["model_id"])), verdict.signal_hash)


def check_models(recorded: RecordedSession, signals: np.ndarray, swaps: int) -> None:
    """Each signal is of the one set of models that was in force at its tick. Raises RuntimeError."""
    since = np.array([models.since for models in recorded.model_sets])
    ids = np.array([models.model_id for models in recorded.model_sets])
    if len(ids) != swaps + 1 or len(set(ids.tolist())) != len(ids):
        raise RuntimeError(
            f"the session tells of {len(set(ids.tolist()))} sets of models after {swaps} swaps"
        )
    in_force = ids[np.searchsorted(since, signals["source_sequence"], side="right") - 1]
    wrong = np.flatnonzero(in_force != signals["model_id"])
    if len(wrong):
        raise RuntimeError(
            f"{len(wrong)} signals are of other models than those in force, from {wrong[0]} on"
        )


def add_figures(report: harness.Report, plan: Plan, runs: list[Run]) -> None:
    for row, name, since in (
        (1, "swaps_tick_to_signal", "the frame's leaving the socket"),
        (0, "swaps_schedule_to_signal", "when it was due"),
    ):
        for percent in (50.0, 99.0, 99.9):
            with_swaps = [_us(phase, row, percent) for run in runs for phase in run.with_swaps]
            without = [_us(phase, row, percent) for run in runs for phase in run.without]
            label = f"p{percent:g}".replace(".", "")
            report.add(f"{name}_{label}_us", with_swaps, "us", ("the same without swaps", without))
            if percent == 99.0:
                ratios = [a / b for a, b in zip(with_swaps, without, strict=True)]
                report.add(f"{name}_p99_ratio", ratios, "", None, target=P99_RATIO_MAX)
        report.note(
            f"{name}: from {since} to the signal in the ring; phases in turn, of each its median leg."
        )
    report.note(f"swaps: one every {plan.period_s:g} s where they are answered in time.")
    report.add("swap_answered_ms", [np.median(run.answered) / 1e6 for run in runs], "ms")
    report.add("swap_answered_max_ms", [max(run.answered) / 1e6 for run in runs], "ms")
    for run in runs:
        proof = run.proof
        report.note(
            f"proven: {proof.swaps:,} swaps, {proof.signals:,} signals of {proof.sets_seen:,} different sets of models "
            f"(those that lived long enough for one); 0 lost, 0 doubled, hash {proof.signal_hash}."
        )


def _us(phase: list[np.ndarray], row: int, percent: float) -> float:
    """The median leg's percentile. All legs are equally long, as phases are not: in the longer one there is more room
    for the milliseconds that a host takes away at times, which would be laid to the swaps.
    """
    return float(np.median([np.percentile(leg[row], percent) for leg in phase])) / 1e3


def _arguments(parser: harness.Parser) -> None:
    parser.add_argument("--swaps", type=int, help=f"in all (default {SWAPS:,}, with --quick {QUICK_SWAPS})")
    parser.add_argument("--period", type=float, default=PERIOD_S, help="between two, s (default %(default)g)")
    parser.add_argument("--rate", type=float, default=RATE, help="ticks a second (default %(default)g)")


def main() -> int:
    report = harness.Report("swaps", harness.options(__doc__ or "", extra=_arguments))
    swaps = report.opts.extra["swaps"] or report.opts.count(SWAPS, QUICK_SWAPS)
    plan = Plan(swaps, report.opts.extra["rate"], min(PAIRS, swaps), report.opts.extra["period"])
    report.sense_jitter()
    runs = report.measure(f"{swaps:,} swaps", lambda: run_once(plan))
    report.sense_jitter()
    add_figures(report, plan, runs)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
