"""A collector that stores in Redis and in PostgreSQL, at the simulated Polygon: what was sent is what lies there,
whatever the servers do meanwhile; and the feed does not notice them.
"""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from hft_engine.api import CollectorConfig, PolygonWebsocketCollector, RealtimeDataProvider, RecordType
from hft_engine.api.collector_config import CacheConfig, DatabaseConfig, RedisConfig, WebsocketConfig
from hft_engine.api.schema import Aggregate, Quote, Record, Trade
from hft_engine.api.stores.redis_store import RedisReader
from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.recorded import Recording
from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.feed.simulator.source import RecordedSource
from hft_engine.records import join_ticks
from support.proxy import Proxy
from support.stores import PG_PORT, database_url, own_prefix, own_schema
from support.waiting import wait_for

KEY = "secret-key-12345"
MARKET = SimulatorConfig(api_key=KEY, instruments=4, ticks_per_s=100.0, seed=7)
CHANNELS = ("T", "Q", "AM", "A")
START_NS = 1_700_000_040_000_000_000  # the begin of a minute
KINDS = {kind.value: kind for kind in RecordType}
Sent = dict[tuple[str, RecordType], list[Record]]
Servers = tuple[RedisConfig, Any, DatabaseConfig]

READ_ELSEWHERE = """
import json, sys
from hft_engine.api import RealtimeDataProvider as provider, RecordType
symbols = sys.argv[1].split(",")
print(json.dumps({
    "prices": provider.get_multi_symbol_prices(symbols),
    "trades": [str(trade) for trade in provider.get_recent_data(symbols[0], RecordType.TRADE)],
    "frame": provider.get_ohlcv_dataframe(symbols[0], limit=30).to_dict("list"),
}))
"""


