"""From the bytes of a frame to rows of ``TICK_DTYPE``: no socket, no clock, no ring.

A frame is parsed in one pass into typed events. If all of them are plain, compiled code makes rows of them at once
(``packed_rows``); else each is judged and packed into the staging array by itself. A frame that cannot be parsed as a
whole is taken apart: a spoilt event does not cost its neighbours.

What is refused (counted in ``rejected``, its reason in ``reasons``): no symbol, no time, a price that is not
above 0, a negative size, a number outside its field. The parser refuses NaN, infinity and wrong types.
"""

import math
from collections.abc import Callable
from struct import error as LayoutError  # noqa: N812

import msgspec

from hft_engine.feed.conditions import CODES_KEPT, COMBINATIONS_MAX, PackedConditions, pack
from hft_engine.feed.decoder import (
    BAR_ROW,
    FLAGS_SHIFT,
    FMV_ROW,
    LULD_ROW,
    QUOTE_ROW,
    ROW_BYTES,
    TRADE_ROW,
    RowDecoder,
)
from hft_engine.feed.events import (
    EVENT_TAGS,
    MS_MIN,
    NAN,
    US_MIN,
    Event,
    FairValue,
    Imbalance,
    IndexValue,
    LastValue,
    MinuteBar,
    PriceBand,
    Quote,
    SecondBar,
    Status,
    Tag,
    Trade,
    to_ns,
)
from hft_engine.feed.packed_rows import PackedRows
from hft_engine.feed.scan_text import REFUSED
from hft_engine.instruments import InstrumentTable, InstrumentTableFullError
from hft_engine.records import TickFlag, TickKind

EVENT_BYTES_MIN = 32  # {"ev":"FMV","fmv":1,"sym":"A","t":1} has more: no frame overflows the staging array
INFINITY = math.inf

# Plain ints: an IntFlag operation costs as much as packing a whole event.
_UNKNOWN_BIT = int(TickFlag.CONDITION_UNKNOWN) << FLAGS_SHIFT
_OTC_BIT = int(TickFlag.OTC) << FLAGS_SHIFT

_PARSE_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError)
_PACK_ERRORS = (LayoutError, ValueError, OverflowError, InstrumentTableFullError)


class _TradeWords(dict[tuple[int, ...] | None, tuple[int, int]]):
    """condition codes -> (``conditions`` field, header word of a trade that carries them)."""

    def __init__(self, word: int) -> None:
        super().__init__()
        self._word = word
        self._packed = PackedConditions()

    def __missing__(self, codes: tuple[int, ...] | None) -> tuple[int, int]:
        conditions, flags = self._packed[codes]
        found = conditions, self._word | flags << FLAGS_SHIFT
        if len(self) < COMBINATIONS_MAX:
            self[codes] = found
        return found


_QuoteCodes = int | None | tuple[int | None, tuple[int, ...]]


class _QuoteConditions(dict[_QuoteCodes, int]):
    """Condition of a quote, or (condition, indicators) -> its ``conditions`` field: the condition's slot, then
    indicators."""

    def __missing__(self, key: _QuoteCodes) -> int:
        condition, indicators = key if isinstance(key, tuple) else (key, None)
        found = 0 if condition is None else pack((condition,))
        if indicators:
            found |= pack(indicators[: CODES_KEPT - 1]) << 16
        if len(self) < COMBINATIONS_MAX:
            self[key] = found
        return found


def _number(trade_id: int | str) -> int:
    try:
        return int(trade_id)
    except ValueError:
        return 0  # an id that is no number has no place in the record


