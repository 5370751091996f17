"""``config/collector_config.yaml``: a section a provider, closed, and the engine's sections that it means."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from hft_engine.config.document import read_document
from hft_engine.config.errors import ConfigError
from hft_engine.config.schema import Channel, NonNegative, Port, Positive, Url
from hft_engine.config.url_secrets import without_secrets

DEFAULT = Path("config/collector_config.yaml")
Seconds = Annotated[float, Meta(ge=6.0, le=3_600.0)]  # 6: longer than a silent connection is waited for
WAITING_MAX = 100_000  # records that wait for a server: some 30 MB, and a minute of a busy market
STABLE_FACTOR = 2  # live for so many intervals, and the waits begin anew


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class WebsocketConfig(_Section, frozen=True):
    enabled: bool = True
    channels: tuple[Channel, ...] = ("T", "Q", "AM")
    reconnect_interval_seconds: Seconds = 30.0
    heartbeat_interval_seconds: Annotated[float, Meta(ge=0.0, le=3_600.0)] = 30.0  # 0 = only when it is quiet


class PersistenceConfig(_Section, frozen=True):
    enabled: bool = False
    data_dir: str = "data"


class CacheConfig(_Section, frozen=True):
    """``records`` and ``ttl_seconds`` of each symbol and type; the latter in Redis only."""

    backend: Literal["memory", "redis"] = "memory"  # redis: there too, for other processes
    records: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    ttl_seconds: Annotated[int, Meta(ge=1, le=31_536_000)] = 86_400


class RedisConfig(_Section, frozen=True):
    """REDIS_URL of the environment or .env wins over all of it but ``prefix``. ``repr`` shows no password."""

    host: str = "127.0.0.1"
    port: Port = 6379
    db: NonNegative = 0
    username: str = ""
    password: str = ""
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,32}$")] = "hft"
    waiting_max: Positive = WAITING_MAX

    def __repr__(self) -> str:
        return f"RedisConfig({self.host!r}, {self.port}, db={self.db}, prefix={self.prefix!r})"


class DatabaseConfig(_Section, frozen=True):
    """DATABASE_URL of the environment or .env wins over ``url``; "" is what PGHOST, PGDATABASE, ... say. ``repr`` shows
    no password.
    """

    enabled: bool = False
    url: str = ""
    schema: Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_]{0,31}$")] = "hft"
    waiting_max: Positive = WAITING_MAX

    def __repr__(self) -> str:
        return f"DatabaseConfig({self.enabled}, {without_secrets(self.url)!r}, schema={self.schema!r})"


class CollectorConfig(_Section, frozen=True):
    """``provider``: the section's name. ``repr`` shows no key."""

    provider: str = "polygon"
    websocket_url: Url | None = None
    api_key: str = ""
    symbols: tuple[str, ...] = ()
    symbols_max: NonNegative = 0
    websocket: WebsocketConfig = WebsocketConfig()
    persistence: PersistenceConfig = PersistenceConfig()
    cache: CacheConfig = CacheConfig()
    redis: RedisConfig = RedisConfig()
    database: DatabaseConfig = DatabaseConfig()

    @classmethod
    def load(cls, provider: str = "polygon", path: Path | str = DEFAULT) -> "CollectorConfig":
        """The section ``provider`` of the file. Raises ConfigError."""
        document = read_document(Path(path))
        if provider not in document.data:
            raise ConfigError(
                [f"{path}: no section {provider!r}; it has {', '.join(document.data) or 'none'}"]
            )
        section = document.data[provider]
        try:
            return msgspec.convert({"provider": provider, **(section or {})}, cls)
        except (
            msgspec.ValidationError,
            TypeError,
        ) as error:  # its text holds types and places, no values of ours
            raise ConfigError([f"{document.where(provider)}: {provider}: {error}"]) from None

    def __repr__(self) -> str:
        return f"CollectorConfig({self.provider!r}, {self.websocket_url!r}, symbols={self.symbols!r})"

    def sections(self) -> dict[str, Any]:
        """As in config/engine.yaml."""
        interval_ms = round(self.websocket.reconnect_interval_seconds * 1_000)
        reconnect = {
            "immediate": False, "initial_ms": interval_ms, "factor": 1.0, "cap_ms": interval_ms,
            "stable_reset_ms": interval_ms * STABLE_FACTOR,
        }  # fmt: skip
        feed = {
            "venue": self.provider,
            "url": self.websocket_url,
            "api_key": self.api_key,
            "channels": list(self.websocket.channels),
            "reconnect": reconnect,
            "ping_every_ms": round(self.websocket.heartbeat_interval_seconds * 1_000),
        }
        return {"engine": {"name": "collector", "data_dir": self.persistence.data_dir}, "feed": feed}