@pytest.fixture(scope="module")
def ticks() -> np.ndarray:
    """65 s of a market; the venue makes the bars."""
    source = SyntheticMarket(MARKET, START_NS)
    return join_ticks([source.block() for _ in range(650)])


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Servers]:
    for name in ("REDIS_URL", "DATABASE_URL", "POLYGON_API_KEY", "MASSIVE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with own_prefix() as (_, redis), own_schema() as (connection, database):
        yield redis, connection, database
    RealtimeDataProvider.use(None)


def source_of(ticks: np.ndarray) -> RecordedSource:
    symbols = SyntheticMarket(MARKET, START_NS).symbols
    return RecordedSource(Recording.of(symbols, ticks), symbols, 0.0)


def sent_by(source: RecordedSource) -> Sent:
    """The venue's messages, read here by themselves."""
    source.start(0)
    parts = []
    while not source.finished:
        parts.append(source.take(0, 4_096))
    found: Sent = defaultdict(list)
    for event in map(json.loads, Encoder(source.symbols).encode(join_ticks(parts))):
        if event["ev"] in CHANNELS:
            found[event["sym"], KINDS[event["ev"]]].append(record_of(event))
    return found


def record_of(event: dict[str, Any]) -> Record:
    name = event["sym"]
    if event["ev"] == "T":
        size, codes = float(event.get("ds", event["s"])), [str(code) for code in event.get("c", ())]
        return Trade(name, event["p"], size, str(event["x"]), event["t"], codes)
    if event["ev"] == "Q":
        sizes = float(event["bs"]), float(event["as"])
        return Quote(name, event["bp"], event["ap"], *sizes, str(event["bx"]), event["t"])
    prices = event["o"], event["h"], event["l"], event["c"]
    return Aggregate(name, *prices, float(event.get("dv", event["v"])), event["vw"], event["s"])


def config_of(url: str, redis: RedisConfig, database: DatabaseConfig) -> CollectorConfig:
    return CollectorConfig(
        websocket_url=url,
        api_key=KEY,
        websocket=WebsocketConfig(channels=CHANNELS),
        cache=CacheConfig(backend="redis", records=100_000),
        redis=redis,
        database=database,
    )


def collector_of(venue: RunningVenue, config: CollectorConfig) -> PolygonWebsocketCollector:
    collector = PolygonWebsocketCollector(config)
    for symbol in venue.symbols:
        collector.add_symbol(symbol)
    return collector


def in_memory(collector: PolygonWebsocketCollector, sent: Sent) -> bool:
    return all(len(collector.recent(*key)) == len(records) for key, records in sent.items())


def assert_same(found: list[Record], sent: list[Record]) -> None:
    assert len(found) == len(sent)
    for one, other in zip(found, sent, strict=True):
        assert one == other


def stored_rows(connection: Any, schema: str) -> Sent:
    """Every row of the three tables, as records."""
    ms = "(extract(epoch FROM ts) * 1000)::int8"
    found: Sent = defaultdict(list)
    order = f"FROM {schema}.{{}} ORDER BY received"
    for symbol, *row in connection.execute(
        f"SELECT symbol, price, size, exchange, {ms}, conditions {order.format('trades')}"
    ):
        found[symbol, RecordType.TRADE].append(Trade(symbol, *row))
    for symbol, *row in connection.execute(
        f"SELECT symbol, bid, ask, bid_size, ask_size, exchange, {ms} {order.format('quotes')}"
    ):
        found[symbol, RecordType.QUOTE].append(Quote(symbol, *row))
    for symbol, kind, *row in connection.execute(
        f"SELECT symbol, type, open, high, low, close, volume, vwap, {ms} {order.format('bars')}"
    ):
        found[symbol, KINDS[kind]].append(Aggregate(symbol, *row))
    return found


def test_what_was_sent_is_what_is_stored(servers: Servers, ticks: np.ndarray) -> None:
    redis, connection, database = servers
    sent = sent_by(source_of(ticks))
    assert {kind.value for _, kind in sent} == set(CHANNELS)
    with RunningVenue(MARKET, source=source_of(ticks)) as venue:
        collector = collector_of(venue, config_of(venue.url, redis, database))
        assert collector.start(), collector.problem
        wait_for(lambda: in_memory(collector, sent), "all that was sent")
        collector.stop()
    stores = collector.stats()["stores"]
    total = sum(map(len, sent.values()))
    assert {name: one["stored"] for name, one in stores.items()} == {"redis": total, "database": total}
    assert all(one["dropped"] == one["failures"] == 0 for one in stores.values())
    reader = RedisReader(redis)
    in_database = stored_rows(connection, database.schema)
    assert set(in_database) == set(sent)
    for key, records in sent.items():
        assert_same(reader.recent(*key), records)
        assert_same(in_database[key], records)
        assert reader.latest(*key) == records[-1] == collector.latest(*key)
    reader.close()


def test_another_process_reads_what_this_one_does(
    servers: Servers, ticks: np.ndarray, tmp_path: Path
) -> None:
    redis, _, database = servers
    sent = sent_by(source_of(ticks))
    (tmp_path / "config").mkdir()
    section = f"redis: {{port: {redis.port}, prefix: {redis.prefix}}}, cache: {{backend: redis}}"
    (tmp_path / "config/collector_config.yaml").write_text(f"polygon: {{{section}}}")
    with RunningVenue(MARKET, source=source_of(ticks)) as venue:
        config = config_of(venue.url, redis, replace(database, enabled=False))
        collector = collector_of(venue, config)
        assert collector.start(), collector.problem
        wait_for(lambda: in_memory(collector, sent), "all that was sent")
        collector.stop()
        symbols = venue.symbols
    command = [sys.executable, "-c", READ_ELSEWHERE, ",".join(symbols)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    ours = RealtimeDataProvider
    assert theirs["prices"] == ours.get_multi_symbol_prices(symbols)
    assert theirs["trades"] == [str(trade) for trade in ours.get_recent_data(symbols[0], RecordType.TRADE)]
    frame = ours.get_ohlcv_dataframe(symbols[0], limit=30)
    assert not frame.empty and theirs["frame"] == frame.to_dict("list")


@pytest.mark.parametrize("fault", ["refuse", "hold"])
def test_the_feed_does_not_notice_servers_that_are_gone(
    servers: Servers, ticks: np.ndarray, fault: str
) -> None:
    """And once they are back nothing is missing and nothing there twice."""
    redis, connection, database = servers
    sent = sent_by(source_of(ticks))
    total = sum(map(len, sent.values()))
    with (
        Proxy(redis.port) as to_redis,
        Proxy(PG_PORT) as to_database,
        RunningVenue(MARKET, source=source_of(ticks)) as venue,
    ):
        config = config_of(
            venue.url,
            replace(redis, port=to_redis.port),
            replace(database, url=database_url(to_database.port)),
        )
        collector = collector_of(venue, config)
        for proxy in (to_redis, to_database):
            getattr(proxy, fault)()
        assert collector.start(), collector.problem
        wait_for(lambda: in_memory(collector, sent), "all that was sent")
        stores = collector.stats()["stores"]
        assert all(one["stored"] == 0 and one["waiting"] == total for one in stores.values())
        assert collector.stats()["counters"]["lapped"] == 0
        wait_for(lambda: all(one["problem"] for one in collector.stats()["stores"].values()), "they are told")
        for proxy in (to_redis, to_database):
            proxy.heal()
        wait_for(
            lambda: all(one["stored"] == total for one in collector.stats()["stores"].values()), "all stored"
        )
        collector.stop()
    reader = RedisReader(redis)
    in_database = stored_rows(connection, database.schema)
    for key, records in sent.items():
        assert_same(reader.recent(*key), records)
        assert_same(in_database[key], records)
    reader.close()
