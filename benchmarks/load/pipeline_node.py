"""One process of the peers' pipeline: the engine's own actors between two hops of somebody else's transport.

The actors run over private rings, called from Python: bytes that arrive are put into the ring that the first actor
reads, and whatever the last one published goes out as bytes. Stamp, reading of the socket, decoding and kernels are
therefore those of the engine to the last instruction; only transport and processes differ. The signals ring and
the counters are files, so that a signal is visible to other processes exactly as the engine's are.
"""

import gc
import importlib
import logging
import select
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.load.pipeline_wire import Receiver, Sender, Wire, receiver, sender
from hft_engine.config.schema import Config
from hft_engine.engine import feature_schema
from hft_engine.instruments import InstrumentTable
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, PREDICTION_DTYPE, SIGNAL_DTYPE, TICK_DTYPE
from hft_engine.runtime.actor import Actor, ActorContext
from hft_engine.runtime.linux import fine_timers
from hft_engine.runtime.process import load
from hft_engine.shm import layout
from hft_engine.shm.counters import ActorState, Stats, words_view
from hft_engine.shm.doorbell import new_bells
from hft_engine.shm.ring import Ring
from hft_engine.topology import ROLES

CAPACITY = 16_384  # of a private ring: more than an actor gives at once, and the feed gives what half a megabyte holds
BATCH_MAX = 256  # records in one message, and records that wait before the stages run
CONNECT_POLL_S = 0.01
DTYPES = {
    "ticks": TICK_DTYPE,
    "bars": BAR_DTYPE,
    "features": FEATURE_DTYPE,
    "predictions": PREDICTION_DTYPE,
    "signals": SIGNAL_DTYPE,
}
PRELOAD = ("benchmarks.load.pipeline_node",)


class NodePlan(msgspec.Struct, frozen=True):
    """``roles`` in the order of the flow; no ``incoming`` hop for the feed, no ``outgoing`` one for the last."""

    roles: tuple[str, ...]
    config: Config
    run_dir: str
    incoming: Wire | None
    outgoing: Wire | None


class Inbox:
    """Puts bytes of whole records into the private ring that the first actor reads."""

    def __init__(self, ring: Ring) -> None:
        self._bytes = memoryview(ring.slots.view(np.uint8).data).cast("B")
        self._head = words_view(ring.head)
        self._record = ring.dtype.itemsize
        self._mask = ring.capacity - 1
        self._published = 0

    def put(self, payload: bytes) -> int:
        """Returns how many records these were. At most CAPACITY may wait."""
        start = (self._published & self._mask) * self._record
        before_end = min(len(payload), len(self._bytes) - start)
        self._bytes[start : start + before_end] = payload[:before_end]
        if before_end < len(payload):
            self._bytes[: len(payload) - before_end] = payload[before_end:]
        count = len(payload) // self._record
        self._published += count
        # Writer and reader are one thread: no fence, and nobody to wake.
        self._head[layout.W_INTENT] = self._head[layout.W_PUBLISHED] = self._published
        return count


class Outbox:
    """The bytes of what was published in a private ring since the last look."""

    def __init__(self, ring: Ring) -> None:
        self._bytes = memoryview(ring.slots.view(np.uint8).data).cast("B")
        self._head = words_view(ring.head)
        self._record = ring.dtype.itemsize
        self._capacity = ring.capacity
        self._sent = 0

    def take(self) -> Iterator[memoryview]:
        """In order, at most BATCH_MAX records each."""
        end = self._head[layout.W_PUBLISHED]
        while self._sent < end:
            first = self._sent & (self._capacity - 1)
            count = min(end - self._sent, self._capacity - first, BATCH_MAX)
            yield self._bytes[first * self._record : (first + count) * self._record]
            self._sent += count


