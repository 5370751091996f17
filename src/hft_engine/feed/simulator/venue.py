"""A simulated venue, whatever its vendor: its socket, its connections, who is too slow, and the scenario's hand.

``pump`` hands out what is due and never waits; everything else happens in the event loop that ``start`` ran in.
A vendor (``polygon.py``, ``finnhub.py``, ...) says how it talks.
"""

import asyncio
import errno
import socket as sockets
from collections.abc import Coroutine, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.conduct import Conduct
from hft_engine.feed.simulator.flow import Encoding, Flow, TickFlow
from hft_engine.feed.simulator.history import History
from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.scenario import (
    CALM,
    Close,
    ConnectionStep,
    Drop,
    Fault,
    HalfFrame,
    HalfOpen,
    Kick,
    Scenario,
    SlowConsumerKill,
    Timeline,
    UpgradeRefusal,
)
from hft_engine.feed.simulator.session import Session, VenueCounts
from hft_engine.feed.simulator.source import Source
from hft_engine.feed.simulator.tape import Tape, TapeFlow
from hft_engine.feed.simulator.truth import Fortune, Truth

if TYPE_CHECKING:  # of an extra
    from hft_engine.feed.simulator.rest.front import Vendor as RestVendor

PUMP_TICKS_MAX = 512  # about a millisecond of encoding
UNPACED_BYTES_MAX = 256_000  # waiting per connection before a replay at full speed pauses
REQUEST_BYTES_MAX = 1_000_000  # a subscribe of some 100,000 pairs
_TCP_ESTABLISHED = 1  # first byte of Linux's tcp_info
CLOSE_TIMEOUT_S = 0.5  # for the client's half of the closing handshake: a stop must not hang on a dead one


class VenueError(Exception):
    """The venue cannot be started; the text names the cause and the remedy."""


