"""What the scanner looks up: the fields of an event and where they go, condition codes, symbols.

A row of ``TICK_DTYPE`` is seen as 16 words of 8 bytes; a field is read by its ``Reader`` and lands in ``word``,
shifted left by ``shift`` bits where several share a word. Word 0, the sequence, is free until the row is
published: the decimal text of a size waits there until the event is complete (and in word 4 of a bar, which
has no venue sequence, that of its day's volume).
"""

from collections.abc import Iterable
from enum import IntEnum

import msgspec
import numpy as np

from hft_engine.feed.conditions import RULES, flags_of
from hft_engine.feed.events import MinuteBar, Quote, SecondBar, Trade
from hft_engine.records import TICK_DTYPE, TickKind

ROW_WORDS = TICK_DTYPE.itemsize // 8
SYMBOL_BYTES = 24  # longer ones are the decoder's; an OCC option symbol has 23
HASH = 0x1E3779B97F4A7C15  # odd, near 2**61 / golden ratio
# Of a field's entry: ``,"<key>":`` as a word, which of its bits count, its length; how the value is read, the row's
# word and bit where it goes; the field's bit in "seen"; the entry of the field that came behind it last time.
KEY, MASK, LENGTH, READER, WORD, SHIFT, BIT, NEXT = range(8)
FIELD_WORDS = 8
SYMBOL_WORDS = 4  # 24 bytes of text, then id + 1; 0 = free
_WRAP = (1 << 64) - 1


class Reader(IntEnum):
    """How a field's text becomes a number; anything else in its place is the decoder's."""

    DECIMAL = 0  # 161.87
    COUNT = 1  # 4009402
    SMALL = 2  # up to 65535
    STAMP = 3  # milliseconds
    SYMBOL = 4  # "AAPL"
    ID = 5  # "5096" or 5096
    CODES = 6  # a trade's [14, 41], and the flags that follow from them
    CODE = 7  # a quote's condition
    INDICATORS = 8  # a quote's [604]
    DECIMAL_TEXT = 9  # "161.87"
    REFUSE = 10
    SKIP = 11  # a field nobody asked for


class EventKind(IntEnum):
    TRADE = 0
    QUOTE = 1
    BAR_SECOND = 2
    BAR_MINUTE = 3


_D, _N, _S = Reader.DECIMAL, Reader.COUNT, Reader.SMALL
_COMMON = {"ev": (Reader.REFUSE, 0, 0), "sym": (Reader.SYMBOL, 5, 0)}
# fmt: off
_TRADE = _COMMON | {
    "x": (_S, 15, 0), "i": (Reader.ID, 10, 0), "z": (_S, 15, 32), "p": (_D, 6, 0), "s": (_D, 7, 0),
    "ds": (Reader.DECIMAL_TEXT, 0, 0), "c": (Reader.CODES, 14, 0), "t": (Reader.STAMP, 1, 0), "q": (_N, 4, 0),
}
_QUOTE = _COMMON | {
    "bx": (_S, 15, 0), "ax": (_S, 15, 16), "z": (_S, 15, 32), "bp": (_D, 6, 0), "ap": (_D, 7, 0),
    "bs": (_D, 8, 0), "as": (_D, 9, 0), "c": (Reader.CODE, 14, 0), "i": (Reader.INDICATORS, 14, 16),
    "t": (Reader.STAMP, 1, 0), "q": (_N, 4, 0),
}
_BAR = _COMMON | {
    "o": (_D, 6, 0), "h": (_D, 7, 0), "l": (_D, 8, 0), "c": (_D, 9, 0), "v": (_D, 10, 0), "vw": (_D, 11, 0),
    "av": (_D, 12, 0), "a": (_D, 13, 0), "s": (Reader.STAMP, 14, 0), "op": (_D, 15, 0), "e": (Reader.STAMP, 1, 0),
    "dv": (Reader.DECIMAL_TEXT, 0, 0), "dav": (Reader.DECIMAL_TEXT, 4, 0), "otc": (Reader.REFUSE, 0, 0),
}
# fmt: on
FIELDS = (_TRADE, _QUOTE, _BAR, _BAR)  # by EventKind
EVENTS = (Trade, Quote, SecondBar, MinuteBar)
_BITS = {name: i for i, name in enumerate(sorted(set().union(*FIELDS)))}


def mask(*names: str) -> int:
    """The bits of fields in "seen"."""
    return sum(1 << _BITS[name] for name in names)


_BAR_NEEDS = mask("sym", "o", "h", "l", "c", "s", "e")
NEEDED = (mask("sym", "p", "t"), mask("sym", "t"), _BAR_NEEDS, _BAR_NEEDS)  # all of these
NEEDED_ONE = (mask("s", "ds"), mask("bp", "ap"), _BAR_NEEDS, _BAR_NEEDS)  # and one of these


def word_of(text: bytes) -> int:
    """Up to 8 bytes as the scanner packs them: the first lowest."""
    return int.from_bytes(text, "little")


def slot_of(word: int, bits: int) -> int:
    """First place to look in a table of ``2**bits`` places."""
    return ((word * HASH) & _WRAP) >> (63 - bits) & ((1 << bits) - 1)


