"""Latency from the frame leaving the socket to the signal visible in the ring: a whole engine, open-loop load.

    load process --websocket--> feed --> indicators --> inference --> signals     (persistence and publisher on)
      10,000 ticks/s            stamp ts_mono_ns                       ts_publish_ns

100 instruments, one event a frame, a model of 100 trees x 31 leaves on every tick, every trade (a third of the
ticks) gives a signal.
Set-ups: ``dedicated_park``, every stage a process that parks; ``dedicated``, every stage a process that yields; both
with the stages on one core and what is not urgent on the other, best where cores are few; ``compact``, feed and
stages in one spinning process; ``loopback_busy`` and ``loopback``, the same at 5,000 ticks/s, spinning and parked in
real time (``loopback_normal``: parked, of normal priority), for the time from the moment a tick was due at the venue,
beside a client of the same priority that only receives. Latencies are taken from the records' own stamps, read from
outside; their excess is over an ideal system on the same schedule (see ``jitter``).
"""

import functools
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness, hgrm, jitter, workload
from benchmarks.load import bare, venue
from benchmarks.load.engine_run import EngineRun, Scratch
from hft_engine.config.schema import (
    ActorTuning,
    Config,
    EngineConfig,
    FeedConfig,
    InferenceConfig,
    Layout,
    SignalsConfig,
    WaitName,
)
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.shm.histogram_view import percentile

# Not 10,000 and 5,000 a second: the kernel's and the host's timers interrupt every 4 and 10 ms, and a tick every 100 or
# 200 us would be in step with them: of a run's ticks one in fifty would meet an interruption, or none, as it began.
RATE, LOOPBACK_RATE = 10_013.0, 5_013.0
WARM_UP_S, BARE_WARM_UP_S = 3.0, 0.5
POLL_S = 0.25  # the signals ring holds 6.5 s of this load
PERCENTS = (50.0, 99.0, 99.9, 100.0)
HOPS = (
    ("feed", "feed", "frame left socket -> ticks visible"),
    ("indicators", "indicators", "ticks visible -> features visible"),
    ("inference", "inference", "features visible -> prediction visible"),
    ("signals", "signals", "prediction visible -> signal visible"),
    ("signals", "tick_to_signal", "frame left socket -> signal visible"),
)
# The load spins this long before a tick is due, half of the time between two: longer than a nap here overshoots and
# than most of what the processes on its core do inside the kernel, which gives the core to nobody meanwhile.
PUNCTUAL_NS = 100_000
BACKGROUND = ("publisher", "persistence")
_STAGES = ("feed", "indicators", "inference", "signals")


@dataclass(frozen=True)
class Setup:
    """How the engine is laid out, and how its processes wait; in us, what p50 and p99 should stay under."""

    layout: Layout
    actors: dict[str, ActorTuning]
    targets: dict[float, float] = field(default_factory=dict)
    schedule_targets: dict[float, float] = field(default_factory=dict)  # from the scheduled send
    rate: float = RATE
    spin_ns: int = venue.SPIN_NS  # of the load

    def load(self, seconds: float) -> venue.Load:
        return venue.Load(self.rate, int((WARM_UP_S + seconds) * self.rate), self.spin_ns)


def _setups() -> dict[str, Setup]:
    first, last = harness.two_cores()
    behind = dict.fromkeys(BACKGROUND, ActorTuning(cpus=(last,)))

    def pinned(*roles: str, wait: WaitName) -> dict[str, ActorTuning]:
        return dict.fromkeys(roles, ActorTuning(wait=wait, cpus=(first,))) | behind

    def loopback(wait: WaitName, targets: dict[float, float], realtime: bool = False) -> Setup:
        actors = {"compute": ActorTuning(wait=wait, cpus=(first,), realtime=realtime)} | behind
        return Setup("compact", actors, {}, targets, LOOPBACK_RATE, PUNCTUAL_NS)

    return {
        "dedicated_park": Setup("dedicated", pinned(*_STAGES, wait="park"), {50.0: 120.0, 99.0: 1000.0}),
        "dedicated": Setup("dedicated", pinned(*_STAGES, wait="yield"), {50.0: 45.0, 99.0: 200.0}),
        "compact": Setup("compact", pinned("compute", wait="spin"), {50.0: 3.0, 99.0: 25.0}),
        "loopback_busy": loopback("spin", {50.0: 15.0, 99.0: 40.0}),
        "loopback": loopback("park", {50.0: 60.0, 99.0: 200.0}, realtime=True),
        "loopback_normal": loopback("park", {50.0: 60.0}),
    }


