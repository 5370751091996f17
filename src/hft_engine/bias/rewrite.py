"""Copies of recorded files whose future is cut off or different, line for line, in their own formats.

What lies before the cut is the same, byte for byte where the format is text. ``SHIFT``: from the cut on every price is
moved by a factor, which changes direction with time so that no ratio of two of them stays what it was.
"""

import gzip
import io
import re
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path

import numpy as np

from hft_engine.feed.recorded_bars import CSV_SUFFIXES, DATABASE_SUFFIXES, parse_stamp
from hft_engine.feed.recorded_lean import LEAN_NAME, new_york_midnight_ns
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import JournalReader, JournalWriter, SegmentMetadata
from hft_engine.records import TickKind

NEVER_NS = np.iinfo(np.int64).max
_WAVE_NS = 7_000_000_000  # of the factor, in event time
_BINANCE_PRICE = re.compile(r'"([pba])":"(\d+(?:\.\d+)?)"')


class Future(StrEnum):
    KEEP = "keep"
    CUT = "cut"
    SHIFT = "shift"


def factor(ts_ns: int) -> float:
    """What a price of the shifted future is multiplied by."""
    return 1.0 + 0.02 * (1 + (ts_ns // _WAVE_NS) % 5)


def rewrite(source: Path, target: Path, future: Future, cut_ns: int, end_ns: int = NEVER_NS) -> None:
    """Copy ``source``; ``future``: what becomes of ticks received at ``cut_ns`` or later; from ``end_ns`` on none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if future is Future.CUT:
        end_ns = min(cut_ns, end_ns)
    if future is not Future.SHIFT:
        cut_ns = NEVER_NS
    _writer_of(source)(source, target, cut_ns, end_ns)


_Writer = Callable[[Path, Path, int, int], None]


def _writer_of(path: Path) -> _Writer:
    if LEAN_NAME.match(path.name):
        return _lean
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _binance
    if path.name.endswith(CSV_SUFFIXES):
        return _csv
    return _database if path.name.endswith(DATABASE_SUFFIXES) else _journal


# ---- text -----------------------------------------------------------------------------------------------------


def _lean(source: Path, target: Path, cut_ns: int, end_ns: int) -> None:
    named = LEAN_NAME.match(source.name)
    assert named is not None
    midnight_ns = new_york_midnight_ns(named[1])
    prices = (1,) if named[2] == "trade" else (1, 3)
    with zipfile.ZipFile(source) as archive:
        (member,) = archive.namelist()
        text = archive.read(member).decode()

    def changed(line: str, ts_ns: int) -> str:
        columns = line.split(",")
        for column in prices:
            columns[column] = str(round(int(columns[column]) * factor(ts_ns)))
        return ",".join(columns)

    def stamp(line: str) -> int:
        return midnight_ns + int(line[: line.index(",")]) * 1_000_000

    lines = _lines(text.splitlines(), stamp, changed, cut_ns, end_ns)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(member, "\n".join(lines))


def _binance(source: Path, target: Path, cut_ns: int, end_ns: int) -> None:
    def changed(line: str, ts_ns: int) -> str:
        return _BINANCE_PRICE.sub(lambda m: f'"{m[1]}":"{_scaled(m[2], factor(ts_ns))}"', line)

    def stamp(line: str) -> int:
        return int(line[: line.index(" ")])

    _write(target, _lines(_read(source), stamp, changed, cut_ns, end_ns))


def _csv(source: Path, target: Path, cut_ns: int, end_ns: int) -> None:
    lines = _read(source)
    header = next(lines)
    names = [name.strip().lower() for name in header.lstrip("\ufeff").split(",")]
    time = next(
        i for i, name in enumerate(names) if name in ("ts_start_ns", "timestamp", "datetime", "date", "time")
    )
    prices = [i for i, name in enumerate(names) if name in ("open", "high", "low", "close")]

    def changed(line: str, ts_ns: int) -> str:
        columns = line.split(",")
        for column in prices:
            columns[column] = _scaled(columns[column], factor(ts_ns))
        return ",".join(columns)

    def stamp(line: str) -> int:
        return parse_stamp(line.split(",")[time])

    body = _lines((line for line in lines if line), stamp, changed, cut_ns, end_ns)
    _write(target, [header, *body])


def _lines(
    lines: Iterable[str],
    stamp: Callable[[str], int],
    changed: Callable[[str, int], str],
    cut_ns: int,
    end_ns: int,
) -> Iterator[str]:
    for line in lines:
        ts_ns = stamp(line)
        if ts_ns < end_ns:
            yield line if ts_ns < cut_ns else changed(line, ts_ns)


def _scaled(number: str, by: float) -> str:
    """With as many decimals as before."""
    return f"{float(number) * by:.{len(number.partition('.')[2])}f}"


def _read(path: Path) -> Iterator[str]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return iter(io.StringIO(raw.decode()).read().splitlines())


def _write(path: Path, lines: Iterable[str]) -> None:
    raw = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(raw, 1, mtime=0) if path.suffix == ".gz" else raw)


# ---- databases and journals -----------------------------------------------------------------------------------


def _database(source: Path, target: Path, cut_ns: int, end_ns: int) -> None:
    shutil.copyfile(source, target)
    with closing(sqlite3.connect(target)) as connection:
        connection.create_function("factor", 1, factor)
        prices = ", ".join(
            f"{name} = {name} * factor(ts_start_ns)" for name in ("open", "high", "low", "close")
        )
        connection.execute("DELETE FROM bars WHERE ts_start_ns >= ?", (end_ns,))
        connection.execute(f"UPDATE bars SET {prices} WHERE ts_start_ns >= ?", (cut_ns,))
        connection.commit()


def _journal(source: Path, target: Path, cut_ns: int, end_ns: int) -> None:
    """Of a session's folder or one segment: a session of its own, which has the ticks alone."""
    reader = JournalReader(source)
    table = InstrumentTable.private(max(1, len(reader.instruments)))
    for symbol in reader.instruments:
        table.id_of(symbol)
    folder = target if source.is_dir() else target.parent
    about = SegmentMetadata(run_id="bias", venue="rewritten", config_hash="", code_version="")
    writer = JournalWriter(folder, about, table, segment_bytes=1 << 30, flush_ms=1_000)
    for chunk in reader:
        kept = chunk[chunk["ts_recv_ns"] < end_ns].copy()
        _shift(kept, cut_ns)
        if len(kept):
            writer.append(kept)
    writer.close()
    if not source.is_dir():
        (segment,) = folder.glob("*.hftj")
        segment.rename(target)


def _shift(ticks: np.ndarray, cut_ns: int) -> None:
    later = ticks["ts_recv_ns"] >= cut_ns
    by = np.array([factor(int(ts)) for ts in ticks["ts_recv_ns"][later]])
    kinds = ticks["kind"][later]
    for name, kind in (("price", TickKind.TRADE), ("bid", TickKind.QUOTE), ("ask", TickKind.QUOTE)):
        values = ticks[name][later]
        ticks[name][later] = np.where(kinds == kind, values * by, values)
