"""The words of a plain frame's text: numbers, short strings and lists, read by compiled code, eight bytes at a time.

``text`` is uint8[] with at least GUARD_BYTES behind it in its buffer, and a zero somewhere: no reader passes it, for
no rule takes it. Readers return the place behind what they read and its value; REFUSED as place for what they do not
take.

Eight bytes in a word, the first lowest: a byte is found by the zero-byte trick, and eight digits become a number by
three multiplications (Mycroft 1987; Lemire, "Quickly parsing eight digits", 2022). A borrow can only mark bytes above
a true find, and it is the lowest mark that is used.
"""

import numpy as np

from hft_engine.feed.conditions import CODE_MAX
from hft_engine.kernel import kernel
from hft_engine.words import load_word, trailing_zeros

REFUSED = -1
_DIGITS_MAX = 18  # any such number fits an int64
_EXACT_BELOW = 1 << 53
_POWERS = np.array([10.0**i for i in range(_DIGITS_MAX + 1)])
_TENS = np.array([10**i for i in range(9)], np.int64)
QUOTATION, COMMA, COLON = ord('"'), ord(","), ord(":")
_BACKSLASH, _DOT, _ZERO, _OPEN_LIST, _CLOSE_LIST = (ord(sign) for sign in "\\.0[]")


def _everywhere(byte: int) -> int:
    """A word, as int64, of eight times this byte."""
    return int.from_bytes(bytes([byte]) * 8, "little", signed=True)


_ONES, _HIGH = _everywhere(0x01), _everywhere(0x80)
QUOTATIONS, _BACKSLASHES, _DELETES = _everywhere(QUOTATION), _everywhere(_BACKSLASH), _everywhere(0x7F)
_SPACES, _ZEROS, _TO_TEN = _everywhere(0x20), _everywhere(_ZERO), _everywhere(0x80 - 10)
_LAST_MARK = 71  # where the high bit of a ninth byte would be
_PAIRS, _FOURS = 0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF


@kernel(inline="always")
def byte_at(text: np.ndarray, at: int) -> int:
    # An unsigned index, because a signed one is tested for "from the end" at every byte.
    return np.int64(text[np.uint64(at)])  # type: ignore[return-value]


@kernel(inline="always")
def zero_bytes(word: int) -> int:
    """The high bit of each zero byte; marks above the first may be wrong."""
    return (word - _ONES) & ~word & _HIGH


@kernel(inline="always")
def packed_text(text: np.ndarray, at: int) -> tuple[int, int]:
    """Up to 8 plain characters of a string, packed, the first lowest; ends at what is not plain."""
    word = load_word(text, at)
    less = (word - _SPACES) & ~word & _HIGH
    strange = zero_bytes(word ^ _BACKSLASHES) | zero_bytes(word ^ _DELETES) | (word & _HIGH)
    ends = zero_bytes(word ^ QUOTATIONS) | less | strange
    if ends == 0:
        return at + 8, word
    bits = trailing_zeros(ends) - 7
    return at + (bits >> 3), word & ((1 << bits) - 1)


@kernel(inline="always")
def _other_bytes(word: int) -> int:
    """Of text ^ _ZEROS: the high bit of each byte that is no digit; true is the lowest, and one above a dot."""
    return ((word + _TO_TEN) | word) & _HIGH


@kernel(inline="always")
def _aligned(word: int, bits: int) -> int:
    """The first 1 to 7 bytes of a word as its last ones, zeros before them; ``bits``: the mark of the byte behind."""
    return word << (_LAST_MARK - bits)


@kernel(inline="always")
def _eight_digits(word: int) -> int:
    digits = (word * 2561) >> 8
    digits = ((digits & _PAIRS) * 6553601) >> 16
    return ((digits & _FOURS) * 42949672960001) >> 32


@kernel(inline="always")
def _digits(text: np.ndarray, at: int, value: int) -> tuple[int, int]:
    """Go on with a number: (place behind its digits, ``value`` with them appended)."""
    while True:
        word = load_word(text, at) ^ _ZEROS
        others = _other_bytes(word)
        if others != 0:
            length = trailing_zeros(others) >> 3
            number = _eight_digits((word << 8) << (56 - 8 * length))  # of no digit, too
            return at + length, value * _TENS[length] + number
        value = value * 100_000_000 + _eight_digits(word)
        at += 8


