"""From decoded events to staging rows without Python: msgspec packs them, a kernel reads what it packed.

A list of our own Structs as MessagePack is a fixed layout: every field of an event, in the order of its type, numbers
as binary. It is written by C code in a fraction of the time that Python takes to look at the fields. A frame whose
events are all trades, quotes and bars as the scanner takes them becomes rows here; any other is refused as a whole,
having changed nothing but staging rows, and ``FrameDecoder`` judges its events one by one.

https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from hft_engine.feed.conditions import CODE_MAX, CODES_KEPT
from hft_engine.feed.decoder import Decoder
from hft_engine.feed.events import Event
from hft_engine.feed.frames import GUARD_BYTES
from hft_engine.feed.scan_rows import (
    FLOATS,
    ROWS,
    WORDS,
    RowTables,
    begin_row,
    complete,
    instrument,
    put_codes,
    whole_number,
    without_duplicates,
)
from hft_engine.feed.scan_tables import (
    BIT,
    FIELD_WORDS,
    KEY,
    KIND_WORDS,
    LENGTH,
    MASK,
    NEXT,
    READER,
    ROW_WORDS,
    SHIFT,
    WORD,
    EventKind,
    Reader,
    packed_table,
)
from hft_engine.feed.scan_text import REFUSED, byte_at, decimal, whole_text
from hft_engine.kernel import kernel
from hft_engine.records import TICK_DTYPE
from hft_engine.wiring import wire, wired
from hft_engine.words import load_word, swapped_bytes

BYTES_MAX = 1 << 18  # of a packed frame, some 2,000 events; a longer one is left to Python
_KINDS = len(EventKind)
_TABLES, _FIELDS, _TEXT = range(3)  # of the wiring
_NIL, _FALSE, _DOUBLE, _WHOLE_8, _WHOLE_64 = 0xC0, 0xC2, 0xCB, 0xCC, 0xCF
_SHORT_LIST, _SHORT_TEXT = 0x90, 0xA0
_LIST_16 = 0xDC
_INFINITE = 0x7FF0000000000000  # as bits; above it, as a whole number, are those of NaN
# fmt: off
_DECIMAL, _SYMBOL, _ID, _CODES, _INDICATORS, _DECIMAL_TEXT = (
    int(reader) for reader in (
        Reader.DECIMAL, Reader.SYMBOL, Reader.ID, Reader.CODES, Reader.INDICATORS, Reader.DECIMAL_TEXT,
    )
)
# fmt: on


@kernel(inline="always")
def _whole(text: np.ndarray, at: int) -> tuple[int, int]:
    """A whole number of 0 or more: (place, value); REFUSED as place for anything else."""
    first = byte_at(text, at)
    if first < 0x80:
        return at + 1, first
    if not _WHOLE_8 <= first <= _WHOLE_64:
        return REFUSED, 0
    size = 1 << (first - _WHOLE_8)
    value: Any = np.int64(np.uint64(swapped_bytes(load_word(text, at + 1))) >> np.uint64(64 - 8 * size))
    return (at + 1 + size if value >= 0 else REFUSED), value


@kernel()
def _code_list(text: np.ndarray, at: int, most: int) -> tuple[int, int]:
    """A list of at most so many codes, packed as ``conditions.pack`` does."""
    length = byte_at(text, at) - _SHORT_LIST
    if not 0 <= length <= most:
        return REFUSED, 0
    at, packed = at + 1, 0
    for place in range(length):
        at, code = _whole(text, at)
        if at < 0 or code > CODE_MAX:
            return REFUSED, 0
        packed |= (code + 1) << (16 * place)
    return at, packed


@kernel(inline="always")
def _integer(tables: np.ndarray, text: np.ndarray, at: int, reader: int, end: int) -> tuple[int, int]:
    """Fields that end as bits of a word: (place, value). ``end``: of the short text that stands here, if it is one."""
    if reader == _SYMBOL:
        behind, value = instrument(tables, text, at + 1)
        return (end if behind == end else REFUSED), value
    if reader == _ID and end > at:
        behind, value = whole_text(text, at + 1)
        return (end if behind == end else REFUSED), value
    if reader == _INDICATORS:
        return _code_list(text, at, CODES_KEPT - 1)
    at, value = _whole(text, at)
    if reader != _ID:
        taken, value = whole_number(reader, value)
        at = at if taken else REFUSED
    return at, value


@kernel(inline="always")
def _field(
    tables: np.ndarray, fields: np.ndarray, text: np.ndarray, at: int, entry: int, base: int
) -> tuple[int, bool]:
    """Read one value into the row that begins at word ``base``: (place, whether there is one)."""
    words, floats = wired(tables, WORDS, np.int64), wired(tables, FLOATS, np.float64)
    reader, word, first = fields[entry + READER], base + fields[entry + WORD], byte_at(text, at)
    if first in (_NIL, _FALSE):
        return at + 1, False
    if reader == _DECIMAL:
        bits = swapped_bytes(load_word(text, at + 1))
        if first != _DOUBLE or bits < 0 or bits == _INFINITE:
            return REFUSED, False
        if bits < _INFINITE:
            words[word] = bits
        return at + 9, bits < _INFINITE
    end = at + 1 + first - _SHORT_TEXT if _SHORT_TEXT <= first < _NIL else REFUSED
    if reader == _DECIMAL_TEXT:
        behind, number = decimal(text, at + 1)
        floats[word] = number
        return (end if behind == end else REFUSED), True
    if reader == _CODES:
        at, packed = _code_list(text, at, CODES_KEPT)
        return (at if put_codes(tables, base, word, packed) else REFUSED), True
    at, value = _integer(tables, text, at, reader, end)
    words[word] |= value << fields[entry + SHIFT]
    return at, True


@kernel()
def _event(
    tables: np.ndarray,
    fields: np.ndarray,
    text: np.ndarray,
    at: int,
    row: int,
    ts_recv_ns: int,
    ts_mono_ns: int,
) -> int:
    """One event into staging row ``row``."""
    begin = load_word(text, at)
    for kind in range(_KINDS):
        first = kind * KIND_WORDS
        if begin & fields[first + MASK] == fields[first + KEY]:
            break
    else:
        return REFUSED
    begin_row(tables, row, kind, ts_recv_ns, ts_mono_ns)
    at += fields[first + LENGTH]
    seen, base = 0, row * ROW_WORDS
    for entry in range(first + FIELD_WORDS, fields[first + NEXT], FIELD_WORDS):
        at, is_there = _field(tables, fields, text, at + fields[entry + LENGTH], entry, base)
        if at < 0:
            return REFUSED
        seen |= np.int64(is_there) << fields[entry + BIT]
    return at if complete(tables, kind, seen, base) else REFUSED


@kernel(cache=True)
def _take(wiring: np.ndarray, length: int, events: int, ts_recv_ns: int, ts_mono_ns: int) -> int:
    """Rows made of so many packed events, or REFUSED. ``wiring``: ``RowTables``, packed table, text."""
    tables, fields = wired(wiring, _TABLES, np.int64), wired(wiring, _FIELDS, np.int64)
    text = wired(wiring, _TEXT, np.uint8)
    if events > len(wired(tables, ROWS, TICK_DTYPE)):
        return REFUSED
    text[length] = 0  # what an earlier frame left there could go on with a last number
    first = byte_at(text, 0)
    at = 1 if first < _LIST_16 else 3 if first == _LIST_16 else 5
    for row in range(events):
        at = _event(tables, fields, text, at, row, ts_recv_ns, ts_mono_ns)
        if at < 0:
            return REFUSED
    return without_duplicates(tables, events) if at == length else REFUSED


class PackedRows:
    """A decoder's compiled half, over its staging rows."""

    def __init__(self, decoder: Decoder, venue_id: int) -> None:
        self._tables = RowTables(decoder, venue_id)
        text = np.zeros(BYTES_MAX + GUARD_BYTES, np.uint8)
        self._arrays = (self._tables.wiring, packed_table(), text)
        self._wiring = wire(self._arrays)
        self._text = text.data
        self._packed = bytearray()
        self._pack = msgspec.msgpack.Encoder().encode_into

    def take(self, events: Sequence[Event], ts_recv_ns: int, ts_mono_ns: int) -> int:
        """Make rows of a frame's events; returns how many, without those that came before, or REFUSED."""
        packed = self._packed
        try:
            self._pack(events, packed)
        except OverflowError:  # a whole number beyond 64 bits
            return REFUSED
        length = len(packed)
        if length > BYTES_MAX:
            return REFUSED
        self._text[:length] = packed
        made: int = _take(self._wiring, length, len(events), ts_recv_ns, ts_mono_ns)
        return made