SETUPS = _setups()
NOT_QUICK = ("dedicated_park", "loopback", "loopback_normal")  # who looks for a minute wants the best wait


def throughput_tuning(actors: dict[str, ActorTuning], wait: WaitName) -> dict[str, ActorTuning]:
    """The same actors for as many ticks as they can take: stages of several processes share no one core."""
    hot = [name for name in actors if name not in BACKGROUND]
    cpus = actors[hot[0]].cpus if len(hot) == 1 else ()
    return actors | dict.fromkeys(hot, ActorTuning(wait=wait, cpus=cpus))


@dataclass
class Run:
    """What one run showed, warm-up left out. Latencies in ns."""

    latencies: np.ndarray
    from_schedule: np.ndarray
    predicted: float  # share of signals with a prediction of the model
    hops: dict[str, np.ndarray] = field(default_factory=dict)
    processes: list[tuple[str, float, float]] = field(default_factory=list)  # name, CPU %, switches/s
    lateness: np.ndarray = field(default_factory=lambda: np.zeros(8, np.int64))
    lost: int = 0

    def us(self, percent: float) -> float:
        return float(np.percentile(self.latencies, percent, method="higher")) / 1e3


def configuration(setup: Setup, url: str, model: Path) -> Config:
    """The engine as a user would configure it for this set-up; everything else is a default."""
    return Config(
        engine=EngineConfig(name="bench", layout=setup.layout, actors=setup.actors),
        feed=FeedConfig(
            url=url, api_key="benchmark", channels=("T", "Q"), symbols=market_symbols(workload.INSTRUMENTS)
        ),
        indicators=workload.INDICATORS,
        inference=InferenceConfig(model=str(model)),
        signals=SignalsConfig(cooldown_ms=0, rules=workload.TRADE_RULES),
    )


def run_once(name: str, seconds: float, model: Path) -> Run:
    """One engine in the set-up of this name, one load of WARM_UP_S + ``seconds``."""
    setup = SETUPS[name]
    load = setup.load(seconds)
    scratch = Scratch()
    try:
        with (
            venue.venue_process(venue.serve, load) as (url, channel),
            EngineRun(configuration(setup, url, model), scratch) as engine,
        ):
            engine.until_live()
            venue.expect(channel)  # "subscribed"
            with harness.on_core(harness.two_cores()[1]):  # who looks on is not on the stages' core
                return _observe(engine, channel, load)
    finally:
        scratch.remove()


def bare_once(name: str, seconds: float) -> np.ndarray:
    """The same load into a client that only receives: ns after each tick was due."""
    setup = SETUPS[name]
    tuning = setup.actors["compute"]
    with bare.real_time() if tuning.realtime else nullcontext():
        load = venue.Load(setup.rate, int((BARE_WARM_UP_S + seconds) * setup.rate), setup.spin_ns)
        return bare.latencies(load, tuning.wait == "spin", int(BARE_WARM_UP_S * setup.rate))


def _observe(engine: EngineRun, channel: Connection, load: venue.Load) -> Run:
    channel.send("go")
    t0_ns = int(venue.expect(channel))
    warm_at_ns = t0_ns + int(WARM_UP_S * 1e9)
    signals = _Signals(engine)
    before: tuple[dict[str, np.ndarray], dict[str, Any]] | None = None
    while not channel.poll(POLL_S):
        signals.read()
        if before is None and time.monotonic_ns() >= warm_at_ns:
            before, started = (_histograms(engine), _cpu(engine)), time.monotonic()
    after, used, elapsed = _histograms(engine), _cpu(engine), time.monotonic() - started
    sent, lateness = venue.expect(channel)
    time.sleep(POLL_S)
    signals.read()
    assert before is not None
    run = signals.result(t0_ns, load)
    run.hops = {name: jitter.since(after[name], before[0][name]) for name in after}
    run.processes = _busy(before[1], used, elapsed)
    run.lateness, run.lost = lateness, engine.lapped() + sent - engine.stats("feed").counters()["events"]
    return run


class _Signals:
    """The signals of a run, gathered."""

    def __init__(self, engine: EngineRun) -> None:
        self._tail = engine.signals()
        self._parts: list[np.ndarray] = []

    def read(self) -> None:
        self._parts.append(self._tail.read())

    def result(self, t0_ns: int, load: venue.Load) -> Run:
        rows = np.concatenate(self._parts)
        rows = rows[rows["source_sequence"] >= int(WARM_UP_S * load.rate)]
        if not len(rows):
            raise RuntimeError("no signal came of the load: a rule or the model does not fit it")
        due = t0_ns + (rows["source_sequence"] * (1e9 / load.rate)).astype(np.int64)
        return Run(
            rows["ts_publish_ns"] - rows["ts_mono_ns"],
            rows["ts_publish_ns"] - due,
            float(np.mean(~np.isnan(rows["probability"]))),
        )


