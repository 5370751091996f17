"""Who runs where, who writes which ring, who reads it, and what a lap means: data, validated.

    simulator ~socket~> feed -ticks-> indicators -features-> inference -predictions-> signals -signals-> publisher
                          |              |                                                |
                          +----ticks-----+---------------bars-----------------------------+--> persistence
                          +----ticks-----+---------------bars-----------------------------+--> execution -orders->
                                                       features, bars --> shadow           (trainer reads the journal)

``replay`` takes the place of the feed; then every ring gates: its writer waits for its slowest reader, so that
nothing is lost however fast the source is. In a live run no ring gates: a slow reader is lapped and it is counted.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from hft_engine import records
from hft_engine.config.schema import Config
from hft_engine.runtime.rundir import RingEntry

DTYPES: dict[str, np.dtype] = {
    "TICK_DTYPE": records.TICK_DTYPE,
    "BAR_DTYPE": records.BAR_DTYPE,
    "FEATURE_DTYPE": records.FEATURE_DTYPE,
    "PREDICTION_DTYPE": records.PREDICTION_DTYPE,
    "SIGNAL_DTYPE": records.SIGNAL_DTYPE,
    "ORDER_DTYPE": records.ORDER_DTYPE,
    "FILL_DTYPE": records.FILL_DTYPE,
}


@dataclass(frozen=True)
class Role:
    """One actor: ``factory`` makes it, ``reads`` and ``writes`` name its rings.

    ``watches``: rings of which it looks at the others' cursors only; it is no reader of them.
    """

    name: str
    factory: str  # "module:callable"
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    watches: tuple[str, ...] = ()
    hot: bool = False  # on the path from tick to signal: garbage collector off, compiled kernels warmed
    optional: bool = False  # the engine goes on without it, when no restart helps
    log: str = ""  # name of its log file, where it is not that of the role


ROLES = {
    role.name: role
    for role in (
        Role("simulator", "hft_engine.feed.simulator.actor:SimulatorActor"),
        Role("feed", "hft_engine.feed.actor:FeedActor", writes=("ticks",), hot=True),
        Role("replay", "hft_engine.replay:make_actor", writes=("ticks",), hot=True),
        Role(
            "indicators",
            "hft_engine.indicators.actor:IndicatorsActor",
            reads=("ticks",),
            writes=("features", "bars"),
            hot=True,
        ),
        Role(
            "inference",
            "hft_engine.inference.actor:InferenceActor",
            reads=("features",),
            writes=("predictions",),
            hot=True,
        ),
        Role(
            "signals",
            "hft_engine.signals.actor:SignalsActor",
            reads=("predictions",),
            writes=("signals",),
            hot=True,
        ),
        Role("publisher", "hft_engine.publisher.actor:PublisherActor", reads=("signals",)),
        Role(
            "execution",
            "hft_engine.execution.actor:ExecutionActor",
            reads=("ticks", "bars", "signals"),
            writes=("orders", "fills"),
            watches=("features", "predictions"),
        ),
        Role(
            "persistence",
            "hft_engine.persistence.actor:PersistenceActor",
            reads=("ticks", "bars", "signals", "orders", "fills"),
        ),
        Role("trainer", "hft_engine.learn.trainer:TrainerActor", optional=True, log="model_trainer"),
        Role("shadow", "hft_engine.learn.shadow:ShadowActor", reads=("features", "bars"), optional=True),
        Role(
            "collector", "hft_engine.persistence.collector:CollectorActor"
        ),  # reads what a replay is told to
    )
}

RING_DTYPES = {
    "ticks": "TICK_DTYPE",
    "bars": "BAR_DTYPE",
    "features": "FEATURE_DTYPE",
    "predictions": "PREDICTION_DTYPE",
    "signals": "SIGNAL_DTYPE",
    "orders": "ORDER_DTYPE",
    "fills": "FILL_DTYPE",
}

OPTIONAL_RINGS = ("orders", "fills")  # where there is an ``execution`` section

_COMPUTE = ("indicators", "inference", "signals")

# In the fork server: everything that compiles, nothing that starts a thread. What compiles longest comes first: on a
# first start each core takes the next.
PRELOAD = (
    "hft_engine.indicators.actor",
    "hft_engine.feed.actor",
    "hft_engine.inference.actor",
    "hft_engine.signals.actor",
    "hft_engine.runtime.chain",
    "hft_engine.shm.ring",
    "hft_engine.runtime.wait",
    "hft_engine.runtime.process",
    "hft_engine.runtime.control",  # ZeroMQ starts its threads with its first context, not when it is imported
    "hft_engine.feed.transport",
    "hft_engine.publisher.actor",
    "hft_engine.persistence.replay_stage",
    "hft_engine.persistence.actor",
    "hft_engine.execution.actor",
    "hft_engine.feed.simulator.actor",
)
LEARNING = ("trainer", "shadow")  # live only, each in a process of its own

# Of these a run needs none unless it has the role: nobody waits for kernels that nobody calls.
_PRELOAD_OF = {
    "hft_engine.execution.actor": "execution",
    "hft_engine.persistence.replay_stage": "replay",
    "hft_engine.feed.simulator.actor": "simulator",
}


def preload(topology: "Topology") -> tuple[str, ...]:
    """Those modules of PRELOAD that this run needs."""
    roles = {role.name for role in topology.roles}
    return tuple(module for module in PRELOAD if _PRELOAD_OF.get(module) in (None, *roles))


class TopologyError(ValueError):
    """A topology that cannot run."""


@dataclass(frozen=True)
class Process:
    """One operating-system process and the roles it runs, in the order of the data's flow."""

    name: str
    roles: tuple[Role, ...]

    @property
    def hot(self) -> bool:
        return any(role.hot for role in self.roles)

    @property
    def optional(self) -> bool:
        return all(role.optional for role in self.roles)


