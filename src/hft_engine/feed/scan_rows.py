"""How a plain event's fields become a row, in whatever form they came: compiled, in a decoder's staging rows.

A field has an entry in the table of its form (``scan_tables``): what finds it, then how it is read and where it goes.
"""

import numpy as np

from hft_engine.feed.conditions import CODE_MAX, CODES_KEPT
from hft_engine.feed.decoder import Decoder
from hft_engine.feed.events import MS_MIN
from hft_engine.feed.repeats import without_repeats
from hft_engine.feed.scan_tables import (
    HASH,
    NEEDED,
    NEEDED_ONE,
    ROW_WORDS,
    SYMBOL_WORDS,
    EventKind,
    Reader,
    blank_rows,
    flag_table,
    mask,
)
from hft_engine.feed.scan_text import QUOTATION, QUOTATIONS, REFUSED, byte_at, packed_text, zero_bytes
from hft_engine.kernel import kernel
from hft_engine.records import TICK_DTYPE
from hft_engine.wiring import wire, wired
from hft_engine.words import copy_record, leading_zeros, load_word, trailing_zeros

ROWS, WORDS, FLOATS, BLANKS, SYMBOLS, FLAGS, REPEATS = range(7)  # of the wiring
MS_MAX = ((1 << 63) - 1) // 1_000_000  # below the unit's own bound: beyond it nanoseconds overflow
_NEEDED, _NEEDED_ONE = np.array(NEEDED), np.array(NEEDED_ONE)
_DS, _DV, _DAV = mask("ds"), mask("dv"), mask("dav")
_TRADE, _QUOTE = int(EventKind.TRADE), int(EventKind.QUOTE)
# Of a whole number, by reader: what is taken, and what becomes of it.
_LEAST, _MOST, _TIMES, _PLUS = (np.zeros(len(Reader), np.int64) for _ in range(4))
_WHOLE = [Reader.COUNT, Reader.SMALL, Reader.CODE, Reader.STAMP]
_LEAST[Reader.STAMP] = MS_MIN
_MOST[_WHOLE] = (1 << 63) - 1, 0xFFFF, CODE_MAX, MS_MAX
_TIMES[_WHOLE] = 1, 1, 1, 1_000_000
_PLUS[Reader.CODE] = 1


class RowTables:
    """What the kernels need of a decoder: its staging rows, symbols, and what came before. ``wiring``: for them.

    The symbols that the run knows by now are known to them from the start.
    """

    def __init__(self, decoder: Decoder, venue_id: int) -> None:
        decoder.symbols.learn((symbol, i) for i, symbol in enumerate(decoder.instruments.symbols()))
        words = decoder.rows.view(np.int64)
        self._repeats = decoder.repeats  # owns what its wiring points to
        self._arrays = (
            decoder.rows, words, words.view(np.float64), blank_rows(venue_id), decoder.symbols.words, flag_table(),
            decoder.repeats.wiring,
        )  # fmt: skip
        self.wiring = wire(self._arrays)


@kernel(inline="always")
def begin_row(tables: np.ndarray, row: int, kind: int, ts_recv_ns: int, ts_mono_ns: int) -> None:
    rows, words = wired(tables, ROWS, TICK_DTYPE), wired(tables, WORDS, np.int64)
    copy_record(rows, row, wired(tables, BLANKS, TICK_DTYPE), kind)
    words[row * ROW_WORDS + 2], words[row * ROW_WORDS + 3] = ts_recv_ns, ts_mono_ns


@kernel(inline="always")
def whole_number(reader: int, value: int) -> tuple[bool, int]:
    """(whether such a field takes the number, what it becomes)."""
    return _LEAST[reader] <= value <= _MOST[reader], value * _TIMES[reader] + _PLUS[reader]


@kernel(inline="always")
def put_codes(tables: np.ndarray, base: int, word: int, packed: int) -> bool:
    """A trade's codes, and the flags that follow from them, into the row at word ``base``; False for an unknown one."""
    words, flags = wired(tables, WORDS, np.int64), wired(tables, FLAGS, np.int64)
    words[word] = packed
    for place in range(CODES_KEPT):
        code = ((packed >> (16 * place)) & 0xFFFF) - 1
        if code < 0:
            break
        if code >= len(flags) or flags[code] < 0:
            return False
        words[base + 5] |= flags[code]
    return True


@kernel(inline="always")
def _id_of(tables: np.ndarray, first: int, second: int, third: int) -> int:
    """The id of a symbol by its text, REFUSED for one that is not known."""
    symbols = wired(tables, SYMBOLS, np.int64)
    places = len(symbols) // SYMBOL_WORDS
    slot = (((first ^ second ^ third) * HASH) >> leading_zeros(places)) & (places - 1)
    while symbols[slot * SYMBOL_WORDS + 3] != 0:
        base = slot * SYMBOL_WORDS
        if symbols[base] == first and symbols[base + 1] == second and symbols[base + 2] == third:
            return symbols[base + 3] - 1
        slot = (slot + 1) & (places - 1)
    return REFUSED


@kernel()
def instrument(tables: np.ndarray, text: np.ndarray, at: int) -> tuple[int, int]:
    """(place behind a symbol's characters, its id); REFUSED as place for one that is not known."""
    start = at
    at, first = packed_text(text, at)
    second = third = 0
    if at - start == 8:
        at, second = packed_text(text, at)
        at, third = packed_text(text, at)
    found = _id_of(tables, first, second, third)
    return (at if found >= 0 else REFUSED), found


@kernel(forceinline=True)
def symbol(tables: np.ndarray, text: np.ndarray, at: int) -> tuple[int, int]:
    """(place behind a quoted symbol, its id); REFUSED as place for one that is not known."""
    if byte_at(text, at) != QUOTATION:
        return REFUSED, 0
    at += 1
    word = load_word(text, at)
    ends = zero_bytes(word ^ QUOTATIONS)
    if ends == 0:
        at, found = instrument(tables, text, at)
        return (at + 1 if at >= 0 and byte_at(text, at) == QUOTATION else REFUSED), found
    # What is in the table is plain, so what equals it is; but for zeros behind it, which would be no text.
    bits = trailing_zeros(ends) - 7
    found = _id_of(tables, word & ((1 << bits) - 1), 0, 0)
    at += bits >> 3
    return (at + 1 if found >= 0 and byte_at(text, at - 1) != 0 else REFUSED), found


@kernel()
def complete(tables: np.ndarray, kind: int, seen: int, base: int) -> bool:
    """Whether the event makes a row; puts what waited in word 0 where it belongs."""
    words, floats = wired(tables, WORDS, np.int64), wired(tables, FLOATS, np.float64)
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
            words[base] = 0
        return floats[base + 6] > 0.0
    if seen & _DV:
        words[base + 10] = words[base]
        words[base] = 0
    if seen & _DAV:
        words[base + 12] = words[base + 4]
        words[base + 4] = 0
    prices = floats[base + 6] > 0.0 and floats[base + 9] > 0.0 and floats[base + 7] >= floats[base + 8] > 0.0
    return prices and words[base + 1] >= words[base + 14]


@kernel()
def without_duplicates(tables: np.ndarray, count: int) -> int:
    """Leave of the first ``count`` staging rows those that did not come before; returns how many."""
    kept: int = without_repeats(wired(tables, REPEATS, np.int64), count)
    return kept
