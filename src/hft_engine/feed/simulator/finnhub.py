"""The simulated Finnhub websocket: trades, one JSON object a frame, and hardly a word besides.

As observed: the key is in the url, a wrong one is refused with HTTP 401; no greeting and no acknowledgement; a ping
text frame when nothing has come for a while; one error frame, which names no symbol, beyond the plan's symbols; a
second connection with the same key ends both. Condition codes are the vendor's own, by the list that its
documentation links to, as transcribed in public repositories; the traces show 1, 8, 12 and 24 of it.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np
from msgspec import Struct
from websockets.http11 import Request

from hft_engine.feed.conditions import unpack
from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.routes import EVERY_SYMBOL
from hft_engine.feed.simulator.scenario import AuthFailure
from hft_engine.feed.simulator.session import Session
from hft_engine.feed.simulator.venue import Venue

if TYPE_CHECKING:
    from hft_engine.feed.simulator.rest.front import Vendor as RestVendor

PING = b'{"type":"ping"}'
TOO_MANY_SYMBOLS = b'{"msg":"Subscribing to too many symbols","type":"error"}'
TRADES = "T"  # the only channel
REGULAR = "1"
# Polygon's code, which the ticks have, -> Finnhub's.
CONDITIONS = {
    1: "2", 2: "3", 3: "7", 4: "4", 5: "9", 6: "11", 7: "5", 8: "36", 9: "28", 10: "32", 11: "6", 12: "24", 13: "25",
    14: "8", 15: "16", 16: "20", 17: "18", 18: "33", 19: "35", 20: "17", 21: "10", 22: "21", 23: "14", 24: "13",
    25: "19", 27: "31", 28: "34", 29: "22", 30: "15", 33: "30", 34: "23", 36: "29", 37: "12", 38: "39", 41: "41",
    52: "26", 53: "37",
}  # fmt: skip
OTHER_TYPES = ("subscribe-news", "unsubscribe-news", "subscribe-pr", "unsubscribe-pr")
LOOKS_PER_IDLE = 4  # for silence, in the time after which a ping is due


class _Trade(Struct, gc=False):
    c: tuple[str, ...] | None
    p: float
    s: str
    t: int
    v: int | float


class _Request(Struct):
    type: str
    symbol: str = ""


class FinnhubEncoder:
    """``encode(ticks)`` of trades; ``t`` is ms."""

    def __init__(self, symbols: Sequence[str], options: VenueOptions) -> None:
        self._symbols = symbols
        self._null_every = options.null_conditions_every
        self._count = 0
        self._json = msgspec.json.Encoder().encode

    def encode(self, ticks: np.ndarray) -> list[bytes]:
        names = ("instrument_id", "price", "size", "ts_venue_ns", "conditions")
        return [
            self._trade(*values) for values in zip(*(ticks[name].tolist() for name in names), strict=True)
        ]

    def _trade(self, who: int, price: float, size: float, ts_ns: int, packed: int) -> bytes:
        self._count += 1
        codes: tuple[str, ...] | None = (REGULAR, *(CONDITIONS[c] for c in unpack(packed) if c in CONDITIONS))
        if self._null_every and self._count % self._null_every == 0:
            codes = None
        volume = int(size) if size.is_integer() else size
        return self._json(_Trade(codes, price, self._symbols[who], ts_ns // 1_000_000, volume))


class FinnhubVenue(Venue):
    path = "/"

    _decode = staticmethod(msgspec.json.Decoder(_Request).decode)

    def encoder(self, symbols: Sequence[str], options: VenueOptions) -> FinnhubEncoder:
        return FinnhubEncoder(symbols, options)

    def pack(self, events: list[bytes]) -> bytes:
        return b'{"data":[' + b",".join(events) + b'],"type":"trade"}'

    def admit(self, request: Request) -> tuple[HTTPStatus, str] | None:
        token = parse_qs(urlsplit(request.path).query).get("token", [""])[0]
        if token != self.config.api_key or self.conduct.answer(AuthFailure) is not None:
            self.counts.auth_failures += 1
            return HTTPStatus.UNAUTHORIZED, ""
        return super().admit(request)

    async def greet(self, session: Session) -> bool:
        if self.sessions and self.conduct.options.one_connection:
            await self.kick(session)
            return False
        self.later(self._ping_when_idle(session))
        return True

    async def _ping_when_idle(self, session: Session) -> None:
        idle_s = self.conduct.options.idle_ping_ms / 1000
        sent, silent_s = session.frames, 0.0
        while not session.outbox.closed:
            await asyncio.sleep(idle_s / LOOKS_PER_IDLE)
            silent_s = silent_s + idle_s / LOOKS_PER_IDLE if session.frames == sent else 0.0
            sent = session.frames
            if silent_s >= idle_s:
                await session.reply(PING)
                silent_s = 0.0

    async def hear(self, session: Session, message: str | bytes) -> None:
        try:
            request = self._decode(message)
        except msgspec.MsgspecError:
            self.counts.bad_requests += 1
            return
        pair = (TRADES, request.symbol)
        if request.type == "subscribe" and request.symbol not in ("", EVERY_SYMBOL):
            await self._subscribe(session, pair)
        elif request.type == "unsubscribe":
            session.pairs.discard(pair)
            self.subscribed()
        elif request.type not in OTHER_TYPES:
            self.counts.bad_requests += 1

    async def _subscribe(self, session: Session, pair: tuple[str, str]) -> None:
        limit = self.conduct.options.symbols_max
        if limit and pair not in session.pairs and len(session.pairs) >= limit:
            await session.reply(TOO_MANY_SYMBOLS)
            return
        session.pairs.add(pair)
        self.subscribed()

    async def kick(self, session: Session) -> None:
        """The new connection and those that there are end, without a word."""
        for one in {session, *self.sessions}:
            self.leave(one)
            await one.drop()

    def rest_side(self) -> "RestVendor":
        from hft_engine.feed.simulator.rest.finnhub import FinnhubRest

        return FinnhubRest(self)
