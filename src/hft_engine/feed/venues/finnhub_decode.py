"""Finnhub's frames as ticks: ``{"data": [trade, ...], "type": "trade"}``, a ping, an error. No sequences, no ids.

Condition codes are Finnhub's own numbers; they become Polygon's, whose rules ``feed.conditions`` holds. Source: the
list that Finnhub's documentation links to, as transcribed in two unrelated public repositories; codes 1, 8, 12 and 24
agree with recorded prints. A code without a counterpart is unknown, and such a print moves no price.
"""

import math

import msgspec
from msgspec import Struct

from hft_engine.feed.conditions import CODE_MAX, COMBINATIONS_MAX, PackedConditions
from hft_engine.feed.decoder import FLAGS_SHIFT, ROW_BYTES, TRADE_ROW, RowDecoder
from hft_engine.feed.events import NAN, Status, to_ns
from hft_engine.feed.venues.unpackable import PACK_ERRORS, PARSE_ERRORS
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TickFlag, TickKind

TRADE_BYTES_MIN = 16  # {"p":1,"s":"A","t":1} has more
UNUSED_TYPES = frozenset({"news", "pr"})
ERROR = "error"

# Finnhub's number -> Polygon's.
CODES: dict[int, int] = {
    1: 0, 2: 1, 3: 2, 4: 4, 5: 7, 6: 11, 7: 3, 8: 14, 9: 5, 10: 21, 11: 6, 12: 37, 13: 24, 14: 23, 15: 30, 16: 15,
    17: 20, 18: 17, 19: 25, 20: 16, 21: 22, 22: 29, 23: 34, 24: 12, 25: 13, 26: 52, 28: 9, 29: 36, 30: 33, 31: 27,
    32: 10, 33: 18, 34: 28, 35: 19, 36: 8, 37: 53, 39: 38, 41: 41,
}  # fmt: skip
_UNKNOWN_BIT = int(TickFlag.CONDITION_UNKNOWN) << FLAGS_SHIFT
_Codes = tuple[str | int, ...]


class _Trade(Struct, gc=False):
    s: str = ""
    p: float = NAN
    t: int = 0
    v: float = NAN
    c: _Codes | None = None


class _Frame(Struct):
    type: str = ""
    data: tuple[_Trade, ...] | None = None
    msg: str = ""


class _Parts(Struct):
    """A frame whose trades are not looked at yet."""

    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    msg: str = ""


class _Words(dict[_Codes | None, tuple[int, int]]):
    """Finnhub's codes -> (``conditions`` field, header word of a trade that carries them)."""

    def __init__(self, word: int) -> None:
        super().__init__()
        self._word = word
        self._packed = PackedConditions()

    def __missing__(self, codes: _Codes | None) -> tuple[int, int]:
        conditions, flags = self._packed[tuple(_translated(code) for code in codes) if codes else None]
        found = conditions, self._word | flags << FLAGS_SHIFT
        if len(self) < COMBINATIONS_MAX:
            self[codes] = found
        return found


class FinnhubDecoder(RowDecoder):
    """See RowDecoder. A frame of several trades that comes twice in a row is a duplicate.

    Single trades do repeat: two prints of one order at one price in one millisecond look the same.
    """

    __slots__ = (
        "_frame",
        "_parse",
        "_parse_one",
        "_parse_parts",
        "_split",
        "_ts_mono_ns",
        "_ts_recv_ns",
        "_words",
    )

    def __init__(self, instruments: InstrumentTable, venue_id: int, frame_bytes_max: int) -> None:
        super().__init__(instruments, venue_id, frame_bytes_max // TRADE_BYTES_MIN + 1)
        self._words = _Words(self.words[TickKind.TRADE])
        self._parse = msgspec.json.Decoder(_Frame).decode
        self._parse_parts = msgspec.json.Decoder(_Parts).decode
        self._split = msgspec.json.Decoder(list[msgspec.Raw]).decode
        self._parse_one = msgspec.json.Decoder(_Trade, strict=False).decode
        self._frame = b""
        self._ts_recv_ns = self._ts_mono_ns = 0

    def decode(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> int:
        """See ``venues.base.Decoder``."""
        self.begin()
        self._ts_recv_ns = ts_recv_ns
        self._ts_mono_ns = ts_mono_ns
        trades = self._trades(frame)
        if len(trades) > 1:
            if frame == self._frame:
                self.duplicates += len(trades)
                return 0
            self._frame = frame
        offset = 0
        for trade in trades:
            offset += self._pack(trade, offset)
        self.events += offset // ROW_BYTES
        return offset // ROW_BYTES

    def _trades(self, frame: bytes) -> tuple[_Trade, ...]:
        try:
            whole = self._parse(frame)
        except PARSE_ERRORS:
            return self._take_apart(frame)
        if whole.type == "trade":
            return whole.data or ()
        self._other(whole.type, whole.msg)
        return ()

    def _other(self, kind: str, text: str) -> None:
        if kind == ERROR:
            self.statuses.append(Status(ERROR, text))
        elif kind in UNUSED_TYPES:
            self.ignore()
        elif kind != "ping":
            self.count_unknown(kind)

    def _pack(self, trade: _Trade, offset: int) -> int:
        size, t = trade.v, trade.t
        if not (0.0 < trade.p < math.inf and 0.0 <= size < math.inf and t > 0):
            return self.reject(f"trade {trade.s}: price {trade.p}, size {size}, time {t}")
        try:
            conditions, word = self._words[trade.c or None]
            # fmt: off
            TRADE_ROW.pack_into(
                self.buffer, offset,
                to_ns(t), self._ts_recv_ns, self._ts_mono_ns,
                0, self.ids[trade.s], word,
                trade.p, size, 0, conditions, 0, 0,
            )
            # fmt: on
        except PACK_ERRORS as error:
            return self.reject(f"trade {trade.s}: {error}")
        if word & _UNKNOWN_BIT:
            self.unknown_conditions += 1
        return ROW_BYTES

    def _take_apart(self, frame: bytes) -> tuple[_Trade, ...]:
        """The sound trades of a frame that failed as a whole; the others are counted."""
        try:
            parts = self._parse_parts(frame)
            if parts.type != "trade":  # its data is of another kind
                self._other(parts.type, parts.msg)
                return ()
            raws = self._split(parts.data)
        except PARSE_ERRORS as error:
            self.reject_frame(f"the frame is none of Finnhub's: {error}")
            return ()
        trades = (self._lenient(bytes(raw)) for raw in raws)
        return tuple(trade for trade in trades if trade is not None)

    def _lenient(self, raw: bytes) -> _Trade | None:
        try:
            return self._parse_one(raw)
        except PARSE_ERRORS as error:
            self.reject(f"trade: {error}")
            return None


def _translated(code: str | int) -> int:
    try:
        return CODES.get(int(code), CODE_MAX)
    except ValueError:
        return CODE_MAX
