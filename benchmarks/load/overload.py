"""Offered more than it can take: what a whole engine loses, how late the rest is, how soon all is normal again.

    load process --websocket, 10 ticks a frame--> feed --> indicators --> inference --> signals
      open loop                                     (publisher, journal and SQLite on)

First the capacity: the highest rate at which, for a second or so, in two of three tries, no stage between tick and
signal is lapped and what waits comes down, some time in the second half, to 2 % of the load: who is too slow has ever
more waiting, who is only held up for a moment catches up. Then, in the same run, half the capacity for a while, 1.2, 2
or 5 times the capacity, half of it again. Latency is that of the signals that came (a model of
100 trees x 31 leaves on every tick that a stage takes up; at most one signal in 20 ms an instrument and side), from
when their tick was due to leave the venue, so what waits at the venue or in the socket counts. Normal is back with
the first three windows in a row of 100 ms in which p99 is no more than in the worst such window of normal load, of
any before the run's bursts.

Nothing may vanish: every tick of the schedule was sent, every one sent is in the tick ring, and for every reader of
every ring published = seen + lapped + waiting; the benchmark fails otherwise.

``compact`` and ``dedicated`` have the defaults of the configuration. ``compact_short`` is ``compact`` with rings of
1,024 feature and prediction records instead of 16,384: a lapped reader is never further behind than its ring is long.
``compact_conflated`` is ``compact`` with ``inference.conflate_above``: of a pile of features each instrument's newest
is predicted, the others are left out, counted and written into the session. ``compact_shedding`` is ``compact`` with
``feed.shed_after_ms``: a socket that was not empty for so long is emptied, what waited in it counted and left out, so
that nothing piles up at the venue. Its instruments are gapped then, and have no signals until ``health.gapped_hold_ms``
and ``recover_ms`` are over, 0.4 s here. Which tick of the schedule a signal is of, the venue's time tells there, to
the millisecond.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import harness, plot, workload
from benchmarks.load import overload_load
from benchmarks.load.engine_run import EngineRun, Scratch
from benchmarks.load.overload_burst import Burst, Part, burst_of, offered, seconds_of
from benchmarks.load.overload_load import EVENTS, Phase
from benchmarks.load.overload_watch import HOT, Watch
from benchmarks.load.tick_to_signal import SETUPS, configuration, throughput_tuning
from benchmarks.load.venue import expect, venue_process
from hft_engine.config.schema import Config, HealthConfig, RingsConfig, WaitName

FACTORS = (1.2, 2.0, 5.0)
CALM = 0.5  # of the capacity: normal load
COOLDOWN_MS = 20  # at most 10,000 signals a second of 100 instruments, whatever the rate
BEHIND_SHARE = 0.02  # of a probe's load may wait when least does
PROBE_FIRST, PROBE_GROWTH, PROBE_RATE_MAX = 60_000.0, 1.6, 6e6
BISECTIONS = 3
PROBES = 3  # of which most decide: one may meet a pause of the machine
WARM = Phase("warm", 50_000.0, 1.0)
DRAIN_S = 30.0
RECOVERY_MS, GROWTH_MB = 1_000.0, 8.0  # targets
CONFLATE_ABOVE = 2_048  # features, about 2 ms of work
SHED_AFTER_MS = 100
SOON_FIT = HealthConfig(gapped_hold_ms=300, recover_ms=100)
SHORT = RingsConfig(features=1_024, predictions=1_024)


@dataclass(frozen=True)
class Variant:
    """An engine to overload."""

    setup: str  # of tick_to_signal
    wait: WaitName
    rings: RingsConfig = field(default_factory=RingsConfig)
    conflate_above: int = 0
    shed_after_ms: int = 0


VARIANTS = {
    "compact": Variant("compact", "spin"),
    "compact_short": Variant("compact", "spin", SHORT),
    "compact_conflated": Variant("compact", "spin", conflate_above=CONFLATE_ABOVE),
    "compact_shedding": Variant("compact", "spin", shed_after_ms=SHED_AFTER_MS),
    "dedicated": Variant("dedicated", "yield"),
}
QUICK = ("compact", "compact_shedding")


@dataclass(frozen=True)
class Lengths:
    """Seconds."""

    probe: float
    calm: float
    burst: float
    after: float


FULL_LENGTHS = Lengths(0.5, 2.0, 10.0, 3.0)
QUICK_LENGTHS = Lengths(0.4, 1.0, 2.0, 1.5)


class Session:
    """An engine, its load, and who watches both."""

    def __init__(self, engine: EngineRun, channel: Connection, watch: Watch) -> None:
        self._engine, self._channel, self._watch = engine, channel, watch
        self._first = 0

    def play(self, phases: list[Phase]) -> tuple[Part, ...]:
        """Waits until everything is sent and taken."""
        parts = self._start(phases)
        self._finish()
        return parts

    def keeps_up(self, rate: float, seconds: float) -> bool:
        """Whether most of PROBES are kept."""
        kept = missed = 0
        while max(kept, missed) <= PROBES // 2:
            keeps = self._keeps_up_once(rate, seconds)
            kept, missed = kept + keeps, missed + (not keeps)
        return kept > missed

    def _keeps_up_once(self, rate: float, seconds: float) -> bool:
        """Whether no hot reader was lapped, and at some instant of the second half next to nothing waited."""
        before = self._watch.look()
        (part,) = self._start([Phase("probe", rate, seconds)])
        time.sleep(max(0.0, (part.end_ns - time.monotonic_ns()) / 1e9))
        end = self._watch.look()
        middle_ns = (part.t0_ns + part.end_ns) // 2
        looks = [look for look in self._watch.looks if look.ns >= middle_ns]
        least = min(part.waiting(look) for look in [*looks, end])
        self._finish()
        return end.lost() == before.lost() and least <= max(EVENTS, BEHIND_SHARE * part.phase.ticks)

    def capacity(self, seconds: float) -> float:
        """Ticks a second: up by PROBE_GROWTH until it does not keep up, then between by halves."""
        low, high = 0.0, PROBE_FIRST
        while high < PROBE_RATE_MAX and self.keeps_up(high, seconds):
            low, high = high, high * PROBE_GROWTH
        if low == 0.0:
            raise RuntimeError(f"the engine does not keep up with {high:,.0f} ticks/s")
        for _ in range(BISECTIONS):
            middle = (low * high) ** 0.5
            if self.keeps_up(middle, seconds):
                low = middle
            else:
                high = middle
        return low

    def burst(self, factor: float, capacity: float, lengths: Lengths) -> tuple[Part, ...]:
        """Normal load, overload, normal load. Raises RuntimeError when a tick is unaccounted for."""
        calm, rate = CALM * capacity, factor * capacity
        parts = self.play(
            [
                Phase("normal", calm, lengths.calm),
                Phase(f"{factor:g} x", rate, lengths.burst),
                Phase("normal again", calm, lengths.after),
            ]
        )
        self._check()
        return parts

    def _start(self, phases: list[Phase]) -> tuple[Part, ...]:
        self._channel.send(phases)
        t0_ns, venue_ns = expect(self._channel)
        begin_ns, parts = t0_ns, []
        for phase in phases:
            parts.append(Part(phase, self._first, t0_ns, venue_ns + t0_ns - begin_ns))
            self._first, t0_ns = self._first + phase.ticks, parts[-1].end_ns
        return tuple(parts)

    def _finish(self) -> None:
        if not expect(self._channel):
            raise RuntimeError("the engine hung up under the load")
        deadline = time.monotonic() + DRAIN_S
        while True:
            look = self._watch.look()
            if look.taken >= self._first and all(reader.lag == 0 for reader in look.readers):
                return
            if time.monotonic() > deadline:
                behind = ", ".join(f"{each.role} {each.lag} {each.ring}" for each in look.readers if each.lag)
                raise RuntimeError(
                    f"in {DRAIN_S:.0f} s {self._first - look.taken} ticks were not taken; behind: {behind or 'nobody'}"
                )
            time.sleep(0.01)

    def _check(self) -> None:
        look = self._watch.look()
        if not self._first == look.sent == look.taken:
            raise RuntimeError(f"{self._first} ticks offered, {look.sent} sent, {look.taken} taken")
        for reader in look.readers:
            if reader.unaccounted:
                raise RuntimeError(f"{reader.unaccounted} records of {reader} are unaccounted for")


@dataclass
class Run:
    """One engine from start to stop."""

    capacity: float
    bursts: list[Burst]


def engine_configuration(variant: Variant, url: str, model: Path) -> Config:
    config = configuration(SETUPS[variant.setup], url, model)
    actors = throughput_tuning(config.engine.actors, variant.wait)
    return msgspec.structs.replace(
        config,
        # The load answers no pings, and between two phases it waits until all is stored.
        feed=msgspec.structs.replace(
            config.feed,
            quiet_after_ms=20_000,
            dead_after_ms=29_000,
            shed_after_ms=variant.shed_after_ms,
            health=SOON_FIT if variant.shed_after_ms else HealthConfig(),
        ),
        engine=msgspec.structs.replace(config.engine, actors=actors),
        inference=msgspec.structs.replace(config.inference, conflate_above=variant.conflate_above),
        signals=msgspec.structs.replace(config.signals, cooldown_ms=COOLDOWN_MS),
        rings=variant.rings,
    )


@contextmanager
def running(
    configure: Callable[[str], Config], instruments: int = workload.INSTRUMENTS
) -> Iterator[tuple[Session, Watch]]:
    """An engine that is live, its load and its watch; ``configure`` gets the url of the load."""
    scratch, shared = Scratch(), multiprocessing.RawArray("q", 1)
    try:
        with (
            venue_process(overload_load.serve, instruments, shared) as (url, channel),
            EngineRun(configure(url), scratch) as engine,
        ):
            engine.until_live()
            expect(channel)  # "subscribed"
            with Watch(engine, np.frombuffer(shared, np.int64)) as watch:
                yield Session(engine, channel, watch), watch
    finally:
        scratch.remove()


def run_once(variant: Variant, model: Path, lengths: Lengths, factors: Sequence[float] = FACTORS) -> Run:
    with running(lambda url: engine_configuration(variant, url, model)) as (session, watch):
        session.play([WARM])
        capacity = session.capacity(lengths.probe)
        played = [session.burst(factor, capacity, lengths) for factor in factors]
        shown, signals = zip(factors, played, strict=True), watch.signals()
        sheds = variant.shed_after_ms > 0
        return Run(
            capacity, [burst_of(factor, parts, watch.looks, signals, sheds) for factor, parts in shown]
        )


# ---- what is shown ----


_HEADER = (
    "s",
    "phase",
    "offered/s",
    "taken/s",
    "lost/s",
    "hot lag",
    "slowest of all readers",
    "signals/s",
    "p50 ms",
    "p99 ms",
    "private MB",
    "shared MB",
)


def show(report: harness.Report, name: str, run: Run) -> None:
    for burst in run.bursts:
        rows = [
            [
                str(i),
                second.phase,
                f"{second.offered:,}",
                f"{second.taken:,}",
                f"{second.lost:,}",
                f"{second.lag:,}",
                second.slowest,
                f"{second.delivered:,}",
                harness.number(second.p50_ms),
                harness.number(second.p99_ms),
                *(f"{mb:,.0f}" for mb in second.memory_mb),
            ]
            for i, second in enumerate(seconds_of(burst))
        ]
        report.show(f"{name}, {burst.factor:g} x capacity, last run", _HEADER, rows)


def add(report: harness.Report, name: str, runs: list[Run]) -> None:
    report.add(f"overload_{name}_capacity_per_s", [run.capacity for run in runs], "1/s")
    for i, factor in enumerate(FACTORS):
        bursts, label = [run.bursts[i] for run in runs], f"overload_{name}_{factor:g}x"
        normal = "before the burst, p99", [burst.normal_ns / 1e6 for burst in bursts]
        report.add(f"{label}_lost_percent", [100.0 * burst.lost_share for burst in bursts], "%")
        for percent in (50.0, 99.0):
            values = [burst.percentile_ms(percent) for burst in bursts]
            report.add(f"{label}_delivered_p{percent:g}_ms", values, "ms", normal)
        from_socket = [burst.percentile_ms(99.0, from_socket=True) for burst in bursts]
        report.add(f"{label}_delivered_from_socket_p99_ms", from_socket, "ms", normal)
        report.add(f"{label}_recovery_ms", [burst.recovery_ms for burst in bursts], "ms", target=RECOVERY_MS)
        growth = [after - before for before, after in (burst.memory_mb for burst in bursts)]
        before = "before the burst", [burst.memory_mb[0] for burst in bursts]
        report.add(f"{label}_memory_growth_mb", growth, "MB", before, target=GROWTH_MB)


def picture(path: Path, name: str, run: Run) -> None:
    """Offered, taken and lost, lag, latency, memory over the time of the run's bursts."""
    lines: dict[str, tuple[list[float], list[float]]] = {}
    bands, shift = [], 0.0

    def put(line: str, x: float, y: float) -> None:
        lines.setdefault(line, ([], []))
        lines[line][0].append(x)
        lines[line][1].append(y)

    for burst in run.bursts:
        origin = burst.parts[0].t0_ns

        def second(ns: int, origin: int = origin, shift: float = shift) -> float:
            return (ns - origin) / 1e9 + shift

        middle = burst.parts[1]
        bands.append((second(middle.t0_ns), second(middle.end_ns), f"{burst.factor:g} x capacity"))
        for before, look in zip(burst.looks[:-5:5], burst.looks[5::5], strict=False):
            x, per_s = second(look.ns), 1e9 / (look.ns - before.ns)
            put("offered", x, (offered(burst.parts, look.ns) - offered(burst.parts, before.ns)) * per_s)
            put("taken from the socket", x, (look.taken - before.taken) * per_s)
            put("lost (laps)", x, (look.lost() - before.lost()) * per_s)
            for role in HOT:
                put(role, x, look.lag((role,)))
            waiting = burst.parts[0].first + offered(burst.parts, look.ns) - look.taken
            put("venue and socket", x, waiting)
            put("private", x, look.private_mb)
            put("shared", x, look.shared_mb)
        for at, p99 in burst.windows():
            put("p99 of 100 ms", second(at), p99 / 1e6)
        shift += (burst.parts[-1].end_ns - origin) / 1e9 + 0.5

    def panel(label: str, names: Sequence[str], log_y: bool = False) -> plot.Panel:
        chosen = [plot.Line(line, *lines[line]) for line in names if line in lines]
        return plot.Panel(label, "s", chosen, log_y=log_y, bands=bands)

    panels = [
        panel("ticks a second", ("offered", "taken from the socket", "lost (laps)")),
        panel("ticks waiting", (*HOT, "venue and socket"), log_y=True),
        panel("latency of what is delivered, due to signal, ms", ("p99 of 100 ms",), log_y=True),
        panel("memory, MB", ("private", "shared")),
    ]
    plot.draw(path, f"{name}: overload of {run.capacity:,.0f} ticks/s", panels)


