"""The fast way from a message's text to the tick ring: compiled, for messages that are plain in every respect.

The scanner reads trades, quotes and bars as the venue writes them: no white space, ``ev`` first, no escape, every
key once, numbers that convert exactly (fewer than 2**53 units of their last digit, so that one division by a power
of ten rounds correctly: Clinger, "How to read floating point numbers accurately", PLDI 1990, section 4), stamps in
milliseconds, symbols and condition codes known. Of such a frame it publishes the very rows ``FrameDecoder`` makes.
Any other message it refuses as a whole, and nothing has happened: the decoder then judges it.
"""

from itertools import islice
from typing import Any

import numpy as np

from hft_engine.feed.arbiter import NO_SOURCE, arbitrate
from hft_engine.feed.conditions import CODE_MAX, CODES_KEPT
from hft_engine.feed.duty import stamp
from hft_engine.feed.events import MS_MIN
from hft_engine.feed.frames import GUARD_BYTES
from hft_engine.feed.scan_tables import (
    FIELD_BITS,
    FIELD_WORDS,
    HASH,
    NEEDED,
    NEEDED_ONE,
    ROW_WORDS,
    SYMBOL_WORDS,
    EventKind,
    Reader,
    SymbolTable,
    blank_rows,
    field_table,
    flag_table,
    mask,
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
)
from hft_engine.feed.venues.base import Decoder
from hft_engine.kernel import kernel
from hft_engine.records import TICK_DTYPE, TickKind
from hft_engine.shm.atomics import copy_record, leading_zeros, load_word
from hft_engine.shm.histogram import new_counts
from hft_engine.shm.ring import Ring, claim, publish, write_record
from hft_engine.shm.wiring import wire, wired, wired_rows

_MS_MAX = ((1 << 63) - 1) // 1_000_000  # below the unit's own bound: beyond it nanoseconds overflow
_NEEDED, _NEEDED_ONE = np.array(NEEDED), np.array(NEEDED_ONE)
_DS, _DV, _DAV = mask("ds"), mask("dv"), mask("dav")
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = (ord(sign) for sign in "{}[]")
_TRADE, _QUOTE, _BAR_SECOND, _BAR_MINUTE = (int(kind) for kind in EventKind)
_T, _Q, _A, _AM = (int.from_bytes(name, "little") for name in (b"T", b"Q", b"A", b"AM"))
_EV = int.from_bytes(b'{"ev":"', "little")
_EV_BITS = 56
_TRADE_TICK = int(TickKind.TRADE)
_ROWS, _DROPPED, _MESSAGES, _BYTES, _LAST_NS = range(5)  # the tally
# fmt: off
_DECIMAL, _COUNT, _SMALL, _STAMP, _SYMBOL, _ID, _CODES, _CODE, _INDICATORS, _DECIMAL_TEXT, _SKIP = (
    int(reader) for reader in (
        Reader.DECIMAL, Reader.COUNT, Reader.SMALL, Reader.STAMP, Reader.SYMBOL, Reader.ID, Reader.CODES,
        Reader.CODE, Reader.INDICATORS, Reader.DECIMAL_TEXT, Reader.SKIP,
    )
)
# fmt: on
# Of a whole number, by reader: what is taken, and what becomes of it.
_LEAST, _MOST, _TIMES, _PLUS = (np.zeros(len(Reader), np.int64) for _ in range(4))
_LEAST[_STAMP] = MS_MIN
_MOST[[_COUNT, _SMALL, _CODE, _STAMP]] = (1 << 63) - 1, 0xFFFF, CODE_MAX, _MS_MAX
_TIMES[[_COUNT, _SMALL, _CODE, _STAMP]] = 1, 1, 1, 1_000_000
_PLUS[_CODE] = 1


