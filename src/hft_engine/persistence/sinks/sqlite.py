"""Bars, signals and events into SQLite: collected in memory, written in one transaction a commit."""

import os
import sqlite3
import time
from pathlib import Path

import numpy as np

from hft_engine.config.schema import ExecutionConfig
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import SegmentMetadata
from hft_engine.persistence.sinks.database import StoreError, explain, open_database
from hft_engine.persistence.sinks.gaps import MARK, Gaps
from hft_engine.persistence.sinks.schema import INSERTS, REVISE_BARS
from hft_engine.persistence.sinks.trading import TradingRows
from hft_engine.records import (
    BarFlag,
    BarKind,
    HealthCause,
    HealthChannel,
    HealthState,
    Side,
    TickFlag,
    TickKind,
)
from hft_engine.runtime.messages import Event

Row = tuple[object, ...]

_KIND_NAMES = {kind.value: kind.name.lower() for kind in BarKind}
_VENUE_KIND_NAMES = {
    TickKind.BAR_SECOND.value: "second",
    TickKind.BAR_MINUTE.value: "minute",
    TickKind.BAR_DAY.value: "day",
}
_SIDE_NAMES = {side.value: side.name.lower() for side in Side}
_OHLCV = ("open", "high", "low", "close", "volume", "vwap")


