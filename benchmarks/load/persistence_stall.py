"""Persistence stands still (SIGSTOP) for 10 s at 20,000 ticks/s: what the others feel, what the journal lacks.

    load process --websocket--> feed --> indicators --> inference --> signals      tick-to-signal p99, this window
      20,000 ticks/s                 `--> ticks ring --> persistence (stopped) --> journal: stored + holes

Runs come in pairs, one with the stop and one without, over the same window of the same load: 10 s of standing still,
and 2 s in which persistence, let go, takes what has gathered. Beside p99 of the whole window, which one stall of the
machine may decide, p99 of its median second. The supervisor is told to be patient: by default it starts persistence
anew after ``supervisor.hang_kill_ms``, 3 s, and nothing would stand still that long.

``held``: the default ring, 262,144 ticks or 13 s of this load: nothing may be missing. ``lapped``: a ring of 65,536:
what was overwritten is counted, is a hole in the journal, and stored + holes is every tick that was published; the
benchmark fails where that is not so.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import harness, workload
from benchmarks.load import venue
from benchmarks.load.engine_run import EngineRun, Scratch
from benchmarks.load.tick_to_signal import SETUPS, configuration
from benchmarks.load.venue import expect
from hft_engine.config.schema import Config, RingsConfig, SupervisorConfig
from hft_engine.persistence.journal import JournalReader, session_dir
from hft_engine.records import SIGNAL_DTYPE

RATE = 20_000.0
WARM_S = 3.0
CATCH_UP_S = 2.0
POLL_S = 0.25
RATIO_MAX = 1.10  # p99 with the stop, of p99 without
PATIENT = SupervisorConfig(heartbeat_limit_ms=12_000, hang_kill_ms=13_000, stop_deadline_ms=14_000)
RINGS = {"held": RingsConfig(), "lapped": RingsConfig(ticks=65_536)}


@dataclass(frozen=True)
class Outcome:
    """Latencies of the window, ns, and in which second each was due; ticks published, stored in the journal, missing
    in its holes, counted as lapped."""

    latencies: np.ndarray
    seconds: np.ndarray
    published: int
    stored: int
    missing: int
    counted: int
    holes: int

    def us(self, percent: float) -> float:
        return float(np.percentile(self.latencies, percent, method="higher")) / 1e3

    def median_second_us(self, percent: float) -> float:
        """The percentile of each second, and of these the median."""
        parts = [self.latencies[self.seconds == second] for second in np.unique(self.seconds)]
        return float(np.median([np.percentile(part, percent, method="higher") for part in parts])) / 1e3


def stall_configuration(url: str, model: Path, rings: RingsConfig) -> Config:
    base = configuration(SETUPS["compact"], url, model)
    return msgspec.structs.replace(base, rings=rings, supervisor=PATIENT)


def run_once(rings: RingsConfig, stop: bool, stop_s: float, model: Path) -> Outcome:
    """One engine under load; ``stop``: with persistence standing still for ``stop_s`` in the middle."""
    load = venue.Load(RATE, int((WARM_S + stop_s + CATCH_UP_S) * RATE))
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=venue.serve, args=(load, os.getpid(), theirs))
    child.start()
    scratch = Scratch()
    try:
        url = f"ws://127.0.0.1:{expect(ours)}/stocks"
        with EngineRun(stall_configuration(url, model, rings), scratch) as engine:
            engine.until_live()
            expect(ours)  # "subscribed"
            ours.send("go")
            t0_ns = int(expect(ours))
            window = _observe(engine, t0_ns, stop_s, stop, lambda: ours.poll(0))
            expect(ours)
            published, counted = _settled(engine)
        return _outcome(window, published, counted, engine, scratch)
    finally:
        child.kill()
        child.join()
        scratch.remove()


def _observe(
    engine: EngineRun, t0_ns: int, stop_s: float, stop: bool, sent: Callable[[], bool]
) -> tuple[np.ndarray, np.ndarray]:
    """(latency, second of the window) of the signals whose tick was due in the window."""
    pid = engine.processes()["persistence"].pid
    from_ns = t0_ns + int(WARM_S * 1e9)
    go_ns = from_ns + int(stop_s * 1e9)
    tail, parts = engine.signals(), [np.zeros(0, SIGNAL_DTYPE)]
    stopped = False
    try:
        while not sent():
            now_ns = time.monotonic_ns()
            if stop and stopped != (from_ns <= now_ns < go_ns):
                stopped = not stopped
                os.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)
            parts.append(tail.read())
            time.sleep(POLL_S)
    finally:
        os.kill(pid, signal.SIGCONT)
    rows = np.concatenate(parts)
    due = t0_ns + (rows["source_sequence"] * (1e9 / RATE)).astype(np.int64)
    inside = (due >= from_ns) & (due < go_ns + int(CATCH_UP_S * 1e9))
    latencies = (rows["ts_publish_ns"] - rows["ts_mono_ns"])[inside]
    return latencies, (due[inside] - from_ns) // 1_000_000_000


def _settled(engine: EngineRun) -> tuple[int, int]:
    """(ticks published, ticks lapped by persistence), once persistence has caught up."""
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        feed = engine.stats("feed").counters()
        published = feed["events"] + feed["health_ticks"]
        counters = engine.stats("persistence").counters()
        if counters["ticks"] + counters["lapped_ticks"] == published:
            return published, counters["lapped_ticks"]
        time.sleep(POLL_S)
    raise RuntimeError("persistence did not catch up within 30 s of the load's end")


def _outcome(
    window: tuple[np.ndarray, np.ndarray], published: int, counted: int, engine: EngineRun, scratch: Scratch
) -> Outcome:
    reader = JournalReader(session_dir(scratch.disk / "data", engine.manifest.run_id))
    missing = sum(end - first for first, end in reader.holes)
    # Instruments whose load has ended change their state of health, so the journal goes on behind what was published.
    stored = reader.count - max(0, reader.count + missing - published)
    if stored + missing != published or missing != counted:
        raise RuntimeError(
            f"{published} ticks were published, {stored} of them are in the journal, {missing} in its holes, "
            f"{counted} were counted as lapped"
        )
    return Outcome(*window, published, stored, missing, counted, len(reader.holes))


def _add(report: harness.Report, name: str, stops: list[Outcome], calms: list[Outcome]) -> None:
    for percent, label in ((50.0, "p50"), (99.0, "p99")):
        report.add(
            f"tick_to_signal_{name}_{label}_us",
            [run.us(percent) for run in stops],
            "us",
            ("the same without the stop", [run.us(percent) for run in calms]),
        )
    pairs = list(zip(stops, calms, strict=True))
    whole = [stop.us(99.0) / calm.us(99.0) for stop, calm in pairs]
    usual = [stop.median_second_us(99.0) / calm.median_second_us(99.0) for stop, calm in pairs]
    report.add(f"p99_ratio_{name}", whole, "x")
    report.add(f"p99_ratio_median_second_{name}", usual, "x", None, RATIO_MAX)
    report.add(f"missed_ticks_{name}", [float(run.missing) for run in stops], "ticks")
    for run in stops:
        report.note(
            f"{name}: {run.published:,} published = {run.stored:,} stored + {run.missing:,} in {run.holes} holes; "
            f"{run.counted:,} counted as lapped."
        )


def _arguments(parser: harness.Parser) -> None:
    parser.add_argument("--ring", action="append", choices=tuple(RINGS), help="only this one; repeatable")


def main() -> int:
    report = harness.Report("persistence_stall", harness.options(__doc__ or "", extra=_arguments))
    stop_s = report.opts.seconds(10.0, 5.0)
    scratch = Scratch()
    try:
        report.progress("training a model ...")
        model = scratch.disk / "model.txt"
        workload.train_model(model, workload.model_rows(20_000))
        for name in report.opts.extra["ring"] or RINGS:
            rings = RINGS[name]
            report.sense_jitter()
            runs = report.interleave(
                {
                    "stop": lambda rings=rings: run_once(rings, True, stop_s, model),  # type: ignore[misc]
                    "calm": lambda rings=rings: run_once(rings, False, stop_s, model),  # type: ignore[misc]
                }
            )
            _add(report, name, runs["stop"], runs["calm"])
    finally:
        scratch.remove()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
