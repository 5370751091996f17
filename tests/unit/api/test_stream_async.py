"""``stream_async`` over real sockets: what comes, what does not fit, how it ends."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hft_engine.api import RecordType, StreamError, stream_async
from hft_engine.api.stream import RecordStream, feed_settings
from hft_engine.config.errors import ConfigError
from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.serving import RunningVenue
from support.sim_markets import SYMBOLS, recorded, steady_ticks

KEY = "secret-key-12345"
CONFIG = SimulatorConfig(api_key=KEY, instruments=3, ticks_per_s=2_000.0)
WAIT_S = 30.0


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("POLYGON_API_KEY", "MASSIVE_API_KEY", "FINNHUB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield


async def _taken(stream: RecordStream, count: int) -> list:
    found = []
    async with asyncio.timeout(WAIT_S), stream:
        async for record in stream:
            found.append(record)
            if len(found) == count:
                break
    assert [each async for each in stream] == [], "closed"
    return found


def test_every_record_comes_in_its_order() -> None:
    ticks = steady_ticks(900)

    async def main(url: str) -> list:
        return await _taken(stream_async(SYMBOLS, realtime=True, api_key=KEY, url=url), len(ticks))

    with RunningVenue(CONFIG, source=recorded(ticks)) as venue:
        found = asyncio.run(main(venue.url))
    assert {kind for kind, _ in found} == {RecordType.TRADE}
    assert [record.price for _, record in found] == ticks["price"].tolist()


def test_several_streams_share_a_loop() -> None:
    async def main(stocks: RunningVenue, crypto: RunningVenue) -> tuple[list, list]:
        first = stream_async(stocks.symbols, realtime=True, api_key=KEY, url=stocks.url)
        second = stream_async(crypto.symbols, venue="finnhub", api_key=KEY, url=crypto.url)
        return await asyncio.gather(_taken(first, 50), _taken(second, 50))

    with RunningVenue(CONFIG) as stocks, RunningVenue(CONFIG, "finnhub") as crypto:
        first, second = asyncio.run(main(stocks, crypto))
    assert {kind for kind, _ in first} == {RecordType.TRADE, RecordType.QUOTE}
    assert {kind for kind, _ in second} == {RecordType.TRADE}


def test_a_loop_that_does_not_take_them_misses_the_oldest_and_knows_how_many() -> None:
    ticks = steady_ticks(900)

    async def main(url: str) -> tuple[int, list]:
        stream = stream_async(SYMBOLS, realtime=True, api_key=KEY, url=url, waiting_max=10)
        async with asyncio.timeout(WAIT_S), stream:
            while stream.missed < len(ticks) - 10:
                await asyncio.sleep(0.01)
            return stream.missed, [await anext(stream) for _ in range(10)]

    with RunningVenue(CONFIG, source=recorded(ticks)) as venue:
        missed, found = asyncio.run(main(venue.url))
    assert missed == len(ticks) - 10
    assert [record.price for _, record in found] == ticks["price"][-10:].tolist()


def test_a_refused_key_ends_it_with_the_remedy_and_without_the_key() -> None:
    async def main(url: str) -> None:
        async with (
            asyncio.timeout(WAIT_S),
            stream_async(SYMBOLS, api_key="another-key-98765", url=url) as stream,
        ):
            async for _ in stream:
                raise AssertionError("nothing may come")

    with RunningVenue(CONFIG) as venue, pytest.raises(StreamError, match="POLYGON_API_KEY") as end:
        asyncio.run(main(venue.url))
    assert "another-key" not in str(end.value)


def test_without_a_key_it_does_not_begin() -> None:
    async def main() -> None:
        async with stream_async(["AAPL"]):
            raise AssertionError("it has begun")

    with pytest.raises(StreamError, match="POLYGON_API_KEY"):
        asyncio.run(main())


def test_settings_that_cannot_be_are_refused_by_key() -> None:
    async def main() -> None:
        stream_async(["AAPL"], api_key=KEY, channels=["X"])

    with pytest.raises(ConfigError, match=r"feed\.channels"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("venue", "realtime", "url", "channels"),
    [
        ("polygon", False, "wss://delayed.polygon.io/stocks", ["T", "AM"]),
        ("polygon", True, "wss://socket.polygon.io/stocks", ["T", "Q"]),
        ("polygon-options", False, "wss://delayed.polygon.io/options", ["T", "AM"]),
    ],
)
def test_delayed_data_are_what_is_asked_for_unless_real_time_is(
    venue: str, realtime: bool, url: str, channels: list[str]
) -> None:
    assert feed_settings(venue, realtime, None) == {"url": url, "channels": channels}
    assert feed_settings(venue, realtime, "ws://127.0.0.1:1/")["url"] == "ws://127.0.0.1:1/"
