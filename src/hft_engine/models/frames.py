"""A frame of bars as the columns that features are computed from. Of pandas, polars, a dict of arrays: whatever has
``frame["close"]``; nothing of theirs is imported.
"""

from typing import Any, NamedTuple

import numpy as np

from hft_engine.inference.errors import ModelError

_TIMES = ("timestamp", "ts_start_ns", "datetime", "date", "time", "t")
_MINUTE_NS = 60_000_000_000


class BarFrame(NamedTuple):
    """float64[n] each but ``ts_ns`` int64[n], oldest first."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    ts_ns: np.ndarray


def bars_of(frame: Any) -> BarFrame:
    """``frame``: columns open, high, low, close, and volume if there is any, in any case; times in a column or a pandas
    index, else minutes are assumed. Raises ModelError naming a column that is missing.
    """
    names = _names(frame)
    missing = [name for name in ("open", "high", "low", "close") if name not in names]
    if missing:
        raise ModelError(
            f"the frame has no column {', '.join(missing)}; it needs open, high, low, close, volume"
        )
    open_, high, low, close = (
        np.asarray(frame[names[name]], np.float64) for name in ("open", "high", "low", "close")
    )
    rows = len(close)
    volume = np.asarray(frame[names["volume"]], np.float64) if "volume" in names else np.zeros(rows)
    return BarFrame(open_, high, low, close, volume, _stamps(frame, names, rows))


def is_empty(frame: Any) -> bool:
    """Without a row, or no frame at all."""
    return frame is None or not _names(frame) or len(frame[next(iter(_names(frame).values()))]) == 0


def _names(frame: Any) -> dict[str, Any]:
    """The frame's names by their lower case."""
    if isinstance(frame, np.ndarray):
        found = frame.dtype.names or ()
    else:
        found = frame.columns if hasattr(frame, "columns") else frame.keys()
    return {str(name).lower(): name for name in found}


def _stamps(frame: Any, names: dict[str, Any], rows: int) -> np.ndarray:
    for name in _TIMES:
        if name in names:
            return _as_ns(np.asarray(frame[names[name]]))
    index = np.asarray(frame.index) if hasattr(frame, "index") and not callable(frame.index) else None
    if index is not None and np.issubdtype(index.dtype, np.datetime64):
        return _as_ns(index)
    return np.arange(rows, dtype=np.int64) * _MINUTE_NS


def _as_ns(values: np.ndarray) -> np.ndarray:
    """UTC ns of datetimes, or of numbers of seconds, milliseconds or nanoseconds since 1970."""
    if np.issubdtype(values.dtype, np.number):
        largest = float(np.max(values, initial=0))
        unit = 1 if largest > 1e16 else 1_000_000 if largest > 1e11 else 1_000_000_000
        return (values * unit).astype(np.int64)
    return values.astype("datetime64[ns]").astype(np.int64)
