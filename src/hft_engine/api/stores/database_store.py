"""PostgreSQL or TimescaleDB as the place of history. Tables: ``database_tables``. Needs hft-engine[timescale].

Exactly once without a key on every row: the id of the last record stored is written, by writer, in the transaction
that stores the records. Where no answer to a commit came, the next connection reads how far it got; the lock on that
row makes it wait for the old transaction, should the server still be at it.
"""

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from hft_engine.api.collector_config import DatabaseConfig
from hft_engine.api.stores.database_tables import COMMENT, HEAD, TABLES, WRITERS, Table, row_of
from hft_engine.api.stores.store import Arrival, StoreError
from hft_engine.config.errors import ConfigError
from hft_engine.config.load import variable
from hft_engine.config.url_secrets import MASK, secrets_of

# A server that does not answer is given up: the feed's memory is bounded by what waits meanwhile.
OPTIONS = {
    "connect_timeout": "3", "tcp_user_timeout": "10000", "keepalives_idle": "5", "keepalives_interval": "2",
    "keepalives_count": "3", "application_name": "hft_engine collector",
    "options": "-c statement_timeout=10000 -c lock_timeout=5000",
}  # fmt: skip
_REMEDY = "start it, or set database.url, or DATABASE_URL"
_LOCK = (
    0x68667431  # of pg_advisory_xact_lock: collectors that start together make the tables one after another
)
_LAST = "SELECT last_id FROM {}.{} WHERE writer = %s FOR UPDATE"
_ADVANCE = "UPDATE {}.{} SET last_id = %s, updated = now() WHERE writer = %s"

log = logging.getLogger("hft_engine.api.stores.database")


class DatabaseLink:
    """How to connect, and how errors read. Raises ConfigError for no address, StoreError without the extra."""

    def __init__(self, config: DatabaseConfig) -> None:
        self._psycopg = psycopg = _library()
        url = variable("DATABASE_URL") or config.url
        self._secrets = list(secrets_of(url))
        try:
            self._address: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(url, **OPTIONS)
        except psycopg.ProgrammingError:  # its text repeats the whole address
            raise ConfigError(
                ["database.url: is no address; write it postgresql://USER:PASSWORD@HOST:PORT/DATABASE"]
            ) from None
        self._secrets += [text for text in (self._address.get("password"),) if text]
        given = {key: self._address.get(key) for key in ("host", "port", "dbname")}
        host = given["host"] or variable("PGHOST") or "the local socket"
        name = given["dbname"] or variable("PGDATABASE") or "of the user's name"
        self.place = f"PostgreSQL {host}{f':{port}' if (port := given['port']) else ''} database {name}"

    def connect(self) -> Any:
        """Raises StoreError."""
        with self.told():
            return self._psycopg.connect(**self._address, autocommit=True)

    @contextmanager
    def told(self) -> Iterator[None]:
        """A StoreError in the place of what the library raises."""
        psycopg = self._psycopg
        try:
            yield
        except psycopg.errors.InsufficientPrivilege as error:
            remedy = "let the user make the schema (GRANT CREATE ON DATABASE), or make it as its owner"
            raise StoreError(f"{self.place}: {self._masked(error)}: {remedy}") from None
        except psycopg.OperationalError as error:
            raise StoreError(f"{self.place}: {self._masked(error)}: {_REMEDY}") from None
        except psycopg.Error as error:
            remedy = "was the schema changed? set database.schema to a new name"
            raise StoreError(f"{self.place}: {self._masked(error)}: {remedy}") from None

    def sql(self, text: str, *names: str) -> Any:
        """``text`` with each ``{}`` a quoted name."""
        return self._psycopg.sql.SQL(text).format(*map(self._psycopg.sql.Identifier, names))

    def _masked(self, error: Exception) -> str:
        text = " ".join(str(error).split())
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


