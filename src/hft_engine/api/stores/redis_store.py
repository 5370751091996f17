"""Redis as the place of the latest records: a writer for the collector's thread, a reader for any process.

Layout: ``redis_layout``. Needs the extra hft-engine[redis].
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hft_engine.api.collector_config import CacheConfig, CollectorConfig, RedisConfig
from hft_engine.api.schema import Record, RecordType
from hft_engine.api.stores.redis_layout import (
    LAYOUT,
    latest_key,
    layout_key,
    of_hash,
    of_member,
    recent_key,
    to_hash,
    to_member,
)
from hft_engine.api.stores.store import Arrival, StoreError
from hft_engine.config.errors import ConfigError
from hft_engine.config.load import variable
from hft_engine.config.url_secrets import MASK

CONNECT_S, ANSWER_S = 2.0, 5.0
_REMEDY = "start it, or set redis.host and redis.port, or REDIS_URL"


class RedisLink:
    """A client, and how its errors read. Raises ConfigError for no REDIS_URL, StoreError without the extra."""

    def __init__(self, config: RedisConfig) -> None:
        self.prefix = config.prefix
        self._redis = redis = _library()
        self.client = _client(redis, config)
        given = self.client.connection_pool.connection_kwargs
        server = given.get("path") or f"{given.get('host')}:{given.get('port', 6379)}"
        self.place = f"Redis {server} db {given.get('db', 0)}"
        self._secrets = [text for text in (given.get("password"), config.password) if text]

    def check(self, claims: bool = False) -> None:
        """That the server answers, and that what lies there is of this layout; ``claims``: where nothing
        does it is from now on. Raises StoreError.
        """
        key = layout_key(self.prefix)
        with self.told():
            if claims:
                self.client.set(key, LAYOUT, nx=True)
            found = self.client.get(key)
        if found not in (None, LAYOUT):
            raise StoreError(
                f"{self.place}: {key} is {found!r} and not {LAYOUT!r}: another program's, or another version's; "
                "set redis.prefix to another word"
            )

    @contextmanager
    def told(self) -> Iterator[None]:
        """A StoreError in the place of what the library raises."""
        try:
            yield
        except self._redis.AuthenticationError as error:
            raise StoreError(self._text(error, "check REDIS_URL, or redis.username and .password")) from None
        except (self._redis.ConnectionError, self._redis.TimeoutError) as error:
            raise StoreError(self._text(error, _REMEDY)) from None
        except self._redis.RedisError as error:
            raise StoreError(self._text(error, "see the server's log and its memory limit")) from None

    def close(self) -> None:
        self.client.close()

    def _text(self, error: Exception, remedy: str) -> str:
        text = f"{self.place}: {error}"
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return f"{text}: {remedy}"


class RedisStore:
    """The newest ``cache.records`` of each type and ticker, for ``cache.ttl_seconds``."""

    name = "redis"
    batch_max = 1_000  # a transaction of some milliseconds
    every_s = (
        0.005  # what readers wait at most, besides the way; less would take the interpreter from the feed
    )

    def __init__(self, config: CollectorConfig) -> None:
        self._link = RedisLink(config.redis)
        self._cache: CacheConfig = config.cache

    @property
    def place(self) -> str:
        return self._link.place

    def open(self) -> None:
        self._link.check(claims=True)

    def write(self, batch: Sequence[Arrival]) -> None:
        """One transaction: a reader sees all of a batch or nothing."""
        by_key: dict[tuple[RecordType, str], list[Arrival]] = {}
        for arrival in batch:
            by_key.setdefault((arrival.kind, arrival.record.ticker), []).append(arrival)
        with self._link.told(), self._link.client.pipeline(transaction=True) as pipeline:
            for (kind, ticker), arrivals in by_key.items():
                self._add(pipeline, kind, ticker, arrivals)
            pipeline.execute()

    def close(self) -> None:
        self._link.close()

    def _add(self, pipeline: Any, kind: RecordType, ticker: str, arrivals: list[Arrival]) -> None:
        latest, recent = (key(self._link.prefix, kind, ticker) for key in (latest_key, recent_key))
        kept, ttl_s = self._cache.records, self._cache.ttl_seconds
        pipeline.hset(latest, mapping=to_hash(arrivals[-1]))
        pipeline.expire(latest, ttl_s)
        pipeline.zadd(recent, {to_member(arrival): arrival.id for arrival in arrivals[-kept:]})
        pipeline.zremrangebyrank(recent, 0, -kept - 1)
        pipeline.expire(recent, ttl_s)


class RedisReader:
    """What a collector of another process stored; the same records that it has in its memory. Every method raises
    StoreError, a REDIS_URL that is none ConfigError.
    """

    def __init__(self, config: RedisConfig) -> None:
        self._link = RedisLink(config)
        self._link.check()

    def latest(self, symbol: str, record_type: RecordType = RecordType.TRADE) -> Record | None:
        with self._link.told():
            found = self._link.client.hgetall(latest_key(self._link.prefix, record_type, symbol))
        return of_hash(record_type, found) if found else None

    def recent(
        self, symbol: str, record_type: RecordType = RecordType.TRADE, limit: int | None = None
    ) -> list[Record]:
        """Oldest first, at most ``cache.records`` of the collector."""
        if limit is not None and limit <= 0:
            return []
        with self._link.told():
            key = recent_key(self._link.prefix, record_type, symbol)
            found = self._link.client.zrange(key, 0 if limit is None else -limit, -1)
        return [of_member(record_type, member) for member in found]

    def close(self) -> None:
        self._link.close()


def _library() -> Any:
    try:
        import redis
    except ImportError:
        raise StoreError("cache.backend: redis needs redis-py: pip install 'hft-engine[redis]'") from None
    return redis


def _client(redis: Any, config: RedisConfig) -> Any:
    # How to go on after a failure is the writer's policy: the library's own retries would hide it.
    options = {
        "socket_connect_timeout": CONNECT_S, "socket_timeout": ANSWER_S, "retry": None, "protocol": 2,
    }  # fmt: skip
    url = variable("REDIS_URL")
    if url:
        try:
            return redis.Redis.from_url(url, **options)
        except ValueError:  # its text repeats parts of the address
            text = "REDIS_URL: is no address; write it redis://:PASSWORD@HOST:PORT/DB, a / in the password as %2F"
            raise ConfigError([text]) from None
    return redis.Redis(
        config.host,
        config.port,
        config.db,
        config.password or None,
        username=config.username or None,
        **options,
    )
