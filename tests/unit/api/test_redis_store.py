"""The latest records in a real Redis: what is stored, for how long, and what a server that goes away makes of it."""

import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from hft_engine.api.collector_config import CacheConfig, CollectorConfig, RedisConfig
from hft_engine.api.schema import Aggregate, FairMarketValue, Quote, Record, RecordType, Trade
from hft_engine.api.stores.redis_store import RedisLink, RedisReader, RedisStore
from hft_engine.api.stores.store import Arrival, StoreError
from hft_engine.api.stores.writer import StoreWriter
from hft_engine.config.errors import ConfigError
from support.proxy import Proxy
from support.stores import AnswerLost, arrivals, own_prefix, trade
from support.waiting import wait_for

RECORDS: list[tuple[RecordType, Record]] = [
    (RecordType.TRADE, Trade("AAPL", 0.1 + 0.2, 1e-9, "4", 1_700_000_000_123, ["12", "37"])),
    (RecordType.TRADE, Trade("O:SPY251220P00550000", 1 / 3, 5.0, "", 1_700_000_000_124, [])),
    (RecordType.QUOTE, Quote("AAPL", 99.99, 100.01, 3.0, 0.0, "11", 1_700_000_000_125)),
    (RecordType.MINUTE, Aggregate("AAPL", 1.0, 2.0, 0.5, 1.5, 1e12, None, 1_700_000_040_000)),
    (RecordType.SECOND, Aggregate("AAPL", 1.0, 2.0, 0.5, 1.5, 10.0, 1.25, 1_700_000_041_000)),
    (RecordType.FMV, FairMarketValue("AAPL", 100.5, 1_700_000_000_126)),
]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, RedisConfig]]:
    monkeypatch.delenv("REDIS_URL", raising=False)
    with own_prefix() as found:
        yield found


def store_of(config: RedisConfig, **cache: Any) -> RedisStore:
    return RedisStore(CollectorConfig(redis=config, cache=CacheConfig(backend="redis", **cache)))


def test_every_type_comes_back_field_by_field(place: tuple[Any, RedisConfig]) -> None:
    _, config = place
    store, reader = store_of(config), RedisReader(config)
    store.open()
    store.write([Arrival(10 + i, kind, record) for i, (kind, record) in enumerate(RECORDS)])
    for kind, record in RECORDS:
        assert reader.latest(record.ticker, kind) == record
        assert reader.recent(record.ticker, kind) == [record]
    assert reader.latest("AAPL", RecordType.DAY) is None
    assert reader.recent("AAPL", RecordType.DAY) == []
    store.close()
    reader.close()


def test_other_programs_find_the_latest_price_in_a_hash(place: tuple[Any, RedisConfig]) -> None:
    client, config = place
    store = store_of(config)
    store.open()
    store.write(arrivals(3))
    store.close()
    found = client.hgetall(f"{config.prefix}:latest:T:AAPL")
    assert float(found[b"price"]) == trade(2).price
    assert found[b"conditions"] == b'["12","37"]'


def test_records_are_bounded_and_go_after_their_time(place: tuple[Any, RedisConfig]) -> None:
    client, config = place
    store, reader = store_of(config, records=5, ttl_seconds=77), RedisReader(config)
    store.open()
    store.write(arrivals(4))
    store.write(arrivals(8, start=4))
    assert reader.recent("AAPL") == [trade(i) for i in range(7, 12)]
    assert reader.recent("AAPL", limit=2) == [trade(10), trade(11)]
    assert reader.recent("AAPL", limit=0) == []
    for key in ("latest", "recent"):
        assert 0 < client.ttl(f"{config.prefix}:{key}:T:AAPL") <= 77
    store.close()
    reader.close()


def test_records_that_are_equal_are_all_kept(place: tuple[Any, RedisConfig]) -> None:
    _, config = place
    writer = StoreWriter(store_of(config), 100)
    writer.start()
    for _ in range(7):
        writer.put(RecordType.TRADE, trade(1))
    writer.stop()
    reader = RedisReader(config)
    assert reader.recent("AAPL") == [trade(1)] * 7
    reader.close()


def test_a_batch_whose_answer_was_lost_is_not_stored_twice(place: tuple[Any, RedisConfig]) -> None:
    _, config = place
    store = AnswerLost(store_of(config), StoreError("the answer was lost"))
    writer = StoreWriter(store, 100)
    writer.start()
    for i in range(20):
        writer.put(RecordType.TRADE, trade(i))
    wait_for(lambda: writer.stored == 20, "all stored")
    writer.stop()
    reader = RedisReader(config)
    assert store.lost == 1 and writer.failures == 1
    assert reader.recent("AAPL") == [trade(i) for i in range(20)]
    reader.close()


