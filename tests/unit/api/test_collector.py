"""The collector of config/collector_config.yaml against the simulated Polygon over loopback."""

import sys
from pathlib import Path

import msgspec
import pytest

from hft_engine.api import CollectorConfig, CollectorError, CollectorFactory, RecordType
from hft_engine.config.errors import ConfigError
from hft_engine.config.load import config_from
from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.persistence.journal.reader import JournalReader
from hft_engine.records import TickKind
from support.sim_markets import SYMBOLS, recorded, steady_ticks
from support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "config/collector_config.yaml"
KEY = "secret-key-12345"
SIMULATED = SimulatorConfig(api_key=KEY, instruments=3, ticks_per_s=2_000.0)


@pytest.fixture(autouse=True)
def key_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MASSIVE_API_KEY", raising=False)
    monkeypatch.setenv("POLYGON_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)


def _config(url: str, **changes: object) -> CollectorConfig:
    return msgspec.structs.replace(CollectorConfig.load("polygon", SHIPPED), websocket_url=url, **changes)


def test_the_shipped_file_says_what_the_documents_say() -> None:
    config = CollectorConfig.load("polygon", SHIPPED)
    assert config.websocket_url == "wss://socket.polygon.io/stocks"
    assert config.websocket.enabled is True
    assert config.websocket.channels == ("T", "Q", "AM")
    assert config.websocket.reconnect_interval_seconds == 30
    assert config.websocket.heartbeat_interval_seconds == 30
    feed = config_from(config.sections(), "test").feed
    assert (feed.reconnect.immediate, feed.reconnect.initial_ms, feed.reconnect.cap_ms) == (
        False,
        30_000,
        30_000,
    )
    assert (feed.ping_every_ms, feed.reconnect.factor) == (30_000, 1.0)


def test_the_documents_first_example_collects() -> None:
    with RunningVenue(SIMULATED) as venue:
        collector = CollectorFactory.create("polygon_websocket", _config(venue.url))
        first, second, third = venue.symbols
        collector.add_symbol(first)
        collector.add_symbol(second)
        assert collector.latest(first) is None
        assert collector.start() is True
        for kind in (RecordType.TRADE, RecordType.QUOTE):
            wait_for(
                lambda kind=kind: collector.latest(first, kind) and collector.latest(second, kind), kind.name
            )
        assert collector.latest(third) is None
        collector.add_symbol(third)
        wait_for(lambda: collector.latest(third), "a symbol that was added while it ran")
        stats = collector.stats()
        collector.remove_symbol(third)
        collector.stop()
        assert collector.is_connected is False
    assert stats["state"] == "live" and stats["symbols"] == [first, second, third]
    assert stats["counters"]["rejected"] == 0
    assert KEY not in str(stats)


def test_what_is_persisted_is_every_tick(tmp_path: Path) -> None:
    ticks = steady_ticks(900)
    stored = msgspec.convert(
        {"enabled": True, "data_dir": str(tmp_path / "data")}, type(_config("ws://x").persistence)
    )
    with RunningVenue(SIMULATED, source=recorded(ticks)) as venue:
        collector = CollectorFactory.create("polygon_websocket", _config(venue.url, persistence=stored))
        for symbol in SYMBOLS:
            collector.add_symbol(symbol)
        assert collector.start()
        wait_for(lambda: collector.stats()["counters"]["events"] == len(ticks), "all trades")
        collector.stop()
    assert collector.session_path is not None
    reader = JournalReader(collector.session_path)
    prices = [float(row["price"]) for part in reader.ticks() for row in part if row["kind"] == TickKind.TRADE]
    assert prices == ticks["price"].tolist()
    assert (tmp_path / "data" / "market_data.db").exists()


def test_without_persistence_nothing_is_written(tmp_path: Path) -> None:
    with RunningVenue(SIMULATED) as venue:
        collector = CollectorFactory.create("polygon_websocket", _config(venue.url))
        collector.add_symbol(venue.symbols[0])
        assert collector.start()
        wait_for(lambda: collector.latest(venue.symbols[0]), "a trade")
        collector.stop()
    assert collector.session_path is None
    assert not list(tmp_path.iterdir())


def test_the_number_of_symbols_can_be_limited() -> None:
    collector = CollectorFactory.create(
        "polygon_websocket", _config("ws://127.0.0.1:9/stocks", symbols_max=1)
    )
    collector.add_symbol("AAPL")
    collector.add_symbol("AAPL")
    with pytest.raises(CollectorError, match="symbols_max is 1"):
        collector.add_symbol("MSFT")
    collector.remove_symbol("AAPL")
    collector.add_symbol("MSFT")
    assert collector.symbols == ["MSFT"]


def test_what_cannot_work_is_told() -> None:
    config = _config("ws://127.0.0.1:9/stocks")
    collector = CollectorFactory.create("polygon_websocket", config)
    with pytest.raises(CollectorError, match="add_symbol first"):
        collector.start()
    off = msgspec.structs.replace(config, websocket=msgspec.structs.replace(config.websocket, enabled=False))
    switched_off = CollectorFactory.create("polygon_websocket", off)
    switched_off.add_symbol("AAPL")
    with pytest.raises(CollectorError, match=r"websocket\.enabled"):
        switched_off.start()
    with pytest.raises(CollectorError, match="'polygon_rest'; there are polygon_websocket"):
        CollectorFactory.create("polygon_rest", config)


def test_a_store_whose_package_is_missing_is_told_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    config = _config("ws://127.0.0.1:9/stocks")
    cached = msgspec.structs.replace(config, cache=msgspec.structs.replace(config.cache, backend="redis"))
    with pytest.raises(CollectorError, match=r"cache\.backend: redis.*hft-engine\[redis\]"):
        CollectorFactory.create("polygon_websocket", cached)
    kept = msgspec.structs.replace(config, database=msgspec.structs.replace(config.database, enabled=True))
    with pytest.raises(CollectorError, match=r"database\.enabled.*hft-engine\[timescale\]"):
        CollectorFactory.create("polygon_websocket", kept)


def test_nothing_is_stored_in_a_server_unless_it_is_said() -> None:
    config = CollectorConfig.load("polygon", SHIPPED)
    assert (config.cache.backend, config.database.enabled) == ("memory", False)
    assert (config.cache, config.redis, config.database) == (
        type(config.cache)(),
        type(config.redis)(),
        type(config.database)(),
    )


def test_an_invalid_symbol_is_diagnosed() -> None:
    collector = CollectorFactory.create("polygon_websocket", _config("ws://127.0.0.1:9/stocks"))
    collector.add_symbol("A" * 60)
    assert collector.start() is False
    assert "A" * 60 in collector.problem


@pytest.mark.parametrize(
    "text, words",
    [
        ("polygon: {websocket: {chanels: [T]}}", "chanels"),
        ("polygon: {websocket_url: http:/x}", "websocket_url"),
        ("polygon: {api_key: [secret-key]}", "api_key"),
        ("other: {}", "no section 'polygon'; it has other"),
    ],
)
def test_a_file_that_cannot_be_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        CollectorConfig.load("polygon", path)


def test_a_configuration_shows_no_key() -> None:
    assert KEY not in repr(_config("ws://x/stocks", api_key=KEY))
