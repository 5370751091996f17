"""Places where ticks are stored, all with the same face: ``write`` a batch, ``close``, say how many are ``stored``.

Ours take the records as they are. The others take five columns of them (symbol, ts, price, size, seq), in the form
that is fastest for them, made from the records inside ``write``.
"""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.harness import LeftOutError
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import JournalReader, JournalWriter, SegmentMetadata
from hft_engine.persistence.sinks.sqlite import SqliteStore
from hft_engine.records import BAR_DTYPE, BarKind

METADATA = SegmentMetadata(run_id="benchmark", venue="demo", config_hash="", code_version="")
SEGMENT_BYTES, FLUSH_MS = 256 << 20, 200  # as the configuration has them by default
ROW_DTYPE = np.dtype([("symbol", "S8"), ("ts", "<i8"), ("price", "<f8"), ("size", "<f8"), ("seq", "<i8")])
COLUMNS = ("ts_venue_ns", "price", "size", "sequence")


class Sink(Protocol):
    """``synced``: whether a batch is on the disk when ``write`` returns, or only in the hands of the kernel."""

    synced: bool

    def write(self, rows: np.ndarray) -> None: ...

    def close(self) -> None: ...

    def stored(self) -> int:
        """Rows found in what was written, after ``close``."""
        ...


class Raw:
    """What the machine can do: bytes that are there already, ``write`` and ``fdatasync``, nothing else.

    ``synced`` False: synced every 200 ms and at the end, as the journal.
    """

    def __init__(self, directory: Path, dtype: np.dtype, synced: bool) -> None:
        self.synced, self._path, self._dtype = synced, directory / "raw", dtype
        self._file = self._path.open("wb", buffering=0)
        self._due_ns = time.monotonic_ns() + FLUSH_MS * 1_000_000

    def write(self, rows: np.ndarray) -> None:
        self._file.write(rows.view(np.uint8).data)
        if self.synced or time.monotonic_ns() >= self._due_ns:
            os.fdatasync(self._file.fileno())
            self._due_ns = time.monotonic_ns() + FLUSH_MS * 1_000_000

    def close(self) -> None:
        os.fdatasync(self._file.fileno())
        self._file.close()

    def stored(self) -> int:
        return self._path.stat().st_size // self._dtype.itemsize


class Journal:
    """Our journal: whole records, checksummed. ``synced`` False: synced every 200 ms, as the engine runs it."""

    def __init__(self, directory: Path, symbols: tuple[str, ...], synced: bool) -> None:
        self.synced, self._directory = synced, directory
        self._writer = JournalWriter(
            directory, METADATA, table_of(symbols), segment_bytes=SEGMENT_BYTES, flush_ms=FLUSH_MS
        )

    def write(self, rows: np.ndarray) -> None:
        self._writer.append(rows)
        if self.synced:
            self._writer.flush()
        else:
            self._writer.flush_if_due(time.monotonic_ns())

    def close(self) -> None:
        self._writer.close()

    def stored(self) -> int:
        return sum(map(len, JournalReader(self._directory)))


class OurSqlite:
    """Our SQLite sink, which stores bars: 16 columns, a key that forbids duplicates, an index; WAL, NORMAL."""

    synced = False

    def __init__(self, directory: Path, symbols: tuple[str, ...]) -> None:
        self._path = directory / "ours.db"
        self._store = SqliteStore(self._path, METADATA, table_of(symbols), ())
        self._bars = np.zeros(0, BAR_DTYPE)

    def write(self, rows: np.ndarray) -> None:
        if len(self._bars) != len(rows):
            self._bars = np.zeros(len(rows), BAR_DTYPE)
        fill_bars(self._bars, rows)
        self._store.add_bars(self._bars)
        self._store.commit()

    def close(self) -> None:
        self._store.close()

    def stored(self) -> int:
        return _count(self._path, "bars")


