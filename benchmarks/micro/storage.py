"""Rows a second into each place where ticks may be stored, in batches of 10,000 rows, and the time of a batch.

    ours                    the journal (whole 128-byte records, checksummed), synced after each batch, and as the
                            engine runs it, synced every 200 ms; the SQLite sink, which stores bars: 16 columns,
                            a key that forbids duplicates, an index
    the machine's limit     raw: ``write`` and ``fdatasync`` of bytes that are ready, 128 a row as the journal (also
                            synced every 200 ms), and 40 a row as the five columns
    peers                   five columns (symbol, ts, price, size, seq): sqlite3 ``executemany``, and again with a key
                            and an index; DuckDB from Arrow; PostgreSQL by psycopg's binary COPY; Parquet; Arrow IPC

Not comparable in all: "synced" tells whether a batch is on the disk when it is done; DuckDB and Parquet keep columns
that compress and are quick to analyse, the databases can be asked while they are written; only the journal and the
databases find a torn end after a power cut; PostgreSQL's work is done by a server, on the other core. Time starts with
the records in memory and ends with the place closed. Afterwards each is read back and its rows are counted.
"""

import functools
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import harness, workload
from benchmarks.micro import storage_sinks as sinks
from hft_engine.records import TICK_DTYPE, TickKind

BATCH = 10_000
DISTINCT = 100_000  # trades that differ; beyond them they come again with new sequences and times
STEP_NS = 50_000
RAW, RAW_LIVE = "raw, 128 bytes a row", "raw, 128 bytes, synced every 200 ms"
RAW_ROWS = "raw, 40 bytes a row"
JOURNAL, JOURNAL_LIVE, SQLITE_SINK = (
    "our journal",
    "our journal, synced every 200 ms",
    "our SQLite sink, bars",
)
SQLITE, SQLITE_KEYED = "sqlite3 executemany", "sqlite3 executemany, key and index"
DUCKDB, POSTGRES = "DuckDB from Arrow", "PostgreSQL COPY"
PARQUET, ARROW_IPC = "Parquet", "Arrow IPC"
FIGURES = {  # what a figure is called, and what it stands beside
    RAW: ("raw", None),
    RAW_LIVE: ("raw_live", None),
    RAW_ROWS: ("raw_40_bytes", None),
    JOURNAL: ("journal", RAW),
    JOURNAL_LIVE: ("journal_live", RAW_LIVE),
    SQLITE_SINK: ("sqlite_sink", SQLITE_KEYED),
    SQLITE: ("sqlite3", RAW_ROWS),
    SQLITE_KEYED: ("sqlite3_keyed", RAW_ROWS),
    DUCKDB: ("duckdb", RAW_ROWS),
    POSTGRES: ("postgresql", RAW_ROWS),
    PARQUET: ("parquet", RAW_ROWS),
    ARROW_IPC: ("arrow_ipc", RAW_ROWS),
}
OURS = (JOURNAL, JOURNAL_LIVE, SQLITE_SINK)

Make = Callable[[Path], sinks.Sink]


@dataclass(frozen=True)
class Run:
    """``rows_per_s`` with the closing; ``batch_ns`` of each batch."""

    rows_per_s: float
    batch_ns: np.ndarray
    synced: bool

    def ms(self, percent: float) -> float:
        return float(np.percentile(self.batch_ns, percent)) / 1e6


def trades(count: int) -> tuple[tuple[str, ...], np.ndarray]:
    """(symbols, TICK_DTYPE[count]): synthetic trades with rising sequences and times."""
    distinct = min(DISTINCT, count)
    symbols, ticks = workload.market_ticks(4 * distinct + 100)
    found = np.flatnonzero(ticks["kind"] == TickKind.TRADE)
    number = np.arange(count)
    rows: np.ndarray = ticks[found[number % min(distinct, len(found))]]
    rows["sequence"] = rows["venue_sequence"] = number
    rows["ts_venue_ns"] = workload.START_NS + number * STEP_NS
    return symbols, rows


def measure(make: Make, rows: np.ndarray, batch: int = BATCH) -> Run:
    """All rows, batch by batch, into a new place. Raises RuntimeError where they are not all found there."""
    with tempfile.TemporaryDirectory(prefix="hft_bench-") as directory:
        sink = make(Path(directory))
        spent = []
        started = time.perf_counter_ns()
        for start in range(0, len(rows), batch):
            before = time.perf_counter_ns()
            sink.write(rows[start : start + batch])
            spent.append(time.perf_counter_ns() - before)
        sink.close()
        total = time.perf_counter_ns() - started
        stored = sink.stored()
    if stored != len(rows):
        raise RuntimeError(f"{stored:,} of {len(rows):,} rows are stored")
    return Run(len(rows) / total * 1e9, np.array(spent), sink.synced)