def test_a_server_that_goes_away_and_comes_back_misses_nothing(
    place: tuple[Any, RedisConfig], caplog: pytest.LogCaptureFixture
) -> None:
    _, config = place
    caplog.set_level(logging.INFO)
    with Proxy(config.port) as proxy:
        writer = StoreWriter(store_of(replace(config, port=proxy.port)), 1_000)
        writer.start()
        writer.put(RecordType.TRADE, trade(0))
        wait_for(lambda: writer.stored == 1, "the first")
        proxy.refuse()
        for i in range(1, 500):
            writer.put(RecordType.TRADE, trade(i))
        wait_for(lambda: writer.failures > 1, "attempts in vain")
        assert "start it, or set redis.host" in writer.problem
        assert writer.stats()["waiting"] == 499
        proxy.heal()
        wait_for(lambda: writer.stored == 500, "all of it")
        assert (writer.problem, writer.dropped) == ("", 0)
        writer.stop()
    reader = RedisReader(config)
    assert reader.recent("AAPL") == [trade(i) for i in range(500)]
    reader.close()
    told = [record.getMessage() for record in caplog.records if record.name.startswith("hft_engine")]
    assert sum("tried again" in text for text in told) == 1
    assert sum("stores again" in text for text in told) == 1


def test_what_does_not_fit_gives_way_to_what_is_newer_and_is_counted(place: tuple[Any, RedisConfig]) -> None:
    _, config = place
    with Proxy(config.port) as proxy:
        proxy.refuse()
        writer = StoreWriter(store_of(replace(config, port=proxy.port)), 100)
        for i in range(1_000):
            writer.put(RecordType.TRADE, trade(i))
        assert writer.dropped == 900
        writer.start()
        wait_for(lambda: writer.failures, "an attempt in vain")
        proxy.heal()
        wait_for(lambda: writer.stored == 100, "what was kept")
        writer.stop()
    reader = RedisReader(config)
    assert reader.recent("AAPL") == [trade(i) for i in range(900, 1_000)]
    assert writer.stored + writer.dropped == 1_000
    reader.close()


def test_what_waits_when_it_stops_is_counted(
    place: tuple[Any, RedisConfig], caplog: pytest.LogCaptureFixture
) -> None:
    _, config = place
    with Proxy(config.port) as proxy:
        proxy.refuse()
        writer = StoreWriter(store_of(replace(config, port=proxy.port)), 100)
        writer.start()
        for i in range(30):
            writer.put(RecordType.TRADE, trade(i))
        writer.stop()
    assert (writer.stored, writer.dropped, writer.stats()["waiting"]) == (0, 30, 0)
    assert "30 records were not stored" in caplog.text


def test_a_fault_of_ours_is_told_and_what_waits_is_counted(
    place: tuple[Any, RedisConfig], caplog: pytest.LogCaptureFixture
) -> None:
    _, config = place
    store = AnswerLost(store_of(config), RuntimeError("no such thing"))
    writer = StoreWriter(store, 10)
    writer.start()
    writer.put(RecordType.TRADE, trade(0))
    wait_for(lambda: writer.problem, "the end of the thread")
    for i in range(1, 20):
        writer.put(RecordType.TRADE, trade(i))
    writer.stop()
    assert "the writer broke: RuntimeError: no such thing" in writer.problem
    assert "no such thing" in caplog.text
    assert (writer.stored, writer.dropped, writer.stats()["state"]) == (0, 20, "closed")


def test_a_password_is_never_shown(
    place: tuple[Any, RedisConfig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, config = place
    secret = "planted-secret"
    monkeypatch.setenv("REDIS_URL", f"redis://:{secret}@127.0.0.1:{config.port}/0")
    writer = StoreWriter(store_of(config), 100)  # the server has no password: it refuses one
    writer.start()
    wait_for(lambda: writer.problem, "a refusal")
    writer.stop()
    assert "check REDIS_URL" in writer.problem
    shown = writer.problem + caplog.text + str(writer.stats()) + repr(replace(config, password=secret))
    assert secret not in shown
    for address in (f"http://:{secret}@127.0.0.1", f"redis://:{secret}/x@127.0.0.1:{config.port}"):
        monkeypatch.setenv("REDIS_URL", address)
        with pytest.raises(ConfigError, match="REDIS_URL: is no address") as refusal:
            store_of(config)
        assert secret not in str(refusal.value)


def test_a_password_that_a_server_repeats_is_masked(place: tuple[Any, RedisConfig]) -> None:
    _, config = place
    link = RedisLink(replace(config, password="planted-secret"))
    text = "unknown command 'AUTH', with args beginning with: 'planted-secret'"  # where AUTH was renamed
    with pytest.raises(StoreError, match=r"beginning with: '\*\*\*'"), link.told():
        raise redis.ResponseError(text)
    link.close()


def test_another_layout_is_left_alone(place: tuple[Any, RedisConfig]) -> None:
    client, config = place
    client.set(f"{config.prefix}:layout", b"99")
    with pytest.raises(StoreError, match=r"layout is b'99'.*set redis\.prefix"):
        store_of(config).open()
    with pytest.raises(StoreError, match=r"set redis\.prefix"):
        RedisReader(config)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(StoreError, match=r"pip install 'hft-engine\[redis\]'"):
        store_of(RedisConfig())
