"""The running hash over fills: two runs filled the same orders at the same prices if and only if their last are equal.

chain_hash(n) = XXH64(first 96 bytes of fill n, seed = chain_hash(n - 1)),   chain_hash(-1) = 0
"""

from typing import Any

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.records import FILL_HASHED_BYTES
from hft_engine.xxh64 import P1, P2, avalanche, merge_lanes, round_lane


@kernel(forceinline=True)
def _word(value: int) -> np.uint64:
    return np.uint64(value)


@kernel(forceinline=True)
def _packed(fill: Any) -> np.uint64:
    # instrument_id, side, liquidity, _pad: the sixth word as it lies in memory
    instrument = np.uint64(np.uint32(fill.instrument_id))
    side, liquidity = np.uint64(np.uint8(fill.side)), np.uint64(fill.liquidity)
    return instrument | (side << np.uint64(32)) | (liquidity << np.uint64(40))


@kernel()
def link(fill: Any, previous: np.uint64) -> np.uint64:
    """The chain hash of a record of FILL_DTYPE after ``previous``: three stripes of four words."""
    lane1 = round_lane(previous + P1 + P2, _word(fill.sequence))
    lane2 = round_lane(previous + P2, _word(fill.source_sequence))
    lane3 = round_lane(previous, _word(fill.ts_venue_ns))
    lane4 = round_lane(previous - P1, _word(fill.order_id))
    lane1 = round_lane(lane1, _word(fill.signal_sequence))
    lane2 = round_lane(lane2, _packed(fill))
    lane3 = round_lane(lane3, _word(fill.price))
    lane4 = round_lane(lane4, _word(fill.quantity))
    lane1 = round_lane(lane1, _word(fill.fee))
    lane2 = round_lane(lane2, _word(fill.realised))
    lane3 = round_lane(lane3, _word(fill.position))
    lane4 = round_lane(lane4, _word(fill.cash))
    return avalanche(merge_lanes(lane1, lane2, lane3, lane4) + np.uint64(FILL_HASHED_BYTES))