class SqliteStore:
    """The single writer of the database.

    ``add_*`` take records and copy them; ``commit`` writes all that was added, or nothing: after a StoreError
    the rows are still there for the next try. Adding a record that is stored already changes nothing.
    ``rules``: names of the rules in configuration order, which a signal's reason indexes.
    """

    def __init__(
        self,
        path: Path,
        run: SegmentMetadata,
        instruments: InstrumentTable,
        rules: tuple[str, ...],
        execution: ExecutionConfig | None = None,
    ) -> None:
        self._path = path
        self._run_id = run.run_id
        self._instruments = instruments
        self._symbols: list[str] = []
        self._rules = rules
        self._trading = TradingRows(execution or ExecutionConfig())
        self._pending: dict[str, list[Row]] = {table: [] for table in INSERTS}
        self._revised: list[Row] = []  # what is to be done to bars after the inserts
        self._marked: list[Row] = []
        self._connection = open_database(path)
        self._gaps = Gaps(self._known_gaps())
        self._pending["runs"].append(
            (run.run_id, time.time_ns(), run.venue, run.config_hash, run.code_version)
        )
        try:
            self.commit()
        except StoreError:
            self._connection.close()
            raise

    @property
    def pending(self) -> int:
        """Rows added and not committed."""
        return sum(len(rows) for rows in self._pending.values())

    def next_sequence(self, table: str) -> int:
        """One after the highest sequence of this run in a table of records; else 0."""
        query = f"SELECT max(sequence) FROM {table} WHERE run_id = ?"  # a name of ours, not of a user
        last = self._connection.execute(query, (self._run_id,)).fetchone()[0]
        return 0 if last is None else int(last) + 1

    def _known_gaps(self) -> list[tuple[int, int, int]]:
        """(instrument, from, to) of the gaps that a writer of this run before this one stored."""
        columns = "symbol, gap_from_ns, gap_to_ns"
        query = f"SELECT {columns} FROM health WHERE run_id = ? AND gap_to_ns != 0 ORDER BY sequence"
        found = self._connection.execute(query, (self._run_id,)).fetchall()
        ids = {symbol: self._instruments.find(symbol) for symbol, _, _ in found}
        return [(place, start, end) for symbol, start, end in found if (place := ids[symbol]) is not None]

    def add_bars(self, rows: np.ndarray) -> None:
        """``rows``: ``BAR_DTYPE``. A REVISION takes the place of what it revises."""
        names = ("ts_start_ns", "ts_end_ns", *_OHLCV, "trade_count", "late_count")
        kinds = [_KIND_NAMES.get(kind, str(kind)) for kind in rows["kind"].tolist()]
        columns = [rows[name].tolist() for name in names]
        self._add("bars", rows, kinds, *columns, self._gaps.flags_of(rows), rows["source_sequence"].tolist())
        for i in np.flatnonzero(rows["flags"] & BarFlag.REVISION):
            row = rows[i]
            symbol = self._symbol(int(row["instrument_id"]))
            key = (self._run_id, symbol, kinds[i], int(row["ts_start_ns"]), int(row["sequence"]))
            self._revised.append(key)

    def add_health(self, rows: np.ndarray) -> None:
        """``rows``: ``TICK_DTYPE``, only HEALTH. Bars that a gap reaches into are marked."""
        names = ("ts_recv_ns", "gap_from_ns", "gap_to_ns", "lag_ns", "silence_ns", "missing")
        columns = [
            [kind(value).name.lower() for value in rows[name].tolist()]
            for name, kind in (
                ("health_channel", HealthChannel),
                ("health_state", HealthState),
                ("health_before", HealthState),
                ("health_cause", HealthCause),
            )
        ]
        unfit = (rows["flags"] & TickFlag.UNFIT != 0).astype(int).tolist()
        self._add("health", rows, *columns, unfit, *(rows[name].tolist() for name in names))
        for instrument, start, end in self._gaps.note(rows):
            self._marked.append((self._run_id, self._symbol(instrument), end, start))

    def add_venue_bars(self, rows: np.ndarray) -> None:
        """``rows``: ``TICK_DTYPE``, only kinds BAR_*."""
        names = ("ts_start_ns", "ts_venue_ns", *_OHLCV, "day_volume", "day_vwap", "day_open")
        kinds = [_VENUE_KIND_NAMES[kind] for kind in rows["kind"].tolist()]
        self._add("venue_bars", rows, kinds, *(rows[name].tolist() for name in names))

    def add_signals(self, rows: np.ndarray) -> None:
        """``rows``: ``SIGNAL_DTYPE``."""
        names = ("strength", "price", "value", "probability", "model_id", "ts_venue_ns", "ts_recv_ns")
        sides = [_SIDE_NAMES.get(side, str(side)) for side in rows["side"].tolist()]
        rules = [self._rule_name(reason) for reason in rows["reason"].tolist()]
        latencies = (rows["ts_publish_ns"] - rows["ts_mono_ns"]).tolist()
        hashes = [f"{value:016x}" for value in rows["chain_hash"].tolist()]
        columns = (sides, rules, *(rows[name].tolist() for name in names))
        tail = (rows["ts_expiry_ns"].tolist(), latencies, hashes, rows["source_sequence"].tolist())
        self._add("signals", rows, *columns, *tail)

    def add_orders(self, rows: np.ndarray) -> None:
        """``rows``: ``ORDER_DTYPE``."""
        self._add("orders", rows, *self._trading.of_orders(rows))

    def add_fills(self, rows: np.ndarray) -> None:
        """``rows``: ``FILL_DTYPE``."""
        self._add("fills", rows, *self._trading.of_fills(rows))

    def add_event(self, event: Event) -> None:
        row = (self._run_id, event.sequence, event.ts_ns, event.role, event.kind, event.text)
        self._pending["events"].append(row)

    def commit(self) -> int:
        """Write what was added in one transaction; returns how many rows. Raises StoreError, keeping them."""
        count = self.pending
        if not count:
            return 0
        try:
            self._write()
        except sqlite3.Error as error:
            self._roll_back()
            raise explain(self._path, error) from error
        self.discard()
        return count

    def sync(self) -> None:
        """Make every commit so far durable: in WAL mode with ``synchronous`` NORMAL a commit alone is not.

        Raises OSError.
        """
        log = self._path.with_name(self._path.name + "-wal")
        if log.exists():  # folded into the file already, which syncs that
            fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)

    def discard(self) -> int:
        """Forget what was added and not committed; returns how many rows that were."""
        count = self.pending
        for rows in (*self._pending.values(), self._revised, self._marked):
            rows.clear()
        return count

    def close(self) -> None:
        """Commit, fold the write-ahead log into the file, close. Raises StoreError; closed all the same."""
        try:
            self.commit()
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise explain(self._path, error) from error
        finally:
            self._connection.close()

    def abandon(self) -> None:
        """Close without a further try to write."""
        self._connection.close()

    def _add(self, table: str, rows: np.ndarray, *columns: list) -> None:
        symbols = [self._symbol(i) for i in rows["instrument_id"].tolist()]
        run_ids = [self._run_id] * len(rows)
        self._pending[table] += zip(run_ids, rows["sequence"].tolist(), symbols, *columns, strict=True)

    def _symbol(self, instrument_id: int) -> str:
        if instrument_id >= len(self._symbols):
            self._symbols = self._instruments.symbols()
        return self._symbols[instrument_id]

    def _rule_name(self, reason: int) -> str:
        return self._rules[reason] if reason < len(self._rules) else f"rule_{reason}"

    def _write(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for table, rows in self._pending.items():
            if rows:
                self._connection.executemany(INSERTS[table], rows)
        self._connection.executemany(REVISE_BARS, self._revised)
        self._connection.executemany(MARK, self._marked)
        self._connection.execute("COMMIT")

    def _roll_back(self) -> None:
        # SQLite itself rolls back on some errors (disk full); a second ROLLBACK would be an error of its own.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
