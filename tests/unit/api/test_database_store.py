"""History in a real PostgreSQL: what is stored, exactly once, and what becomes of it when the server goes away."""

import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from hft_engine.api.collector_config import DatabaseConfig
from hft_engine.api.schema import Aggregate, FairMarketValue, Quote, Record, RecordType, Trade
from hft_engine.api.stores.database_store import DatabaseStore
from hft_engine.api.stores.store import Arrival, StoreError
from hft_engine.api.stores.writer import StoreWriter
from hft_engine.config.errors import ConfigError
from support.proxy import Proxy
from support.stores import PG_PORT, AnswerLost, arrivals, database_url, own_schema, trade
from support.waiting import wait_for

COUNT = 1_000
# What an extension that is not here would bring: the one function that is called, noting its calls.
STAND_IN = """
CREATE TABLE public.hypertables (name text, time_column text);
CREATE FUNCTION public.create_hypertable(relation regclass, time_column_name name, if_not_exists boolean = false)
RETURNS void LANGUAGE sql AS $$ INSERT INTO public.hypertables VALUES (relation::text, time_column_name) $$;
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, DatabaseConfig]]:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with own_schema() as found:
        yield found


def rows_of(connection: Any, config: DatabaseConfig, table: str) -> list[tuple[Any, ...]]:
    return list(connection.execute(f"SELECT * FROM {config.schema}.{table} ORDER BY received").fetchall())


def prices(connection: Any, config: DatabaseConfig) -> list[float]:
    return [row[3] for row in rows_of(connection, config, "trades")]


def utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1_000, UTC).replace(
        microsecond=milliseconds % 1_000 * 1_000
    )


def test_every_type_is_stored_field_by_field(place: tuple[Any, DatabaseConfig]) -> None:
    connection, config = place
    stamp, received = 1_700_000_000_123, 1_700_000_000_123_456
    records: list[tuple[RecordType, Record]] = [
        (RecordType.TRADE, Trade("AAPL", 0.1 + 0.2, 1e-9, "4", stamp, ["12", "37"])),
        (RecordType.QUOTE, Quote("AAPL", 99.99, 100.01, 3.0, 0.0, "11", stamp)),
        (RecordType.MINUTE, Aggregate("AAPL", 1.0, 2.0, 0.5, 1.5, 1e12, None, stamp)),
        (RecordType.SECOND, Aggregate("AAPL", 1.0, 2.0, 0.5, 1.5, 10.0, 1.25, stamp)),
        (RecordType.FMV, FairMarketValue("AAPL", 100.5, stamp)),
    ]
    store = DatabaseStore(config)
    store.open()
    store.write([Arrival(received + i, kind, record) for i, (kind, record) in enumerate(records)])
    store.close()
    moment = utc(received // 1_000)

    def head(number: int) -> tuple[Any, ...]:
        return utc(stamp), moment.replace(microsecond=123_456 + number), "AAPL"

    assert rows_of(connection, config, "trades") == [(*head(0), 0.1 + 0.2, 1e-9, "4", ["12", "37"])]
    assert rows_of(connection, config, "quotes") == [(*head(1), 99.99, 100.01, 3.0, 0.0, "11")]
    assert rows_of(connection, config, "bars") == [
        (*head(2), "AM", 1.0, 2.0, 0.5, 1.5, 1e12, None),
        (*head(3), "A", 1.0, 2.0, 0.5, 1.5, 10.0, 1.25),
    ]
    assert rows_of(connection, config, "fair_values") == [(*head(4), 100.5)]


def test_a_batch_whose_answer_was_lost_is_not_stored_twice(place: tuple[Any, DatabaseConfig]) -> None:
    connection, config = place
    store = AnswerLost(DatabaseStore(config), StoreError("the answer was lost"))
    writer = StoreWriter(store, 100)
    writer.start()
    for i in range(20):
        writer.put(RecordType.TRADE, trade(i))
    wait_for(lambda: writer.stored == 20, "all stored")
    writer.stop()
    assert store.lost == 1 and writer.failures == 1
    assert prices(connection, config) == [trade(i).price for i in range(20)]


def test_a_new_connection_waits_for_the_transaction_of_the_lost_one(
    place: tuple[Any, DatabaseConfig],
) -> None:
    connection, config = place
    store = DatabaseStore(config)
    store.open()
    batch = arrivals(5)
    store.write(batch[:2])
    store.close()
    (writer,) = connection.execute(f"SELECT writer FROM {config.schema}.writers").fetchone()
    done = threading.Event()

    def again() -> None:
        store.open()
        done.set()

    with connection.transaction():  # the lost connection's, which the server has not finished
        connection.execute(
            f"UPDATE {config.schema}.writers SET last_id = %s WHERE writer = %s", (batch[3].id, writer)
        )
        thread = threading.Thread(target=again)
        thread.start()
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
        with psycopg.connect(config.url, autocommit=True) as other:
            wait_for(
                lambda: other.execute(asked, (f"%{config.schema}%FOR UPDATE",)).fetchone()[0],  # type: ignore[index]
                "the new connection at the lock",
            )
        assert not done.is_set()
    thread.join(30)
    store.write(batch)
    store.close()
    assert prices(connection, config) == [trade(i).price for i in (0, 1, 4)]


def test_a_server_that_goes_away_and_comes_back_misses_nothing(place: tuple[Any, DatabaseConfig]) -> None:
    connection, config = place
    with Proxy(PG_PORT) as proxy:
        store = DatabaseStore(replace(config, url=database_url(proxy.port)))
        store.every_s = 0.01
        writer = StoreWriter(store, 10_000)
        writer.start()
        for number in range(COUNT):
            writer.put(RecordType.TRADE, trade(number))
            if number % 200 == 0:  # wherever it is
                proxy.reset()
        proxy.refuse()
        before = writer.failures
        wait_for(lambda: writer.failures > before, "an attempt in vain")
        assert "start it, or set database.url" in writer.problem
        proxy.heal()
        wait_for(lambda: writer.stored == COUNT, "all of it")
        writer.stop()
    assert writer.dropped == 0
    assert prices(connection, config) == [trade(i).price for i in range(COUNT)]


def test_without_timescale_it_is_plain_tables_and_that_is_said_once(
    place: tuple[Any, DatabaseConfig], caplog: pytest.LogCaptureFixture
) -> None:
    connection, config = place
    for _ in range(2):
        store = DatabaseStore(config)
        store.open()
        store.close()
    assert caplog.text.count("has no TimescaleDB") == 1
    found = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = %s AND tablename = 'trades'", (config.schema,)
    ).fetchall()
    assert sorted(text.partition("USING ")[2] for (text,) in found) == ["btree (symbol, ts)", "btree (ts)"]


def test_with_timescale_each_table_is_a_hypertable(caplog: pytest.LogCaptureFixture) -> None:
    name = f"hft_t_{uuid.uuid4().hex[:8]}"
    with own_schema() as (connection, _):
        connection.execute(f"CREATE DATABASE {name}")
        try:
            with own_schema(name) as (inside, config):
                inside.execute(STAND_IN)
                store = DatabaseStore(config)
                store.open()
                store.write(arrivals(3))
                store.close()
                found = inside.execute("SELECT * FROM hypertables ORDER BY name").fetchall()
                assert prices(inside, config) == [trade(i).price for i in range(3)]
        finally:
            connection.execute(f"DROP DATABASE {name}")
    tables = ("bars", "fair_values", "quotes", "trades")
    assert found == [(f"{config.schema}.{table}", "ts") for table in tables]
    assert "has no TimescaleDB" not in caplog.text


def test_anothers_schema_is_left_alone(place: tuple[Any, DatabaseConfig]) -> None:
    connection, config = place
    connection.execute(f"CREATE SCHEMA {config.schema}")
    connection.execute(f"CREATE TABLE {config.schema}.writers (book text)")
    store = DatabaseStore(config)
    with pytest.raises(StoreError, match=r"another program's.*set database\.schema"):
        store.open()
    store.close()


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    secret = "planted-secret"
    monkeypatch.setenv("DATABASE_URL", f"postgresql://somebody:{secret}@127.0.0.1:9/prices")
    config = DatabaseConfig(enabled=True, url=f"postgresql://x:{secret}@127.0.0.1:9/x")
    writer = StoreWriter(DatabaseStore(config), 100)
    writer.start()
    wait_for(lambda: writer.problem, "a failure")
    writer.stop()
    assert "127.0.0.1:9 database prices" in writer.problem and "DATABASE_URL" in writer.problem
    assert secret not in writer.problem + caplog.text + str(writer.stats()) + repr(config)
    monkeypatch.setenv("DATABASE_URL", f"postgresql:/somebody:{secret}@127.0.0.1")
    with pytest.raises(ConfigError, match="write it postgresql://") as refusal:
        DatabaseStore(config)
    assert secret not in str(refusal.value)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'hft-engine\[timescale\]'"):
        DatabaseStore(DatabaseConfig())
