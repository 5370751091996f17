"""64 bytes from one process to another: our ring beside what Python programs use, latency and messages a second.

    sender (core A) --transport--> receiver (core B)      a message carries when it was due and when it was sent

Latency: an open loop of 1,000 and 5,000 messages a second; message k is due at t0 + k * period whatever the
transport does. From the clock right before the send, and from the due time, to the clock right after the message
is in the receiver's hands. The receiver blocks, or spins where the transport lets it; a peer's figures stand beside
half an eventfd round trip (blocks) and half a cache-line round trip (spins) of the same run.

A sender naps until 60 us before a message is due and spins the rest. Only where the receiver spins and nothing but
the two ends takes part (ring, pipe, socket, iceoryx2) does it spin throughout; the threads of mp.Queue and zmq and
the servers of Redis and NATS need a core too. Tried with zmq PUSH/PULL only: with a sender that spins its p50
is lower by up to a fifth or so and its p99 often milliseconds. So a ratio to a p50 of zmq depends on this choice.
Redis and NATS have no spinning receiver for the same reason. Threads of a library may use either core.

Messages a second, each way its documentation knows and no message dropped (a full transport makes its sender wait):
``single``     one call for each message. A peer sends the same 64 bytes again and again, and its receiver only
               counts; our ring's sender writes each field of each record and its receiver checks them
``pipelined``  Redis: 100 commands in a pipeline
``packed``     256 messages in one of 16 KiB, written and checked by the same compiled loops for all; our ring: 256
               records published at once
nats-py has no unbatched way: its client gathers what is published until its event loop turns.

Not the same: ``ring`` has compiled loops at both ends, as the engine has; ``ring_python`` has Python at both ends,
as every peer has. Redis, NATS and zmq also cross machines, Redis Streams also keeps what was sent. The ring's writer
is told to wait for its reader (``gating``) in order that nothing is lost in the blast.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from benchmarks import harness
from benchmarks.micro import hop
from benchmarks.micro.transport_ends import Contender, Timing, opened
from benchmarks.micro.transport_peers import CONTENDERS
from hft_engine.shm.histogram import percentile

RATES = (1_000, 5_000)
WARM_UP = 200  # messages
LIMITS = {"block": "half an eventfd round trip", "spin": "half a cache-line round trip"}
RING, ZMQ = "ring", "zmq_push"


@dataclass
class Figures:
    """Of one contender, a value for each run."""

    timings: dict[tuple[str, int], list[Timing]] = field(default_factory=dict)  # by wait and rate
    rates: dict[str, list[float]] = field(default_factory=dict)  # by kind of blast


def measure(contender: Contender, opts: harness.Options, figures: Figures) -> None:
    """One run of a contender. Raises TransportError."""
    with opened(contender) as pair:
        for wait in contender.waits:
            pair.paced(contender.pace(RATES[-1], WARM_UP, wait))
            for rate in RATES:
                count = int(rate * opts.seconds(1.2, 0.15))
                timing = pair.paced(contender.pace(rate, count, wait))
                figures.timings.setdefault((wait, rate), []).append(timing)
        for blast in contender.blasts:
            # A whole number of batches; quick runs are too short for a steady figure but show its size.
            count = blast.count // opts.count(1, 4) // blast.batch * blast.batch
            rate_seen = pair.blast(replace(blast, count=count))
            figures.rates.setdefault(blast.name, []).append(rate_seen)


def run_all(report: harness.Report) -> tuple[dict[str, Figures], dict[str, list[float]]]:
    """Every contender's figures, and the physical limits in us; who fails is left out and named."""
    figures: dict[str, Figures] = {contender.name: Figures() for contender in CONTENDERS}
    limits: dict[str, list[float]] = {"block": [], "spin": []}

    def limit() -> None:
        line, fd = (
            hop.cache_line(report.opts.count(500_000, 100_000)),
            hop.eventfd(report.opts.count(5_000, 1_000)),
        )
        limits["spin"].append(percentile(line, 50.0) / 2e3)
        limits["block"].append(percentile(fd, 50.0) / 2e3)

    turns: dict[str, Callable[[], None]] = {"the limits": limit}
    for one in CONTENDERS:
        turns[one.title] = functools.partial(measure, one, report.opts, figures[one.name])
    took_part = report.interleave(turns)
    return {one.name: figures[one.name] for one in CONTENDERS if one.title in took_part}, limits


# ---- what is shown ----


def _named(figures: dict[str, Figures]) -> list[tuple[Contender, Figures]]:
    return [(c, figures[c.name]) for c in CONTENDERS if c.name in figures]


def _median(values: list[float]) -> str:
    return harness.number(harness.Measured(tuple(values)).median)


def add_latencies(
    report: harness.Report, figures: dict[str, Figures], limits: dict[str, list[float]]
) -> None:
    for contender, of in _named(figures):
        for (wait, rate), timings in of.timings.items():
            name = f"transport_{contender.name}_{wait}_{rate // 1_000}k"
            limit = (LIMITS[wait], limits[wait])
            report.add(f"{name}_p50_us", [t.sent_p50 for t in timings], "us", limit)
            if rate == RATES[-1]:  # the others are in the table
                report.add(f"{name}_p99_us", [t.sent_p99 for t in timings], "us", limit)
                report.add(f"{name}_due_p99_us", [t.due_p99 for t in timings], "us", limit)


def show_latencies(report: harness.Report, figures: dict[str, Figures], wait: str) -> None:
    rows = [
        [contender.title]
        + [
            _median([t[i] for t in of.timings[wait, rate]])
            for rate in RATES
            for i in range(len(Timing._fields))
        ]
        for contender, of in _named(figures)
        if wait in contender.waits
    ]
    header = [f"{rate // 1_000}k {name}" for rate in RATES for name in Timing._fields]
    report.show(f"receiver {wait}s: one-way latency, us, medians of runs", ("transport", *header), rows)


def add_throughputs(report: harness.Report, figures: dict[str, Figures]) -> None:
    for contender, of in _named(figures):
        for kind, values in of.rates.items():
            beside = ZMQ if contender.name == RING else RING
            reference = None
            if beside in figures:
                peer_kind = kind if kind in figures[beside].rates else "packed"
                reference = (f"{beside} {peer_kind}", figures[beside].rates[peer_kind])
            name = f"transport_{contender.name}_{kind}_per_s"
            report.add(name, values, "1/s", reference, more_is_better=True)


def show_throughputs(report: harness.Report, figures: dict[str, Figures]) -> None:
    kinds = ("single", "pipelined", "packed")
    rows = [
        [contender.title, *(_median(of.rates[kind]) if kind in of.rates else "-" for kind in kinds)]
        for contender, of in _named(figures)
    ]
    report.show("64-byte messages a second, medians of runs", ("transport", *kinds), rows)


def note_parked(report: harness.Report, figures: dict[str, Figures]) -> None:
    if not {RING, ZMQ} <= figures.keys():
        return
    ours, theirs = (
        harness.Measured(tuple(t.sent_p50 for t in figures[name].timings["block", RATES[-1]])).median
        for name in (RING, ZMQ)
    )
    report.note(
        f"parked, {RATES[-1]:,} a second: pyzmq PUSH/PULL takes {theirs / ours:.2f} times our ring's p50."
    )


def main() -> int:
    report = harness.Report("transport", harness.options(__doc__ or ""))
    report.sense_jitter()
    figures, limits = run_all(report)
    report.sense_jitter()
    add_latencies(report, figures, limits)
    add_throughputs(report, figures)
    for wait in LIMITS:
        show_latencies(report, figures, wait)
    show_throughputs(report, figures)
    note_parked(report, figures)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
