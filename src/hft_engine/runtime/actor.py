"""The actor: a unit of work with a role. Everything that runs in the engine is one.

``do_work`` never waits; it does what there is, bounded to about a millisecond, and says how much it was. Waiting
belongs to the wait strategy, time to the runner, processes to the supervisor: an actor does not know whether it
runs in a process of its own, shares one, or is driven by hand in a test.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from hft_engine.config.schema import Config
from hft_engine.instruments import InstrumentTable
from hft_engine.runtime.limits import TURN_NS
from hft_engine.runtime.logs import event_level
from hft_engine.runtime.messages import ControlError
from hft_engine.runtime.session_events import EventKind, EventLog, SessionEvent, read_events
from hft_engine.shm.counters import Counter, Stats

if TYPE_CHECKING:
    from hft_engine.runtime.chain import NativeCall
    from hft_engine.runtime.history import OpenTickLog
    from hft_engine.shm.ring import Ring  # needs the compiler, which some actors do without


class FatalError(RuntimeError):
    """Restarting will not help: the text says what is wrong and what to do. The engine stops."""


class FeatureSchemaLike(Protocol):
    """Ordered feature names and their hash, without the kernels that compute them."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def hash(self) -> str: ...
    def index(self, name: str) -> int: ...


@dataclass
class ActorContext:
    """What an actor gets from whoever runs it."""

    role: str
    config: Config
    log: logging.Logger
    instruments: InstrumentTable
    stats: Stats
    rings: "dict[str, Ring]"
    feature_schema: FeatureSchemaLike
    run_id: str
    run_dir: Path
    data_dir: Path
    log_dir: Path
    emit: Callable[[str, str], None] = field(default=lambda kind, text: None)
    session_dir: Path | None = None  # where events go; None: nothing is recorded (replay, inline, tests)
    history_dir: Path | None = None  # of the session that is replayed; None: ``session_dir``
    _events: EventLog | None = None
    open_ticks: "OpenTickLog | None" = None  # the run's journal, for a reader that the ring has lapped
    let_through: Callable[[], None] = field(default=lambda: None)  # see ``Actor.tend``

    def ring(self, name: str) -> "Ring":
        """Raises KeyError for a ring that the topology does not give this role."""
        return self.rings[name]

    def reader(self, ring_name: str) -> int:
        """This role's reader index on a ring."""
        return self.rings[ring_name].reader(self.role)

    def counter(self, name: str) -> Counter:
        return self.stats.counter(name)

    def counter_array(self) -> np.ndarray:
        """int64[declared counters], in declared order, for kernels."""
        return self.stats.counter_array()

    def histogram(self, name: str) -> np.ndarray:
        return self.stats.histogram(name)

    def event(self, kind: str, text: str, fault: bool = False) -> None:
        """A fact: logged here, sent to the supervisor, published to the world. Rate-limit it yourself.

        ``fault``, or a kind that tells of one (``logs.event_level``): it goes into the error log too.
        """
        self.log.log(logging.WARNING if fault else event_level(kind), "%s: %s", kind, text)
        self.emit(kind, text)

    def record(
        self, kind: EventKind, sequence: int, data: dict[str, Any] | None = None, sync: bool = True
    ) -> bool:
        """A fact that changes results from tick ``sequence`` on, recorded before it is acted on.

        False where it could not be written, which is told: what can be refused must be refused then. ``sync``: see
        ``EventLog.record``; who waits for no disk calls ``sync_recorded`` on another thread.
        """
        if self.session_dir is None:
            return True
        if self._events is None:
            self._events = EventLog(self.session_dir, self.role)
        try:
            self._events.record(kind, sequence, data, sync)
        except OSError as error:
            self.log.error("%s: %s could not be recorded: %s", self._events.path, kind, error)
            self.emit("unrecorded", f"{kind} could not be recorded: {error}; a replay will not know of it")
            return False
        return True

    def sync_recorded(self) -> None:
        """What was recorded is on the disk. Raises OSError."""
        if self._events is not None:
            self._events.sync()

    def recorded(self, role: str = "") -> list[SessionEvent]:
        """What this role (or ``role``) recorded so far in its session, or in the one that is replayed; oldest first."""
        directory = self.history_dir or self.session_dir
        if directory is None:
            return []
        events, damages = read_events(directory, role or self.role)
        for damage in damages:
            self.log.warning("%s", damage)
        return events


@runtime_checkable
class Actor(Protocol):
    """See the module's text. ``counters`` and ``histograms`` are declared before ``on_start``.

    ``on_control``: the reply, or a ``concurrent.futures.Future`` of it where it takes longer than a duty cycle may.

    ``tend``: what is left to Python where ``native`` does the work, called between compiled turns. Records wait for it:
    between two parts that need not be one it calls ``ctx.let_through``, in which the process's compiled stages take
    what has come. ``more``: whether, after a cycle that did work, the next follows at once: there may be some left.
    ``turn_ns``: how long compiled turns may be as things stand, where no stage asks for Python.
    """

    role: str
    counters: tuple[str, ...]
    histograms: tuple[str, ...]
    more: bool
    turn_ns: int

    def on_start(self, ctx: ActorContext) -> None: ...
    def do_work(self) -> int: ...
    def on_control(self, message: object) -> object: ...
    def on_stop(self) -> None: ...
    def wait_fd(self) -> int | None: ...
    def native(self) -> "NativeCall | None": ...
    def glance(self) -> None: ...
    def tend(self) -> None: ...


class BaseActor:
    """Defaults for actors that need no control messages, no clean-up and no file descriptor."""

    role = ""
    counters: tuple[str, ...] = ()
    histograms: tuple[str, ...] = ()
    more = True
    turn_ns = TURN_NS

    def on_control(self, message: object) -> object:
        raise ControlError(f"{self.role} does not understand {type(message).__name__}")

    def on_stop(self) -> None:
        return None

    def wait_fd(self) -> int | None:
        return None

    def native(self) -> "NativeCall | None":
        """``do_work`` as a compiled call; the same object until it changes. None: only through Python."""
        return None

    def glance(self) -> None:
        return None

    def tend(self) -> None:
        return None


__all__ = ["Actor", "ActorContext", "BaseActor", "ControlError", "FatalError", "FeatureSchemaLike"]
