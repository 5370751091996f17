"""Trades and quotes with their keys in the order in which venues send them: a straight line of code for each.

A step reads a field if its key is what comes next, and else lets it be: fields may be missing. Where the line ends
before the event does, the scanner's loop over the table of fields goes on from there. It takes any order, and more
instructions: a table's entry must be loaded and its reader chosen; here both are part of the code.

The order is that of ``feed.events``, in which the venue was seen to send them; the id of a trade may also come behind
its exchange, as it is documented, and a quote's condition at the end.
"""

import numpy as np

from hft_engine.feed.conditions import CODE_MAX, CODES_KEPT
from hft_engine.feed.events import MS_MIN
from hft_engine.feed.scan_rows import FLOATS, MS_MAX, WORDS, put_codes, symbol
from hft_engine.feed.scan_tables import key_of
from hft_engine.feed.scan_text import REFUSED, code_list, count, decimal, identity
from hft_engine.kernel import kernel
from hft_engine.wiring import wired
from hft_engine.words import load_word

# (the key as a word, which of its bits count, its length, its bit in "seen")
_SYM, _X, _I, _Z, _P, _S, _C, _T, _Q = (
    key_of(name) for name in ("sym", "x", "i", "z", "p", "s", "c", "t", "q")
)
_BX, _AX, _BP, _AP, _BS, _AS = (key_of(name) for name in ("bx", "ax", "bp", "ap", "bs", "as"))
_KEY, _MASK, _LENGTH, _SEEN = range(4)
_SMALL_MAX, _MOST = 0xFFFF, (1 << 63) - 1
_NONE = np.nan
# Of the last stamp: its text from the first digit and from the sixth on, and what it says, ns.
_FIRST, _SIXTH, _NS = range(3)
_STAMP_DIGITS = 13  # of milliseconds, from 2001 to 2286
_FIRST_TO_SIXTH = 5


def new_stamp() -> np.ndarray:
    """int64[3]: the memory of the last stamp, of one that is as good as any."""
    text = b"1000000000000"
    return np.array(
        [
            int.from_bytes(text[:8], "little"),
            int.from_bytes(text[_FIRST_TO_SIXTH:], "little"),
            int(text) * 1_000_000,
        ]
    )


@kernel(inline="always")
def _is_next(text: np.ndarray, at: int, key: tuple[int, int, int, int]) -> bool:
    return load_word(text, at) & key[_MASK] == key[_KEY]


@kernel(forceinline=True)
def _whole(
    text: np.ndarray, at: int, seen: int, key: tuple[int, int, int, int], value: int, most: int
) -> tuple[int, int, int]:
    """A whole number up to ``most``, or ``value`` as it is: (place, seen, value)."""
    if at < 0 or not _is_next(text, at, key):
        return at, seen, value
    at, value = count(text, at + key[_LENGTH])
    return (at if value <= most else REFUSED), seen | key[_SEEN], value


@kernel(forceinline=True)
def _real(
    text: np.ndarray, at: int, seen: int, key: tuple[int, int, int, int], value: float
) -> tuple[int, int, float]:
    """A decimal, or ``value`` as it is: (place, seen, value)."""
    if at < 0 or not _is_next(text, at, key):
        return at, seen, value
    at, value = decimal(text, at + key[_LENGTH])
    return at, seen | key[_SEEN], value


@kernel(forceinline=True)
def _stamp(text: np.ndarray, at: int, seen: int, last: np.ndarray) -> tuple[int, int, int]:
    """Milliseconds as ns: (place, seen, value). Of a frame's events most have one and the same."""
    if at < 0 or not _is_next(text, at, _T):
        return at, seen, 0
    at += _T[_LENGTH]
    first, sixth = load_word(text, at), load_word(text, at + _FIRST_TO_SIXTH)
    if first == last[_FIRST] and sixth == last[_SIXTH]:
        return at + _STAMP_DIGITS, seen | _T[_SEEN], last[_NS]
    end, value = count(text, at)
    if value < MS_MIN or value > MS_MAX:
        return REFUSED, seen, 0
    value *= 1_000_000
    if end - at == _STAMP_DIGITS:
        last[_FIRST], last[_SIXTH], last[_NS] = first, sixth, value
    return end, seen | _T[_SEEN], value


