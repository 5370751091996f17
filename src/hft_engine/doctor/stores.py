"""The servers that the collectors of config/collector_config.yaml store in: whether they answer."""

from collections.abc import Iterator
from pathlib import Path

from hft_engine.api.collector_config import DEFAULT, CollectorConfig
from hft_engine.api.stores.database_store import DatabaseLink
from hft_engine.api.stores.redis_store import RedisLink
from hft_engine.api.stores.store import StoreError
from hft_engine.config.document import read_document
from hft_engine.config.errors import ConfigError
from hft_engine.doctor.findings import Finding, ok, problem, warning

_LOST = "a collector runs without it, and stores nothing there"


def examine(path: Path = DEFAULT) -> Iterator[Finding]:
    """Of each section that wants one; nothing without the file."""
    if not path.is_file():
        return
    try:
        configs = [CollectorConfig.load(name, path) for name in read_document(path).data]
    except ConfigError as error:
        yield problem("collector", str(error), "change the key that is named")
        return
    for config in configs:
        if config.cache.backend == "redis":
            yield _redis(config)
        if config.database.enabled:
            yield _database(config)


def _redis(config: CollectorConfig) -> Finding:
    area = f"collector {config.provider}, redis"
    try:
        link = RedisLink(config.redis)
        try:
            link.check()
        finally:
            link.close()
    except (StoreError, ConfigError) as error:
        return problem(area, str(error), _LOST)
    return ok(area, f"{link.place} answers")


def _database(config: CollectorConfig) -> Finding:
    area = f"collector {config.provider}, database"
    try:
        link = DatabaseLink(config.database)
        with link.connect() as connection, link.told():
            asked = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
            found = connection.execute(asked).fetchone()
    except (StoreError, ConfigError) as error:
        return problem(area, str(error), _LOST)
    if found is None:
        remedy = "CREATE EXTENSION timescaledb, for hypertables; or leave it"
        return warning(area, f"{link.place} answers, without TimescaleDB: plain tables", remedy)
    return ok(area, f"{link.place} answers, with TimescaleDB {found[0]}")
