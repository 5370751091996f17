"""Recorded market data as ticks in time order: files in, chunks of ``TICK_DTYPE`` out.

Formats are told apart by name: Lean equity ticks (``recorded_lean``), raw Binance frames (``recorded_binance``), and
stored bars (``recorded_bars``). Several files are merged by receive time, where equal in the order given.
``ts_recv_ns`` is the recorded receive time where the file has one, else the venue's time. ``sequence`` and
``ts_mono_ns`` are 0: whoever puts the ticks on a ring sets them. ``venue_id`` is 0.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hft_engine.feed.recorded_bars import (
    CSV_SUFFIXES,
    DATABASE_SUFFIXES,
    read_csv_bars,
    read_database_bars,
)
from hft_engine.feed.recorded_binance import read_binance
from hft_engine.feed.recorded_lean import LEAN_NAME, read_lean
from hft_engine.feed.recorded_rows import RecordingError
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE, TickKind, join_ticks

__all__ = ["CHUNK_TICKS_MAX", "Recording", "RecordingError", "open_recording"]

CHUNK_TICKS_MAX = 4_096  # one chunk fits a quarter of the smallest sensible ring and half a megabyte of cache


@dataclass
class Recording:
    """Iterate it, more than once if need be, for chunks of at most ``CHUNK_TICKS_MAX`` ticks in time order.

    A chunk is a fresh array that the caller may change. ``skipped`` counts what the files held and the ticks do
    not, by reason.
    """

    symbols: tuple[str, ...]
    count: int
    description: str
    skipped: dict[str, int] = field(default_factory=dict)
    _parts: np.ndarray = field(default_factory=lambda: np.zeros(0, TICK_DTYPE), repr=False)
    _order: np.ndarray | None = field(default=None, repr=False)  # None: already in order

    @classmethod
    def of(
        cls, symbols: Sequence[str], ticks: np.ndarray, description: str = "ticks in memory"
    ) -> "Recording":
        """A recording of ticks at hand; they are put in order of receive time."""
        return cls(tuple(symbols), len(ticks), description, {}, ticks, _order_of(ticks["ts_recv_ns"]))

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, self.count, CHUNK_TICKS_MAX):
            stop = start + CHUNK_TICKS_MAX
            yield (
                self._parts[start:stop].copy()
                if self._order is None
                else self._parts[self._order[start:stop]]
            )


def open_recording(paths: str | Path | Sequence[str | Path], instruments: InstrumentTable) -> Recording:
    """Read one file or several and merge them by time; symbols are added to ``instruments`` in order of files.

    Raises RecordingError for a file that is missing, unreadable or in no known format, or has no tick.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not files:
        raise RecordingError("no recorded file was given; name at least one")
    skipped: dict[str, int] = {}
    parts = [_reader_of(path)(path, instruments, skipped) for path in files]
    ticks = parts[0] if len(parts) == 1 else join_ticks(parts)
    if not len(ticks):
        raise RecordingError(f"{_names(files)}: no trade and no quote inside, nothing to replay")
    symbols = tuple(instruments.symbol_of(int(i)) for i in np.unique(ticks["instrument_id"]))
    return Recording(
        symbols, len(ticks), _describe(files, ticks), skipped, ticks, _order_of(ticks["ts_recv_ns"])
    )


def _order_of(ts: np.ndarray) -> np.ndarray | None:
    return None if bool(np.all(ts[1:] >= ts[:-1])) else np.argsort(ts, kind="stable")


def _names(files: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in files)


def _describe(files: Sequence[Path], ticks: np.ndarray) -> str:
    trades = int(np.count_nonzero(ticks["kind"] == TickKind.TRADE))
    first, last = int(ticks["ts_recv_ns"].min()), int(ticks["ts_recv_ns"].max())
    start = datetime.fromtimestamp(first / 1e9, UTC)
    return (
        f"{_names(files)}: {trades} trades and {len(ticks) - trades} quotes over {(last - first) / 1e9:.0f} s "
        f"from {start:%Y-%m-%d %H:%M:%S} UTC"
    )


_Reader = Callable[[Path, InstrumentTable, dict[str, int]], np.ndarray]


def _reader_of(path: Path) -> _Reader:
    """The reader for a file's format. Raises RecordingError where there is no such file or reader."""
    if not path.is_file():
        raise RecordingError(f"{path}: no such file; name a recorded file, not a folder")
    if LEAN_NAME.match(path.name):
        return read_lean
    if path.name.endswith((".jsonl.gz", ".jsonl")):
        return read_binance
    if path.name.endswith(CSV_SUFFIXES):
        return read_csv_bars
    if path.name.endswith(DATABASE_SUFFIXES):
        return read_database_bars
    raise RecordingError(
        f"{path}: not a known recording; expected <symbol>/<YYYYMMDD>_trade.zip or _quote.zip (Lean equity ticks), "
        "*.csv or *.db (bars), or *.jsonl.gz with lines of '<receive ns> <Binance frame>'"
    )
