"""The simulated Polygon stocks websocket.

The rules, and where they were observed: handshake and statuses of the vendor's own clients; acknowledgement per
pair, silence for an unknown channel and for a pair already held, refusals that name no pair; ends without a close
frame for a bad key and for a slow reader; a late ``max_connections`` with close code 1008.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

import msgspec
from msgspec import Struct

from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.routes import KINDS
from hft_engine.feed.simulator.scenario import AuthFailure
from hft_engine.feed.simulator.session import Session
from hft_engine.feed.simulator.venue import Venue

if TYPE_CHECKING:
    from hft_engine.feed.simulator.rest.front import Vendor as RestVendor

POLICY_VIOLATION = 1008


def status(kind: str, message: str) -> bytes:
    return msgspec.json.encode({"ev": "status", "status": kind, "message": message})


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
_Pair = tuple[str, str]


class _Request(Struct):
    action: str
    params: str = ""


class PolygonVenue(Venue):
    path = "/stocks"
    channels: ClassVar[frozenset[str]] = frozenset(KINDS)

    _decode = staticmethod(msgspec.json.Decoder(_Request).decode)

    def encoder(self, symbols: Sequence[str], options: VenueOptions) -> Encoder:
        return Encoder(symbols, options)

    def pack(self, events: list[bytes]) -> bytes:
        return array(events)

    async def greet(self, session: Session) -> bool:
        await session.reply(array([CONNECTED]))
        try:
            async with asyncio.timeout(self.conduct.options.auth_timeout_ms / 1000):
                while (
                    request := self._read(await session.socket.recv())
                ) is None or request.action != "auth":
                    self.counts.bad_requests += request is not None
        except TimeoutError:
            await session.reply(array([AUTH_TIMEOUT]))
            return False
        refusal = self._refusal(request.params)
        if refusal is not None:
            self.counts.auth_failures += 1
            await session.reply(array([refusal]))
            await session.drop()
            return False
        await session.reply(array([AUTHENTICATED]))
        return True

    def _refusal(self, key: str) -> bytes | None:
        if not self.conduct.options.websocket_in_plan:
            return NO_WEBSOCKET
        if key != self.config.api_key or self.conduct.answer(AuthFailure) is not None:
            return AUTH_FAILED
        return None

    def _read(self, message: str | bytes) -> _Request | None:
        try:
            return self._decode(message)
        except msgspec.MsgspecError:
            self.counts.bad_requests += 1
            return None

    async def hear(self, session: Session, message: str | bytes) -> None:
        request = self._read(message)
        if request is None:
            return
        if request.action == "subscribe":
            await self._subscribe(session, request.params)
        elif request.action == "unsubscribe":
            await self._unsubscribe(session, request.params)
        else:
            self.counts.bad_requests += 1

    async def _subscribe(self, session: Session, params: str) -> None:
        options = self.conduct.options
        if not options.realtime_in_plan:
            await session.reply(array([NO_REALTIME]))
            return
        asked = [pair for pair in self._pairs(params) if pair not in session.pairs]
        refusals = self.refusals(session, asked)
        if refusals:
            await self._acknowledge(session, refusals)
            return
        granted = [pair for pair in asked if pair[0] in options.channels_in_plan]
        # The refusal comes first and names no pair.
        refusals = [NOT_AUTHORIZED] * (len(asked) - len(granted))
        await self._acknowledge(session, refusals + [_ack("subscribed to", pair) for pair in granted])
        session.pairs.update(granted)
        self.subscribed()
        await self._enforce_connection_cap(session)

    def refusals(self, session: Session, asked: list[_Pair]) -> list[bytes]:
        """Statuses that refuse the whole request; none: it is looked at pair by pair."""
        return []

    def _pairs(self, params: str) -> list[_Pair]:
        """The pairs of a request, each once, in its order; what is no channel of ours is passed over in silence, as
        the venue does.
        """
        split = (text.strip().partition(".") for text in params.split(","))
        pairs = ((channel, symbol) for channel, _, symbol in split if channel in self.channels and symbol)
        return [pair for pair in dict.fromkeys(pairs) if self.offers(pair)]

    def offers(self, pair: _Pair) -> bool:
        return True

    async def _unsubscribe(self, session: Session, params: str) -> None:
        held = [pair for pair in self._pairs(params) if pair in session.pairs]
        session.pairs.difference_update(held)
        self.subscribed()
        await self._acknowledge(session, [_ack("unsubscribed to", pair) for pair in held])

    async def _acknowledge(self, session: Session, statuses: list[bytes]) -> None:
        if not statuses:
            return
        whole = [[one] for one in statuses] if self.conduct.options.split_acks else [statuses]
        for part in whole:
            await session.reply(array(part))

    async def _enforce_connection_cap(self, session: Session) -> None:
        # Late, as observed: the new connection was let in and subscribed before one of the two is closed.
        options = self.conduct.options
        if options.connections_max and len(self.sessions) > options.connections_max:
            await self.kick(session if options.connection_cap_closes == "newer" else self.sessions[0])

    def rest_side(self) -> "RestVendor":
        from hft_engine.feed.simulator.rest.polygon import PolygonRest

        return PolygonRest(self)

    async def kick(self, session: Session) -> None:
        self.leave(session)
        await session.reply(array([MAX_CONNECTIONS]))
        await session.close(POLICY_VIOLATION, "max_connections")


def array(events: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(events) + b"]"


def _ack(what: str, pair: _Pair) -> bytes:
    return status("success", f"{what}: {pair[0]}.{pair[1]}")
