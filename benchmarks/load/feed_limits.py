"""What one feed process sustains over loopback: 200,000 events/s in frames of 50, and 20,000 frames/s of one event.

    load process (the last core) --loopback websocket--> feed, parked (the first core) --> tick ring
                                                          other stages, onlooker (the last core)

The simulator's events of 100 instruments, two quotes to a trade, on a schedule that does not move; nothing may be lost:
every event that was sent must be counted by the feed, none refused. ``lag``: from the instant a frame was due to its
first tick visible in the ring, the load's own lateness and the socket included; ``own``: from the read that brought the
frame, as ``hft lat`` shows it. The rest of the engine runs as it does for a user, without a model and without journal:
a minute of this is 1.5 GB.

Beside it the official client with a callback that counts: as fast as it takes the same frames, a core of its own.
"""

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe
from typing import Any

import numpy as np

from benchmarks import harness, hgrm, workload
from benchmarks.load import venue
from benchmarks.load.engine_run import EngineRun, Scratch
from benchmarks.load.feed_limits_load import FIRST_NUMBER, Flow, serve
from hft_engine.config.schema import ActorTuning, Config, EngineConfig, FeedConfig, PersistenceConfig
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.records import TICK_DTYPE, TickKind
from hft_engine.runtime.linux import die_with_parent
from hft_engine.shm.histogram_view import percentile
from hft_engine.shm.ring_file import RingView

BATCHED = Flow(50, 200_000, 60.0)
SINGLE = Flow(1, 20_000, 60.0)
FLOWS = {"batched": BATCHED, "single": SINGLE}
QUICK_S = 5.0
PEER_S = 5.0  # as fast as it takes them, it need not be long
POLL_S = 0.1
DRAIN_S = 0.5
_SOURCES = ("publisher", "persistence", "indicators", "inference", "signals")


@dataclass
class Run:
    """What one run showed. ``lag_ns`` of every frame looked at; ``own`` a histogram."""

    events_per_s: float
    lost: int
    lag_ns: np.ndarray
    own: np.ndarray
    lateness: np.ndarray
    cpu_percent: float

    def lag_us(self, percent: float) -> float:
        return float(np.percentile(self.lag_ns, percent, method="higher")) / 1e3


def configuration(url: str) -> Config:
    first, last = harness.two_cores()
    actors = {"feed": ActorTuning(wait="park", cpus=(first,))}
    actors |= dict.fromkeys(_SOURCES, ActorTuning(cpus=(last,)))
    return Config(
        engine=EngineConfig(name="bench", layout="dedicated", actors=actors),
        feed=FeedConfig(
            url=url, api_key="benchmark", channels=("T", "Q"), symbols=market_symbols(workload.INSTRUMENTS)
        ),
        persistence=PersistenceConfig(journal=False, sqlite=False),
    )


def run_once(flow: Flow) -> Run:
    scratch = Scratch()
    try:
        with (
            venue.venue_process(serve, flow) as (url, channel),
            EngineRun(configuration(url), scratch) as engine,
        ):
            engine.until_live()
            venue.expect(channel)  # "subscribed"
            with harness.on_core(harness.two_cores()[1]):
                return _observe(engine, channel, flow)
    finally:
        scratch.remove()


def _observe(engine: EngineRun, channel: Connection, flow: Flow) -> Run:
    feed = engine.processes()["feed"]
    used_s = sum(feed.cpu_times()[:2])
    channel.send("go")
    lag = _Lag(engine, int(venue.expect(channel)), flow)
    while not channel.poll(POLL_S):
        lag.read()
    sent, lateness, seconds = venue.expect(channel)
    time.sleep(DRAIN_S)
    lag.read()
    used_s = sum(feed.cpu_times()[:2]) - used_s
    counters = engine.stats("feed").counters()
    refused = counters["rejected"] + counters["frames_rejected"] + counters["duplicates"]
    lost = flow.frames * flow.events - counters["events"] + refused
    own = engine.stats("feed").histogram("feed").copy()
    if sent < flow.frames:
        lost = max(lost, (flow.frames - sent) * flow.events)
    return Run(sent * flow.events / seconds, lost, lag.values(), own, lateness, 100.0 * used_s / seconds)


