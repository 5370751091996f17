"""Runs the pipeline as a peer's users would build it, and gives it the loads that the engine gets."""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np

from benchmarks.load import pipeline_wire, venue
from benchmarks.load.engine_run import Scratch, SignalTail
from benchmarks.load.pipeline_load import Flow, FlowLoad, serve
from benchmarks.load.pipeline_node import PRELOAD, NodePlan
from benchmarks.load.pipeline_wire import Kind, Wire
from benchmarks.load.tick_to_signal import WARM_UP_S, Run
from benchmarks.load.venue import expect, venue_process
from hft_engine.config.schema import Config
from hft_engine.feed.states import FEED_STATES
from hft_engine.records import SIGNAL_DTYPE
from hft_engine.runtime import kernelcache
from hft_engine.runtime.forkserver import ForkServer
from hft_engine.shm.counters import ActorState, Stats
from hft_engine.shm.ring_file import create_ring

ROLES = ("feed", "indicators", "inference", "signals")
SIGNALS_CAPACITY = 65_536  # as the engine's
START_TIMEOUT_S = 30.0
POLL_S = 0.25
DRAIN_S = 1.0  # nothing came out for so long: what is missing is lost
DRAIN_MAX_S = 3.0  # what is later than this is not waited for


@dataclass(frozen=True)
class Peer:
    """``fused``: indicators, model and rules in one process behind the feed; else one process a stage."""

    name: str
    kind: Kind
    fused: bool
    spin: bool = False

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        return (ROLES[:1], ROLES[1:]) if self.fused else tuple((role,) for role in ROLES)


class PeerError(RuntimeError):
    """A process of a peer's pipeline ended, or did not start."""


