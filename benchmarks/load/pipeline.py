"""The same four stages on pyzmq, on Redis Streams and in the engine: latency and ticks a second.

    load process --websocket--> read, decode ~> indicators ~> model (100 trees x 31 leaves) ~> rule ~> signal in shm

Every contender gets the same loads over the same kind of socket and runs the same code for each stage: the engine's
own reading, stamp, decoding (compiled scanner, msgspec behind it) and kernels, the model on every tick. What
differs is what carries a record from stage to stage, as raw bytes of the record, and the processes:

    zmq, redis          a process a stage, three hops, parked while there is nothing
    zmq_fused           feed and one worker, one hop; for latency the worker asks its socket without end, which more
                        than halves it; for throughput it sleeps, which is faster there
    redis_fused         feed and one worker, one hop, parked
    engine_dedicated    a process a stage, three rings; parked for latency, yielding for throughput
    engine_compact      feed and one worker, one ring; the worker spins for latency, all yield for throughput

Peers are at their best known: pyzmq PUSH/PULL over ipc; redis-py's connection layer with hiredis on a private server's
unix socket without persistence; what lies ready is taken at once and goes on as one message or entry; garbage
collector off and timers fine, as in the engine. They were tried parked and (fused zmq) spinning, not yielding: only
the engine yields, for throughput. The peers do only this. The engine also publishes signals, supervises and counts,
and in the latency runs journals every tick and keeps bars and signals in SQLite.

Latency: open loop, 10,000 frames/s of one event, 100 instruments; from the frame's stamp, taken right after the
read of the socket, and from the instant the load was due to send it. A contender that falls behind at that rate is
shown so, and measured at half of it until it keeps up. Throughput: closed window, frames of one event and of ten, see
``pipeline_load``; with one event a frame it is the feed, the same Python in all, that bounds most of them.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import harness, hgrm, workload
from benchmarks.load import pipeline_load, pipeline_peer, pipeline_wire
from benchmarks.load.engine_run import EngineRun, Scratch
from benchmarks.load.pipeline_load import FRAME_EVENTS, Flow, FlowLoad
from benchmarks.load.pipeline_peer import Nursery, Peer
from benchmarks.load.tick_to_signal import RATE, SETUPS, Run, configuration, run_once, throughput_tuning
from benchmarks.load.venue import venue_process
from hft_engine.config.schema import Config, PersistenceConfig

PEERS = (
    Peer("zmq", "zmq", fused=False),
    Peer("zmq_fused", "zmq", fused=True, spin=True),
    Peer("redis", "redis", fused=False),
    Peer("redis_fused", "redis", fused=True),
)
LAYOUTS = ("compact", "dedicated")
# With what each is compared: like with like, processes and waiting alike where the peer can.
REFERENCES = {
    "engine_compact": "zmq_fused",
    "engine_dedicated": "zmq",
    "zmq": "engine_dedicated",
    "redis": "engine_dedicated",
    "zmq_fused": "engine_compact",
    "redis_fused": "engine_compact",
}
TARGETS = {  # how many times the engine's p50 the peer's is to be
    ("zmq", "compact"): 50.0,
    ("zmq", "dedicated"): 3.0,
    ("redis", "compact"): 100.0,
    ("redis", "dedicated"): 6.0,
}
COLUMNS = (  # percentile, whether from the schedule, label
    (50.0, False, "p50"),
    (99.0, False, "p99"),
    (50.0, True, "schedule_p50"),
    (99.0, True, "schedule_p99"),
)
BEHIND_US = 10_000.0  # median delay in the last quarter of a run: whoever is later does not keep up
RATE_MIN = 500.0


@dataclass
class Contender:
    """One way to build the pipeline, and what its runs showed."""

    name: str
    latency: Callable[[float], Run]  # at a rate
    throughput: Callable[[], list[Flow]]
    runs: list[Run] = field(default_factory=list)
    flows: list[list[Flow]] = field(default_factory=list)

    def percentiles(self, percent: float, scheduled: bool = False) -> list[float]:
        """us, one for each run."""
        taken = [run.from_schedule if scheduled else run.latencies for run in self.runs]
        return [float(np.percentile(values, percent)) / 1e3 for values in taken]

    def rates(self, events: int) -> list[float]:
        """Ticks a second with frames of so many events, one for each run."""
        return [flows[FRAME_EVENTS.index(events)].per_s for flows in self.flows]


def keeps_up(run: Run) -> bool:
    """Whether nothing was lost and the end of the run was not later than the rate allows."""
    latest = run.from_schedule[-max(1, len(run.from_schedule) // 4) :]
    return run.lost == 0 and float(np.median(latest)) / 1e3 <= BEHIND_US


def engine_throughput(layout: str, model: Path, load: FlowLoad) -> list[Flow]:
    """As the peers': nothing is stored. The wait is ``yield``, as in ``replay``: chosen by trial for ``dedicated``;
    ``compact`` was not clearly better with any."""
    scratch = Scratch()
    try:
        with venue_process(pipeline_load.serve, load) as (url, channel):
            config = configuration(SETUPS[layout], url, model)
            actors = throughput_tuning(config.engine.actors, "yield")
            config = msgspec.structs.replace(
                config,
                engine=msgspec.structs.replace(config.engine, actors=actors),
                persistence=PersistenceConfig(journal=False, sqlite=False),
            )
            with EngineRun(config, scratch) as engine:
                engine.until_live()
                return pipeline_peer.flows(channel, engine.directory)
    finally:
        scratch.remove()


def contenders(
    opts: harness.Options, model: Path, nursery: Nursery, peers: Sequence[Peer]
) -> list[Contender]:
    seconds = opts.seconds(3.0, 2.0)
    load = FlowLoad(opts.count(300_000, 150_000), opts.seconds(1.0, 0.7))

    def configure(url: str) -> Config:
        return configuration(SETUPS["dedicated_park"], url, model)

    made = [
        Contender(
            peer.name,
            lambda rate, peer=peer: pipeline_peer.latency(peer, configure, nursery, rate, seconds),  # type: ignore[misc]
            lambda peer=peer: pipeline_peer.throughput(replace(peer, spin=False), configure, nursery, load),  # type: ignore[misc]
        )
        for peer in peers
    ]
    made += [
        Contender(
            f"engine_{layout}",
            lambda rate, layout=layout: run_once(layout, seconds, model),  # type: ignore[misc]
            lambda layout=layout: engine_throughput(layout, model, load),  # type: ignore[misc]
        )
        for layout in LAYOUTS
    ]
    return made


def available(report: harness.Report) -> list[Peer]:
    """The peers that can run here; the others are named."""
    absent = {peer.kind: pipeline_wire.missing(peer.kind) for peer in PEERS}
    for kind, reason in absent.items():
        if reason is not None:
            report.leave_out(kind, reason)
    return [peer for peer in PEERS if absent[peer.kind] is None]


def measure(report: harness.Report, field_: list[Contender]) -> None:
    """All contenders once, then all again."""

    def once(contender: Contender) -> None:
        contender.runs.append(contender.latency(RATE))
        contender.flows.append(contender.throughput())

    report.interleave({contender.name: functools.partial(once, contender) for contender in field_})


def slower(report: harness.Report, contender: Contender) -> None:
    """For a contender that fell behind: the figure at the highest of RATE/2, RATE/4, ... that it keeps up with."""
    rate = RATE
    while rate / 2 >= RATE_MIN:
        rate /= 2
        report.progress(f"{contender.name} at {rate:,.0f}/s ...")
        run = contender.latency(rate)
        if keeps_up(run):
            report.add(f"pipeline_{contender.name}_sustained_per_s", [rate], "1/s")
            report.add(f"pipeline_{contender.name}_at_sustained_p50_us", [run.us(50.0)], "us")
            return
    report.note(f"pipeline: {contender.name} does not keep up with {rate:,.0f} ticks/s either.")


def add(report: harness.Report, field_: list[Contender]) -> None:
    """Figures and ratios."""
    named = {contender.name: contender for contender in field_}
    for contender in field_:
        report.latencies(contender.name, [hgrm.of_values(run.latencies) for run in contender.runs])
        _add_one(report, contender, named.get(REFERENCES[contender.name]))
    for (peer, layout), target in TARGETS.items():
        if peer in named:
            ours, theirs = (named[name].percentiles(50.0) for name in (f"engine_{layout}", peer))
            times = [slow / fast for slow, fast in zip(theirs, ours, strict=True)]
            report.add(f"pipeline_{peer}_p50_over_{layout}", times, "x", target=target, more_is_better=True)


def _add_one(report: harness.Report, contender: Contender, other: Contender | None) -> None:
    for percent, scheduled, label in COLUMNS:
        values = contender.percentiles(percent, scheduled)
        reference = (other.name, other.percentiles(percent, scheduled)) if other else None
        report.add(f"pipeline_{contender.name}_{label}_us", values, "us", reference)
    for events in FRAME_EVENTS:
        label = "ticks_per_s" if events == 1 else f"frames_of_{events}_ticks_per_s"
        reference = (other.name, other.rates(events)) if other else None
        report.add(
            f"pipeline_{contender.name}_{label}",
            contender.rates(events),
            "1/s",
            reference,
            more_is_better=True,
        )


def show(report: harness.Report, field_: list[Contender]) -> None:
    """The contenders side by side."""
    report.show(
        f"pipeline: {RATE:,.0f} frames/s offered, us; then the sustained ticks/s by events a frame (medians)",
        (
            "built on",
            *(label.replace("schedule", "due").replace("_", " ") for _, _, label in COLUMNS),
            "kept up",
            "lost",
            *(f"ticks/s, {events}" for events in FRAME_EVENTS),
            "lost",
        ),
        [_row(contender) for contender in field_],
    )
    least = min(run.predicted for contender in field_ for run in contender.runs)
    report.note(
        f"pipeline: p50 and p99 are from the frame's stamp; due: from the instant the load had to send it. "
        f"Kept up: nothing lost and less than {BEHIND_US / 1e3:.0f} ms late at the end. "
        f"Signals with a prediction of the model: at least {least:.1%} in every run."
    )


def _row(contender: Contender) -> list[str]:
    figures = [float(np.median(contender.percentiles(percent, due))) for percent, due, _ in COLUMNS]
    kept = sum(keeps_up(run) for run in contender.runs)
    return [
        contender.name,
        *(harness.number(figure) for figure in figures),
        f"{kept} of {len(contender.runs)}",
        str(sum(run.lost for run in contender.runs)),
        *(f"{float(np.median(contender.rates(events))):,.0f}" for events in FRAME_EVENTS),
        str(sum(flow.lost for flows in contender.flows for flow in flows)),
    ]


def main() -> int:
    report = harness.Report("pipeline", harness.options(__doc__ or ""))
    scratch = Scratch()
    try:
        report.progress("training a model ...")
        model = scratch.disk / "model.txt"
        workload.train_model(model, workload.model_rows(20_000))
        peers = available(report)
        report.sense_jitter()
        with Nursery() as nursery:
            field_ = contenders(report.opts, model, nursery, peers)
            measure(report, field_)
            report.sense_jitter()
            add(report, field_)
            for contender in field_[: len(peers)]:
                if not all(map(keeps_up, contender.runs)):
                    slower(report, contender)
        show(report, field_)
    finally:
        scratch.remove()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
