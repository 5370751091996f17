"""The running hash over signals: two runs gave the same signals if and only if their last hashes are equal.

    chain_hash(n) = XXH64(first 80 bytes of signal n, seed = chain_hash(n - 1)),   chain_hash(-1) = 0

XXH64 as specified by Yann Collet, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, written out
for an input of exactly ten little-endian 64-bit words: two stripes of four lanes, then two single words.
"""

import numpy as np
from numba import njit

from hft_engine.records import SIGNAL_HASHED_BYTES

_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)


@njit(nogil=True, inline="always")
def _rotate(x: np.uint64, bits: int) -> np.uint64:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@njit(nogil=True, inline="always")
def _round(lane: np.uint64, word: np.uint64) -> np.uint64:
    return _rotate(lane + word * _P2, 31) * _P1


@njit(nogil=True, inline="always")
def _merge(total: np.uint64, lane: np.uint64) -> np.uint64:
    return (total ^ _round(np.uint64(0), lane)) * _P1 + _P4


@njit(nogil=True, inline="always")
def _absorb(total: np.uint64, word: np.uint64) -> np.uint64:
    return _rotate(total ^ _round(np.uint64(0), word), 27) * _P1 + _P4


@njit(nogil=True, inline="always")
def _avalanche(total: np.uint64) -> np.uint64:
    total = (total ^ (total >> np.uint64(33))) * _P2
    total = (total ^ (total >> np.uint64(29))) * _P3
    return total ^ (total >> np.uint64(32))


@njit(nogil=True, inline="always")
def _bits(value: float) -> np.uint64:
    return np.float64(value).view(np.uint64)


@njit(nogil=True, inline="always")
def _packed(signals: np.ndarray, j: int) -> np.uint64:
    # instrument_id, side, _pad, reason: the fifth word as it lies in memory
    instrument = np.uint64(np.uint32(signals[j]["instrument_id"]))
    side = np.uint64(np.uint8(signals[j]["side"]))
    pad, reason = np.uint64(signals[j]["_pad"]), np.uint64(signals[j]["reason"])
    return instrument | (side << np.uint64(32)) | (pad << np.uint64(40)) | (reason << np.uint64(48))


@njit(nogil=True, inline="always")
def link(signals: np.ndarray, j: int, previous: np.uint64) -> np.uint64:
    """The chain hash of ``signals[j]`` after ``previous``: a function of its first 80 bytes."""
    lane1 = _round(previous + _P1 + _P2, np.uint64(signals[j]["sequence"]))
    lane2 = _round(previous + _P2, np.uint64(signals[j]["source_sequence"]))
    lane3 = _round(previous, np.uint64(signals[j]["ts_venue_ns"]))
    lane4 = _round(previous - _P1, np.uint64(signals[j]["ts_expiry_ns"]))
    lane1 = _round(lane1, _packed(signals, j))
    lane2 = _round(lane2, np.uint64(signals[j]["model_id"]))
    lane3 = _round(lane3, _bits(signals[j]["price"]))
    lane4 = _round(lane4, _bits(signals[j]["strength"]))
    total = _rotate(lane1, 1) + _rotate(lane2, 7) + _rotate(lane3, 12) + _rotate(lane4, 18)
    total = _merge(_merge(_merge(_merge(total, lane1), lane2), lane3), lane4)
    total += np.uint64(SIGNAL_HASHED_BYTES)
    total = _absorb(total, _bits(signals[j]["probability"]))
    return _avalanche(_absorb(total, _bits(signals[j]["value"])))
