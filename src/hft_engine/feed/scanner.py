"""The fast way from a message's text to the tick ring: compiled, for messages that are plain in every respect.

The scanner reads trades, quotes and bars as the venue writes them: no white space, ``ev`` first, no escape, every
key once, numbers that convert exactly (fewer than 2**53 units of their last digit, so that one division by a power
of ten rounds correctly: Clinger, "How to read floating point numbers accurately", PLDI 1990, section 4), stamps in
milliseconds, symbols and condition codes known. Of such a frame it publishes the very rows ``FrameDecoder`` makes.
Any other message it refuses as a whole, and nothing has happened: the decoder then judges it.
"""

from typing import Any

import numpy as np

from hft_engine.feed.arbiter import NO_SOURCE, arbitrate
from hft_engine.feed.conditions import CODES_KEPT
from hft_engine.feed.decoder import Decoder
from hft_engine.feed.duty import stamp
from hft_engine.feed.frames import GUARD_BYTES
from hft_engine.feed.scan_rows import (
    FLOATS,
    ROWS,
    WORDS,
    RowTables,
    begin_row,
    complete,
    put_codes,
    symbol,
    whole_number,
    without_duplicates,
)
from hft_engine.feed.scan_straight import new_stamp, quote, trade
from hft_engine.feed.scan_tables import (
    BIT,
    FIELD_WORDS,
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
    field_table,
)
from hft_engine.feed.scan_text import (
    COLON,
    COMMA,
    QUOTATION,
    REFUSED,
    byte_at,
    code_list,
    count,
    decimal,
    decimal_text,
    identity,
    packed_text,
    skip,
    zero_bytes,
)
from hft_engine.kernel import kernel
from hft_engine.records import TICK_DTYPE
from hft_engine.shm.histogram import new_counts
from hft_engine.shm.ring import Ring, claim, publish, write_record
from hft_engine.wiring import wire, wired, wired_rows
from hft_engine.words import load_word, trailing_zeros

_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = (ord(sign) for sign in "{}[]")
_TRADE, _QUOTE, _BAR_SECOND, _BAR_MINUTE = (int(kind) for kind in EventKind)
_T, _Q, _A, _AM = (int.from_bytes(name, "little") for name in (b'T"', b'Q"', b'A"', b'AM"'))
_EV = int.from_bytes(b'{"ev":"', "little")
_EV_BITS = 56
# Of the wiring.
_HEAD, _SLOTS, _BELLS, _TABLES, _FIELDS, _TALLY, _LATENCY, _DELAY, _ARBITER, _STAMP = range(10)
_ROWS, _DROPPED, _MESSAGES, _BYTES, _LAST_NS, _LEFT_OUT = range(6)  # the tally
_OPENINGS = int.from_bytes(b"{" * 8, "little", signed=True)
# fmt: off
_DECIMAL, _COUNT, _SMALL, _TIME, _SYMBOL, _ID, _CODES, _CODE, _INDICATORS, _DECIMAL_TEXT = (
    int(reader) for reader in (
        Reader.DECIMAL, Reader.COUNT, Reader.SMALL, Reader.STAMP, Reader.SYMBOL, Reader.ID, Reader.CODES,
        Reader.CODE, Reader.INDICATORS, Reader.DECIMAL_TEXT,
    )
)
# fmt: on


@kernel(inline="always")
def _integer(tables: np.ndarray, text: np.ndarray, at: int, reader: int) -> tuple[int, int]:
    """Fields that end as bits of a word: (place, value)."""
    if reader in (_COUNT, _SMALL, _CODE, _TIME):
        at, value = count(text, at)
        taken, value = whole_number(reader, value)
        return (at if taken else REFUSED), value
    if reader == _SYMBOL:
        return symbol(tables, text, at)
    if reader == _ID:
        return identity(text, at)
    if reader == _INDICATORS:
        return code_list(text, at, CODES_KEPT - 1)
    return REFUSED, 0


@kernel(inline="always")
def _field(tables: np.ndarray, fields: np.ndarray, text: np.ndarray, at: int, entry: int, base: int) -> int:
    """Read one value into the row that begins at word ``base``, as the table's entry says."""
    words, floats = wired(tables, WORDS, np.int64), wired(tables, FLOATS, np.float64)
    reader, word = fields[entry + READER], base + fields[entry + WORD]
    if reader in (_DECIMAL, _DECIMAL_TEXT):
        at, number = decimal(text, at) if reader == _DECIMAL else decimal_text(text, at)
        floats[word] = number
        return at
    if reader == _CODES:
        at, packed = code_list(text, at, CODES_KEPT)
        return at if put_codes(tables, base, word, packed) else REFUSED
    at, value = _integer(tables, text, at, reader)
    words[word] |= value << fields[entry + SHIFT]
    return at


