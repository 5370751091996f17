"""Ticks, signals and bars of a session as Parquet, for notebooks and databases.

Times are UTC timestamps of nanoseconds, symbols, kinds and sides their names; what a record has no field for, and what
was NaN in it, is null. Bars are not in the journal: they come from the database that the same run wrote.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hft_engine.persistence.journal import JournalError, JournalReader, SegmentMetadata, Selection
from hft_engine.persistence.journal.session import DRAFT_SUFFIX
from hft_engine.records import Side, TickFlag, TickKind

What = Literal["ticks", "signals", "bars"]
GROUP_ROWS = (
    131_072  # of a row group: large enough to compress and to skip by, some tens of megabytes in memory
)

_TRADE, _QUOTE = (TickKind.TRADE,), (TickKind.QUOTE,)
_HEALTH = (TickKind.HEALTH,)
_BAR = (TickKind.BAR_SECOND, TickKind.BAR_MINUTE, TickKind.BAR_DAY)
_FMV, _LULD = (TickKind.FMV,), (TickKind.LULD,)
# Payload columns of the tick table, and for which kinds each holds: fields of a record share their bytes.
_TICK_COLUMNS: dict[str, tuple[TickKind, ...]] = {
    "price": _TRADE + _FMV,
    "size": _TRADE,
    "trade_id": _TRADE,
    "side": _TRADE,
    **dict.fromkeys(("bid", "ask", "bid_size", "ask_size", "exchange_ask"), _QUOTE),
    "conditions": _TRADE + _QUOTE + _LULD,
    "exchange": _TRADE + _QUOTE,
    "tape": _TRADE + _QUOTE,
    **dict.fromkeys(("open", "high", "low", "close", "volume", "vwap"), _BAR),
    **dict.fromkeys(("day_volume", "day_vwap", "day_open"), _BAR),
    "ts_start_ns": _BAR,
    **dict.fromkeys(("upper", "lower"), _LULD),
    **dict.fromkeys(("health_state", "health_before", "health_channel", "health_cause"), _HEALTH),
    **dict.fromkeys(("gap_from_ns", "gap_to_ns", "lag_ns", "silence_ns", "missing"), _HEALTH),
}
_BAR_TIMES = ("ts_start_ns", "ts_end_ns")
_BAR_QUERY = """
SELECT sequence, symbol, kind, ts_start_ns, ts_end_ns, open, high, low, close, volume, vwap, trade_count, late_count,
       flags, source_sequence