class Nursery:
    """The fork server that makes the peers' processes, as the engine's makes its own: kernels loaded once."""

    def __init__(self) -> None:
        environment = {
            **os.environ,
            "NUMBA_CACHE_DIR": str(kernelcache.use()),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        self._server = ForkServer(PRELOAD, environment)
        for _ in self._server.warming():
            pass

    def spawn(self, plan: NodePlan) -> tuple[int, int]:
        target = "benchmarks.load.pipeline_node:run"
        return self._server.spawn("+".join(plan.roles)[:11], target, msgspec.msgpack.encode(plan))

    def end(self, pid: int, pidfd: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        self._server.reap(pid)
        os.close(pidfd)

    def close(self) -> None:
        self._server.close()

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PeerRun:
    """The processes of one peer, alive between ``with`` and its end."""

    def __init__(self, peer: Peer, config: Config, nursery: Nursery, directory: Path, address: str) -> None:
        self.directory = directory
        self._nursery = nursery
        self._processes: list[tuple[int, int]] = []
        create_ring(directory / "signals.ring", SIGNAL_DTYPE, SIGNALS_CAPACITY, (), gating=False)
        for role in ROLES:
            Stats.create(directory / f"{role}.stats")
        self._plans = _plans(peer, config, directory, address)

    def __enter__(self) -> "PeerRun":
        for plan in reversed(self._plans):  # readers before writers
            self._processes.append(self._nursery.spawn(plan))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid, pidfd in self._processes:
            self._nursery.end(pid, pidfd)

    def stats(self, role: str) -> Stats:
        return Stats.attach(self.directory / f"{role}.stats", writable=False)

    def signals(self) -> SignalTail:
        return SignalTail(self.directory, self.stats("feed"))

    def until_live(self) -> None:
        """Waits until every process runs and the feed is subscribed. Raises PeerError."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_live():
            self.check()
            if time.monotonic() > deadline:
                raise PeerError("the peer's processes did not start in time")
            time.sleep(0.02)

    def check(self) -> None:
        """Raises PeerError when a process has ended."""
        ended = select.select([pidfd for _, pidfd in self._processes], [], [], 0)[0]
        if ended:
            raise PeerError("a process of the peer's pipeline ended; its traceback is above")

    def _is_live(self) -> bool:
        if any(self.stats(role).state is not ActorState.RUNNING for role in ROLES):
            return False
        return FEED_STATES[self.stats("feed").counters()["state"]] == "live"


def _plans(peer: Peer, config: Config, directory: Path, address: str) -> list[NodePlan]:
    hops = [Wire(peer.kind, address, f"hop{i}", peer.spin) for i in range(1, len(peer.groups))]
    ends: list[Wire | None] = [None, *hops, None]
    return [
        NodePlan(roles, config, str(directory), ends[i], ends[i + 1]) for i, roles in enumerate(peer.groups)
    ]


@contextlib.contextmanager
def running(peer: Peer, configure: Callable[[str], Config], nursery: Nursery, url: str) -> Iterator[PeerRun]:
    """The peer with its transport, live, in private directories that are gone afterwards."""
    scratch = Scratch()
    try:
        with (
            pipeline_wire.address(peer.kind, scratch.run_root) as address,
            PeerRun(peer, configure(url), nursery, scratch.run_root, address) as run,
        ):
            run.until_live()
            yield run
    finally:
        scratch.remove()


def latency(
    peer: Peer, configure: Callable[[str], Config], nursery: Nursery, rate: float, seconds: float
) -> Run:
    """The open-loop load of ``tick_to_signal`` at ``rate``, warm-up left out as there. ``lost`` are ticks that had
    not come through DRAIN_S after the last progress, or DRAIN_MAX_S after the end of the load."""
    warm = int(WARM_UP_S * 10_000)  # ticks, at every rate: until the model's inputs are known
    load = venue.Load(rate, warm + int(seconds * rate))
    with (
        venue_process(venue.serve, load) as (url, channel),
        running(peer, configure, nursery, url) as run,
    ):
        expect(channel)  # "subscribed"
        channel.send("go")
        t0_ns = int(expect(channel))
        return _observe(run, channel, load, warm, t0_ns)


def _observe(run: PeerRun, channel: Connection, load: venue.Load, warm: int, t0_ns: int) -> Run:
    tail, parts = run.signals(), []

    def read() -> None:
        parts.append(tail.read())

    while not channel.poll(POLL_S):
        run.check()
        read()
    sent, lateness = expect(channel)
    done = _drain(run, sent, read)
    rows = np.concatenate(parts)
    rows = rows[rows["source_sequence"] >= warm]
    if not len(rows):
        raise PeerError("no signal came of the load")
    due = t0_ns + (rows["source_sequence"] * (1e9 / load.rate)).astype(np.int64)
    return Run(
        rows["ts_publish_ns"] - rows["ts_mono_ns"],
        rows["ts_publish_ns"] - due,
        float(np.mean(~np.isnan(rows["probability"]))),
        lateness=lateness,
        lost=sent - done,
    )


def _drain(run: PeerRun, sent: int, read: Callable[[], None]) -> int:
    """Waits for what is under way; returns the ticks that came through."""
    ended = changed = time.monotonic()
    before = -1
    while True:
        done = run.stats("signals").counters()["predictions"]
        now = time.monotonic()
        if done != before:
            before, changed = done, now
        read()
        if done >= sent or now - changed > DRAIN_S or now - ended > DRAIN_MAX_S:
            return done
        time.sleep(0.05)


def throughput(
    peer: Peer, configure: Callable[[str], Config], nursery: Nursery, load: FlowLoad
) -> list[Flow]:
    """Ticks a second with a closed window (``pipeline_load``)."""
    with (
        venue_process(serve, load) as (url, channel),
        running(peer, configure, nursery, url) as run,
    ):
        return flows(channel, run.directory)


def flows(channel: Connection, directory: Path) -> list[Flow]:
    """Lets the load process of ``pipeline_load`` work on the pipeline whose counters are in ``directory``."""
    expect(channel)  # "subscribed"
    channel.send(str(directory / "signals.stats"))
    answer: list[Flow] = expect(channel)
    return answer
