"""The simulated Polygon options websocket: the stocks' conversation, other events, and a limit on contracts.

Measured on the real one: of Q and of FMV a connection holds 1,000 contracts at most. A request that goes beyond
is refused whole, with the same status again and again (27 times for 200 contracts); what was held stays; to
unsubscribe makes room. All contracts at once ("*") are not on offer for Q.
"""

from collections.abc import Sequence
from typing import ClassVar

from msgspec import Struct

from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.polygon import PolygonVenue, status
from hft_engine.feed.simulator.routes import EVERY_SYMBOL
from hft_engine.feed.simulator.session import Session

LIMIT_REACHED = status(
    "error", "Subscription limit reached for feed. Please remove some subscriptions and try again."
)
LIMITED = ("Q", "FMV")
REFUSALS, REFUSED_CONTRACTS = 27, 200  # so many of the former for so many of the latter


class _Trade(Struct, tag="T", tag_field="ev", omit_defaults=True, gc=False):
    sym: str
    x: int
    p: float
    s: int
    t: int
    q: int
    c: tuple[int, ...] = ()


class _Quote(Struct, tag="Q", tag_field="ev", gc=False, rename={"as_": "as"}):
    sym: str
    bx: int
    ax: int
    bp: float
    ap: float
    bs: int
    as_: int
    t: int
    q: int


class OptionsEncoder(Encoder):
    """Trades without id and tape, quotes without condition and tape; sizes are contracts."""

    def _trade(
        self, who: int, trade_id: int, exchange: int, price: float, size: float, ts: int, q: int, tape: int,
        packed: int,
    ) -> Struct:  # fmt: skip
        self._trades += 1
        time = self._time(ts, self._trades)
        return _Trade(self._symbols[who], exchange, price, int(size), time, q, self._codes(packed))

    def _quote(
        self, who: int, bid_at: int, ask_at: int, bid: float, ask: float, bid_size: float, ask_size: float,
        ts: int, q: int, tape: int, packed: int,
    ) -> Struct:  # fmt: skip
        self._quotes += 1
        time = self._time(ts, self._quotes)
        return _Quote(self._symbols[who], bid_at, ask_at, bid, ask, int(bid_size), int(ask_size), time, q)


class PolygonOptionsVenue(PolygonVenue):
    path = "/options"
    channels: ClassVar[frozenset[str]] = frozenset(("T", "Q", "A", "AM", "FMV"))

    def encoder(self, symbols: Sequence[str], options: VenueOptions) -> Encoder:
        return OptionsEncoder(symbols, options)

    def offers(self, pair: tuple[str, str]) -> bool:
        return pair != ("Q", EVERY_SYMBOL)

    def refusals(self, session: Session, asked: list[tuple[str, str]]) -> list[bytes]:
        limit = self.conduct.options.contracts_max
        for channel in LIMITED:
            new = self._contracts(asked, channel)
            if new and limit and new + self._contracts(session.pairs, channel) > limit:
                return [LIMIT_REACHED] * max(1, new * REFUSALS // REFUSED_CONTRACTS)
        return []

    def _contracts(self, pairs: Sequence[tuple[str, str]] | set[tuple[str, str]], channel: str) -> int:
        symbols = {symbol for held, symbol in pairs if held == channel}
        return len(self.source.symbols) if EVERY_SYMBOL in symbols else len(symbols)