@kernel(forceinline=True)
def count(text: np.ndarray, at: int) -> tuple[int, int]:
    word = load_word(text, at) ^ _ZEROS
    others = _other_bytes(word)
    if others == 0:
        return _long_count(text, at)
    bits = trailing_zeros(others)
    length = bits >> 3
    if length == 0 or (word & 0xFF == 0 and length > 1):
        return REFUSED, 0
    return at + length, _eight_digits(_aligned(word, bits))


@kernel()
def _long_count(text: np.ndarray, at: int) -> tuple[int, int]:
    end, value = _digits(text, at, 0)
    return (end if byte_at(text, at) != _ZERO and end - at <= _DIGITS_MAX else REFUSED), value


@kernel(forceinline=True)
def decimal(text: np.ndarray, at: int) -> tuple[int, float]:
    word = load_word(text, at) ^ _ZEROS
    others = _other_bytes(word)
    behind = others & (others - 1)  # the second byte that is no digit, where the first one is a dot
    if behind == 0:
        return _long_decimal(text, at)
    bits = trailing_zeros(others)
    whole = bits >> 3
    if whole == 0 or (word & 0xFF == 0 and whole > 1):
        return REFUSED, 0.0
    if (word >> (bits - 7)) & 0xFF != _DOT ^ _ZERO:
        return at + whole, np.float64(_eight_digits(_aligned(word, bits)))
    end = trailing_zeros(behind)
    decimals = ((end - bits) >> 3) - 1
    if decimals == 0:
        return REFUSED, 0.0
    word = _aligned(word, end)
    fraction = -1 << (64 - 8 * decimals)
    units = _eight_digits((word & fraction) | ((word << 8) & ~fraction))  # the dot taken out
    return at + (end >> 3), np.float64(units) / _POWERS[np.uint64(decimals)]


@kernel()
def _long_decimal(text: np.ndarray, at: int) -> tuple[int, float]:
    end, units = _digits(text, at, 0)
    length, decimals = end - at, 0
    if length == 0 or (length > 1 and byte_at(text, at) == _ZERO):
        return REFUSED, 0.0
    if byte_at(text, end) == _DOT:
        dot = end
        end, units = _digits(text, dot + 1, units)
        decimals = end - dot - 1
        if decimals == 0:
            return REFUSED, 0.0
    if length + decimals > _DIGITS_MAX or units >= _EXACT_BELOW:
        return REFUSED, 0.0
    return end, np.float64(units) / _POWERS[np.uint64(decimals)]


@kernel()
def decimal_text(text: np.ndarray, at: int) -> tuple[int, float]:
    if byte_at(text, at) != QUOTATION:
        return REFUSED, 0.0
    end, value = decimal(text, at + 1)
    if end < 0 or byte_at(text, end) != QUOTATION:
        return REFUSED, 0.0
    return end + 1, value


@kernel(inline="always")
def whole_text(text: np.ndarray, at: int) -> tuple[int, int]:
    """Digits, zeros before them and none at all included."""
    end, value = _digits(text, at, 0)
    return (end if end - at <= _DIGITS_MAX else REFUSED), value


@kernel()
def identity(text: np.ndarray, at: int) -> tuple[int, int]:
    """A trade's id: a number, or its text, which may be empty."""
    if byte_at(text, at) != QUOTATION:
        return count(text, at)
    end, value = whole_text(text, at + 1)
    if end < 0 or byte_at(text, end) != QUOTATION:
        return REFUSED, 0
    return end + 1, value


@kernel()
def code_list(text: np.ndarray, at: int, most: int) -> tuple[int, int]:
    """A list of at most so many codes, packed as ``conditions.pack`` does."""
    if byte_at(text, at) != _OPEN_LIST:
        return REFUSED, 0
    if byte_at(text, at + 1) == _CLOSE_LIST:
        return at + 2, 0
    packed = 0
    for place in range(most):
        at, code = count(text, at + 1)
        if at < 0 or code > CODE_MAX:
            return REFUSED, 0
        packed |= (code + 1) << (16 * place)
        if byte_at(text, at) == _CLOSE_LIST:
            return at + 1, packed
        if byte_at(text, at) != COMMA:
            return REFUSED, 0
    return REFUSED, 0


@kernel()
def skip(text: np.ndarray, at: int) -> int:
    if byte_at(text, at) != QUOTATION:
        return decimal(text, at)[0]
    at += 1
    end, _ = packed_text(text, at)
    while end > at:
        at = end
        end, _ = packed_text(text, at)
    return at + 1 if byte_at(text, at) == QUOTATION else REFUSED
