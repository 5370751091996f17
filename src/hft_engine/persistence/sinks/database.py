"""Open the SQLite file: its options, each set and read back, and its schema, made or refused."""

import sqlite3
from pathlib import Path

from hft_engine.persistence.sinks.schema import (
    APPLICATION_ID,
    HEALTH_TABLE,
    MIGRATIONS,
    SCHEMA_VERSION,
    TABLES,
    TRADING_TABLES,
)

BUSY_TIMEOUT_MS = 500  # for another program's write lock; under the heartbeat limit. Then the batch waits
# WAL: readers never block the writer. NORMAL: power loss may take the last commits, never the file's integrity;
# this build's own default would be FULL, a sync for each commit.
PRAGMAS: dict[str, str | int] = {"journal_mode": "wal", "synchronous": 1, "busy_timeout": BUSY_TIMEOUT_MS}


class StoreError(Exception):
    """The database cannot be opened or written. The text says what, where, and the remedy."""


def open_database(path: Path) -> sqlite3.Connection:
    """A connection to ``path``, made if missing, in autocommit mode. Raises StoreError."""
    connection = _connect(path)
    try:
        _check_owner(path, connection)
        for name, value in PRAGMAS.items():
            _set_pragma(path, connection, name, value)
        if not _version(connection):
            _create(connection)
        _migrate(connection)
    except sqlite3.Error as error:
        connection.close()
        raise explain(path, error) from error
    except StoreError:
        connection.close()
        raise
    return connection


def explain(path: Path, error: sqlite3.Error) -> StoreError:
    """The error for people: what, where, remedy."""
    remedies = {
        "SQLITE_NOTADB": "it is not an SQLite database; move it away or set persistence.sqlite_file",
        "SQLITE_CORRUPT": "move it away (a new one is made) and recover it with `sqlite3 FILE .recover`",
        "SQLITE_FULL": "the disk is full: free it, what is stored stays readable",
        "SQLITE_READONLY": "it may not be written: check its owner and rights, or set engine.data_dir",
        "SQLITE_CANTOPEN": "check that its folder exists and may be written, or set engine.data_dir",
        "SQLITE_BUSY": "another program is writing to it: let it end",
    }
    name = str(getattr(error, "sqlite_errorname", "") or "")
    remedy = next((text for key, text in remedies.items() if name.startswith(key)), "check the disk")
    return StoreError(f"{path}: {error}: {remedy}")


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1e3, isolation_level=None)
    except sqlite3.Error as error:
        raise explain(path, error) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}: check its folder, or set engine.data_dir") from error


def _check_owner(path: Path, connection: sqlite3.Connection) -> None:
    version, tables = _version(connection), _table_count(connection)
    ours = int(connection.execute("PRAGMA application_id").fetchone()[0]) == APPLICATION_ID
    if tables and not ours:
        raise StoreError(
            f"{path}: is another program's database; move it away or give persistence.sqlite_file a new name"
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: has schema {version}, this program knows {SCHEMA_VERSION}; "
            "use the newer program, or set persistence.sqlite_file to a new name"
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _table_count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _set_pragma(path: Path, connection: sqlite3.Connection, name: str, value: str | int) -> None:
    connection.execute(f"PRAGMA {name} = {value}")
    got = connection.execute(f"PRAGMA {name}").fetchone()[0]
    if got != value:
        raise StoreError(
            f"{path}: SQLite keeps {name} = {got}, not {value}: is its folder on a network disk?"
        )


def _create(connection: sqlite3.Connection) -> None:
    # One transaction, so that a crash in the middle leaves an empty file and not half a schema.
    connection.executescript(
        f"BEGIN IMMEDIATE; {TABLES} {TRADING_TABLES} {HEALTH_TABLE} PRAGMA application_id = {APPLICATION_ID}; "
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def _migrate(connection: sqlite3.Connection) -> None:
    """An older database up to this version, one step a transaction."""
    while (version := _version(connection)) < SCHEMA_VERSION:
        connection.executescript(
            f"BEGIN IMMEDIATE; {MIGRATIONS[version]} PRAGMA user_version = {version + 1}; COMMIT;"
        )