@kernel(inline="always")
def _kind(text: np.ndarray, at: int) -> tuple[int, int]:
    """``{"ev":"<kind>"``: (place, kind)."""
    if load_word(text, at) & ((1 << _EV_BITS) - 1) != _EV:
        return REFUSED, 0
    at += _EV_BITS >> 3
    name = load_word(text, at) & 0xFFFFFF
    if name & 0xFFFF == _Q:
        return at + 2, _QUOTE
    if name & 0xFFFF == _T:
        return at + 2, _TRADE
    if name & 0xFFFF == _A:
        return at + 2, _BAR_SECOND
    return (at + 3 if name == _AM else REFUSED), _BAR_MINUTE


@kernel(inline="always")
def _known_field(fields: np.ndarray, kind: int, last: int, word: int) -> int:
    """The entry of the key that ``word`` begins with, or REFUSED. First tried: what came behind ``last`` before."""
    entry = fields[last + NEXT]
    if word & fields[entry + MASK] == fields[entry]:
        return entry
    for other in range(kind * KIND_WORDS, (kind + 1) * KIND_WORDS, FIELD_WORDS):
        if word & fields[other + MASK] == fields[other]:
            fields[last + NEXT] = other
            return other
    return REFUSED


@kernel()
def _unknown_field(text: np.ndarray, at: int) -> int:
    """``,"<key>":<value>`` of a key nobody asked for, passed over."""
    if byte_at(text, at) != COMMA or byte_at(text, at + 1) != QUOTATION:
        return REFUSED
    start, end = at, at + 2
    while end > start:
        start = end
        end, _ = packed_text(text, start)
    if byte_at(text, end) != QUOTATION or byte_at(text, end + 1) != COLON:
        return REFUSED
    return skip(text, end + 2)


@kernel()
def _event(wiring: np.ndarray, text: np.ndarray, at: int, row: int, ts_recv_ns: int, ts_mono_ns: int) -> int:
    """One event into staging row ``row``."""
    tables, fields = wired(wiring, _TABLES, np.int64), wired(wiring, _FIELDS, np.int64)
    at, kind = _kind(text, at)
    if at < 0:
        return REFUSED
    begin_row(tables, row, kind, ts_recv_ns, ts_mono_ns)
    seen, base, last = 0, row * ROW_WORDS, kind * KIND_WORDS
    if kind == _QUOTE:
        at, seen = quote(tables, text, at, base, wired(wiring, _STAMP, np.int64))
    elif kind == _TRADE:
        at, seen = trade(tables, text, at, base, wired(wiring, _STAMP, np.int64))
    if at < 0:
        return REFUSED
    while True:
        word = load_word(text, at)
        if word & 0xFF == _CLOSE:
            return at + 1 if complete(tables, kind, seen, base) else REFUSED
        entry = _known_field(fields, kind, last, word)
        if entry < 0:
            at = _unknown_field(text, at)
        else:
            bit = 1 << fields[entry + BIT]
            if seen & bit != 0:
                return REFUSED
            at = _field(tables, fields, text, at + fields[entry + LENGTH], entry, base)
            seen |= bit
            last = entry
        if at < 0:
            return REFUSED


