"""What every reader of recorded files needs: its error, rows of a kind, joining, counting what is left out."""

from collections.abc import Sequence

import numpy as np

from hft_engine.records import TICK_DTYPE, TickKind

_ROW = np.dtype(f"V{TICK_DTYPE.itemsize}")


class RecordingError(Exception):
    """A recorded file that cannot be used; the text names the file, the cause and the remedy."""


def blank_ticks(n: int, kind: TickKind, instrument_id: int) -> np.ndarray:
    ticks = np.zeros(n, TICK_DTYPE)
    ticks["kind"] = kind
    ticks["instrument_id"] = instrument_id
    return ticks


def join_ticks(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One array of TICK_DTYPE. Plain ``np.concatenate`` would repack the records and part overlapping fields."""
    joined: np.ndarray = np.concatenate([part.view(_ROW) for part in parts]).view(TICK_DTYPE)
    return joined


def count_skipped(skipped: dict[str, int], reason: str, n: int) -> None:
    if n:
        skipped[reason] = skipped.get(reason, 0) + n
