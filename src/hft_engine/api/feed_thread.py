"""An engine's feed on a thread of this process: the same actor, sessions and decoders, over a ring in its own memory.

What the feed publishes goes to ``take`` on that thread, in batches, in order. Nothing here knows a vendor.
"""

import itertools
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from hft_engine.config.schema import Config
from hft_engine.feed.line_table import read_lines
from hft_engine.feed.states import FEED_STATES, FeedState
from hft_engine.instruments import InstrumentTable
from hft_engine.records import BAR_DTYPE, SIGNAL_DTYPE, TICK_DTYPE
from hft_engine.runtime.actor import Actor, ActorContext, BaseActor, ControlError, FatalError
from hft_engine.runtime.messages import Body, Command, Reply, Subscribe, Unsubscribe
from hft_engine.runtime.process import load
from hft_engine.runtime.rundir import new_run_id
from hft_engine.runtime.runner import ActorRun, ControlPort, Runner
from hft_engine.shm.counters import ActorState, Stats
from hft_engine.shm.histogram_view import summary
from hft_engine.shm.ring import Ring

RING_TICKS: Final = (
    65_536  # 8 MiB; the reader is on the writer's thread and takes all that there is in each turn
)
RING_RECORDS_MIN: Final = 8  # of rings that nothing is written to
BATCH_TICKS: Final = 1_024
EVENTS_KEPT: Final = 100
ANSWER_S: Final = 5.0  # for a change of subscriptions, which waits for the thread's present turn
JOIN_S: Final = 5.0
LIVE: Final = (FeedState.LIVE, FeedState.QUIET)

Take = Callable[[np.ndarray], None]


class _Listener(BaseActor):
    """Hands ticks, and each new state of the feed, to whoever asked."""

    role = "listener"

    def __init__(self, take: Take, turned: Callable[[FeedState], None], feed: Stats) -> None:
        self._take, self._turned, self._feed = take, turned, feed
        self._state: FeedState | None = None

    def on_start(self, ctx: ActorContext) -> None:
        self._ring = ctx.ring("ticks")
        self._reader = ctx.reader("ticks")
        self._scratch = np.zeros(BATCH_TICKS, TICK_DTYPE)
        self._state_counter = self._feed.counter("state")

    def do_work(self) -> int:
        done = 0
        while count := self._ring.poll(self._reader, self._scratch, BATCH_TICKS):
            self._take(self._scratch[:count])
            done += count
        state = FeedState(self._state_counter.value)
        if state is not self._state:
            self._state = state
            self._turned(state)
        return done


class _Port(ControlPort):
    """Commands from other threads."""

    def __init__(self) -> None:
        self._commands: queue.SimpleQueue[tuple[str, Command]] = queue.SimpleQueue()
        self._replies: dict[int, queue.SimpleQueue[Reply]] = {}
        self._numbers = itertools.count()

    def ask(self, role: str, body: Body, timeout_s: float) -> object:
        number = next(self._numbers)
        answer = self._replies[number] = queue.SimpleQueue()
        self._commands.put((role, Command(number, body, role)))
        try:
            reply = answer.get(timeout=timeout_s)
        except queue.Empty:
            raise ControlError(f"the feed did not answer within {timeout_s:g} s") from None
        finally:
            self._replies.pop(number, None)
        if not reply.ok:
            raise ControlError(reply.error)
        return reply.payload

    def receive(self) -> tuple[str, Command] | None:
        try:
            return self._commands.get_nowait()
        except queue.Empty:
            return None

    def reply(self, role: str, reply: Reply) -> None:
        waiting = self._replies.get(reply.id)
        if waiting is not None:
            waiting.put(reply)


