"""What every reader of recorded files needs: its error, rows of a kind, counting what is left out."""

import numpy as np

from hft_engine.records import TICK_DTYPE, TickKind


class RecordingError(Exception):
    """A recorded file that cannot be used; the text names the file, the cause and the remedy."""


def blank_ticks(n: int, kind: TickKind, instrument_id: int) -> np.ndarray:
    ticks = np.zeros(n, TICK_DTYPE)
    ticks["kind"] = kind
    ticks["instrument_id"] = instrument_id
    return ticks


def count_skipped(skipped: dict[str, int], reason: str, n: int) -> None:
    if n:
        skipped[reason] = skipped.get(reason, 0) + n
