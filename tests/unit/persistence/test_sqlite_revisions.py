"""The last word on a bar is what the database keeps, and a gap marks the bars that it reaches into."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from persistence_samples import METADATA

from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.sinks.sqlite import SqliteStore
from hft_engine.records import BAR_DTYPE, TICK_DTYPE, BarFlag, BarKind, HealthState, TickFlag, TickKind

SECOND_NS = 1_000_000_000
REPAIRED = BarFlag.REPAIRED | BarFlag.REVISION


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    table = InstrumentTable.private(4)
    for symbol in ("AAA", "BBB"):
        table.id_of(symbol)
    made = SqliteStore(tmp_path / "bars.db", METADATA, table, ())
    yield made
    made.abandon()


def bar(
    sequence: int,
    second: int,
    volume: float,
    flags: int = 0,
    kind: BarKind = BarKind.SECOND,
    instrument: int = 0,
) -> np.ndarray:
    row = np.zeros(1, BAR_DTYPE)
    row["sequence"], row["kind"], row["flags"], row["instrument_id"] = sequence, kind, flags, instrument
    row["ts_start_ns"], row["ts_end_ns"] = second * SECOND_NS, (second + 1) * SECOND_NS
    row["volume"] = volume
    return row


def gap(sequence: int, start_s: float, end_s: float) -> np.ndarray:
    row = np.zeros(1, TICK_DTYPE)
    row["sequence"], row["kind"], row["flags"] = sequence, TickKind.HEALTH, TickFlag.UNFIT
    row["health_state"], row["health_before"] = HealthState.GAPPED, HealthState.LIVE
    row["gap_from_ns"], row["gap_to_ns"] = int(start_s * SECOND_NS), int(end_s * SECOND_NS)
    return row


def stored(store: SqliteStore) -> list[tuple]:
    store.commit()
    with closing(sqlite3.connect(store._path)) as connection:
        query = "SELECT symbol, ts_start_ns / 1000000000, volume, flags FROM bars ORDER BY symbol, 2"
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("apart", [True, False])
def test_a_revision_takes_the_place_of_the_bar_and_of_earlier_revisions(
    store: SqliteStore, apart: bool
) -> None:
    rows = [bar(0, 5, 1.0), bar(1, 5, 2.0, BarFlag.REVISION), bar(2, 6, 7.0), bar(3, 5, 3.0, REPAIRED)]
    for row in (*rows, bar(4, 5, 9.0, instrument=1)):
        store.add_bars(row)
        if apart:
            store.commit()
    assert stored(store) == [("AAA", 5, 3.0, REPAIRED), ("AAA", 6, 7.0, 0), ("BBB", 5, 9.0, 0)]
    assert store.next_sequence("bars") == 5


def test_adding_what_was_revised_once_more_changes_nothing(store: SqliteStore) -> None:
    store.add_bars(bar(1, 5, 2.0, BarFlag.REVISION))
    assert stored(store) == [("AAA", 5, 2.0, BarFlag.REVISION)]
    store.add_bars(bar(1, 5, 2.0, BarFlag.REVISION))
    assert stored(store) == [("AAA", 5, 2.0, BarFlag.REVISION)]


def test_a_gap_marks_bars_stored_before_it_and_bars_that_come_after_but_none_repaired(
    store: SqliteStore,
) -> None:
    for row in (bar(0, 4, 1.0), bar(1, 5, 1.0), bar(2, 5, 1.0, instrument=1)):
        store.add_bars(row)
    store.commit()
    store.add_health(gap(9, 5.2, 6.9))
    store.commit()
    for row in (bar(3, 6, 1.0), bar(4, 7, 1.0), bar(5, 6, 1.0, kind=BarKind.TICKS)):
        store.add_bars(row)
    gapped = int(BarFlag.GAPPED)
    expected = [(4, 0), (5, gapped), (6, 0), (6, gapped), (7, 0)]
    assert sorted((start, flags) for symbol, start, _, flags in stored(store) if symbol == "AAA") == expected
    assert [flags for symbol, _, _, flags in stored(store) if symbol == "BBB"] == [0]
    store.add_bars(bar(6, 5, 8.0, REPAIRED))
    assert ("AAA", 5, 8.0, int(REPAIRED)) in stored(store)


def test_every_change_of_health_is_kept_with_its_names(store: SqliteStore) -> None:
    store.add_health(gap(9, 5.2, 6.9))
    store.commit()
    with closing(sqlite3.connect(store._path)) as connection:
        (row,) = connection.execute(
            "SELECT symbol, channel, state, before, cause, unfit, gap_from_ns, gap_to_ns FROM health"
        ).fetchall()
    assert row == ("AAA", "trade", "gapped", "live", "none", 1, 5_200_000_000, 6_900_000_000)


def test_a_gap_marks_bars_that_come_after_its_writer_died(store: SqliteStore) -> None:
    store.add_health(gap(0, 5.5, 6.5))
    store.commit()
    successor = SqliteStore(store._path, METADATA, store._instruments, ())
    successor.add_bars(np.concatenate([bar(0, 6, 1.0), bar(1, 7, 1.0), bar(2, 6, 1.0, instrument=1)]))
    assert stored(successor) == [("AAA", 6, 1.0, BarFlag.GAPPED), ("AAA", 7, 1.0, 0), ("BBB", 6, 1.0, 0)]
    successor.abandon()