@kernel()
def _flags(packed: int, flags: np.ndarray) -> int:
    """The flags of a trade's codes in their place in word 5; REFUSED for an unknown code."""
    found = 0
    for place in range(CODES_KEPT):
        code = ((packed >> (16 * place)) & 0xFFFF) - 1
        if code >= 0:
            if code >= len(flags) or flags[code] < 0:
                return REFUSED
            found |= flags[code]
    return found


@kernel()
def _instrument(text: np.ndarray, at: int, symbols: np.ndarray) -> tuple[int, int]:
    if byte_at(text, at) != QUOTATION:
        return REFUSED, 0
    at, first = packed_text(text, at + 1)
    second = third = 0
    if byte_at(text, at) != QUOTATION:
        at, second = packed_text(text, at)
        at, third = packed_text(text, at)
        if byte_at(text, at) != QUOTATION:
            return REFUSED, 0
    places = len(symbols) // SYMBOL_WORDS
    bits = 63 - leading_zeros(places)
    slot = (((first ^ second ^ third) * HASH) >> (63 - bits)) & (places - 1)
    while symbols[slot * SYMBOL_WORDS + 3] != 0:
        base = slot * SYMBOL_WORDS
        if symbols[base] == first and symbols[base + 1] == second and symbols[base + 2] == third:
            return at + 1, symbols[base + 3] - 1
        slot = (slot + 1) & (places - 1)
    return REFUSED, 0


@kernel(inline="always")
def _integer(wiring: np.ndarray, text: np.ndarray, at: int, reader: int) -> tuple[int, int]:
    """Fields that end as bits of a word: (place, value)."""
    if reader in (_COUNT, _SMALL, _CODE, _STAMP):
        at, value = count(text, at)
        taken = _LEAST[reader] <= value <= _MOST[reader]
        return (at if taken else REFUSED), value * _TIMES[reader] + _PLUS[reader]
    if reader == _SYMBOL:
        return _instrument(text, at, wired(wiring, 8, np.int64))
    if reader == _ID:
        return identity(text, at)
    if reader == _INDICATORS:
        return code_list(text, at, CODES_KEPT - 1)
    return REFUSED, 0


@kernel(inline="always")
def _field(
    wiring: np.ndarray,
    fields: np.ndarray,
    words: np.ndarray,
    floats: np.ndarray,
    text: np.ndarray,
    at: int,
    entry: int,
    base: int,
) -> int:
    """Read one value into the row that begins at word ``base``, as the table's entry says."""
    reader, word = fields[entry + 1], base + fields[entry + 2]
    if reader in (_DECIMAL, _DECIMAL_TEXT):
        at, number = decimal(text, at) if reader == _DECIMAL else decimal_text(text, at)
        floats[word] = number
        return at
    if reader == _CODES:
        at, packed = code_list(text, at, CODES_KEPT)
        flags = _flags(packed, wired(wiring, 9, np.int64))
        words[word] = packed
        words[base + 5] |= flags
        return at if flags >= 0 else REFUSED
    at, value = _integer(wiring, text, at, reader)
    words[word] |= value << fields[entry + 3]
    return at


@kernel(inline="always")
def _entry_of(fields: np.ndarray, kind: int, key: int) -> int:
    """Where the table has a key of this kind of event; REFUSED for a key nobody asked for."""
    slot = ((key * HASH) >> (63 - FIELD_BITS)) & ((1 << FIELD_BITS) - 1)
    while True:
        entry = ((kind << FIELD_BITS) + slot) * FIELD_WORDS
        if fields[entry] == key:
            return entry if key != 0 else REFUSED
        if fields[entry] == 0:
            return REFUSED
        slot = (slot + 1) & ((1 << FIELD_BITS) - 1)


@kernel(inline="always")
def _kind(text: np.ndarray, at: int) -> tuple[int, int]:
    """``{"ev":"<kind>"``: (place, kind)."""
    if load_word(text, at) & ((1 << _EV_BITS) - 1) != _EV:
        return REFUSED, 0
    at, name = packed_text(text, at + (_EV_BITS >> 3))
    if byte_at(text, at) != QUOTATION:
        return REFUSED, 0
    if name == _T:
        return at + 1, _TRADE
    if name == _Q:
        return at + 1, _QUOTE
    if name == _A:
        return at + 1, _BAR_SECOND
    return (at + 1 if name == _AM else REFUSED), _BAR_MINUTE