class Node:
    """The actors of one process, started, with the ring between each and the next."""

    def __init__(self, plan: NodePlan) -> None:
        directory = Path(plan.run_dir)
        instruments = InstrumentTable.private(plan.config.engine.instruments_max)
        reads = {ring: role for role in plan.roles for ring in ROLES[role].reads}
        names = {ring for role in plan.roles for ring in (*ROLES[role].reads, *ROLES[role].writes)}
        self.rings = {name: _ring(name, reads.get(name), directory) for name in names}
        self.actors: list[Actor] = [load(ROLES[role].factory)() for role in plan.roles]
        self.stats = [Stats.attach(directory / f"{role}.stats") for role in plan.roles]
        for actor, stats in zip(self.actors, self.stats, strict=True):
            stats.declare(actor.counters, actor.histograms)
            actor.on_start(self._context(plan, actor.role, stats, instruments))
        self.stages = [actor.do_work for actor in self.actors]

    def _context(self, plan: NodePlan, role: str, stats: Stats, instruments: InstrumentTable) -> ActorContext:
        directory = Path(plan.run_dir)
        return ActorContext(
            role=role,
            config=plan.config,
            log=logging.getLogger(role),
            instruments=instruments,
            stats=stats,
            rings={name: self.rings[name] for name in (*ROLES[role].reads, *ROLES[role].writes)},
            feature_schema=feature_schema(plan.config),
            run_id="pipeline",
            run_dir=directory,
            data_dir=directory,
            log_dir=directory,
        )

    def running(self) -> None:
        for stats in self.stats:
            stats.state = ActorState.RUNNING

    def work(self) -> int:
        """One duty cycle of each actor."""
        done = 0
        for stage in self.stages:
            done += stage()
        return done


def _ring(name: str, reader: str | None, directory: Path) -> Ring:
    """Private and gating, but for the signals: those are a file, as in the engine."""
    if name == "signals":
        return Ring.attach(directory / "signals.ring", SIGNAL_DTYPE, new_bells())
    return Ring.private(name, DTYPES[name], CAPACITY, (reader,) if reader else (), gating=True)


def feed(node: Node, outgoing: Sender) -> None:
    """Reads the venue's socket for ever; what one duty cycle decoded is one batch."""
    actor = node.actors[0]
    outbox = Outbox(node.rings["ticks"])
    poll, watched = select.poll(), -1
    while True:
        frames = actor.do_work()
        for batch in outbox.take():
            outgoing.send(batch)
        if frames and actor.more:
            continue
        if (descriptor := actor.wait_fd()) is None:
            time.sleep(CONNECT_POLL_S)
            continue
        if descriptor != watched:
            poll.register(descriptor, select.POLLIN)
            watched = descriptor
        poll.poll(100)


def compute(node: Node, incoming: Receiver, outgoing: Sender | None, source: str, target: str) -> None:
    """Takes batches through the stages for ever."""
    inbox = Inbox(node.rings[source])
    outbox = Outbox(node.rings[target])
    work = node.work

    def forward() -> None:
        while work():
            if outgoing is not None:
                for batch in outbox.take():
                    outgoing.send(batch)

    while True:
        waiting = 0
        for payload in incoming.receive():
            waiting += inbox.put(payload)
            if waiting >= BATCH_MAX:
                forward()
                waiting = 0
        forward()


def run(payload: bytes) -> int:
    """The life of a process, which ends with the fork server that made it."""
    plan = msgspec.msgpack.decode(payload, type=NodePlan)
    fine_timers()
    outgoing = sender(plan.outgoing) if plan.outgoing is not None else None
    incoming = receiver(plan.incoming) if plan.incoming is not None else None
    node = Node(plan)
    gc.collect()
    gc.freeze()
    gc.disable()
    node.running()
    if incoming is None:
        assert outgoing is not None
        feed(node, outgoing)
    else:
        first, last = ROLES[plan.roles[0]], ROLES[plan.roles[-1]]
        compute(node, incoming, outgoing, first.reads[0], last.writes[0])
    return 0


def warm() -> None:
    """Load the kernels, once for all the processes that are forked."""
    for role in ("feed", "indicators", "inference", "signals"):
        importlib.import_module(ROLES[role].factory.split(":")[0]).warm()
    importlib.import_module("hft_engine.shm.ring").warm()
