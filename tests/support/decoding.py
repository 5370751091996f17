"""A decoder on a bench: frames in, rows out, all its counts at hand."""

from collections.abc import Callable

import numpy as np

from hft_engine.feed.decoder import RowDecoder
from hft_engine.instruments import InstrumentTable

RECV_NS, MONO_NS = 1_800_000_000_000_000_001, 77


class DecoderBench:
    def __init__(self, make: Callable[[InstrumentTable], RowDecoder], instruments_max: int = 64) -> None:
        self.instruments = InstrumentTable.private(instruments_max)
        self.decoder = make(self.instruments)

    def rows(self, frame: bytes, ts_recv_ns: int = RECV_NS) -> np.ndarray:
        count = self.decoder.decode(frame, ts_recv_ns, MONO_NS)
        return self.decoder.rows[:count].copy()

    def symbol(self, row: np.void) -> str:
        return self.instruments.symbol_of(int(row["instrument_id"]))

    @property
    def refused(self) -> int:
        return self.decoder.rejected + self.decoder.frames_rejected


def same(found: object, expected: object) -> bool:
    """Equal, or both NaN."""
    return bool(found == expected or (found != found and expected != expected))