def _histograms(engine: EngineRun) -> dict[str, np.ndarray]:
    return {name: engine.stats(role).histogram(name).copy() for role, name, _ in HOPS}


def _cpu(engine: EngineRun) -> dict[str, tuple[float, int]]:
    seen = {}
    for name, process in engine.processes().items():
        times, switches = process.cpu_times(), process.num_ctx_switches()
        seen[name] = times.user + times.system, switches.voluntary + switches.involuntary
    return seen


def _busy(
    before: dict[str, tuple[float, int]], after: dict[str, tuple[float, int]], elapsed_s: float
) -> list[tuple[str, float, float]]:
    return [
        (
            name,
            100.0 * (after[name][0] - before[name][0]) / elapsed_s,
            (after[name][1] - before[name][1]) / elapsed_s,
        )
        for name in after
    ]


# ---- what is shown ----


def _add(
    report: harness.Report, setup: str, runs: list[Run], floor: list[np.ndarray], own: jitter.Jitter
) -> None:
    targets = SETUPS[setup].targets
    for percent, label in zip(PERCENTS, ("p50", "p99", "p999", "max"), strict=True):
        ideal = own.lateness_us(percent)
        values = [run.us(percent) for run in runs]
        name = f"tick_to_signal_{setup}_{label}_us"
        reference = ("own jitter, same schedule", [ideal])
        report.add(name, values, "us", reference)
        if percent in targets:
            excess = [value - ideal for value in values]
            report.add(f"{name[:-3]}_excess_us", excess, "us", reference, targets[percent])
    for percent, label in ((50.0, "p50"), (99.0, "p99")):
        reference = ("own jitter, same schedule", [own.lateness_us(percent)])
        if floor:
            least = [float(np.percentile(late, percent)) / 1e3 for late in floor]
            reference = ("a bare recv of the same load", least)
        scheduled = [float(np.percentile(run.from_schedule, percent)) / 1e3 for run in runs]
        target = SETUPS[setup].schedule_targets.get(percent)
        report.add(f"schedule_to_signal_{setup}_{label}_us", scheduled, "us", reference, target)


def _show(report: harness.Report, setup: str, run: Run) -> None:
    rows = [
        [what, *(harness.number(percentile(run.hops[name], p) / 1e3) for p in PERCENTS[:3])]
        for _, name, what in HOPS
    ]
    late = [harness.number(percentile(run.lateness, p) / 1e3) for p in PERCENTS[:3]]
    rows.append(["(load: due -> sent)", *late])
    report.show(f"{setup}: where the time goes, last run, us", ("hop", "p50", "p99", "p99.9"), rows)
    report.show(
        f"{setup}: processes, last run",
        ("process", "CPU %", "context switches/s"),
        [[name, f"{cpu:.0f}", f"{switches:,.0f}"] for name, cpu, switches in run.processes],
    )
    report.note(
        f"{setup}: {len(run.latencies):,} signals of the last run, {run.predicted:.1%} with a prediction; "
        f"lost ticks {run.lost}."
    )


def main() -> int:
    report = harness.Report("tick_to_signal", harness.options(__doc__ or ""))
    seconds = report.opts.seconds(10.0, 2.0)
    scratch = Scratch()
    try:
        report.progress("training a model ...")
        model = scratch.disk / "model.txt"
        workload.train_model(model, workload.model_rows(20_000))
        report.sense_jitter()
        for setup in [each for each in SETUPS if not (report.opts.quick and each in NOT_QUICK)]:
            first = len(report.jitters) - 1  # what is sensed after one set-up is sensed before the next
            contenders: dict[str, Callable[[], Any]] = {
                setup: functools.partial(run_once, setup, seconds, model)
            }
            if SETUPS[setup].schedule_targets:
                contenders["bare"] = functools.partial(bare_once, setup, seconds)
            taken = report.interleave(contenders)
            runs, floor = taken[setup], taken.get("bare", [])
            report.sense_jitter()
            report.latencies(setup, [hgrm.of_values(run.latencies) for run in runs])
            report.latencies(f"{setup}_from_schedule", [hgrm.of_values(run.from_schedule) for run in runs])
            _add(report, setup, runs, floor, jitter.joined(report.jitters[first:]))
            _show(report, setup, runs[-1])
    finally:
        scratch.remove()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
