"""The simulated venue: a websocket server that speaks the Polygon stocks protocol.

The rules, and where they were observed: handshake and statuses of the vendor's own clients; acknowledgement per
pair, silence for an unknown channel and for a pair already held, refusals that name no pair; ends without a close
frame for a bad key and for a slow reader; a late ``max_connections`` with close code 1008.

``pump`` hands out what is due and never waits; everything else happens in the event loop that ``start`` ran in.
"""

import asyncio
import errno
from http import HTTPStatus

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.options import HEALTHY, VenueOptions
from hft_engine.feed.simulator.routes import Routes, pairs_of
from hft_engine.feed.simulator.session import POLICY_VIOLATION, Session, VenueCounts, status
from hft_engine.feed.simulator.source import Source

PATH = "/stocks"
PUMP_TICKS_MAX = 512  # about a millisecond of encoding
UNPACED_BYTES_MAX = 256_000  # waiting per connection before a replay at full speed pauses
REQUEST_BYTES_MAX = 1_000_000  # a subscribe of some 100,000 pairs
CLOSE_TIMEOUT_S = 0.5  # for the client's half of the closing handshake: a stop must not hang on a dead one
CONNECTED = status("connected", "Connected Successfully")
AUTHENTICATED = status("auth_success", "authenticated")
AUTH_FAILED = status("auth_failed", "authentication failed")
AUTH_TIMEOUT = status("auth_timeout", "No authentication request received.")
NO_WEBSOCKET = status(
    "auth_failed",
    "Your plan doesn't include websocket access. Visit https://massive.com/pricing to upgrade.",
)
NO_REALTIME = status(
    "error",
    "You don't have access real-time data. If your plan only includes delayed data, you can connect to the delayed "
    "websocket at wss://delayed.polygon.io/stocks.",
)
NOT_AUTHORIZED = status("error", "not authorized")
MAX_CONNECTIONS = status(
    "max_connections",
    "Maximum number of websocket connections exceeded. You have reached the connection limit for your account. "
    "Please contact support at https://polygon.io/contact to increase your limit.",
)


class VenueError(Exception):
    """The venue cannot be started; the text names the cause and the remedy."""


class _Request(msgspec.Struct):
    action: str
    params: str = ""


