"""``RealtimeDataProvider``: what a collector has, for models and notebooks, of this process or of another."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any, ClassVar, Protocol

from hft_engine.api.collector import latest_started
from hft_engine.api.collector_config import DEFAULT, CollectorConfig
from hft_engine.api.schema import Aggregate, Record, RecordType
from hft_engine.api.stores.redis_store import RedisReader
from hft_engine.api.stores.store import RECORD_OF, StoreError
from hft_engine.api.summary import price_of

PROVIDER = "polygon"  # whose section of the file says where other processes' records are
_OHLCV = {
    "timestamp": "timestamp", "open": "open_price", "high": "high_price", "low": "low_price",
    "close": "close_price", "volume": "volume",
}  # fmt: skip


class Source(Protocol):
    """A collector, or what it stored."""

    def latest(self, symbol: str, record_type: RecordType = ..., /) -> Record | None: ...
    def recent(
        self, symbol: str, record_type: RecordType = ..., /, limit: int | None = None
    ) -> list[Record]: ...


class RealtimeDataProvider:
    """Methods of the class, as the source document has them; no object is made.

    Records come from what ``use`` named; else from the collector of this process that was started last; else from
    Redis, where config/collector_config.yaml has ``cache.backend: redis`` and a collector of another process stores
    there. Every method raises StoreError where there is none of these, or Redis does not answer.
    """

    _used: ClassVar[Source | None] = None
    _reader: ClassVar[RedisReader | None] = None

    @classmethod
    def use(cls, source: Source | CollectorConfig | None) -> None:
        """A collector, or a configuration that says which Redis; None: as without it.

        Raises StoreError, ConfigError.
        """
        if cls._reader is not None:
            cls._reader.close()
            cls._reader = None
        cls._used = RedisReader(source.redis) if isinstance(source, CollectorConfig) else source

    @classmethod
    def get_latest_data(cls, symbol: str, record_type: RecordType = RecordType.TRADE) -> Record | None:
        """None before any came."""
        return cls._source().latest(symbol, record_type)

    @classmethod
    def get_latest_price(cls, symbol: str) -> float | None:
        """The last trade's, else the last bar's close, else the mid; None before any came."""
        return price_of(cls._source(), symbol)

    @classmethod
    def get_multi_symbol_prices(cls, symbols: Iterable[str]) -> dict[str, float | None]:
        """``get_latest_price`` of each."""
        source = cls._source()
        return {symbol: price_of(source, symbol) for symbol in symbols}

    @classmethod
    def get_recent_data(
        cls, symbol: str, record_type: RecordType = RecordType.TRADE, limit: int | None = None
    ) -> list[Record]:
        """Oldest first, at most ``cache.records``."""
        return cls._source().recent(symbol, record_type, limit=limit)

    @classmethod
    def get_recent_dataframe(
        cls, symbol: str, record_type: RecordType = RecordType.TRADE, limit: int | None = None
    ) -> Any:
        """``get_recent_data`` as a pandas DataFrame, a column a field; ``timestamp``: UTC milliseconds."""
        columns = [field.name for field in fields(RECORD_OF[record_type])]
        return _frame(columns, map(asdict, cls.get_recent_data(symbol, record_type, limit)))

    @classmethod
    def get_ohlcv_dataframe(
        cls, symbol: str, limit: int | None = None, record_type: RecordType = RecordType.MINUTE
    ) -> Any:
        """The venue's bars as a pandas DataFrame, oldest first: timestamp (of the begin, UTC milliseconds), open, high,
        low, close, volume; empty before any came. ``hft_engine.models`` take it as it is.
        """
        bars = [bar for bar in cls.get_recent_data(symbol, record_type, limit) if isinstance(bar, Aggregate)]
        return _frame(
            list(_OHLCV), [{name: getattr(bar, field) for name, field in _OHLCV.items()} for bar in bars]
        )

    @classmethod
    def _source(cls) -> Source:
        source = cls._used or latest_started() or cls._reader
        if source is None:
            source = cls._reader = RedisReader(_configured().redis)
        return source


def _configured() -> CollectorConfig:
    if DEFAULT.is_file():
        config = CollectorConfig.load(PROVIDER)
        if config.cache.backend == "redis":
            return config
    raise StoreError(
        "no collector was started in this process: start one; or, for what a collector of another process stores, set "
        f"cache.backend: redis in {DEFAULT}, or call RealtimeDataProvider.use(config)"
    )


def _frame(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> Any:
    try:
        import pandas
    except ImportError:
        raise StoreError("data frames need pandas: pip install 'hft-engine[frames]'") from None
    return pandas.DataFrame(list(rows), columns=list(columns))


__all__ = ["RealtimeDataProvider", "Source"]