class DatabaseStore:
    """Every record, for good."""

    name = "database"
    batch_max = 10_000
    every_s = 0.5  # a transaction is synced to the disk: few large ones

    def __init__(self, config: DatabaseConfig) -> None:
        self._link = DatabaseLink(config)
        self._schema = config.schema
        self._writer = uuid.uuid4().hex
        self._connection: Any = None
        self._last_id = 0

    @property
    def place(self) -> str:
        return self._link.place

    def open(self) -> None:
        self._connection = connection = self._link.connect()
        with self._link.told():
            self._make_tables(connection)
            with connection.transaction():
                self._last_id = self._found_last(connection)

    def write(self, batch: Sequence[Arrival]) -> None:
        new = [arrival for arrival in batch if arrival.id > self._last_id]
        if not new:
            return
        by_table: dict[str, tuple[Table, list[Arrival]]] = {}
        for arrival in new:
            table = TABLES[type(arrival.record)]
            by_table.setdefault(table.name, (table, []))[1].append(arrival)
        connection = self._connection
        with self._link.told(), connection.transaction():
            # First of all: whoever reads it after a loss waits for this transaction's end.
            connection.execute(self._link.sql(_ADVANCE, self._schema, WRITERS), (new[-1].id, self._writer))
            for table, arrivals in by_table.values():
                self._copy(connection, table, arrivals)
        self._last_id = new[-1].id

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # of what may be gone already
                connection.close()

    def _copy(self, connection: Any, table: Table, arrivals: list[Arrival]) -> None:
        names = list(table.columns)
        places = ", ".join("{}" for _ in names)
        text = f"COPY {{}}.{{}} ({places}) FROM STDIN (FORMAT BINARY)"
        with (
            connection.cursor() as cursor,
            cursor.copy(self._link.sql(text, self._schema, table.name, *names)) as copy,
        ):
            copy.set_types(list(table.columns.values()))
            for arrival in arrivals:
                copy.write_row(row_of(table, arrival))

    def _found_last(self, connection: Any) -> int:
        sql = self._link.sql
        found = connection.execute(sql(_LAST, self._schema, WRITERS), (self._writer,)).fetchone()
        if found is not None:
            return int(found[0])
        connection.execute(
            sql("INSERT INTO {}.{} (writer, last_id) VALUES (%s, 0)", self._schema, WRITERS), (self._writer,)
        )
        return 0

    # ---- tables

    def _make_tables(self, connection: Any) -> None:
        """Raises StoreError where the schema is another program's."""
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            name = f"{self._schema}.{WRITERS}"
            comment = connection.execute(
                "SELECT obj_description(to_regclass(%s), 'pg_class'), to_regclass(%s) IS NOT NULL",
                (name, name),
            ).fetchone()
            if comment == (COMMENT, True):
                return
            if comment[1]:
                raise StoreError(
                    f"{self.place}: schema {self._schema} is another program's or another version's: "
                    "set database.schema to a new name"
                )
            self._create(connection)

    def _create(self, connection: Any) -> None:
        sql, schema = self._link.sql, self._schema
        if connection.execute("SELECT to_regnamespace(%s) IS NULL", (schema,)).fetchone()[0]:
            connection.execute(sql("CREATE SCHEMA {}", schema))
        hyper = bool(
            connection.execute("SELECT count(*) FROM pg_proc WHERE proname = 'create_hypertable'").fetchone()[
                0
            ]
        )
        for table in TABLES.values():
            columns = ", ".join(
                f"{name} {kind}{' NOT NULL' if name in HEAD else ''}" for name, kind in table.columns.items()
            )
            connection.execute(sql(f"CREATE TABLE {{}}.{{}} ({columns})", schema, table.name))
            connection.execute(sql("CREATE INDEX ON {}.{} (symbol, ts)", schema, table.name))
            if hyper:  # it makes the index of the times itself
                connection.execute(
                    "SELECT create_hypertable(%s::regclass, 'ts'::name)", (f"{schema}.{table.name}",)
                )
            else:
                connection.execute(sql("CREATE INDEX ON {}.{} (ts)", schema, table.name))
        columns = "writer text PRIMARY KEY, last_id int8 NOT NULL, updated timestamptz DEFAULT now()"
        connection.execute(sql(f"CREATE TABLE {{}}.{{}} ({columns})", schema, WRITERS))
        connection.execute(sql(f"COMMENT ON TABLE {{}}.{{}} IS '{COMMENT}'", schema, WRITERS))
        if not hyper:
            log.warning(
                "%s has no TimescaleDB: schema %s gets plain tables with an index of the times. For hypertables: "
                "CREATE EXTENSION timescaledb, before the schema is made",
                self.place,
                self._schema,
            )


def _library() -> Any:
    try:
        import psycopg
    except ImportError:
        raise StoreError("database.enabled needs psycopg: pip install 'hft-engine[timescale]'") from None
    return psycopg