class PolygonVenue:
    """``start`` it in a running loop, call ``pump`` often, ``close`` it in the same loop."""

    def __init__(self, config: SimulatorConfig, source: Source, options: VenueOptions = HEALTHY) -> None:
        self.counts = VenueCounts()
        self.source = source
        self._config = config
        self._options = options
        self._encoder = Encoder(source.symbols, options)
        self._routes = Routes(source.symbols)
        self._sessions: list[Session] = []  # authenticated, oldest first
        self._server: Server | None = None
        self._started = False
        self._now_ns = 0  # of the latest pump
        self._decode = msgspec.json.Decoder(_Request).decode

    async def start(self, host: str, port: int) -> int:
        """Listens and returns the port (port 0: any free one). Raises VenueError where it cannot."""
        try:
            self._server = await serve(
                self._converse, host, port, process_request=_check_path, compression=None,
                ping_interval=None, max_size=REQUEST_BYTES_MAX, close_timeout=CLOSE_TIMEOUT_S, server_header=None,
            )  # fmt: skip
        except OSError as error:
            raise VenueError(_explain(error, host, port)) from error
        found: int = next(iter(self._server.sockets)).getsockname()[1]
        return found

    async def close(self) -> None:
        """Says goodbye to every client (1001) and stops listening."""
        if self._server is not None:
            self._server.close(code=1001, reason="the simulated venue is stopping")
            await self._server.wait_closed()
            self._server = None

    def pump(self, now_ns: int, ticks_max: int = PUMP_TICKS_MAX) -> int:
        """Puts what is due at ``now_ns`` (UTC) into the outboxes; returns how many ticks were due."""
        self._now_ns = now_ns
        if not self.source.paced and any(
            session.bytes_waiting > UNPACED_BYTES_MAX for session in self._sessions
        ):
            return 0
        ticks = self.source.take(now_ns, ticks_max)
        if not len(ticks) or not self._sessions:
            return len(ticks)
        wanted = self._routes.select(ticks)
        if len(wanted):
            keys = zip(wanted["kind"].tolist(), wanted["instrument_id"].tolist(), strict=True)
            for key, event in zip(keys, self._encoder.encode(wanted), strict=True):
                for session in self._routes.receivers(*key):
                    session.outbox.put(event)
            self._kill_slow()
        return len(ticks)

    def _kill_slow(self) -> None:
        # The venue's way: what it sends comes late, then the connection ends, without a status or a close frame.
        for session in [s for s in self._sessions if s.bytes_waiting > self._options.buffer_bytes_max]:
            self.counts.slow_consumer_kills += 1
            session.abort()
            self._leave(session)

    async def _converse(self, socket: ServerConnection) -> None:
        session = Session(socket, self._options, self._config.events_per_frame_max, self.counts)
        self.counts.connections += 1
        try:
            await session.reply(CONNECTED)
            if not await self._authenticate(session):
                return
            self._sessions.append(session)
            sender = asyncio.create_task(session.send_data())
            try:
                await self._serve(session)
            finally:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
        except ConnectionClosed:
            pass
        finally:
            self._leave(session)

    def _leave(self, session: Session) -> None:
        if session in self._sessions:
            self._sessions.remove(session)
            self._routes.rebuild(self._sessions)

    async def _authenticate(self, session: Session) -> bool:
        try:
            async with asyncio.timeout(self._options.auth_timeout_ms / 1000):
                while (request := await self._receive(session)).action != "auth":
                    self.counts.bad_requests += 1
        except TimeoutError:
            await session.reply(AUTH_TIMEOUT)
            return False
        if not self._options.websocket_in_plan or request.params != self._config.api_key:
            self.counts.auth_failures += 1
            await session.reply(NO_WEBSOCKET if not self._options.websocket_in_plan else AUTH_FAILED)
            await session.drop()
            return False
        await session.reply(AUTHENTICATED)
        return True

    async def _receive(self, session: Session) -> _Request:
        while True:
            try:
                return self._decode(await session.socket.recv())
            except msgspec.MsgspecError:
                self.counts.bad_requests += 1

    async def _serve(self, session: Session) -> None:
        while True:
            request = await self._receive(session)
            if request.action == "subscribe":
                await self._subscribe(session, request.params)
            elif request.action == "unsubscribe":
                await self._unsubscribe(session, request.params)
            else:
                self.counts.bad_requests += 1

    async def _subscribe(self, session: Session, params: str) -> None:
        if not self._options.realtime_in_plan:
            await session.reply(NO_REALTIME)
            return
        asked = [pair for pair in pairs_of(params) if pair not in session.pairs]
        granted = [pair for pair in asked if pair[0] in self._options.channels_in_plan]
        # The refusal comes first and names no pair.
        refusals = [NOT_AUTHORIZED] * (len(asked) - len(granted))
        await self._acknowledge(session, refusals + [_ack("subscribed to", pair) for pair in granted])
        session.pairs.update(granted)
        self._routes.rebuild(self._sessions)
        if granted and not self._started:
            self._started = True
            self.source.start(self._now_ns)
        await self._enforce_connection_cap(session)

    async def _unsubscribe(self, session: Session, params: str) -> None:
        held = [pair for pair in pairs_of(params) if pair in session.pairs]
        session.pairs.difference_update(held)
        self._routes.rebuild(self._sessions)
        await self._acknowledge(session, [_ack("unsubscribed to", pair) for pair in held])

    async def _acknowledge(self, session: Session, statuses: list[bytes]) -> None:
        if not statuses:
            return
        if not self._options.split_acks:
            await session.reply(*statuses)
            return
        for one in statuses:
            await session.reply(one)

    async def _enforce_connection_cap(self, session: Session) -> None:
        # Late, as observed: the new connection was let in and subscribed before one of the two is closed.
        if not self._options.connections_max or len(self._sessions) <= self._options.connections_max:
            return
        victim = session if self._options.connection_cap_closes == "newer" else self._sessions[0]
        self._leave(victim)
        await victim.reply(MAX_CONNECTIONS)
        await victim.socket.close(POLICY_VIOLATION, "max_connections")


def _ack(what: str, pair: tuple[str, str]) -> bytes:
    return status("success", f"{what}: {pair[0]}.{pair[1]}")


async def _check_path(socket: ServerConnection, request: Request) -> Response | None:
    if request.path.split("?")[0].rstrip("/") == PATH:
        return None
    return socket.respond(
        HTTPStatus.NOT_FOUND, f"no market at {request.path}: this simulated venue has {PATH}\n"
    )


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"simulator: {host}:{port} is in use; stop what listens there or set another port (0 = any)"
    return f"simulator: cannot listen on {host}:{port} ({error.strerror or error}); check host and simulator.port"