class FeedThread:
    """``take`` gets batches of TICK_DTYPE that are valid until it returns; ``turned`` each state of the feed.

    ``stores``: ticks are journalled and venue bars go into SQLite, as ``config.persistence`` says. ``events``: the
    latest facts for people; they hold no key.
    """

    def __init__(
        self,
        config: Config,
        take: Take,
        turned: Callable[[FeedState], None] = lambda state: None,
        stores: bool = False,
    ) -> None:
        self.config = config
        self.run_id = new_run_id(config.engine.name)
        self.state = FeedState.STOPPED
        self.failure = ""
        self.events: deque[str] = deque(maxlen=EVENTS_KEPT)
        self.log = logging.getLogger(f"hft_engine.api.{config.feed.venue}")
        self._on_turn = turned
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._port = _Port()
        self.instruments = InstrumentTable.private(config.engine.instruments_max)
        self._stats = {name: Stats.private() for name in ("feed", "persistence", "listener")}
        listener = _Listener(take, self._turned, self._stats["feed"])
        stored = [load("hft_engine.persistence.actor:PersistenceActor")()] if stores else []
        self._feed: Actor = load("hft_engine.feed.actor:FeedActor")()
        actors = [*stored, self._feed, listener]
        self._rings = self._made_rings([actor.role for actor in actors])
        self._runs = [ActorRun(actor, self._context(actor.role), actor.role != "feed") for actor in actors]
        self._runner = Runner(self._runs, control=self._port, stop_requested=self._stop.is_set)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"feed-{config.feed.venue}", daemon=True)

    # ---- what its owner drives

    def start(self) -> None:
        """Connects in the background. Raises FatalError for what cannot work, with the remedy."""
        for module in ("hft_engine.feed.actor", "hft_engine.shm.ring"):
            load(f"{module}:warm")()  # kernels are loaded now, not at the first tick
        self.state = FeedState.CONNECTING
        self._thread.start()
        self._started.wait()
        if self.failure:
            self._thread.join(JOIN_S)
            raise FatalError(self.failure)

    def stop(self) -> None:
        """Ends subscriptions and connection; returns when the thread has ended. May be called again."""
        self._stop.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)

    def subscribe(self, symbols: tuple[str, ...]) -> None:
        """Raises ControlError."""
        self._ask(Subscribe(symbols))

    def unsubscribe(self, symbols: tuple[str, ...]) -> None:
        """Raises ControlError."""
        self._ask(Unsubscribe(symbols))

    def wait_until_live(self, timeout_s: float) -> bool:
        """Whether the venue's data come in, or will as soon as there are any."""
        over = (*LIVE, FeedState.FAILED, FeedState.STOPPED)
        with self._changed:
            self._changed.wait_for(lambda: self.state in over, timeout_s)
        return self.state in LIVE

    # ---- what its owner knows

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def problem(self) -> str:
        """Why no data come, for people; empty while they do."""
        if self.failure or self.is_live:
            return self.failure
        return self.events[-1] if self.events else ""

    def counters(self) -> dict[str, int]:
        """The feed's, and how many ticks were lost because ``take`` was too slow (``lapped``)."""
        ring = self._rings["ticks"]
        return {**self._stats["feed"].counters(), "lapped": ring.lapped(ring.reader("listener"))}

    def lines(self) -> list[dict[str, Any]]:
        """See ``Connection.lines``."""
        return [
            {
                "name": row["name"].decode(),
                "state": FEED_STATES[row["state"]],
                "subscriptions": int(row["wanted"]),
                "unconfirmed": int(row["acks_missing"]),
                "ping_ms": int(row["ping_us"]) / 1e3,
            }
            for row in read_lines(self._stats["feed"].table)
        ]

    def latencies(self) -> dict[str, dict[str, float]]:
        """See ``Connection.latencies``."""
        stats = self._stats["feed"]
        return {name: summary(stats.histogram(name)) for name in stats.histogram_names}

    # ---- the thread

    def _run(self) -> None:
        try:
            self._begin()
            self._started.set()
            self._runner.run()
        except FatalError as error:
            self._fail(str(error))
        except Exception as error:  # what ends the feed has to be known to its owner
            self._fail(f"the feed broke: {type(error).__name__}: {error}")
            self.log.exception("the feed broke")
        else:
            self._turned(FeedState.STOPPED)
        finally:
            self._started.set()

    def _begin(self) -> None:
        """``on_start`` of each actor; where one fails, those before it are stopped."""
        try:
            self._runner.start()
        except Exception:
            for run in self._runs:
                if run.ctx.stats.state is ActorState.RUNNING:
                    run.stop()
            raise

    def _fail(self, text: str) -> None:
        self.failure = text
        self.log.error("%s", text)
        self._turned(FeedState.FAILED)

    def _turned(self, state: FeedState) -> None:
        with self._changed:
            self.state = state
            self._changed.notify_all()
        self._on_turn(state)

    def _ask(self, body: Body) -> None:
        if not self.alive:
            raise ControlError(self.failure or "the feed is not running")
        if threading.current_thread() is self._thread:  # a handler's wish
            self._feed.on_control(body)
        else:
            self._port.ask("feed", body, ANSWER_S)

    def _tell(self, kind: str, text: str) -> None:
        self.events.append(text)

    def _made_rings(self, roles: list[str]) -> dict[str, Ring]:
        readers = [role for role in roles if role != "feed"]
        rings = {"ticks": Ring.private("ticks", TICK_DTYPE, RING_TICKS, readers)}
        if "persistence" in roles:
            for name, dtype in (("bars", BAR_DTYPE), ("signals", SIGNAL_DTYPE)):
                rings[name] = Ring.private(name, dtype, RING_RECORDS_MIN, ["persistence"])
        return rings

    def _context(self, role: str) -> ActorContext:
        engine = self.config.engine
        data_dir = Path(engine.data_dir)
        return ActorContext(
            role=role,
            config=self.config,
            log=self.log,
            instruments=self.instruments,
            stats=self._stats[role],
            rings=self._rings,
            feature_schema=_NoFeatures(),
            run_id=self.run_id,
            run_dir=data_dir,
            data_dir=data_dir,
            log_dir=Path(engine.log_dir),
            emit=self._tell,
        )


class _NoFeatures:
    """There are no indicators here."""

    names: tuple[str, ...] = ()
    hash = ""

    def index(self, name: str) -> int:
        raise KeyError(name)