@kernel(inline="always")
def _key(text: np.ndarray, at: int) -> tuple[int, int]:
    """``,"<key>":``: (place, key packed; REFUSED as key for one longer than any we know)."""
    if byte_at(text, at) != COMMA or byte_at(text, at + 1) != QUOTATION:
        return REFUSED, 0
    at, key = packed_text(text, at + 2)
    while byte_at(text, at) != QUOTATION:
        end, _ = packed_text(text, at)
        if end == at:
            return REFUSED, 0
        at, key = end, REFUSED
    return (at + 2 if byte_at(text, at + 1) == COLON else REFUSED), key


@kernel()
def _complete(kind: int, seen: int, base: int, words: np.ndarray, floats: np.ndarray) -> bool:
    """Whether the event makes a row; puts what waited in word 0 where it belongs."""
    if seen & _NEEDED[kind] != _NEEDED[kind] or seen & _NEEDED_ONE[kind] == 0:
        return False
    if kind == _QUOTE:
        for side in (6, 7):
            if floats[base + side] == 0.0:
                floats[base + side] = np.nan  # price 0 says: nothing on this side
        return True
    if kind == _TRADE:
        if seen & _DS:
            words[base + 7] = words[base]
        return floats[base + 6] > 0.0
    if seen & _DV:
        words[base + 10] = words[base]
    if seen & _DAV:
        words[base + 12] = words[base + 4]
        words[base + 4] = 0
    prices = floats[base + 6] > 0.0 and floats[base + 9] > 0.0 and floats[base + 7] >= floats[base + 8] > 0.0
    return prices and words[base + 1] >= words[base + 14]


@kernel()
def _event(wiring: np.ndarray, text: np.ndarray, at: int, row: int) -> int:
    """One event into staging row ``row``."""
    fields = wired(wiring, 7, np.int64)
    words, floats = wired(wiring, 5, np.int64), wired(wiring, 6, np.float64)
    at, kind = _kind(text, at)
    if at < 0:
        return REFUSED
    copy_record(wired(wiring, 3, TICK_DTYPE), row, wired(wiring, 12, TICK_DTYPE), kind)
    seen, base = 0, row * ROW_WORDS
    while byte_at(text, at) != _CLOSE:
        at, key = _key(text, at)
        if at < 0:
            return REFUSED
        entry = _entry_of(fields, kind, key)
        if entry < 0:
            at = skip(text, at)
        else:
            bit = 1 << fields[entry + 4]
            if seen & bit != 0:
                return REFUSED
            at = _field(wiring, fields, words, floats, text, at, entry, base)
            seen |= bit
        if at < 0:
            return REFUSED
    whole = _complete(kind, seen, base, words, floats)
    return at + 1 if whole else REFUSED


@kernel()
def _without_duplicates(wiring: np.ndarray, count: int) -> int:
    """Drop trades sent twice in a row from the staging rows; returns how many rows stay."""
    rows = wired(wiring, 3, TICK_DTYPE)
    last_q, last_id = wired(wiring, 10, np.int64), wired(wiring, 11, np.int64)
    kept = 0
    for i in range(count):
        if rows[i].kind == _TRADE_TICK:
            instrument, q, trade_id = rows[i].instrument_id, rows[i].venue_sequence, rows[i].trade_id
            if q != 0 and q == last_q[instrument] and trade_id == last_id[instrument]:
                continue
            last_q[instrument], last_id[instrument] = q, trade_id
        if kept != i:
            copy_record(rows, kept, rows, i)
        kept += 1
    return kept


