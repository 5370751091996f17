"""The steps of XXH64 in compiled code, of which a hash over a record of a known length is written out.

As specified by Yann Collet, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md: stripes of four 64-bit
words go through ``round_lane``, one lane each; ``merge_lanes``; the length is added; words that are left over are
absorbed; ``avalanche``. Four lanes begin with ``seed + P1 + P2``, ``seed + P2``, ``seed`` and ``seed - P1``.
"""

import numpy as np

from hft_engine.kernel import kernel

P1 = np.uint64(0x9E3779B185EBCA87)
P2 = np.uint64(0xC2B2AE3D27D4EB4F)
P3 = np.uint64(0x165667B19E3779F9)
P4 = np.uint64(0x85EBCA77C2B2AE63)


@kernel(forceinline=True)
def rotate(x: np.uint64, count: int) -> np.uint64:
    return (x << np.uint64(count)) | (x >> np.uint64(64 - count))


@kernel(forceinline=True)
def round_lane(lane: np.uint64, word: np.uint64) -> np.uint64:
    return rotate(lane + word * P2, 31) * P1


@kernel(forceinline=True)
def _merge(total: np.uint64, lane: np.uint64) -> np.uint64:
    return (total ^ round_lane(np.uint64(0), lane)) * P1 + P4


@kernel(forceinline=True)
def merge_lanes(lane1: np.uint64, lane2: np.uint64, lane3: np.uint64, lane4: np.uint64) -> np.uint64:
    total = rotate(lane1, 1) + rotate(lane2, 7) + rotate(lane3, 12) + rotate(lane4, 18)
    return _merge(_merge(_merge(_merge(total, lane1), lane2), lane3), lane4)


@kernel(forceinline=True)
def absorb(total: np.uint64, word: np.uint64) -> np.uint64:
    return rotate(total ^ round_lane(np.uint64(0), word), 27) * P1 + P4


@kernel(forceinline=True)
def avalanche(total: np.uint64) -> np.uint64:
    total = (total ^ (total >> np.uint64(33))) * P2
    total = (total ^ (total >> np.uint64(29))) * P3
    return total ^ (total >> np.uint64(32))


@kernel(forceinline=True)
def bits(value: float) -> np.uint64:
    return np.float64(value).view(np.uint64)