@kernel()
def scan(wiring: np.ndarray, text: np.ndarray, ts_recv_ns: int, ts_mono_ns: int) -> int:
    """Publish the rows of a message; returns how many, or REFUSED having changed nothing but staging rows.

    ``text`` uint8[]: whatever lies behind it ends with a zero that still belongs to its buffer.

    ``wiring``: ring header, slots, doorbells, the decoder's ``RowTables``, field table, tally (rows published, events
    dropped as duplicates, messages, bytes, CLOCK_MONOTONIC of the last, events left out), histograms of latency and
    of the venue's delay, the line's ``arbiter.Source``.
    """
    head, slots = wired(wiring, _HEAD, np.int64), wired(wiring, _SLOTS, TICK_DTYPE)
    tables = wired(wiring, _TABLES, np.int64)
    rows = wired(tables, ROWS, TICK_DTYPE)
    events: Any = np.int64(0)  # a bare 0 is a type of its own: _event would be compiled for it, too
    at, most = 0, min(len(rows), len(slots) >> 1)
    if byte_at(text, 0) != _OPEN_LIST:
        return REFUSED
    while events == 0 or byte_at(text, at) == COMMA:
        at = _event(wiring, text, at + 1, events, ts_recv_ns, ts_mono_ns) if events < most else REFUSED
        if at < 0:
            return REFUSED
        events += 1
    if byte_at(text, at) != _CLOSE_LIST or at + 1 != len(text):
        return REFUSED
    kept = without_duplicates(tables, events)
    tally = wired(wiring, _TALLY, np.int64)
    tally[_DROPPED] += events - kept
    kept = arbitrate(
        wired(wiring, _ARBITER, np.int64), wired_rows(tables, ROWS, ROW_WORDS), 0, kept, ts_mono_ns
    )
    tally[_ROWS] += kept
    tally[_MESSAGES] += 1
    tally[_BYTES] += len(text)
    tally[_LAST_NS] = ts_mono_ns
    if kept == 0:
        return 0
    first = claim(head, slots, kept)
    for i in range(kept):
        write_record(slots, first + i, rows, i)
    latency, delay = wired(wiring, _LATENCY, np.int64), wired(wiring, _DELAY, np.int64)
    stamp(slots, first, kept, latency, delay, ts_mono_ns)
    publish(head, slots, wired(wiring, _BELLS, np.int64), first + kept)
    return kept


@kernel()
def leave_out(wiring: np.ndarray, text: np.ndarray, ts_mono_ns: int) -> int:
    """Count the events of a message in place of ``scan``; REFUSED where anything in it is not market data."""
    at, events = 0, 0
    while at < len(text):
        found = zero_bytes(load_word(text, at) ^ _OPENINGS)
        if found == 0:
            at += 8
            continue
        at += trailing_zeros(found) >> 3
        if at < len(text):
            at, _ = _kind(text, at)
            if at < 0:
                return REFUSED
            events += 1
    if events == 0:
        return REFUSED
    tally = wired(wiring, _TALLY, np.int64)
    tally[_LEFT_OUT] += events
    tally[_MESSAGES] += 1
    tally[_BYTES] += len(text)
    tally[_LAST_NS] = ts_mono_ns
    return events


@kernel(cache=True)
def _scan_one(wiring: np.ndarray, text: np.ndarray, length: int, ts_recv_ns: int, ts_mono_ns: int) -> int:
    return scan(wiring, text[:length], ts_recv_ns, ts_mono_ns)


class Scanner:
    """The scanner beside a decoder, whose staging rows and memory of what came it shares.

    ``wiring``: for ``scan``. What it handled is counted apart from the decoder's own counts.
    """

    def __init__(
        self,
        ring: Ring,
        decoder: Decoder,
        venue_id: int,
        latency: np.ndarray,
        delay: np.ndarray | None = None,
        arbiter: np.ndarray = NO_SOURCE,
    ) -> None:
        self._tables = RowTables(decoder, venue_id)
        self._tally = np.zeros(6, np.int64)
        self._arrays = (
            ring.head, ring.slots, ring.bells, self._tables.wiring, field_table(), self._tally, latency,
            new_counts() if delay is None else delay, arbiter, new_stamp(),
        )  # fmt: skip
        self.wiring = wire(self._arrays)
        self._text = np.zeros(0, np.uint8)

    @property
    def events(self) -> int:
        """Rows published."""
        return int(self._tally[_ROWS])

    @property
    def duplicates(self) -> int:
        """Events left out because they had come before."""
        return int(self._tally[_DROPPED])

    @property
    def left_out(self) -> int:
        """Events that were counted and nothing else (``leave_out``)."""
        return int(self._tally[_LEFT_OUT])

    @property
    def messages(self) -> int:
        """Messages taken."""
        return int(self._tally[_MESSAGES])

    @property
    def message_bytes(self) -> int:
        """Bytes of their texts."""
        return int(self._tally[_BYTES])

    @property
    def last_mono_ns(self) -> int:
        """When the last message left the socket; 0 before the first."""
        return int(self._tally[_LAST_NS])

    def publish(self, message: bytes, ts_recv_ns: int, ts_mono_ns: int) -> int:
        """Publish one message's ticks; returns how many, or REFUSED: then nothing was published."""
        if len(message) + GUARD_BYTES > len(self._text):
            self._text = np.zeros(2 * len(message) + GUARD_BYTES, np.uint8)
        self._text[: len(message)] = np.frombuffer(message, np.uint8)
        self._text[len(message) : len(message) + GUARD_BYTES] = 0
        return int(_scan_one(self.wiring, self._text, len(message), ts_recv_ns, ts_mono_ns))
