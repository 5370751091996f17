"""Stored bars as ticks: ``*.csv``, ``*.csv.gz``, and the table ``bars`` of the engine's own database (``*.db``).

A bar says not which way the price went inside it. Each becomes four trades, so that the engine builds the very same bar
again: the open at its start; the low, then the high, of a bar that rose (of one that fell the other way round) at a
third and two thirds; the close a millisecond before its end. Its volume is spread over the four in equal whole parts,
what is left over goes to the close. No quote is known: market orders pay the half spread of the configuration.

CSV: a header with a time (date, datetime, time, timestamp), open, high, low, close; volume and symbol if there are any,
else the volume is 0 and the symbol the file's name. Times are UTC, of the bar's start: ISO 8601, month/day/year, or a
number of seconds, milliseconds or nanoseconds since 1970. The period is the shortest step between two bars.
"""

import csv
import gzip
import io
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hft_engine.feed.recorded_rows import RecordingError, blank_ticks, count_skipped
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TickKind

CSV_SUFFIXES, DATABASE_SUFFIXES = (".csv", ".csv.gz"), (".db", ".sqlite", ".sqlite3")
TRADES = 4  # that a bar becomes
CLOSE_BEFORE_END_NS = 1_000_000
_TIMES = ("ts_start_ns", "timestamp", "datetime", "date", "time")
_PRICES = ("open", "high", "low", "close")
_FORMATS = ("%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%Y%m%d", "%Y%m%d %H:%M")
_DAY_NS = 86_400_000_000_000


class _Bars(NamedTuple):
    """Columns of one instrument, ``stamps`` in order."""

    stamps: np.ndarray
    prices: np.ndarray  # float64[n, 4]: open, high, low, close
    volumes: np.ndarray
    period_ns: int


def read_csv_bars(path: Path, instruments: InstrumentTable, skipped: dict[str, int]) -> np.ndarray:
    """Raises RecordingError, naming file and line."""
    return _ticks(path, _of_csv(path), instruments, skipped)


def read_database_bars(path: Path, instruments: InstrumentTable, skipped: dict[str, int]) -> np.ndarray:
    """Minute bars where there are any, else those of a second; one of each instrument and time.

    Raises RecordingError.
    """
    return _ticks(path, _of_database(path), instruments, skipped)