class Venue:
    """``start`` it in a running loop, call ``pump`` often, ``close`` it in the same loop.

    ``conduct`` is how it answers just now, ``counts`` what happened. ``history`` (for REST) and ``truth`` are kept
    where they are given.
    """

    path: ClassVar[str | None]  # of the websocket; None: it has none

    def __init__(
        self,
        config: SimulatorConfig,
        source: Source | Tape,
        scenario: Scenario = CALM,
        *,
        history: History | None = None,
        truth: Truth | None = None,
    ) -> None:
        if truth is None and scenario.steps:
            truth = Truth(source.symbols)
        self.config = config
        self.scenario = scenario
        self.source = source
        self.counts = VenueCounts()
        self.conduct = Conduct(scenario.venue)
        self.truth = truth
        self.history = history
        self._flow = self._make_flow(source, scenario)
        self.sessions: list[Session] = []  # authenticated, oldest first
        self._timeline = Timeline(scenario)
        self._server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # pump is called beside it too
        self._tasks: set[asyncio.Task[None]] = set()
        self._contacts = 0  # connections that came
        self._numbers: dict[ServerConnection, int] = {}  # of those that there are
        self._streaming = False
        self._now_ns = 0  # of the latest pump
        self._awake = False  # a client has come: the scenario's clock runs
        self._first_ns = 0  # the first pump since

    def _make_flow(self, source: Source | Tape, scenario: Scenario) -> Flow:
        if isinstance(source, Tape):
            return TapeFlow(source)
        encoder = self.encoder(source.symbols, scenario.venue)
        return TickFlow(source, encoder, scenario, self.history, self.truth)

    # ---- what a vendor says

    def encoder(self, symbols: Sequence[str], options: VenueOptions) -> Encoding:
        raise NotImplementedError

    def pack(self, events: list[bytes]) -> bytes:
        """A data frame of events."""
        raise NotImplementedError

    def admit(self, request: Request) -> tuple[HTTPStatus, str] | None:
        """The refusal of a connection before it is one, or None."""
        assert self.path is not None
        if request.path.split("?")[0].rstrip("/") == self.path.rstrip("/"):
            return None
        return HTTPStatus.NOT_FOUND, f"no market at {request.path}: this simulated venue has {self.path}\n"

    async def greet(self, session: Session) -> bool:
        """Everything before the first subscription; False: the connection is over."""
        raise NotImplementedError

    async def hear(self, session: Session, message: str | bytes) -> None:
        """Answers one message of the client."""
        raise NotImplementedError

    async def kick(self, session: Session) -> None:
        """Ends a connection as one too many."""
        raise NotImplementedError

    def rest_side(self) -> "RestVendor":
        """What its REST says; needs ``history`` and the extra ``web``."""
        raise NotImplementedError

    # ---- life

    async def start(self, host: str, port: int) -> int:
        """Listens and returns the port (port 0: any free one; 0 where there is no websocket).

        Raises VenueError where it cannot.
        """
        self._loop = asyncio.get_running_loop()
        if self.path is None:
            return 0
        try:
            self._server = await serve(
                self._converse, host, port, process_request=self._admit, compression=None,
                ping_interval=None, max_size=REQUEST_BYTES_MAX, close_timeout=CLOSE_TIMEOUT_S, server_header=None,
            )  # fmt: skip
        except OSError as error:
            raise VenueError(explain(error, host, port)) from error
        found: int = next(iter(self._server.sockets)).getsockname()[1]
        return found

    async def close(self) -> None:
        """Says goodbye to every client (1001) and stops listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close(code=1001, reason="the simulated venue is stopping")
            await self._server.wait_closed()
            self._server = None
        if self.truth is not None:
            self.truth.close()

    def pump(self, now_ns: int, ticks_max: int = PUMP_TICKS_MAX) -> int:
        """Puts what is due at ``now_ns`` (UTC) into the outboxes; returns how many ticks were due."""
        self._now_ns = now_ns
        if self._awake:
            self._follow_scenario(now_ns)
            ticks_max = min(ticks_max, self._timeline.ticks_left(self._flow.ticks_due))
        if not self.source.paced and any(s.bytes_waiting > UNPACED_BYTES_MAX for s in self.sessions):
            return 0
        due = self._flow.pump(now_ns, ticks_max, self.sessions)
        if due and self.sessions:
            self._kill_slow()
        return due

    def _kill_slow(self) -> None:
        # The venue's way: what it sends comes late, then the connection ends, without a status or a close frame.
        for session in [s for s in self.sessions if s.bytes_waiting > self.conduct.options.buffer_bytes_max]:
            self._kill(session)

    def _kill(self, session: Session) -> None:
        self.counts.slow_consumer_kills += 1
        session.abort()
        self.leave(session)

    # ---- connections

    async def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        self.note_client()
        self._contacts += 1
        self._note_contact("came", self._contacts)
        refused = self.conduct.answer(UpgradeRefusal)
        refusal = self.admit(request) if refused is None else (HTTPStatus(refused.status), "")
        if refusal is not None:
            self._note_contact("refused", self._contacts)
            return socket.respond(*refusal)
        self._numbers[socket] = self._contacts
        if self.truth is not None:
            self.truth.note_open(sum(map(_is_established, self._numbers)))
        return None

    def _note_contact(self, fortune: Fortune, number: int) -> None:
        if self.truth is not None:
            self.truth.note_contact(fortune, number)

    def note_client(self) -> None:
        """Somebody came: the scenario's clock runs from the first one on."""
        if not self._awake:
            self._awake = True
            self._follow_scenario(self._now_ns)

    async def _converse(self, socket: ServerConnection) -> None:
        session = self._session(socket)
        self.counts.connections += 1
        self._forget_left()
        try:
            if not await self.greet(session):
                return
            self.sessions.append(session)
            self._note_contact("admitted", self._numbers[socket])
            self.counts.live_max = max(self.counts.live_max, len(self.sessions))
            sender = asyncio.create_task(session.send_data())
            try:
                async for message in socket:
                    await self.hear(session, message)
            finally:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
        except ConnectionClosed:
            pass
        finally:
            session.outbox.close()
            self.leave(session)
            self._note_contact("ended", self._numbers.pop(socket))

    def _session(self, socket: ServerConnection) -> Session:
        undelivered = self.truth.note_undelivered if self.truth is not None else _forget
        if isinstance(self.source, Tape):  # its frames are whole
            return Session(socket, b"".join, 1, self.counts, undelivered)
        return Session(socket, self.pack, self.config.events_per_frame_max, self.counts, undelivered)

    def subscribed(self) -> None:
        """Pairs of some session have changed."""
        self._flow.rebuild(self.sessions)
        if any(session.pairs for session in self.sessions):
            self.stream()

    def stream(self) -> None:
        """The source begins, if it has not yet."""
        if not self._streaming:
            self._streaming = True
            self.source.start(self._now_ns)

    def _forget_left(self) -> None:
        """Connections on which nothing is read (``half-open``) are over all the same when the client has left."""
        for session in self.sessions.copy():
            if not _is_established(session.socket):
                self.leave(session)

    def leave(self, session: Session) -> None:
        """Takes the connection out of those that get data."""
        if session in self.sessions:
            self.sessions.remove(session)
            self._flow.rebuild(self.sessions)

    # ---- scenario

    def _follow_scenario(self, now_ns: int) -> None:
        self._first_ns = self._first_ns or now_ns
        for step, begins in self._timeline.advance((now_ns - self._first_ns) / 1e9, self._flow.ticks_due):
            self.inflict(step, begins)

    def inflict(self, step: Fault, begins: bool = True) -> None:
        """Begins a step of a scenario, or ends it. Only in the loop's thread."""
        if isinstance(step, ConnectionStep):
            for session in self._chosen(step):
                self._strike(step, session)
            return
        for part in (self._flow, self.conduct):
            (part.begin if begins else part.end)(step)

    def _chosen(self, step: ConnectionStep) -> list[Session]:
        if step.which == "all":
            return self.sessions.copy()
        return self.sessions[:1] if step.which == "oldest" else self.sessions[-1:]

    def _strike(self, step: ConnectionStep, session: Session) -> None:
        self._note_contact("struck", self._numbers[session.socket])
        match step:
            case Drop():
                self.leave(session)
                self.later(session.drop())
            case Close():
                self.leave(session)
                self.later(session.close(step.code, ""))
            case Kick():
                self.later(self.kick(session))
            case SlowConsumerKill():
                self._kill(session)
            case HalfOpen():
                session.hold()
                self.later(self._abort_after(session, step.lasts_s))
            case HalfFrame():
                session.half_frame = True
                self.later(self._abort_after(session, step.lasts_s))

    async def _abort_after(self, session: Session, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)
            session.abort()

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Does it beside everything else; given up when the venue closes."""
        assert self._loop is not None, "not started"
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_established(connection: ServerConnection) -> bool:
    """Whether neither end has closed: a client that has left is seen even by a venue that reads nothing."""
    try:
        found: sockets.socket = connection.transport.get_extra_info("socket")
        state = found.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, 1)
    except OSError:  # closed
        return False
    return state[0] == _TCP_ESTABLISHED


def _forget(events: Sequence[bytes]) -> None:
    pass


def explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"simulator: {host}:{port} is in use; stop what listens there or set another port (0 = any)"
    return f"simulator: cannot listen on {host}:{port} ({error.strerror or error}); check host and simulator.port"