FROM bars WHERE run_id = ? AND ts_start_ns >= ? AND ts_start_ns < ? ORDER BY sequence
"""


@dataclass(frozen=True, slots=True)
class Exported:
    path: Path
    rows: int
    bytes: int


def export(
    session: Path,
    what: What,
    target: Path,
    selection: Selection,
    symbols: Collection[str] = (),
    progress: Callable[[float], None] = lambda done: None,
) -> Exported:
    """Write the selected records of ``symbols`` (empty: of all) to the new file ``target``.

    ``selection`` is by ts_recv_ns, of bars by ts_start_ns. ``progress`` hears the part that is done, 0 to 1. Raises
    JournalError; then ``target`` is not there.
    """
    arrow, parquet = _libraries()
    if target.exists():
        raise JournalError(f"{target}: is there already; remove it, or name another file with --out")
    reader = JournalReader(session, verify=False)
    unknown = sorted(set(symbols) - set(reader.instruments))
    if unknown:
        raise JournalError(
            f"{session}: has no symbol {', '.join(unknown)}; it has {_some(reader.instruments)}"
        )
    tables = _tables(arrow, reader, session, what, selection, symbols, progress)
    draft = target.with_name(target.name + DRAFT_SUFFIX)
    try:
        rows = _write(parquet, draft, tables, f"{session}: no {what} in what was asked for")
        draft.replace(target)
    except OSError as error:
        raise JournalError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return Exported(target, rows, target.stat().st_size)


def _libraries() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise JournalError("exporting needs pyarrow: pip install 'hft-engine[parquet]'") from None
    return pyarrow, pyarrow.parquet


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _write(parquet: Any, path: Path, tables: Iterable[Any], nothing: str) -> int:
    writer, rows = None, 0
    try:
        for table in tables:
            writer = writer or parquet.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            rows += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise JournalError(nothing)
    return rows


def _tables(
    arrow: Any,
    reader: JournalReader,
    session: Path,
    what: What,
    selection: Selection,
    symbols: Collection[str],
    progress: Callable[[float], None],
) -> Iterator[Any]:
    if what == "bars":
        yield from _bar_tables(arrow, reader, session, selection, symbols)
        return
    report = reader.report
    chunks = reader.ticks(selection) if what == "ticks" else reader.signals(selection)
    ids = [i for i, symbol in enumerate(reader.instruments) if symbol in symbols]
    end = report.next_sequence if what == "ticks" else report.segments[-1].sums.next_signal
    rules = _rule_names(report.metadata)
    for rows in _grouped(chunks, ids if symbols else None):
        if what == "ticks":
            yield _tick_table(arrow, rows, reader.instruments)
        else:
            yield _signal_table(arrow, rows, reader.instruments, rules)
        progress(min(int(rows["sequence"][-1]) / max(end, 1), 1.0))


def _grouped(chunks: Iterable[np.ndarray], ids: list[int] | None) -> Iterator[np.ndarray]:
    """The chunks, only instruments ``ids`` where given, joined to groups of GROUP_ROWS or a little more."""
    parts: list[bytes] = []
    count, dtype = 0, None
    for chunk in chunks:
        dtype = chunk.dtype
        if ids is not None:
            chunk = chunk.view(f"V{dtype.itemsize}")[np.isin(chunk["instrument_id"], ids)]
        parts.append(chunk.tobytes())
        count += len(chunk)
        if count >= GROUP_ROWS:
            yield np.frombuffer(b"".join(parts), dtype)
            parts, count = [], 0
    if count:
        yield np.frombuffer(b"".join(parts), dtype)


def _tick_table(arrow: Any, rows: np.ndarray, symbols: tuple[str, ...]) -> Any:
    kinds = rows["kind"]
    columns = {
        "sequence": arrow.array(rows["sequence"]),
        "ts_recv": _times(arrow, rows["ts_recv_ns"]),
        "ts_venue": _times(arrow, rows["ts_venue_ns"]),
        "symbol": _named(arrow, rows["instrument_id"], symbols),
        "kind": _named(arrow, kinds, [_kind_name(i) for i in range(max(TickKind) + 1)]),
        "flags": arrow.array(rows["flags"]),
        "venue_sequence": arrow.array(rows["venue_sequence"]),
    }
    filled_in = rows["flags"] & TickFlag.BACKFILL != 0
    for name, holding in _TICK_COLUMNS.items():
        absent = ~np.isin(kinds, [int(kind) for kind in holding])
        if name.startswith("day_"):
            absent |= filled_in
        if name == "ts_start_ns":
            columns["ts_start"] = _times(arrow, rows[name], absent)
        else:
            columns[name] = arrow.array(rows[name], mask=absent, from_pandas=True)
    return arrow.table(columns)


def _signal_table(arrow: Any, rows: np.ndarray, symbols: tuple[str, ...], rules: list[str]) -> Any:
    names = rules + [f"rule_{i}" for i in range(len(rules), int(rows["reason"].max()) + 1)]
    sides = [side.name.lower() for side in sorted(Side)]
    columns = {
        "sequence": arrow.array(rows["sequence"]),
        "source_sequence": arrow.array(rows["source_sequence"]),
        "ts_recv": _times(arrow, rows["ts_recv_ns"]),
        "ts_venue": _times(arrow, rows["ts_venue_ns"]),
        "ts_expiry": _times(arrow, rows["ts_expiry_ns"]),
        "symbol": _named(arrow, rows["instrument_id"], symbols),
        "side": _named(arrow, rows["side"].astype(np.int32) - int(min(Side)), sides),
        "rule": _named(arrow, rows["reason"], names),
        **{
            name: arrow.array(np.ascontiguousarray(rows[name]), from_pandas=True)
            for name in ("model_id", "price", "strength", "probability", "value", "chain_hash")
        },
        "latency_ns": arrow.array(rows["ts_publish_ns"] - rows["ts_mono_ns"]),
    }
    return arrow.table(columns)


def _bar_tables(
    arrow: Any, reader: JournalReader, session: Path, selection: Selection, symbols: Collection[str]
) -> Iterator[Any]:
    path = _database(session, reader.report.metadata)
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            window = (reader.report.run_id, selection.from_ns, selection.to_ns)
            cursor = connection.execute(_BAR_QUERY, window)
            names = [column[0] for column in cursor.description]
            while rows := cursor.fetchmany(GROUP_ROWS):
                wanted = [row for row in rows if not symbols or row[1] in symbols]
                if wanted:
                    yield _bar_table(arrow, names, wanted)
    except sqlite3.Error as error:
        raise JournalError(f"{path}: {error}: bars come from the database of the run") from error


def _bar_table(arrow: Any, names: list[str], rows: list[tuple[Any, ...]]) -> Any:
    prices = ("open", "high", "low", "close", "volume", "vwap")
    columns = {}
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        if name in _BAR_TIMES:
            columns[name.removesuffix("_ns")] = _times(arrow, np.array(values, np.int64))
        else:
            columns[name] = arrow.array(values, arrow.float64() if name in prices else None)
    return arrow.table(columns)


def _database(session: Path, metadata: SegmentMetadata | None) -> Path:
    folder = session if session.is_dir() else session.parent
    persistence = (metadata.config if metadata else {}).get("persistence", {})
    path = folder.parent.parent / persistence.get("sqlite_file", "market_data.db")
    if not path.exists():
        raise JournalError(
            f"{path}: is not there: bars come from the database of the run, not from its journal"
        )
    return path


def _rule_names(metadata: SegmentMetadata | None) -> list[str]:
    config = metadata.config if metadata else {}
    return [rule["name"] for rule in config.get("signals", {}).get("rules", ())]


def _kind_name(kind: int) -> str:
    return TickKind(kind).name.lower() if kind in set(TickKind) else str(kind)


def _times(arrow: Any, stamps: np.ndarray, absent: np.ndarray | None = None) -> Any:
    """UTC timestamps; 0, which a record has where there was none, and ``absent`` are null."""
    missing = stamps == 0 if absent is None else absent | (stamps == 0)
    return arrow.array(np.ascontiguousarray(stamps), arrow.int64(), mask=missing).cast(
        arrow.timestamp("ns", "UTC")
    )


def _named(arrow: Any, indices: np.ndarray, names: Iterable[str]) -> Any:
    return arrow.DictionaryArray.from_arrays(
        arrow.array(indices.astype(np.int32)), arrow.array(list(names), arrow.string())
    )