def key_of(name: str) -> tuple[int, int, int, int]:
    """A field's key as it stands before the value: (a word, which of its bits count, its length, its bit in "seen")."""
    key = b',"%s":' % name.encode()
    assert len(key) <= 8, name
    return word_of(key), (1 << 8 * len(key)) - 1, len(key), mask(name)


FIELDS_MAX = 1 + max(len(fields) for fields in FIELDS)  # the first stands for an event's begin
KIND_WORDS = FIELDS_MAX * FIELD_WORDS


def field_table() -> np.ndarray:
    """int64[kinds * KIND_WORDS]: the fields of each kind of event, behind an entry that no key finds."""
    table = np.zeros((len(FIELDS), FIELDS_MAX, FIELD_WORDS), np.int64)
    table[:, :, KEY] = 1  # with no bit of the mask: not to be found
    for kind, (entries, fields) in enumerate(zip(table, FIELDS, strict=True)):
        for i, (name, where) in enumerate(fields.items(), 1):
            entries[i, :NEXT] = *key_of(name)[:3], *where, _BITS[name]
        places = np.arange(len(fields) + 1)
        entries[places, NEXT] = kind * KIND_WORDS + (places % len(fields) + 1) * FIELD_WORDS
    return table.reshape(-1)


def _begin(text: bytes) -> int:
    """The first 8 bytes as ``load_word`` reads them, zeros behind a shorter text."""
    return int.from_bytes(text[:8].ljust(8, b"\0"), "little", signed=True)


def packed_table() -> np.ndarray:
    """int64[kinds * KIND_WORDS]: the same for events as MessagePack has them, in the order in which it has them.

    KEY and MASK of a kind's first entry tell the kind, its NEXT is where the kind's entries end. LENGTH: bytes that
    stand before the value (of the first entry: before those of the field after it), always the same.
    """
    table = np.zeros((len(FIELDS), FIELDS_MAX, FIELD_WORDS), np.int64)
    for kind, (entries, event) in enumerate(zip(table, EVENTS, strict=True)):
        begin = msgspec.msgpack.encode(event())
        names = event.__struct_encode_fields__
        head = begin[: begin.index(b"\xa3sym")]
        entries[0, KEY], entries[0, MASK] = _begin(head), _begin(b"\xff" * len(head))
        entries[0, LENGTH], entries[0, NEXT] = len(head), kind * KIND_WORDS + (len(names) + 1) * FIELD_WORDS
        for entry, name in zip(entries[1:], names, strict=False):
            entry[LENGTH:NEXT] = 1 + len(name), *FIELDS[kind][name], _BITS[name]
    return table.reshape(-1)


def flag_table() -> np.ndarray:
    """int64[]: the flags of a trade's condition code, shifted to their place in word 5; -1 for a code outside RULES."""
    table = np.full(max(RULES) + 1, -1, np.int64)
    for code in RULES:
        table[code] = flags_of((code,)) << 40
    return table


def blank_rows(venue_id: int) -> np.ndarray:
    """TICK_DTYPE[kinds]: a row of each kind before its fields are read; absent prices and sizes are NaN."""
    kinds = (TickKind.TRADE, TickKind.QUOTE, TickKind.BAR_SECOND, TickKind.BAR_MINUTE)
    rows = np.zeros(len(kinds), TICK_DTYPE)
    absent = (
        ("size",),
        ("bid", "ask", "bid_size", "ask_size"),
        *[("volume", "vwap", "day_volume", "day_vwap", "day_open")] * 2,
    )
    for i, (kind, names) in enumerate(zip(kinds, absent, strict=True)):
        rows[i]["kind"], rows[i]["venue_id"] = kind, venue_id
        for name in names:
            rows[i][name] = np.nan
    return rows


class SymbolTable:
    """Symbol text -> instrument id for compiled code. ``words`` int64[places * SYMBOL_WORDS], open addressing."""

    def __init__(self, instruments_max: int) -> None:
        self._bits = max(2 * instruments_max, 2).bit_length()
        self._places = np.zeros((1 << self._bits, SYMBOL_WORDS), np.int64)
        self.words = self._places.reshape(-1)

    def learn(self, symbols: Iterable[tuple[str, int]]) -> None:
        """Take (symbol, id) pairs; symbols the scanner cannot read are left to the decoder."""
        for symbol, instrument_id in symbols:
            text = symbol.encode()
            if len(text) <= SYMBOL_BYTES and all(0x20 <= byte < 0x7F and byte not in b'"\\' for byte in text):
                self._put(text, instrument_id)

    def _put(self, text: bytes, instrument_id: int) -> None:
        parts = [word_of(text[start : start + 8]) for start in range(0, SYMBOL_BYTES, 8)]
        slot = slot_of(parts[0] ^ parts[1] ^ parts[2], self._bits)
        entry = np.array([*parts, instrument_id + 1], np.int64)
        while self._places[slot, 3] and not np.array_equal(self._places[slot], entry):
            slot = (slot + 1) % len(self._places)
        self._places[slot] = entry
