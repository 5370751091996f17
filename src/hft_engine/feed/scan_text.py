"""The words of a plain frame's text: numbers, short strings and lists, read by compiled code.

``text`` is uint8[], and somewhere behind it a zero follows: no reader passes it, for no rule takes it. Readers
return the place behind what they read and its value; REFUSED as place for what they do not take.
"""

import numpy as np
from numba import njit

from hft_engine.feed.conditions import CODE_MAX

REFUSED = -1
_DIGITS_MAX = 18  # any such number fits an int64
_EXACT_BELOW = 1 << 53
_POWERS = np.array([10.0**i for i in range(_DIGITS_MAX + 1)])
QUOTATION, COMMA, COLON = ord('"'), ord(","), ord(":")
_BACKSLASH, _DOT, _ZERO, _OPEN_LIST, _CLOSE_LIST = (ord(sign) for sign in "\\.0[]")


@njit(nogil=True, error_model="numpy")
def byte_at(text: np.ndarray, at: int) -> int:
    # An unsigned index, because a signed one is tested for "from the end" at every byte.
    return np.int64(text[np.uint64(at)])  # type: ignore[return-value]


@njit(nogil=True, error_model="numpy")
def packed_text(text: np.ndarray, at: int) -> tuple[int, int]:
    """Up to 8 plain characters of a string, packed, the first lowest."""
    word, shift = 0, 0
    while shift < 64:
        byte = byte_at(text, at)
        if byte in (QUOTATION, _BACKSLASH) or byte < 0x20 or byte > 0x7E:
            break
        word |= byte << shift
        shift += 8
        at += 1
    return at, word


@njit(nogil=True, error_model="numpy")
def _digits(text: np.ndarray, at: int, value: int) -> tuple[int, int]:
    digit = byte_at(text, at) - _ZERO
    while 0 <= digit <= 9:
        value = value * 10 + digit
        at += 1
        digit = byte_at(text, at) - _ZERO
    return at, value


@njit(nogil=True, error_model="numpy")
def count(text: np.ndarray, at: int) -> tuple[int, int]:
    end, value = _digits(text, at, 0)
    length = end - at
    if length == 0 or length > _DIGITS_MAX or (length > 1 and byte_at(text, at) == _ZERO):
        return REFUSED, 0
    return end, value


@njit(nogil=True, error_model="numpy")
def decimal(text: np.ndarray, at: int) -> tuple[int, float]:
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
    return end, np.float64(units) / _POWERS[decimals]


@njit(nogil=True, error_model="numpy")
def decimal_text(text: np.ndarray, at: int) -> tuple[int, float]:
    if byte_at(text, at) != QUOTATION:
        return REFUSED, 0.0
    end, value = decimal(text, at + 1)
    if end < 0 or byte_at(text, end) != QUOTATION:
        return REFUSED, 0.0
    return end + 1, value


@njit(nogil=True, error_model="numpy")
def identity(text: np.ndarray, at: int) -> tuple[int, int]:
    """A trade's id: a number, or its text, which may be empty."""
    if byte_at(text, at) != QUOTATION:
        return count(text, at)
    end, value = _digits(text, at + 1, 0)
    if end - at - 1 > _DIGITS_MAX or byte_at(text, end) != QUOTATION:
        return REFUSED, 0
    return end + 1, value


@njit(nogil=True, error_model="numpy")
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


@njit(nogil=True, error_model="numpy")
def skip(text: np.ndarray, at: int) -> int:
    if byte_at(text, at) != QUOTATION:
        return decimal(text, at)[0]
    at += 1
    end, _ = packed_text(text, at)
    while end > at:
        at = end
        end, _ = packed_text(text, at)
    return at + 1 if byte_at(text, at) == QUOTATION else REFUSED