@kernel()
def scan(wiring: np.ndarray, text: np.ndarray, ts_recv_ns: int, ts_mono_ns: int) -> int:
    """Publish the rows of a message; returns how many, or REFUSED having changed nothing but staging rows.

    ``text`` uint8[]: whatever lies behind it ends with a zero that still belongs to its buffer.

    ``wiring``: ring header, slots, doorbells, staging rows, latency histogram, the staging rows as int64 and as
    float64, field table, symbol table, flag table, last q and last id of each instrument, blank rows, tally
    (rows published, trades dropped as duplicates, messages, bytes, CLOCK_MONOTONIC of the last), histogram of the
    venue's delay, the line's ``arbiter.Source``.
    """
    head, slots, rows = wired(wiring, 0, np.int64), wired(wiring, 1, TICK_DTYPE), wired(wiring, 3, TICK_DTYPE)
    events: Any = np.int64(0)  # a bare 0 is a type of its own: _event would be compiled for it, too
    at, most = 0, min(len(rows), len(slots) >> 1)
    if byte_at(text, 0) != _OPEN_LIST:
        return REFUSED
    while events == 0 or byte_at(text, at) == COMMA:
        at = _event(wiring, text, at + 1, events) if events < most else REFUSED
        if at < 0:
            return REFUSED
        events += 1
    if byte_at(text, at) != _CLOSE_LIST or at + 1 != len(text):
        return REFUSED
    kept = _without_duplicates(wiring, events)
    tally = wired(wiring, 13, np.int64)
    tally[_DROPPED] += events - kept
    kept = arbitrate(wired(wiring, 15, np.int64), wired_rows(wiring, 3, ROW_WORDS), 0, kept, ts_mono_ns)
    tally[_ROWS] += kept
    tally[_MESSAGES] += 1
    tally[_BYTES] += len(text)
    tally[_LAST_NS] = ts_mono_ns
    if kept == 0:
        return 0
    first = claim(head, slots, kept)
    for i in range(kept):
        rows[i].ts_recv_ns = ts_recv_ns
        rows[i].ts_mono_ns = ts_mono_ns
        write_record(slots, first + i, rows, i)
    latency, delay = wired(wiring, 4, np.int64), wired(wiring, 14, np.int64)
    stamp(slots, first, kept, latency, delay, ts_mono_ns)
    publish(head, slots, wired(wiring, 2, np.int64), first + kept)
    return kept


@kernel(cache=True)
def _scan_one(wiring: np.ndarray, text: np.ndarray, length: int, ts_recv_ns: int, ts_mono_ns: int) -> int:
    return scan(wiring, text[:length], ts_recv_ns, ts_mono_ns)


class Scanner:
    """The scanner beside a decoder, whose staging rows and memory of last trades it shares.

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
        self._decoder = decoder
        self._symbols = SymbolTable(decoder.instruments.capacity)
        self._symbols.learn((symbol, i) for i, symbol in enumerate(decoder.instruments.symbols()))
        self._known = 0  # of the decoder's ids
        self._tally = np.zeros(5, np.int64)
        rows = decoder.rows
        words = rows.view(np.int64)
        self._arrays = (
            ring.head, ring.slots, ring.bells, rows, latency, words, words.view(np.float64), field_table(),
            self._symbols.words, flag_table(), decoder.last_trade_q, decoder.last_trade_id, blank_rows(venue_id),
            self._tally, new_counts() if delay is None else delay, arbiter,
        )  # fmt: skip
        self.wiring = wire(self._arrays)
        self._text = np.zeros(0, np.uint8)

    @property
    def events(self) -> int:
        """Rows published."""
        return int(self._tally[_ROWS])

    @property
    def duplicates(self) -> int:
        """Trades dropped because they came twice in a row."""
        return int(self._tally[_DROPPED])

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

    def learn(self) -> None:
        """Take over the symbols that the decoder met since the last call."""
        ids = self._decoder.ids
        if len(ids) != self._known:
            self._symbols.learn(islice(ids.items(), self._known, None))
            self._known = len(ids)