def places(symbols: tuple[str, ...], stack: ExitStack) -> dict[str, Callable[[], Make]]:
    """By name: what gives the maker of a place, or raises where its package or service is missing."""

    def tried(make: Make) -> Callable[[], Make]:
        def give() -> Make:
            with tempfile.TemporaryDirectory(prefix="hft_bench-") as directory:
                make(Path(directory)).close()
            return make

        return give

    return {
        RAW: lambda: lambda folder: sinks.Raw(folder, TICK_DTYPE, synced=True),
        RAW_LIVE: lambda: lambda folder: sinks.Raw(folder, TICK_DTYPE, synced=False),
        RAW_ROWS: lambda: lambda folder: sinks.Raw(folder, sinks.ROW_DTYPE, synced=True),
        JOURNAL: lambda: lambda folder: sinks.Journal(folder, symbols, synced=True),
        JOURNAL_LIVE: lambda: lambda folder: sinks.Journal(folder, symbols, synced=False),
        SQLITE_SINK: lambda: lambda folder: sinks.OurSqlite(folder, symbols),
        SQLITE: lambda: lambda folder: sinks.PlainSqlite(folder, symbols),
        SQLITE_KEYED: lambda: lambda folder: sinks.PlainSqlite(folder, symbols, keyed=True),
        DUCKDB: tried(lambda folder: sinks.DuckDb(folder, symbols)),
        POSTGRES: tried(lambda folder: _postgres(symbols, stack)),
        PARQUET: tried(lambda folder: sinks.Parquet(folder, symbols)),
        ARROW_IPC: tried(lambda folder: sinks.ArrowIpc(folder, symbols)),
    }


def _postgres(symbols: tuple[str, ...], stack: ExitStack) -> sinks.Sink:
    stack.close()  # the table of the run before
    place = sinks.Postgres(symbols)
    stack.callback(place.remove)
    return place


def add_figures(report: harness.Report, runs: dict[str, list[Run]]) -> None:
    """Ours beside the machine's limit or the same library used plainly, the peers beside the limit."""
    rates = {name: [run.rows_per_s for run in several] for name, several in runs.items()}
    for name, values in rates.items():
        figure, beside = FIGURES[name]
        reference = None if beside is None else (beside, rates[beside])
        report.add(f"storage_{figure}_rows_per_s", values, "1/s", reference, more_is_better=True)
    for name in OURS:
        figure, beside = FIGURES[name]
        for percent in (50, 99):
            ours, theirs = ([run.ms(percent) for run in runs[who]] for who in (name, beside or name))
            report.add(f"storage_{figure}_batch_p{percent}_ms", ours, "ms", (str(beside), theirs))


def show_table(report: harness.Report, runs: dict[str, list[Run]]) -> None:
    def median(several: list[Run], of: Callable[[Run], float]) -> str:
        return harness.number(harness.Measured(tuple(of(run) for run in several)).median)

    table = [
        [
            name,
            median(several, lambda run: run.rows_per_s),
            *(median(several, lambda run, percent=percent: run.ms(percent)) for percent in (50, 99)),  # type: ignore[misc]
            "yes" if several[0].synced else "no",
        ]
        for name, several in runs.items()
    ]
    header = ("place", "rows/s", "batch p50 ms", "batch p99 ms", "batch synced")
    report.show(f"batches of {BATCH:,} rows", header, table)


def main() -> int:
    report = harness.Report("storage", harness.options(__doc__ or ""))
    symbols, rows = trades(report.opts.count(500_000, 100_000))
    plain = sinks.plain_rows(rows, symbols)
    report.sense_jitter()
    with ExitStack() as stack:
        made = report.gather(places(symbols, stack))
        contenders = {
            name: functools.partial(measure, make, plain if name == RAW_ROWS else rows)
            for name, make in made.items()
        }
        runs = report.interleave(contenders)
    report.sense_jitter()
    add_figures(report, runs)
    show_table(report, runs)
    report.note(
        f"storage: {len(rows):,} rows a run, in {tempfile.gettempdir()} (TMPDIR), read back and counted."
    )
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
