"""``PolygonWebsocketCollector``: symbols in, the latest records in memory, on request everything on disk."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from hft_engine.api.collector_config import CollectorConfig
from hft_engine.api.connection import Connection, Listener
from hft_engine.api.schema import Record, RecordType
from hft_engine.api.stores.database_store import DatabaseStore
from hft_engine.api.stores.redis_store import RedisStore
from hft_engine.api.stores.store import StoreError
from hft_engine.api.stores.writer import StoreWriter


class CollectorError(ValueError):
    """The collector cannot do that; the text says why and what to do."""


class PolygonWebsocketCollector:
    """Streams what ``config`` says. Symbols may be added and removed before and after ``start``.

    Where ``config`` wants it, each record goes to Redis and to a database as well, on threads of their own: a server
    that is slow or gone costs records there, counted (``stats``), and the feed nothing.
    Raises ConfigError for a configuration that cannot be, CollectorError where a package for it is not installed.
    """

    def __init__(self, config: CollectorConfig) -> None:
        self.config = config
        self.symbols: list[str] = []
        self._stores = config.persistence.enabled
        self._connection = Connection(
            config.sections(),
            source=f"collector {config.provider}",
            kept=config.cache.records,
            stores=self._stores,
        )
        self._writers = _writers(config)
        for writer in self._writers:
            self._connection.listen(writer.put)
        for symbol in config.symbols:
            self.add_symbol(symbol)

    def add_symbol(self, symbol: str) -> None:
        """Raises CollectorError beyond ``symbols_max``; a symbol that is there already is fine."""
        if symbol in self.symbols:
            return
        limit = self.config.symbols_max
        if limit and len(self.symbols) >= limit:
            raise CollectorError(
                f"{symbol}: symbols_max is {limit}, and as many are there; remove one, or raise it"
            )
        self.symbols.append(symbol)
        if self._connection.is_open:
            self._connection.subscribe([symbol], wait_s=0)

    def remove_symbol(self, symbol: str) -> None:
        if symbol in self.symbols:
            self.symbols.remove(symbol)
            self._connection.unsubscribe([symbol])

    def start(self) -> bool:
        """Connects; True when the venue is live. False: ``problem`` says why, and unless that is for good it tries on.

        Raises CollectorError where there is nothing to do.
        """
        if not self.config.websocket.enabled:
            raise CollectorError("websocket.enabled is false in the configuration: set it to true to stream")
        if not self.symbols:
            raise CollectorError("nothing to collect: add_symbol first")
        for writer in self._writers:
            writer.start()
        _remember(self)
        return self._connection.subscribe(self.symbols)

    def stop(self) -> None:
        """Ends the connection; with persistence, everything is on disk afterwards, and in the servers if they answer
        within 10 s. ``start`` goes on.
        """
        self._connection.close()
        for writer in self._writers:
            writer.stop()

    @property
    def is_connected(self) -> bool:
        return self._connection.is_live

    @property
    def problem(self) -> str:
        """Why no data come, for people: a refused key, no network, symbols that nobody confirmed, ..."""
        return self._connection.problem

    @property
    def session_path(self) -> Path | None:
        """Where the journal is, for ``hft replay``; None without persistence and before ``start``."""
        run_id = self._connection.run_id
        return (
            Path(self.config.persistence.data_dir) / "journal" / run_id if self._stores and run_id else None
        )

    def on_record(self, listener: Listener) -> None:
        """``listener(type, record)`` on the feed's thread, for each record."""
        self._connection.listen(listener)

    def latest(self, symbol: str, record_type: RecordType = RecordType.TRADE) -> Record | None:
        return self._connection.recent.latest(symbol, record_type)

    def recent(
        self, symbol: str, record_type: RecordType = RecordType.TRADE, limit: int | None = None
    ) -> list[Record]:
        """Oldest first, at most ``cache.records``."""
        return self._connection.recent.last(symbol, record_type, limit)

    def stats(self) -> dict[str, Any]:
        """``state``, ``problem``, ``symbols``, the latest ``events``, the feed's ``counters``; ``stores``: of redis and
        database ``place, state, problem, stored, dropped, waiting, failures``.
        """
        connection = self._connection
        return {
            "state": connection.state,
            "problem": connection.problem,
            "symbols": list(self.symbols),
            "events": connection.events(),
            "counters": connection.counters(),
            "stores": {writer.store.name: writer.stats() for writer in self._writers},
        }

    def __enter__(self) -> "PolygonWebsocketCollector":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


_started: "weakref.ref[PolygonWebsocketCollector] | None" = None


def latest_started() -> PolygonWebsocketCollector | None:
    """The collector of this process that was started last, as long as somebody holds it."""
    return None if _started is None else _started()


def _remember(collector: PolygonWebsocketCollector) -> None:
    global _started
    _started = weakref.ref(collector)


def _writers(config: CollectorConfig) -> list[StoreWriter]:
    writers = []
    try:
        if config.cache.backend == "redis":
            writers.append(StoreWriter(RedisStore(config), config.redis.waiting_max))
        if config.database.enabled:
            writers.append(StoreWriter(DatabaseStore(config.database), config.database.waiting_max))
    except StoreError as error:
        raise CollectorError(str(error)) from None
    return writers


class CollectorFactory:
    """Collectors by name. ``register`` adds one of yours."""

    _makers: ClassVar[dict[str, Callable[[CollectorConfig], Any]]] = {
        "polygon_websocket": PolygonWebsocketCollector
    }

    @classmethod
    def create(cls, name: str, config: CollectorConfig) -> Any:
        """Raises CollectorError for a name that nobody registered."""
        if name not in cls._makers:
            raise CollectorError(f"no collector is called {name!r}; there are {', '.join(cls._makers)}")
        return cls._makers[name](config)

    @classmethod
    def register(cls, name: str, maker: Callable[[CollectorConfig], Any]) -> None:
        cls._makers[name] = maker