def stored_bars(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The bars themselves, by symbol: UTC ns of each bar's start, int64[n] in order, and float64[n, 5] of open, high,
    low, close, volume, with what the file does not say as NaN. Raises RecordingError.
    """
    found = _of_database(path) if path.name.endswith(DATABASE_SUFFIXES) else _of_csv(path)
    bars = {}
    for symbol, rows in found.items():
        stamps = np.array([row[0] for row in rows], np.int64)
        order = np.argsort(stamps, kind="stable")
        bars[symbol] = stamps[order], np.array([row[1:] for row in rows], np.float64)[order]
    return bars


# ---- bars of a file -------------------------------------------------------------------------------------------

_Row = tuple[int, float, float, float, float, float]


def _of_csv(path: Path) -> dict[str, list[_Row]]:
    found: dict[str, list[_Row]] = {}
    rows = _csv_rows(path)
    header = [name.strip().lower() for name in next(rows, [])]
    if not header:
        raise RecordingError(f"{path}: is empty; it must begin with a header of time, open, high, low, close")
    columns = _columns(path, header)
    own_name = path.name.split(".")[0].upper()
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        try:
            symbol = row[columns["symbol"]] if "symbol" in columns else own_name
            found.setdefault(symbol, []).append(_row(row, columns))
        except (ValueError, IndexError) as error:
            raise RecordingError(f"{path}: line {number}: {error}; expected {', '.join(header)}") from None
    return found


def _csv_rows(path: Path) -> Iterator[list[str]]:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise RecordingError(f"{path}: unreadable ({error}); fetch it again") from error
    rows = csv.reader(io.StringIO(raw.decode("utf-8-sig", errors="replace")))
    try:
        yield from rows
    except csv.Error as error:
        raise RecordingError(f"{path}: line {rows.line_num}: {error}; is it a CSV file?") from error


def _columns(path: Path, header: Sequence[str]) -> dict[str, int]:
    time = next((name for name in _TIMES if name in header), None)
    missing = [name for name in _PRICES if name not in header]
    if time is None or missing:
        lacks = ", ".join(([] if time else ["a time"]) + missing)
        raise RecordingError(f"{path}: the header lacks {lacks}; it must name time, open, high, low, close")
    names = [name for name in (*_PRICES, "volume", "symbol") if name in header]
    return {"time": header.index(time), **{name: header.index(name) for name in names}}


def _row(row: Sequence[str], columns: dict[str, int]) -> _Row:
    prices = [float(row[columns[name]] or "nan") for name in _PRICES]
    volume = float(row[columns["volume"]] or 0) if "volume" in columns else 0.0
    return (parse_stamp(row[columns["time"]]), *prices, volume)  # type: ignore[return-value]


def parse_stamp(text: str) -> int:
    """UTC nanoseconds of a date, a time, or a number of seconds, milliseconds or nanoseconds. Raises ValueError."""
    text = text.strip()
    if text.isdigit() and len(text) > 8:
        return int(text) * (1 if len(text) > 16 else 1_000_000 if len(text) > 11 else 1_000_000_000)
    return _as_ns(_parse(text))


def _parse(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        for known in _FORMATS:
            try:
                return datetime.strptime(text, known)
            except ValueError:
                continue
    raise ValueError(f"{text!r} is no date or time")


def _as_ns(when: datetime) -> int:
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    delta = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000


def _of_database(path: Path) -> dict[str, list[_Row]]:
    query = (
        "SELECT symbol, ts_start_ns, open, high, low, close, volume FROM bars WHERE kind = ? AND open IS NOT NULL "
        "GROUP BY symbol, ts_start_ns ORDER BY ts_start_ns"
    )
    found: dict[str, list[_Row]] = {}
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            kinds = {kind for (kind,) in connection.execute("SELECT DISTINCT kind FROM bars")}
            kind = next((name for name in ("minute", "second") if name in kinds), "minute")
            for symbol, *row in connection.execute(query, (kind,)):
                found.setdefault(symbol, []).append(tuple(row))
    except sqlite3.Error as error:
        raise RecordingError(
            f"{path}: {error}; expected a database of the engine, with a table bars"
        ) from error
    return found


# ---- bars to trades -------------------------------------------------------------------------------------------


def _ticks(
    path: Path, found: dict[str, list[_Row]], instruments: InstrumentTable, skipped: dict[str, int]
) -> np.ndarray:
    if not any(found.values()):
        raise RecordingError(f"{path}: holds no bar")
    parts = [
        _trades(_table(rows, skipped), instruments.id_of(symbol)) for symbol, rows in found.items() if rows
    ]
    whole = np.dtype(f"V{parts[0].dtype.itemsize}")
    joined: np.ndarray = np.concatenate([part.view(whole) for part in parts]).view(parts[0].dtype)
    return joined


def _table(rows: list[_Row], skipped: dict[str, int]) -> _Bars:
    stamps = np.array([row[0] for row in rows], np.int64)
    values = np.array([row[1:] for row in rows], np.float64)
    order = np.argsort(stamps, kind="stable")
    stamps, values = stamps[order], values[order]
    good = np.all((values[:, :4] > 0.0) & np.isfinite(values[:, :4]), axis=1)
    count_skipped(skipped, "bars without four positive prices", int(len(good) - good.sum()))
    stamps, values = stamps[good], values[good]
    steps = np.diff(stamps)
    period_ns = int(steps[steps > 0].min()) if np.any(steps > 0) else _DAY_NS
    return _Bars(stamps, values[:, :4], np.nan_to_num(np.maximum(values[:, 4], 0.0)), period_ns)


def _trades(bars: _Bars, instrument_id: int) -> np.ndarray:
    ticks = blank_ticks(TRADES * len(bars.stamps), TickKind.TRADE, instrument_id)
    third = bars.period_ns // 3
    offsets = np.array([0, third, 2 * third, max(bars.period_ns - CLOSE_BEFORE_END_NS, 2 * third)])
    ticks["ts_venue_ns"] = ticks["ts_recv_ns"] = (bars.stamps[:, None] + offsets).ravel()
    ticks["price"] = _path(bars.prices).ravel()
    ticks["size"] = _sizes(bars.volumes).ravel()
    ticks["venue_sequence"] = ticks["trade_id"] = np.arange(1, len(ticks) + 1)
    return ticks


def _path(prices: np.ndarray) -> np.ndarray:
    """float64[n, 4]: the prices in the order in which they are traded."""
    rose = prices[:, 3] >= prices[:, 0]
    path = prices.copy()
    path[rose, 1], path[rose, 2] = prices[rose, 2], prices[rose, 1]
    return path


def _sizes(volumes: np.ndarray) -> np.ndarray:
    quarter = np.floor(volumes / TRADES)
    sizes = np.repeat(quarter[:, None], TRADES, axis=1)
    sizes[:, -1] += volumes - TRADES * quarter
    return sizes