class PlainSqlite:
    """``executemany`` in one transaction a batch; WAL, NORMAL as our sink. ``keyed``: with the sink's kind of key and
    index as well, else with neither."""

    synced = False

    def __init__(self, directory: Path, symbols: tuple[str, ...], keyed: bool = False) -> None:
        self._path, self._symbols = directory / "plain.db", np.array(symbols, object)
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = wal")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        columns = "symbol TEXT, ts INTEGER, price REAL, size REAL, seq INTEGER"
        if keyed:
            self._connection.execute(f"CREATE TABLE ticks ({columns} PRIMARY KEY) WITHOUT ROWID")
            self._connection.execute("CREATE INDEX ticks_by_symbol ON ticks (symbol, ts)")
        else:
            self._connection.execute(f"CREATE TABLE ticks ({columns})")

    def write(self, rows: np.ndarray) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO ticks VALUES (?,?,?,?,?)", tuples(rows, self._symbols))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def stored(self) -> int:
        return _count(self._path, "ticks")


class DuckDb:
    """``INSERT ... SELECT`` from an Arrow table, one transaction a batch."""

    synced = True

    def __init__(self, directory: Path, symbols: tuple[str, ...]) -> None:
        import duckdb

        self._path, self._duckdb, self._arrow = directory / "duck.db", duckdb, Arrow(symbols)
        self._connection = duckdb.connect(str(self._path))
        self._connection.execute(
            "CREATE TABLE ticks (symbol VARCHAR, ts BIGINT, price DOUBLE, size DOUBLE, seq BIGINT)"
        )

    def write(self, rows: np.ndarray) -> None:
        self._connection.register("batch", self._arrow.table(rows))
        self._connection.execute("INSERT INTO ticks SELECT * FROM batch")

    def close(self) -> None:
        self._connection.close()

    def stored(self) -> int:
        with closing(self._duckdb.connect(str(self._path))) as connection:
            return int(connection.execute("SELECT count(*) FROM ticks").fetchall()[0][0])


class Postgres:
    """psycopg's binary COPY, one transaction a batch, synced at its commit. Host and database from PGHOST, PGDATABASE.

    Raises LeftOutError where no server answers.
    """

    synced = True

    def __init__(self, symbols: tuple[str, ...]) -> None:
        import psycopg

        self._symbols, self._table = np.array(symbols, object), f"hft_bench_{os.getpid()}_ticks"
        host, database = os.environ.get("PGHOST", "127.0.0.1"), os.environ.get("PGDATABASE", "test")
        try:
            self._connection = psycopg.connect(host=host, dbname=database, connect_timeout=3, autocommit=True)
        except psycopg.OperationalError as error:
            remedy = "start PostgreSQL, or set PGHOST, PGDATABASE, PGUSER"
            raise LeftOutError(f"{str(error).splitlines()[0]}; remedy: {remedy}") from error
        self._run(f"DROP TABLE IF EXISTS {self._table}")
        self._run(f"CREATE TABLE {self._table} (symbol text, ts int8, price float8, size float8, seq int8)")

    def write(self, rows: np.ndarray) -> None:
        with self._connection.cursor() as cursor, cursor.copy(self._copy()) as copy:
            copy.set_types(("text", "int8", "float8", "float8", "int8"))
            for row in tuples(rows, self._symbols):
                copy.write_row(row)

    def close(self) -> None:
        pass  # committed; ``stored`` asks on the same connection

    def stored(self) -> int:
        return int(self._connection.execute(f"SELECT count(*) FROM {self._table}").fetchall()[0][0])

    def remove(self) -> None:
        self._run(f"DROP TABLE IF EXISTS {self._table}")
        self._connection.close()

    def _copy(self) -> Any:
        return f"COPY {self._table} FROM STDIN (FORMAT BINARY)".encode()

    def _run(self, statement: str) -> None:
        self._connection.execute(statement.encode())