class _Lag:
    """The first tick of each frame, read from outside."""

    def __init__(self, engine: EngineRun, t0_ns: int, flow: Flow) -> None:
        self._view = RingView(engine.directory / "ticks.ring", TICK_DTYPE)
        self._t0_ns, self._flow = t0_ns, flow
        self._position = 0
        self._parts: list[np.ndarray] = []

    def read(self) -> None:
        first, rows = self._view.read(self._position, self._view.capacity)
        self._position = first + len(rows)
        rows = rows[np.isin(rows["kind"], (TickKind.TRADE, TickKind.QUOTE))]
        event = rows["venue_sequence"] - FIRST_NUMBER
        leads = event % self._flow.events == 0
        due_ns = self._t0_ns + (event[leads] // self._flow.events * (1e9 / self._flow.frames_per_s)).astype(
            np.int64
        )
        self._parts.append(rows["ts_publish_ns"][leads] - due_ns)

    def values(self) -> np.ndarray:
        return np.concatenate(self._parts)


# ---- the official client ----


def official_once(flow: Flow) -> float:
    """Events a second that reach the official client's callback. Raises LeftOutError."""
    ours, theirs = Pipe()
    fast = Flow(flow.events, flow.events_per_s, PEER_S, paced=False)
    with venue.venue_process(serve, fast) as (url, channel):
        child = get_context("spawn").Process(target=_official, args=(url, os.getpid(), theirs))
        child.start()
        try:
            if not ours.poll(30.0) or (said := ours.recv()) != "connected":
                raise harness.LeftOutError(f"{said}; remedy: {harness.REMEDY}")
            venue.expect(channel)  # "subscribed"
            channel.send("go")
            venue.expect(channel)
            venue.expect(channel)  # all sent that was taken
            ours.send("stop")
            if not ours.poll(30.0):
                raise harness.LeftOutError("the official client does not answer")
            events, seconds = ours.recv()
            return float(events / seconds)
        finally:
            child.kill()
            child.join()


def _official(url: str, parent_pid: int, channel: Connection) -> None:
    """Counts what the callback gets, from the first data to the order to stop."""
    die_with_parent(parent_pid)
    os.sched_setaffinity(0, {harness.two_cores()[0]})
    try:
        from polygon import WebSocketClient
    except ImportError as error:
        channel.send(f"no module {error.name}")
        return
    import asyncio

    client = WebSocketClient(
        "benchmark",
        feed=url.removeprefix("ws://").rpartition("/")[0],
        secure=False,
        subscriptions=["T.*", "Q.*"],
    )
    seen = [0, 0.0, 0.0]  # events, first, last

    async def count(messages: list[Any]) -> None:
        now = time.monotonic()
        seen[0] += len(messages)
        seen[1] = seen[1] or now
        seen[2] = now

    async def run() -> None:
        task = asyncio.create_task(client.connect(count))
        while not channel.poll() and not task.done():
            await asyncio.sleep(0.05)
        channel.send((seen[0], max(seen[2] - seen[1], 1e-9)))
        os._exit(0)  # while frames wait the client's ``wait_for`` swallows a cancellation

    channel.send("connected")
    asyncio.run(run())


# ---- what is shown ----


def _add(report: harness.Report, name: str, flow: Flow, runs: list[Run], official: list[float]) -> None:
    peer = ("the official client's callback, as fast as it takes them", official) if official else None
    report.add(
        f"feed_{name}_events_per_s", [run.events_per_s for run in runs], "1/s", peer,
        0.999 * flow.events_per_s, more_is_better=True,
    )  # fmt: skip
    report.add(f"feed_{name}_lost", [float(run.lost) for run in runs], "events", None, 0.0)
    for percent, label in ((50.0, "p50"), (99.0, "p99"), (99.9, "p999")):
        late = "the load's own lateness", [percentile(run.lateness, percent) / 1e3 for run in runs]
        report.add(f"feed_{name}_lag_{label}_us", [run.lag_us(percent) for run in runs], "us", late)
        own = [percentile(run.own, percent) / 1e3 for run in runs]
        report.add(f"feed_{name}_own_{label}_us", own, "us")
    report.add(f"feed_{name}_cpu_percent", [run.cpu_percent for run in runs], "%")
    report.latencies(f"{name}_lag", [hgrm.of_values(run.lag_ns) for run in runs])


def main() -> int:
    report = harness.Report("feed_limits", harness.options(__doc__ or ""))
    seconds = report.opts.seconds(BATCHED.seconds, QUICK_S)
    report.sense_jitter()
    for name, whole in FLOWS.items():
        flow = Flow(whole.events, whole.events_per_s, seconds)
        contenders: dict[str, Callable[[], Any]] = {
            name: functools.partial(run_once, flow),
            f"{name}, official client": functools.partial(official_once, flow),
        }
        taken = report.interleave(contenders)
        _add(report, name, flow, taken[name], taken.get(f"{name}, official client", []))
        report.note(f"{name}: frames of {flow.events}, {flow.events_per_s:,} events/s for {seconds:g} s.")
    report.sense_jitter()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