class FrameDecoder(RowDecoder):
    """Decodes Polygon's frames; keeps counts of everything that it did not turn into a row."""

    __slots__ = (
        "_packed",
        "_packers",
        "_parse",
        "_parse_apart",
        "_parse_one",
        "_quote_conditions",
        "_quote_word",
        "_trade_words",
        "_ts_mono_ns",
        "_ts_recv_ns",
    )

    def __init__(self, instruments: InstrumentTable, venue_id: int, frame_bytes_max: int) -> None:
        super().__init__(instruments, venue_id, frame_bytes_max // EVENT_BYTES_MIN + 1)
        self._quote_word = self.words[TickKind.QUOTE]
        self._trade_words = _TradeWords(self.words[TickKind.TRADE])
        self._quote_conditions = _QuoteConditions()
        self._ts_recv_ns = 0
        self._ts_mono_ns = 0
        self._packed = PackedRows(self, venue_id)
        self._parse = msgspec.json.Decoder(list[Event]).decode
        self._parse_apart = msgspec.json.Decoder(list[msgspec.Raw]).decode
        # Event by event there is time for leniency: a whole number sent as 12.0 or "12" is taken.
        self._parse_one = msgspec.json.Decoder(Event, strict=False).decode
        self._packers: dict[type, Callable[..., int]] = {
            Trade: self._trade,
            SecondBar: self._second_bar,
            MinuteBar: self._minute_bar,
            FairValue: self._fair_value,
            PriceBand: self._price_band,
            Status: self._status,
            Imbalance: self._ignore,
            LastValue: self._ignore,
            IndexValue: self._ignore,
        }

    def decode(self, frame: bytes | str, ts_recv_ns: int, ts_mono_ns: int) -> int:
        """Packs the events of ``frame`` into ``rows``; returns how many rows. Never raises for a frame."""
        if self.reasons or self.statuses:
            self.begin()
        try:
            events = self._parse(frame)
        except _PARSE_ERRORS:
            events = self._take_apart(frame)
        count = self._packed.take(events, ts_recv_ns, ts_mono_ns)
        if count == REFUSED:
            count = self._pack_each(events, ts_recv_ns, ts_mono_ns)
            count = self.without_repeats(count) if count else 0
        else:
            self.duplicates += len(events) - count
        self.events += count
        return count

    def _pack_each(self, events: list[Event], ts_recv_ns: int, ts_mono_ns: int) -> int:
        """Event by event: each is judged by itself."""
        self._ts_recv_ns = ts_recv_ns
        self._ts_mono_ns = ts_mono_ns
        offset = 0
        packers, buffer, ids = self._packers, self.buffer, self.ids
        quote_word, quote_conditions = self._quote_word, self._quote_conditions
        for event in events:
            try:
                if type(event) is not Quote:
                    offset += packers[type(event)](event, offset)
                    continue
                # Most of a busy market, so in place: a call and what it looks up are a tenth of the whole.
                bid, ask, t = event.bp, event.ap, event.t
                if (bid is None and ask is None) or t <= 0:
                    self._refuse(event, f"bid {bid}, ask {ask}, time {t}")
                    continue
                bid = bid or NAN  # no price and price 0 both say: nothing on this side
                ask = ask or NAN
                bid_size, ask_size, indicators = event.bs, event.as_, event.i
                if bid < 0.0 or ask < 0.0 or bid_size < 0.0 or ask_size < 0.0:
                    self._refuse(event, f"bid {bid} x {bid_size}, ask {ask} x {ask_size}")
                    continue
                # fmt: off
                QUOTE_ROW.pack_into(
                    buffer, offset,
                    t * 1_000_000 if MS_MIN <= t < US_MIN else to_ns(t), ts_recv_ns, ts_mono_ns,
                    event.q, ids[event.sym], quote_word, bid, ask, bid_size, ask_size,
                    # most have no indicators: a key that is no tuple costs less
                    quote_conditions[event.c if indicators is None else (event.c, indicators)],
                    event.bx, event.ax, event.z,
                )
                # fmt: on
                offset += ROW_BYTES
            except _PACK_ERRORS as error:
                self._refuse(event, str(error))
        return offset // ROW_BYTES

    # Each packer returns the bytes it wrote: ROW_BYTES, or 0 for an event that makes no row.

    def _trade(self, event: Trade, offset: int) -> int:
        size = event.s if event.ds is None else float(event.ds)
        t = event.t
        if not (event.p > 0.0 and 0.0 <= size < INFINITY and t > 0):
            return self._refuse(event, f"price {event.p}, size {size}, time {t}")
        instrument_id = self.ids[event.sym]
        trade_id = event.i
        if type(trade_id) is not int:
            trade_id = _number(trade_id)
        conditions, word = self._trade_words[event.c]
        # fmt: off
        TRADE_ROW.pack_into(
            self.buffer, offset,
            t * 1_000_000 if MS_MIN <= t < US_MIN else to_ns(t), self._ts_recv_ns, self._ts_mono_ns,
            event.q, instrument_id, word,
            event.p, size, trade_id, conditions, event.x, event.z,
        )
        # fmt: on
        if word & _UNKNOWN_BIT:
            self.unknown_conditions += 1
        return ROW_BYTES

    def _second_bar(self, event: SecondBar, offset: int) -> int:
        return self._bar(event, offset, self.words[TickKind.BAR_SECOND])

    def _minute_bar(self, event: MinuteBar, offset: int) -> int:
        return self._bar(event, offset, self.words[TickKind.BAR_MINUTE])

    def _bar(self, event: SecondBar | MinuteBar, offset: int, word: int) -> int:
        volume = event.v if event.dv is None else float(event.dv)
        day_volume = event.av if event.dav is None else float(event.dav)
        whole = event.o > 0.0 and event.c > 0.0 and event.h >= event.l > 0.0 and event.e >= event.s > 0
        if not whole or volume < 0.0 or day_volume < 0.0 or INFINITY in (volume, day_volume):
            return self._refuse(event, "a price, volume or window bound is missing or out of range")
        # fmt: off
        BAR_ROW.pack_into(
            self.buffer, offset,
            to_ns(event.e), self._ts_recv_ns, self._ts_mono_ns,
            0, self.ids[event.sym], word | _OTC_BIT if event.otc else word,
            event.o, event.h, event.l, event.c, volume,
            event.vw, day_volume, event.a, to_ns(event.s), event.op,
        )
        # fmt: on
        return ROW_BYTES

    def _fair_value(self, event: FairValue, offset: int) -> int:
        if not (event.fmv > 0.0 and event.t > 0):
            return self._refuse(event, f"value {event.fmv}, time {event.t}")
        # fmt: off
        FMV_ROW.pack_into(
            self.buffer, offset,
            to_ns(event.t), self._ts_recv_ns, self._ts_mono_ns,
            0, self.ids[event.sym], self.words[TickKind.FMV],
            event.fmv,
        )
        # fmt: on
        return ROW_BYTES

    def _price_band(self, event: PriceBand, offset: int) -> int:
        if not (event.h >= event.l > 0.0 and event.t > 0):
            return self._refuse(event, f"upper {event.h}, lower {event.l}, time {event.t}")
        # fmt: off
        LULD_ROW.pack_into(
            self.buffer, offset,
            to_ns(event.t), self._ts_recv_ns, self._ts_mono_ns,
            event.q, self.ids[event.T], self.words[TickKind.LULD],
            event.h, event.l, pack((event.i or ())[:CODES_KEPT]), event.z,
        )
        # fmt: on
        return ROW_BYTES

    def _status(self, event: Status, _offset: int) -> int:
        self.statuses.append(event)
        return 0

    def _ignore(self, _event: object, _offset: int) -> int:
        return self.ignore()

    def _take_apart(self, frame: bytes | str) -> list[Event]:
        """The sound events of a frame that failed as a whole; the others are counted."""
        try:
            parts = self._parse_apart(frame)
        except _PARSE_ERRORS as error:
            return self._lone_event(frame, error)
        events = (self._parse_part(bytes(part)) for part in parts)
        return [event for event in events if event is not None]

    def _lone_event(self, frame: bytes | str, error: Exception) -> list[Event]:
        # The protocol says array; a single object is understood as well.
        try:
            return [self._parse_leniently(frame)]
        except _PARSE_ERRORS:
            self.reject_frame(f"the frame is no list of events: {error}")
            return []

    def _parse_part(self, part: bytes) -> Event | None:
        try:
            return self._parse_leniently(part)
        except _PARSE_ERRORS as error:
            name = _kind_of(part)
            if name is None or name in EVENT_TAGS:
                self.reject(f"{name or 'event'}: {error}")
            else:
                self.count_unknown(name)
            return None

    def _parse_leniently(self, part: bytes | str) -> Event:
        """Numbers may be text. Raises one of _PARSE_ERRORS, also for text that is no finite number."""
        event: Event = self._parse_one(part)
        if any(type(value) is float and math.isinf(value) for value in msgspec.structs.astuple(event)):
            raise msgspec.ValidationError("a number is infinite")
        return event

    def _refuse(self, event: Event, reason: str) -> int:
        return self.reject(f"{type(event).__name__} {getattr(event, 'sym', '')}: {reason}")


def _kind_of(part: bytes) -> str | None:
    try:
        return msgspec.json.decode(part, type=Tag).ev
    except _PARSE_ERRORS:
        return None


def warm() -> None:
    """Compile (or load from the cache) the kernel, with the types of a live run."""
    FrameDecoder(InstrumentTable.private(2), 0, 64).decode(b"[]", 0, 0)