class Arrow:
    """Records to Arrow tables."""

    def __init__(self, symbols: tuple[str, ...]) -> None:
        import pyarrow  # type: ignore[import-untyped,unused-ignore]

        self._pa, self._symbols = pyarrow, pyarrow.array(symbols)
        self.schema = self.table_schema()

    def table_schema(self) -> Any:
        pa = self._pa
        floats, integers = pa.float64(), pa.int64()
        columns = [("symbol", pa.string()), ("ts", integers), ("price", floats), ("size", floats)]
        return pa.schema([*columns, ("seq", integers)])

    def table(self, rows: np.ndarray) -> Any:
        columns = [np.ascontiguousarray(rows[name]) for name in COLUMNS]
        symbols = self._symbols.take(self._pa.array(np.ascontiguousarray(rows["instrument_id"])))
        return self._pa.table([symbols, *columns], schema=self.schema)


class ArrowIpc:
    """An Arrow IPC stream, a record batch a batch, synced."""

    synced = True

    def __init__(self, directory: Path, symbols: tuple[str, ...]) -> None:
        import pyarrow.ipc  # type: ignore[import-untyped,unused-ignore]

        self._ipc, self._arrow, self._path = pyarrow.ipc, Arrow(symbols), directory / "ticks.arrows"
        self._file = self._path.open("wb", buffering=0)
        self._writer = pyarrow.ipc.new_stream(self._file, self._arrow.schema)

    def write(self, rows: np.ndarray) -> None:
        self._writer.write_table(self._arrow.table(rows))
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._writer.close()
        self._file.close()

    def stored(self) -> int:
        with self._path.open("rb") as file:
            return int(self._ipc.open_stream(file).read_all().num_rows)


class Parquet:
    """Parquet, snappy, a row group a batch, synced. Readable only once it is closed."""

    synced = True

    def __init__(self, directory: Path, symbols: tuple[str, ...]) -> None:
        import pyarrow.parquet  # type: ignore[import-untyped,unused-ignore]

        self._parquet, self._arrow, self._path = pyarrow.parquet, Arrow(symbols), directory / "ticks.parquet"
        self._file = self._path.open("wb", buffering=0)
        self._writer = pyarrow.parquet.ParquetWriter(self._file, self._arrow.schema, compression="snappy")

    def write(self, rows: np.ndarray) -> None:
        self._writer.write_table(self._arrow.table(rows))
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._writer.close()
        self._file.close()

    def stored(self) -> int:
        return int(self._parquet.read_metadata(self._path).num_rows)


def table_of(symbols: tuple[str, ...]) -> InstrumentTable:
    table = InstrumentTable.private(len(symbols))
    for symbol in symbols:
        table.id_of(symbol)
    return table


def tuples(rows: np.ndarray, symbols: np.ndarray) -> Any:
    """The five columns as Python tuples, an iterator."""
    return zip(
        symbols[rows["instrument_id"]].tolist(), *(rows[name].tolist() for name in COLUMNS), strict=True
    )


def plain_rows(rows: np.ndarray, symbols: tuple[str, ...]) -> np.ndarray:
    """The five columns as 40-byte records."""
    plain = np.zeros(len(rows), ROW_DTYPE)
    plain["symbol"] = np.array(symbols, "S8")[rows["instrument_id"]]
    for name, column in zip(("ts", "price", "size", "seq"), COLUMNS, strict=True):
        plain[name] = rows[column]
    return plain


def fill_bars(bars: np.ndarray, rows: np.ndarray) -> None:
    """A bar of one trade for each tick."""
    for name in ("sequence", "instrument_id"):
        bars[name] = rows[name]
    bars["kind"], bars["trade_count"] = BarKind.TICKS, 1
    bars["source_sequence"], bars["volume"] = rows["sequence"], rows["size"]
    for name in ("ts_start_ns", "ts_end_ns"):
        bars[name] = rows["ts_venue_ns"]
    for name in ("open", "high", "low", "close", "vwap"):
        bars[name] = rows["price"]


def _count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
