"""Ticks as events of the Polygon stocks websocket: one JSON object of bytes each, made once for all connections.

Written apart from the decoder on purpose: were both to share their event types, a mistake in them would not show.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from hft_engine.feed.conditions import unpack
from hft_engine.feed.simulator.options import HEALTHY, VenueOptions
from hft_engine.records import TICK_DTYPE, TickKind

CHANNELS = {
    TickKind.TRADE: "T",
    TickKind.QUOTE: "Q",
    TickKind.BAR_SECOND: "A",
    TickKind.BAR_MINUTE: "AM",
    TickKind.FMV: "FMV",
    TickKind.LULD: "LULD",
}
Number = int | float


class _Trade(Struct, tag="T", tag_field="ev", omit_defaults=True, gc=False):
    sym: str
    i: str | int
    x: int
    p: float
    s: int
    t: int
    q: int
    z: int
    c: tuple[int, ...] = ()
    ds: str | None = None
    pt: int | None = None
    unknown: str | None = msgspec.field(default=None, name="zz_new")


class _Quote(Struct, tag="Q", tag_field="ev", omit_defaults=True, gc=False, rename={"as_": "as"}):
    sym: str
    bx: int
    ax: int
    bp: float
    ap: float
    bs: Number
    as_: Number
    t: int
    q: int
    z: int
    c: int | None = None


class _Bar(Struct, omit_defaults=True, gc=False):
    ev: str
    sym: str
    v: Number
    av: Number
    op: float
    vw: float
    o: float
    c: float
    h: float
    l: float  # noqa: E741 - the venue's name
    a: float
    z: Number
    s: int
    e: int
    dv: str | None = None
    dav: str | None = None
    otc: bool = False


class _FairValue(Struct, tag="FMV", tag_field="ev", gc=False):
    fmv: float
    sym: str
    t: int


class _PriceBand(Struct, tag="LULD", tag_field="ev", gc=False):
    T: str
    h: float
    l: float  # noqa: E741 - the venue's name
    i: tuple[int, ...]
    z: int
    t: int
    q: int


def _view(*names: str) -> np.dtype:
    """TICK_DTYPE cut to some fields: ``tolist`` then makes a tuple of just these per row, in one call."""
    fields = TICK_DTYPE.fields
    assert fields is not None
    return np.dtype(
        {
            "names": names,
            "formats": [fields[name][0] for name in names],
            "offsets": [fields[name][1] for name in names],
            "itemsize": TICK_DTYPE.itemsize,
        }
    )


_TRADE_VIEW = _view(
    "instrument_id",
    "trade_id",
    "exchange",
    "price",
    "size",
    "ts_venue_ns",
    "venue_sequence",
    "tape",
    "conditions",
)
_QUOTE_VIEW = _view(
    "instrument_id", "exchange", "exchange_ask", "bid", "ask", "bid_size", "ask_size",
    "ts_venue_ns", "venue_sequence", "tape", "conditions",
)  # fmt: skip
_BAR_VIEW = _view(
    "instrument_id", "kind", "volume", "day_volume", "day_open", "vwap", "open", "close", "high", "low", "day_vwap",
    "venue_sequence", "ts_start_ns", "ts_venue_ns",
)  # fmt: skip
_FMV_VIEW = _view("instrument_id", "price", "ts_venue_ns")
_LULD_VIEW = _view("instrument_id", "upper", "lower", "conditions", "tape", "ts_venue_ns", "venue_sequence")


def _number(value: float) -> Number:
    return int(value) if value.is_integer() else value


class Encoder:
    """``encode(ticks)`` returns one ``bytes`` per tick, in order.

    Times are ms but for FMV and LULD, which have ns on the wire. A size that is no whole number is cut in ``s`` and
    stands exact in ``ds``, as the venue does it. Quote sizes are in shares.
    """

    def __init__(self, symbols: Sequence[str], options: VenueOptions = HEALTHY) -> None:
        self._symbols = symbols
        self._options = options
        self._json = msgspec.json.Encoder().encode
        self._conditions: dict[int, tuple[int, ...]] = {}
        self._trades = self._quotes = self._bars = 0
        self._makers: dict[int, tuple[np.dtype, Callable[..., Any]]] = {
            TickKind.TRADE: (_TRADE_VIEW, self._trade),
            TickKind.QUOTE: (_QUOTE_VIEW, self._quote),
            TickKind.BAR_SECOND: (_BAR_VIEW, self._bar),
            TickKind.BAR_MINUTE: (_BAR_VIEW, self._bar),
            TickKind.FMV: (_FMV_VIEW, self._fair_value),
            TickKind.LULD: (_LULD_VIEW, self._price_band),
        }

    def encode(self, ticks: np.ndarray) -> list[bytes]:
        out = [b""] * len(ticks)
        kinds = ticks["kind"]
        for kind in set(kinds.tolist()):
            view, make = self._makers[kind]
            rows = np.flatnonzero(kinds == kind)
            values = ticks[rows].view(view).tolist()
            for row, fields in zip(rows.tolist(), values, strict=True):
                out[row] = self._json(make(*fields))
        return out

    def _codes(self, packed: int) -> tuple[int, ...]:
        codes = self._conditions.get(packed)
        if codes is None:
            codes = self._conditions[packed] = unpack(packed)
        return codes

    def _time(self, ts_ns: int, number: int) -> int:
        every = self._options.time_in_ns_every
        return ts_ns if every and number % every == 0 else ts_ns // 1_000_000

    def _trade(
        self,
        who: int,
        trade_id: int,
        exchange: int,
        price: float,
        size: float,
        ts: int,
        q: int,
        tape: int,
        packed: int,
    ) -> Struct:
        self._trades += 1
        every = self._options.trade_id_as_number_every
        whole = int(size)
        event = _Trade(
            self._symbols[who],
            trade_id if every and self._trades % every == 0 else str(trade_id),
            exchange, price, whole, self._time(ts, self._trades), q, tape, self._codes(packed),
        )  # fmt: skip
        if whole != size:
            event.ds = repr(size)
        if self._options.newer_fields:
            event.ds, event.pt, event.unknown = repr(size), ts // 1_000_000, "new"
        return event

    def _quote(
        self, who: int, bid_at: int, ask_at: int, bid: float, ask: float, bid_size: float, ask_size: float,
        ts: int, q: int, tape: int, packed: int,
    ) -> Struct:  # fmt: skip
        self._quotes += 1
        codes = self._codes(packed)
        return _Quote(
            self._symbols[who], bid_at, ask_at, bid, ask, _number(bid_size), _number(ask_size),
            self._time(ts, self._quotes), q, tape, codes[0] if codes else None,
        )  # fmt: skip

    def _bar(
        self, who: int, kind: int, volume: float, day_volume: float, day_open: float, vwap: float, open_: float,
        close: float, high: float, low: float, day_vwap: float, trades: int, start: int, end: int,
    ) -> _Bar:  # fmt: skip
        self._bars += 1
        every = self._options.bar_average_as_float_every
        average: Number = int(volume / max(trades, 1))
        event = _Bar(
            CHANNELS[TickKind(kind)], self._symbols[who], _number(volume), _number(day_volume), day_open, vwap,
            open_, close, high, low, day_vwap, float(average) if every and self._bars % every == 0 else average,
            start // 1_000_000, end // 1_000_000,
        )  # fmt: skip
        every = self._options.bar_without_volume_every
        if every and self._bars % every == 0:
            event.v = 0
        if self._options.newer_fields:
            event.dv, event.dav = repr(volume), repr(day_volume)
        return event

    def _fair_value(self, who: int, price: float, ts: int) -> _FairValue:
        return _FairValue(price, self._symbols[who], ts)

    def _price_band(
        self, who: int, upper: float, lower: float, packed: int, tape: int, ts: int, q: int
    ) -> _PriceBand:
        return _PriceBand(self._symbols[who], upper, lower, self._codes(packed) or (21,), tape, ts, q)
