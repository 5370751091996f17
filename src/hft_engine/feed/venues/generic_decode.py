"""Any venue's JSON frames as ticks, by a field map: compiled once, then plain function calls."""

import math
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from itertools import product
from typing import Any, NamedTuple

import msgspec

from hft_engine.feed.decoder import BAR_ROW, FMV_ROW, QUOTE_ROW, ROW_BYTES, SIDED_TRADE_ROW, RowDecoder
from hft_engine.feed.events import Status
from hft_engine.feed.venues import paths
from hft_engine.feed.venues.fieldmap import FIELDS, TICKS, Field, FieldMap, Rule
from hft_engine.feed.venues.templates import template
from hft_engine.feed.venues.unpackable import PACK_ERRORS, PARSE_ERRORS
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TickKind

EVENT_BYTES_MIN = 8  # ["1","1"] as an event; a frame with more events than rows has the rest refused
KINDS_KEPT_MAX = 100_000  # of frames; a venue with a kind for each symbol has as many
KIND_CHARACTERS_MAX = 64  # of one that is no text
SECOND_NS = 1_000_000_000
_BAR_SPAN_NS = {
    "second_bar": (TickKind.BAR_SECOND, SECOND_NS),
    "minute_bar": (TickKind.BAR_MINUTE, 60 * SECOND_NS),
    "day_bar": (TickKind.BAR_DAY, 86_400 * SECOND_NS),
}
_NUMBERS = frozenset({"price", "size", "bid", "ask", "open", "high", "low", "close", "volume"})
_NUMBERS_IF_ANY = frozenset({"bid_size", "ask_size", "vwap"})
_WRONG = (*PACK_ERRORS, *paths.MISSING)

# (event, frame, offset, ts_recv_ns, ts_mono_ns) -> bytes written
Packer = Callable[[Any, Any, int, int, int], int]
Getters = dict[str, paths.Getter]


class _Handler(NamedTuple):
    """A rule, compiled."""

    rule: Rule
    fits: Callable[[Any, Any], bool] | None
    events: Callable[[Any], list[Any]]
    wanted: Callable[[Any, Any], bool] | None
    getters: Getters
    pack: Packer