@kernel(forceinline=True)
def _symbol(tables: np.ndarray, text: np.ndarray, at: int) -> tuple[int, int, int]:
    if not _is_next(text, at, _SYM):
        return at, 0, 0
    at, found = symbol(tables, text, at + _SYM[_LENGTH])
    return at, _SYM[_SEEN], found


@kernel(forceinline=True)
def _identity(text: np.ndarray, at: int, seen: int, value: int) -> tuple[int, int, int]:
    if at < 0 or not _is_next(text, at, _I):
        return at, seen, value
    at, value = identity(text, at + _I[_LENGTH])
    return at, seen | _I[_SEEN], value


@kernel()
def trade(
    tables: np.ndarray, text: np.ndarray, at: int, base: int, last_stamp: np.ndarray
) -> tuple[int, int]:
    """A trade's fields, those of the straight line, into the row at word ``base``: (place behind them, seen)."""
    words, floats = wired(tables, WORDS, np.int64), wired(tables, FLOATS, np.float64)
    at, seen, instrument = _symbol(tables, text, at)
    at, seen, number = _identity(text, at, seen, 0)
    at, seen, venue = _whole(text, at, seen, _X, 0, _SMALL_MAX)
    if seen & _I[_SEEN] == 0:
        at, seen, number = _identity(text, at, seen, number)
    at, seen, price = _real(text, at, seen, _P, _NONE)
    at, seen, size = _real(text, at, seen, _S, _NONE)
    if at < 0:
        return REFUSED, 0
    if _is_next(text, at, _C):
        at, packed = code_list(text, at + _C[_LENGTH], CODES_KEPT)
        seen |= _C[_SEEN]
        if at < 0 or not put_codes(tables, base, base + 14, packed):
            return REFUSED, 0
    at, seen, ts_venue_ns = _stamp(text, at, seen, last_stamp)
    at, seen, sequence = _whole(text, at, seen, _Q, 0, _MOST)
    at, seen, tape = _whole(text, at, seen, _Z, 0, _SMALL_MAX)
    words[base + 1], words[base + 4], words[base + 10] = ts_venue_ns, sequence, number
    words[base + 5] |= instrument
    floats[base + 6], floats[base + 7] = price, size
    words[base + 15] = venue | tape << 32
    return at, seen


@kernel()
def quote(
    tables: np.ndarray, text: np.ndarray, at: int, base: int, last_stamp: np.ndarray
) -> tuple[int, int]:
    """As ``trade``, a quote's."""
    words, floats = wired(tables, WORDS, np.int64), wired(tables, FLOATS, np.float64)
    at, seen, instrument = _symbol(tables, text, at)
    at, seen, condition = _whole(text, at, seen, _C, -1, CODE_MAX)
    at, seen, bid_venue = _whole(text, at, seen, _BX, 0, _SMALL_MAX)
    at, seen, ask_venue = _whole(text, at, seen, _AX, 0, _SMALL_MAX)
    at, seen, bid = _real(text, at, seen, _BP, _NONE)
    at, seen, ask = _real(text, at, seen, _AP, _NONE)
    at, seen, bid_size = _real(text, at, seen, _BS, _NONE)
    at, seen, ask_size = _real(text, at, seen, _AS, _NONE)
    at, seen, ts_venue_ns = _stamp(text, at, seen, last_stamp)
    at, seen, sequence = _whole(text, at, seen, _Q, 0, _MOST)
    at, seen, tape = _whole(text, at, seen, _Z, 0, _SMALL_MAX)
    if seen & _C[_SEEN] == 0:
        at, seen, condition = _whole(text, at, seen, _C, -1, CODE_MAX)
    words[base + 1], words[base + 4] = ts_venue_ns, sequence
    words[base + 5] |= instrument
    floats[base + 6], floats[base + 7], floats[base + 8], floats[base + 9] = bid, ask, bid_size, ask_size
    words[base + 14], words[base + 15] = condition + 1, bid_venue | ask_venue << 16 | tape << 32
    return at, seen
