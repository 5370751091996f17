import sqlite3
from contextlib import closing

import pytest
from persistence_samples import METADATA, make_bars, make_fills, make_orders, make_signals, make_ticks

from hft_engine.persistence.sinks.database import StoreError, open_database
from hft_engine.persistence.sinks.schema import APPLICATION_ID, SCHEMA_VERSION, TABLES
from hft_engine.persistence.sinks.sqlite import SqliteStore
from hft_engine.runtime.messages import Event


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "market_data.db"


@pytest.fixture
def open_store(path, table):
    opened = []

    def make():
        opened.append(SqliteStore(path, METADATA, table, ("model_up", "rsi_oversold")))
        return opened[-1]

    yield make
    for store in opened:
        store.abandon()


def query(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_options_are_set_and_read_back_from_the_connection(path):
    with closing(open_database(path)) as connection:
        read = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "busy_timeout", "user_version")
        }
    assert read == {
        "journal_mode": "wal",
        "synchronous": 1,
        "busy_timeout": 500,
        "user_version": SCHEMA_VERSION,
    }


def test_rows_are_stored_with_names_in_place_of_numbers(open_store, path):
    store = open_store()
    store.add_bars(make_bars(2))
    store.add_signals(make_signals(2))
    store.add_event(Event(5, "feed", "gap", "12 missing", 0))
    minute = make_ticks(7, 1)
    minute["kind"] = 4
    minute["volume"] = 1234.0
    store.add_venue_bars(minute)
    assert store.pending == 6
    assert store.commit() == 6
    assert query(path, "SELECT symbol, kind, close, vwap FROM bars") == [
        ("AAPL", "minute", 10.0, None),
        ("AAPL", "minute", 11.0, None),
    ]
    columns = "symbol, side, rule, strength, probability, latency_ns, chain_hash"
    assert query(path, f"SELECT {columns} FROM signals") == [
        ("AAPL", "sell", "model_up", 0.75, None, 500, "ffffffff00000000"),
        ("AAPL", "buy", "rsi_oversold", 0.75, None, 500, "ffffffff00000001"),
    ]
    assert query(path, "SELECT sequence, kind, volume FROM venue_bars") == [(7, "minute", 1234.0)]
    assert query(path, "SELECT run_id, role, kind, text FROM events") == [
        ("run-1", "feed", "gap", "12 missing")
    ]
    assert query(path, "SELECT run_id, venue, code_version FROM runs") == [("run-1", "polygon", "0.1.0")]


def test_nothing_is_visible_before_the_commit_and_all_of_it_after(open_store, path):
    store = open_store()
    store.add_bars(make_bars(300))
    assert query(path, "SELECT count(*) FROM bars") == [(0,)]
    store.commit()
    assert query(path, "SELECT count(*) FROM bars") == [(300,)]
    assert store.commit() == 0


def test_what_is_stored_already_is_not_stored_twice_after_a_restart(open_store, path):
    first = open_store()
    first.add_signals(make_signals(5))
    first.close()
    second = open_store()
    assert second.next_sequence("signals") == 5
    assert second.next_sequence("bars") == 0
    second.add_signals(make_signals(8))
    second.commit()
    assert query(path, "SELECT sequence FROM signals") == [(i,) for i in range(8)]
    assert len(query(path, "SELECT * FROM runs")) == 1


def test_closing_folds_the_write_ahead_log_into_the_file(open_store, path):
    store = open_store()
    store.add_bars(make_bars(100))
    with closing(sqlite3.connect(path)) as reader:  # SQLite tidies up by itself only for the last connection
        assert reader.execute("SELECT count(*) FROM bars").fetchone() == (0,)
        store.close()
        assert path.with_name("market_data.db-wal").stat().st_size == 0
    assert query(path, "SELECT count(*) FROM bars") == [(100,)]


def test_a_failed_commit_keeps_its_rows_for_the_next_try(open_store, path):
    store = open_store()
    store._connection.execute("PRAGMA busy_timeout = 1")
    store.add_bars(make_bars(3))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another program is writing to it"):
            store.commit()
        assert store.pending == 3
        other.execute("ROLLBACK")
    assert store.commit() == 3


def test_a_full_disk_is_named_and_loses_nothing(open_store, path):
    store = open_store()
    store.add_bars(make_bars(10))
    store.commit()
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    rows = make_bars(5_000)
    store.add_bars(rows)
    with pytest.raises(StoreError, match="the disk is full: free it"):
        store.commit()
    assert query(path, "SELECT count(*) FROM bars") == [(10,)]
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.commit()
    assert query(path, "SELECT count(*) FROM bars") == [(5_000,)]


def test_a_database_of_another_program_is_refused(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(StoreError, match="another program's database"):
        open_database(path)
    assert query(path, "SELECT name FROM sqlite_master") == [("bookmarks",)]


def test_a_newer_schema_is_refused(path):
    open_database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(
        StoreError, match=f"has schema {SCHEMA_VERSION + 1}, this program knows {SCHEMA_VERSION}"
    ):
        open_database(path)


def test_an_older_database_gets_the_tables_it_lacks_and_keeps_its_rows(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            f"{TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;"
            "INSERT INTO runs VALUES ('old', 1, 'polygon', '', '');"
        )
    open_database(path).close()
    assert query(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert query(path, "SELECT run_id FROM runs") == [("old",)]
    assert query(path, "SELECT count(*) FROM orders") == query(path, "SELECT count(*) FROM fills") == [(0,)]


def test_orders_and_fills_are_stored_in_currency_and_units_once(open_store, path):
    store = open_store()
    for _ in range(2):
        store.add_orders(make_orders())
        store.add_fills(make_fills())
        store.commit()
    columns = (
        "sequence, symbol, side, kind, status, reason, quantity, filled, limit_price, price, signal_sequence"
    )
    assert query(path, f"SELECT {columns} FROM orders") == [
        (0, "AAPL", "buy", "limit", "accepted", "none", 100.0, 0.0, 10.5, None, 7),
        (1, "AAPL", "sell", "market", "refused", "order_size", 100.0, 0.0, None, 10.25, None),
    ]
    columns = "side, liquidity, price, quantity, fee, realised, position, cash, signal_sequence, chain_hash"
    assert query(path, f"SELECT {columns} FROM fills") == [
        ("buy", "maker", 10.5, 100.0, 0.5, -1.25, 100.0, 1000.0, 7, "00000000000000ff")
    ]


def test_a_file_that_is_no_database_is_refused(path):
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not an SQLite database; move it away"):
        open_database(path)


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/market_data\.db: .*: check its folder"):
        open_database(tmp_path / "file" / "market_data.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="check that its folder exists"):
        open_database(tmp_path / "folder")
