"""Redis and PostgreSQL of this machine for tests, each test in its own corner; skipped where a server is absent."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import redis

from hft_engine.api.collector_config import DatabaseConfig, RedisConfig
from hft_engine.api.schema import RecordType, Trade
from hft_engine.api.stores.store import Arrival, Store

REDIS_PORT = 6379
PG_HOST, PG_PORT = os.environ.get("PGHOST", "127.0.0.1"), 5432
PG_DATABASE = os.environ.get("PGDATABASE", "test")


@contextmanager
def own_prefix() -> Iterator[tuple[Any, RedisConfig]]:
    """A client, and a configuration whose keys are removed in the end."""
    client = redis.Redis("127.0.0.1", REDIS_PORT, socket_connect_timeout=2)
    try:
        client.ping()
    except redis.ConnectionError:
        pytest.skip(f"no Redis at 127.0.0.1:{REDIS_PORT}")
    prefix = f"hft-t-{uuid.uuid4().hex[:8]}"
    try:
        yield client, RedisConfig(port=REDIS_PORT, prefix=prefix)
    finally:
        for key in client.scan_iter(f"{prefix}:*"):
            client.delete(key)
        client.close()


@contextmanager
def own_schema(database: str = PG_DATABASE) -> Iterator[tuple[Any, DatabaseConfig]]:
    """A connection, and a configuration whose schema is removed in the end."""
    try:
        connection = psycopg.connect(
            host=PG_HOST, port=PG_PORT, dbname=database, connect_timeout=3, autocommit=True
        )
    except psycopg.OperationalError:
        pytest.skip(f"no PostgreSQL at {PG_HOST}:{PG_PORT}, database {database}")
    schema = f"hft_t_{uuid.uuid4().hex[:8]}"
    try:
        yield connection, DatabaseConfig(enabled=True, url=database_url(PG_PORT, database), schema=schema)
    finally:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        connection.close()


def database_url(port: int, database: str = PG_DATABASE) -> str:
    return f"postgresql://{PG_HOST}:{port}/{database}"


def trade(number: int, ticker: str = "AAPL") -> Trade:
    return Trade(ticker, 100.0 + number / 7, 1.0 + number, "4", 1_700_000_000_000 + number, ["12", "37"])


def arrivals(count: int, start: int = 0) -> list[Arrival]:
    """Trades of one ticker that differ, ids as a clock of microseconds would give them."""
    return [
        Arrival(1_700_000_000_000_000 + i, RecordType.TRADE, trade(i)) for i in range(start, start + count)
    ]


class AnswerLost:
    """A store that stores, and says once that it could not: what a connection lost before the answer looks like."""

    def __init__(self, store: Store, error: Exception) -> None:
        self._store, self._error = store, error
        self.name, self.batch_max, self.every_s = store.name, store.batch_max, 0.01
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, batch: Any) -> None:
        self._store.write(batch)
        if not self.lost:
            self.lost += 1
            raise self._error