@dataclass(frozen=True)
class Topology:
    layout: str
    source: str
    processes: tuple[Process, ...]  # in the order of the data's flow, the venue first
    rings: tuple[RingEntry, ...]
    gating: bool
    bells: dict[str, int] = field(default_factory=dict)  # process -> doorbell

    @property
    def roles(self) -> list[Role]:
        return [role for process in self.processes for role in process.roles]

    @property
    def start_order(self) -> list[Process]:
        """Readers before writers, the source last: nothing is published to nobody."""
        venue = [p for p in self.processes if p.name == "simulator"]
        return venue + [p for p in reversed(self.processes) if p.name != "simulator"]

    @property
    def stop_order(self) -> list[Process]:
        """Along the flow, so that each drains what came before; the venue last."""
        venue = [p for p in self.processes if p.name == "simulator"]
        return [p for p in self.processes if p.name != "simulator"] + venue

    def process_of(self, role: str) -> Process | None:
        return next((p for p in self.processes if any(r.name == role for r in p.roles)), None)


def build(
    config: Config, source: str = "feed", persistence: bool = True, collected: tuple[str, ...] = ()
) -> Topology:
    """The topology of a configuration. ``collected``: rings that a collector reads. Raises TopologyError."""
    engine = [source, *_COMPUTE, "publisher", *(["collector"] if collected else [])]
    engine += ["execution"] if config.execution is not None else []
    engine += ["persistence"] if persistence else []
    grouping = _grouping(config.engine.layout, source, engine)
    if config.simulator is not None and source == "feed":
        grouping = [("simulator", ("simulator",)), *grouping]
    if config.learning.live and source == "feed":
        grouping = [*grouping, *((role, (role,)) for role in LEARNING)]
    there = {ring for _, roles in grouping for role in roles for ring in ROLES[role].writes}
    processes = tuple(
        Process(name, tuple(_with_rings(ROLES[role], there, collected) for role in roles))
        for name, roles in grouping
    )
    topology = Topology(
        config.engine.layout,
        source,
        processes,
        _rings(config, [role for process in processes for role in process.roles]),
        gating=source == "replay",
        bells={process.name: i for i, process in enumerate(processes)},
    )
    validate(topology)
    return topology


def _with_rings(role: Role, there: set[str], collected: tuple[str, ...]) -> Role:
    """A role of a run: orders and fills are read only where somebody writes them."""
    if role.name == "collector":
        return replace(role, reads=collected)
    return replace(
        role, reads=tuple(ring for ring in role.reads if ring in there or ring not in OPTIONAL_RINGS)
    )


def _grouping(layout: str, source: str, engine: list[str]) -> list[tuple[str, tuple[str, ...]]]:
    """(process, roles), in the order of the data's flow."""
    if layout == "inline":
        return [("engine", tuple(engine))]
    if layout == "dedicated":
        return [(role, (role,)) for role in engine]
    # A live feed is compiled and runs in the stages' duty cycle; a replay is not, and is faster on a core of its own.
    sources = [] if source == "feed" else [(source, (source,))]
    compute = ("feed", *_COMPUTE) if source == "feed" else _COMPUTE
    others = [role for role in engine if role not in (source, *_COMPUTE)]
    return [*sources, ("compute", compute), *((role, (role,)) for role in others)]


def _rings(config: Config, roles: list[Role]) -> tuple[RingEntry, ...]:
    entries = []
    for name, dtype in RING_DTYPES.items():
        writers = [role.name for role in roles if name in role.writes]
        if name in OPTIONAL_RINGS and not writers:
            continue
        readers = tuple(role.name for role in roles if name in role.reads)
        capacity = getattr(config.rings, name)
        entries.append(RingEntry(name, f"{name}.ring", dtype, capacity, ",".join(writers), readers))
    return tuple(entries)


def validate(topology: Topology) -> None:
    """Single writer, every read ring written, every role once."""
    names = [role.name for role in topology.roles]
    if len(set(names)) != len(names):
        raise TopologyError(f"a role runs twice: {names}")
    for entry in topology.rings:
        if not entry.writer or "," in entry.writer:
            raise TopologyError(f"ring {entry.name!r} must have one writer, has: {entry.writer or 'none'}")
