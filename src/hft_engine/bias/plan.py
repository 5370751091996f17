"""What one run of the detector is to do, and what it left."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.config.schema import Config


class ProbePlan(msgspec.Struct, frozen=True):
    """``folder``: where it runs. ``paths``: recorded files, as seen from there. ``output``: an .npz file.

    ``inputs``: the originals, which nobody may open: a rewritten copy stands for each.
    """

    folder: str
    paths: tuple[str, ...]
    output: str
    inputs: tuple[str, ...]
    config: Config
    begin_ns: int = 0  # UTC; ticks received before are left out


class ProbeEnd(msgspec.Struct, frozen=True):
    """``opened``: inputs that something opened by their own name."""

    error: str
    opened: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """Everything that a run put out. ``values`` float64[n, features]: of the feature records in ``heads``."""

    heads: np.ndarray  # int64[n, 3]: source_sequence, ts_venue_ns, instrument_id
    values: np.ndarray
    bars: np.ndarray  # BAR_DTYPE
    signals: np.ndarray  # SIGNAL_DTYPE
    orders: np.ndarray  # ORDER_DTYPE
    symbols: tuple[str, ...]

    def write(self, path: Path) -> None:
        np.savez(
            path,
            heads=self.heads,
            values=self.values,
            bars=self.bars,
            signals=self.signals,
            orders=self.orders,
            symbols=np.frombuffer("\n".join(self.symbols).encode(), np.uint8),
        )


def read_outcome(path: Path) -> Outcome:
    with np.load(path) as found:
        symbols = tuple(found["symbols"].tobytes().decode().split("\n"))
        return Outcome(
            found["heads"], found["values"], found["bars"], found["signals"], found["orders"], symbols
        )