def _arguments(parser: harness.Parser) -> None:
    parser.add_argument(
        "--variant", action="append", choices=VARIANTS, help="just this engine; may be given again"
    )


def main() -> int:
    report = harness.Report("overload", harness.options(__doc__ or "", extra=_arguments))
    lengths = QUICK_LENGTHS if report.opts.quick else FULL_LENGTHS
    names = tuple(report.opts.extra["variant"] or (QUICK if report.opts.quick else VARIANTS))
    runs: dict[str, list[Run]] = {name: [] for name in names}
    scratch = Scratch()
    try:
        model = scratch.disk / "model.txt"
        workload.train_model(model, workload.model_rows(20_000))
        report.sense_jitter()
        for number in range(report.opts.runs):
            for name in names:
                report.progress(f"{name}, run {number + 1} of {report.opts.runs} ...")
                runs[name].append(run_once(VARIANTS[name], model, lengths))
        report.sense_jitter()
    finally:
        scratch.remove()
    for name in names:
        add(report, name, runs[name])
        show(report, name, runs[name][-1])
        if plot.draws(report.opts):
            picture(plot.PICTURES / f"overload_{name}.svg", name, runs[name][-1])
    report.note(
        f"overload: {EVENTS} ticks a frame, {workload.INSTRUMENTS} instruments; every tick and every record of every "
        "ring is accounted for. Lost: records by which a stage between tick and signal was lapped."
    )
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