class GenericDecoder(RowDecoder):
    """See RowDecoder."""

    __slots__ = ("_by_kind", "_handlers", "_kinds", "_parse")

    def __init__(self, field_map: FieldMap, instruments: InstrumentTable, frame_bytes_max: int) -> None:
        super().__init__(instruments, field_map.venue_id, frame_bytes_max // EVENT_BYTES_MIN + 1)
        self._parse = msgspec.json.Decoder().decode
        self._kinds = [paths.getter(path) for path in field_map.kind]
        self._handlers = [self._compiled(rule, field_map) for rule in field_map.frames]
        self._by_kind: dict[str, tuple[_Handler, ...]] = {}

    def decode(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> int:
        """See ``venues.base.Decoder``."""
        self.begin()
        try:
            parsed = self._parse(frame)
        except PARSE_ERRORS as error:
            self.reject_frame(f"the frame is no JSON: {error}")
            return 0
        kind = self._kind(parsed)
        for handler in self._by_kind.get(kind) or self._candidates(kind):
            if handler.fits is None or handler.fits(parsed, parsed):
                count = self._handle(handler, parsed, ts_recv_ns, ts_mono_ns)
                count = self.without_repeats(count) if count else 0
                self.events += count
                return count
        self.count_unknown(kind)
        return 0

    def _kind(self, parsed: Any) -> str:
        for get in self._kinds:
            try:
                found = get(parsed, parsed)
                return found if type(found) is str else str(found)[:KIND_CHARACTERS_MAX]
            except paths.MISSING:
                continue
        return ""

    def _candidates(self, kind: str) -> tuple[_Handler, ...]:
        found = tuple(
            handler
            for handler in self._handlers
            if handler.rule.kind is None or fnmatchcase(kind, handler.rule.kind)
        )
        if len(self._by_kind) < KINDS_KEPT_MAX:
            self._by_kind[kind] = found
        return found

    def _handle(self, handler: _Handler, frame: Any, ts_recv_ns: int, ts_mono_ns: int) -> int:
        _, _, events, wanted, _, pack = handler
        try:
            found = events(frame)
        except paths.MISSING:
            self.reject(f"{handler.rule.make}: no event at {handler.rule.each or handler.rule.event}")
            return 0
        offset = 0
        for event in found:
            try:
                if wanted is None or wanted(event, frame):
                    offset += pack(event, frame, offset, ts_recv_ns, ts_mono_ns)
                else:
                    self.ignore()
            except _WRONG as error:
                self.reject(f"{handler.rule.make}: {_culprit(handler.getters, event, frame) or error}")
        return offset // ROW_BYTES

    # ---- compiling

    def _compiled(self, rule: Rule, field_map: FieldMap) -> _Handler:
        getters = {name: _getter(name, rule, field_map) for name in _names(rule)}
        return _Handler(
            rule, _fits(rule), _events(rule), paths.condition(rule.only), getters, self._packer(rule, getters)
        )

    def _packer(self, rule: Rule, getters: Getters) -> Packer:
        if rule.make == "trade":
            return self._trade(getters)
        if rule.make == "quote":
            return self._quote(getters)
        if rule.make in _BAR_SPAN_NS:
            return self._bar(getters, *_BAR_SPAN_NS[rule.make])
        if rule.make == "fair_value":
            return self._fair_value(getters)
        return self._said(rule)

    def _trade(self, get: Getters) -> Packer:
        symbol, price, size, side = get["symbol"], get["price"], get["size"], get["side"]
        time, sequence, trade_id = get["time"], get["sequence"], get["id"]
        word, pack_into, buffer, ids = (
            self.words[TickKind.TRADE],
            SIDED_TRADE_ROW.pack_into,
            self.buffer,
            self.ids,
        )

        def pack(event: Any, frame: Any, offset: int, recv: int, mono: int) -> int:
            p, s, q, i = (
                price(event, frame),
                size(event, frame),
                sequence(event, frame),
                trade_id(event, frame),
            )
            if not (p > 0.0 and s >= 0.0):
                raise ValueError(f"price {p}, size {s}")
            instrument = ids[symbol(event, frame)]
            # fmt: off
            pack_into(
                buffer, offset, time(event, frame) or recv, recv, mono, q, instrument, word,
                p, s, i, 0, 0, 0, side(event, frame),
            )
            # fmt: on
            return ROW_BYTES

        return pack

    def _quote(self, get: Getters) -> Packer:
        symbol, bid, ask, time, sequence = get["symbol"], get["bid"], get["ask"], get["time"], get["sequence"]
        bid_size, ask_size = get["bid_size"], get["ask_size"]
        word, pack_into, buffer, ids = self.words[TickKind.QUOTE], QUOTE_ROW.pack_into, self.buffer, self.ids

        def pack(event: Any, frame: Any, offset: int, recv: int, mono: int) -> int:
            # No price and price 0 both say: nothing on this side.
            b, a = bid(event, frame) or math.nan, ask(event, frame) or math.nan
            bs, as_ = bid_size(event, frame), ask_size(event, frame)
            if b < 0.0 or a < 0.0 or bs < 0.0 or as_ < 0.0 or (b != b and a != a):
                raise ValueError(f"bid {b} x {bs}, ask {a} x {as_}")
            # fmt: off
            pack_into(
                buffer, offset, time(event, frame) or recv, recv, mono, sequence(event, frame),
                ids[symbol(event, frame)], word, b, a, bs, as_, 0, 0, 0, 0,
            )
            # fmt: on
            return ROW_BYTES

        return pack

    def _bar(self, get: Getters, kind: TickKind, span_ns: int) -> Packer:
        symbol, start, volume, vwap = get["symbol"], get["start"], get["volume"], get["vwap"]
        open_, high, low, close = get["open"], get["high"], get["low"], get["close"]
        word, pack_into, buffer, ids = self.words[kind], BAR_ROW.pack_into, self.buffer, self.ids

        def pack(event: Any, frame: Any, offset: int, recv: int, mono: int) -> int:
            o, h, low_, c = open_(event, frame), high(event, frame), low(event, frame), close(event, frame)
            v, began = volume(event, frame), start(event, frame)
            if not (o > 0.0 and c > 0.0 and h >= low_ > 0.0 and v >= 0.0):
                raise ValueError(f"open {o}, high {h}, low {low_}, close {c}, volume {v}")
            # fmt: off
            pack_into(
                buffer, offset, began + span_ns, recv, mono, 0, ids[symbol(event, frame)], word,
                o, h, low_, c, v, vwap(event, frame), math.nan, math.nan, began, math.nan,
            )
            # fmt: on
            return ROW_BYTES

        return pack

    def _fair_value(self, get: Getters) -> Packer:
        symbol, price, time, word = get["symbol"], get["price"], get["time"], self.words[TickKind.FMV]

        def pack(event: Any, frame: Any, offset: int, recv: int, mono: int) -> int:
            p = price(event, frame)
            if not p > 0.0:
                raise ValueError(f"price {p}")
            instrument = self.ids[symbol(event, frame)]
            FMV_ROW.pack_into(
                self.buffer, offset, time(event, frame) or recv, recv, mono, 0, instrument, word, p
            )
            return ROW_BYTES

        return pack

    def _said(self, rule: Rule) -> Packer:
        """What makes no row."""
        texts = _texts(rule)

        def tell(event: Any, frame: Any, _offset: int, _recv: int, _mono: int) -> int:
            if rule.make == "nothing":
                return self.ignore()
            if rule.make != "heartbeat":
                self.statuses.extend(Status(rule.make, text) for text in texts(event, frame))
            return 0

        return tell


def _names(rule: Rule) -> tuple[str, ...]:
    required, may_be = FIELDS.get(rule.make, ((), ()))
    return (*required, *may_be)


def _getter(name: str, rule: Rule, field_map: FieldMap) -> paths.Getter:
    given = rule.fields.get(name)
    if given is None:
        absent = math.nan if name in _NUMBERS_IF_ANY else 0
        return lambda event, frame: absent
    field = Field(path=given) if isinstance(given, str) else given
    get = paths.getter(field.path)
    if name == "start":
        return paths.time_ns(get, rule.time_unit or field_map.time_unit)
    if name == "time":  # 0, where none came: the receive time then
        return paths.time_if_any_ns(get, rule.time_unit or field_map.time_unit)
    if name in ("sequence", "id"):
        return paths.whole(get)
    if name == "side":
        return paths.side(get, field)
    if name == "symbol":
        return paths.symbol(get, field.pattern)
    if name in ("bid", "ask") or name in _NUMBERS_IF_ANY:
        return paths.optional_number(get)
    assert name in _NUMBERS, name
    return paths.number(get)


def _fits(rule: Rule) -> Callable[[Any, Any], bool] | None:
    when = paths.condition(rule.when)
    if rule.has is None:
        return when
    get = paths.getter(rule.has)

    def fits(frame: Any, same: Any) -> bool:
        try:
            get(frame, same)
        except paths.MISSING:
            return False
        return when is None or when(frame, same)

    return fits


def _events(rule: Rule) -> Callable[[Any], list[Any]]:
    if rule.each is None:
        get = paths.getter(rule.event)
        return lambda frame: [get(frame, frame)]
    get_all = paths.getter(rule.each)

    def events(frame: Any) -> list[Any]:
        found = get_all(frame, frame)
        if type(found) is not list:
            raise TypeError("no list")
        return found

    return events


def _texts(rule: Rule) -> Callable[[Any, Any], Iterator[str]]:
    """The texts of a status: of each pair that is confirmed, or what the venue says."""
    pieces, places = template(rule.pair or "{}")
    gets = [paths.getter(place) for place in places] if rule.pair else [paths.getter(rule.text or "")]

    def texts(event: Any, frame: Any) -> Iterator[str]:
        found = [get(event, frame) for get in gets]
        for values in product(*(value if type(value) is list else [value] for value in found)):
            words = [value if type(value) is str else str(value) for value in values]
            yield "".join(piece + word for piece, word in zip(pieces, [*words, ""], strict=True))

    return texts


def _culprit(getters: Getters, event: Any, frame: Any) -> str:
    """Which field cannot be read, in words; empty where each can be."""
    for name, get in getters.items():
        try:
            get(event, frame)
        except paths.MISSING as error:
            missing = isinstance(error, KeyError | IndexError) or not str(error)
            return f"{name} {'is missing' if missing else f'cannot be read: {error}'}"
    return ""


assert set(TICKS) == set(FIELDS)
