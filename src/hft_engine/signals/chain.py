"""The running hash over signals: two runs gave the same signals if and only if their last hashes are equal.

    chain_hash(n) = XXH64(first 80 bytes of signal n, seed = chain_hash(n - 1)),   chain_hash(-1) = 0

XXH64 (``xxh64``) written out for an input of exactly ten little-endian 64-bit words: two stripes of four lanes, then
two single words.
"""

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.records import SIGNAL_HASHED_BYTES
from hft_engine.xxh64 import P1, P2, absorb, avalanche, bits, merge_lanes, round_lane


@kernel(forceinline=True)
def _packed(signals: np.ndarray, j: int) -> np.uint64:
    # instrument_id, side, _pad, reason: the fifth word as it lies in memory
    instrument = np.uint64(np.uint32(signals[j]["instrument_id"]))
    side = np.uint64(np.uint8(signals[j]["side"]))
    pad, reason = np.uint64(signals[j]["_pad"]), np.uint64(signals[j]["reason"])
    return instrument | (side << np.uint64(32)) | (pad << np.uint64(40)) | (reason << np.uint64(48))


@kernel(forceinline=True)
def link(signals: np.ndarray, j: int, previous: np.uint64) -> np.uint64:
    """The chain hash of ``signals[j]`` after ``previous``: a function of its first 80 bytes."""
    lane1 = round_lane(previous + P1 + P2, np.uint64(signals[j]["sequence"]))
    lane2 = round_lane(previous + P2, np.uint64(signals[j]["source_sequence"]))
    lane3 = round_lane(previous, np.uint64(signals[j]["ts_venue_ns"]))
    lane4 = round_lane(previous - P1, np.uint64(signals[j]["ts_expiry_ns"]))
    lane1 = round_lane(lane1, _packed(signals, j))
    lane2 = round_lane(lane2, np.uint64(signals[j]["model_id"]))
    lane3 = round_lane(lane3, bits(signals[j]["price"]))
    lane4 = round_lane(lane4, bits(signals[j]["strength"]))
    total = merge_lanes(lane1, lane2, lane3, lane4) + np.uint64(SIGNAL_HASHED_BYTES)
    total = absorb(total, bits(signals[j]["probability"]))
    return avalanche(absorb(total, bits(signals[j]["value"])))
