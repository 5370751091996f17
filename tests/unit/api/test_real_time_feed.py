"""RealTimeDataFeed and its providers against the simulated vendors over loopback."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import hft_engine
from hft_engine.api import DataFeedProvider, RealTimeDataFeed, RecordType, UnknownProviderError
from hft_engine.config.errors import ConfigError
from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.scenario import Drop
from hft_engine.feed.simulator.serving import RunningVenue
from support.sim_markets import SYMBOLS, recorded, steady_ticks
from support.waiting import wait_for

KEY = "secret-key-12345"
CONFIG = SimulatorConfig(api_key=KEY, instruments=3, ticks_per_s=2_000.0)
FAST = {"every_ms": 20, "calls_per_second": 1_000, "calls_per_minute": 100_000, "calls_per_day": 0}
RETRY = {"initial_ms": 20, "cap_ms": 6_000}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("POLYGON_API_KEY", "MASSIVE_API_KEY", "ALPHAVANTAGE_API_KEY", "ALPHA_VANTAGE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_polled_provider_of_the_documents(caplog: pytest.LogCaptureFixture) -> None:
    with RunningVenue(CONFIG, "alphavantage", rest=True) as venue:
        feed = RealTimeDataFeed("alphavantage", KEY, url=f"{venue.rest_url}/query", poll=FAST)
        assert feed.is_connected is False
        assert feed.connect() is True
        assert feed.is_connected is True
        assert feed.get_latest_data(venue.symbols[0]) is None
        assert feed.subscribe(list(venue.symbols)) is True
        wait_for(lambda: all(map(feed.get_latest_data, venue.symbols)), "a price of each")
        data = feed.get_latest_data(venue.symbols[0])
        assert feed.disconnect() is True
        assert feed.is_connected is False
    assert data["ticker"] == venue.symbols[0] and data["price"] > 0 and data["timestamp"] > 1_600_000_000_000
    assert KEY not in caplog.text


def test_a_websocket_provider_brings_every_trade_to_listeners() -> None:
    ticks = steady_ticks(900)
    trades = []
    with RunningVenue(CONFIG, source=recorded(ticks)) as venue:
        feed = RealTimeDataFeed("polygon", KEY, url=venue.url, channels=["T"], kept=50)
        feed.add_listener(lambda kind, record: trades.append((kind, record)))
        feed.connect()
        assert feed.subscribe(list(SYMBOLS)) is True
        wait_for(lambda: len(trades) == len(ticks), "all trades")
        recent = feed.provider.recent(SYMBOLS[0], RecordType.TRADE)
        status = feed.provider.status()
        feed.disconnect()
    assert [record.price for _, record in trades] == ticks["price"].tolist()
    assert {kind for kind, _ in trades} == {RecordType.TRADE}
    assert [record.price for record in recent] == ticks["price"][0::3][-50:].tolist()
    assert (status["state"], status["counters"]["lapped"]) == ("live", 0)


def test_more_symbols_are_taken_up_while_it_runs() -> None:
    with RunningVenue(CONFIG) as venue:
        feed = RealTimeDataFeed("polygon", KEY, url=venue.url, channels=["T", "Q"])
        first, second, third = venue.symbols
        assert feed.connect() and feed.subscribe([first])
        wait_for(lambda: feed.get_latest_data(first), first)
        assert feed.get_latest_data(second) is None
        assert feed.subscribe([first, second]) is True
        wait_for(lambda: feed.get_latest_data(second), second)
        assert feed.get_latest_data(third) is None
        assert feed.provider.unsubscribe([first, second]) is True
        assert feed.is_connected is False
        feed.disconnect()


def test_a_lost_connection_is_made_again() -> None:
    with RunningVenue(CONFIG) as venue:
        feed = RealTimeDataFeed("polygon", KEY, url=venue.url, channels=["T"], reconnect=RETRY)
        assert feed.connect() and feed.subscribe(list(venue.symbols))
        venue.inflict(Drop())
        wait_for(lambda: feed.provider.status()["counters"]["reconnects"] == 1, "the reconnect")
        wait_for(lambda: feed.is_connected, "data again")
        feed.disconnect()


def test_after_a_disconnect_connect_goes_on_with_the_same_symbols() -> None:
    with RunningVenue(CONFIG) as venue:
        feed = RealTimeDataFeed("polygon", KEY, url=venue.url, channels=["T"])
        assert feed.connect() and feed.subscribe(list(venue.symbols))
        wait_for(lambda: feed.get_latest_data(venue.symbols[0]), "data")
        feed.disconnect()
        before = feed.get_latest_data(venue.symbols[0])
        assert feed.connect() is True
        wait_for(lambda: feed.get_latest_data(venue.symbols[0]) != before, "newer data")
        feed.disconnect()


def test_a_refused_key_is_told_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    wrong = "another-key-98765"
    with RunningVenue(CONFIG) as venue:
        feed = RealTimeDataFeed("polygon", wrong, url=venue.url)
        assert feed.connect() is True
        assert feed.subscribe(["AAPL"]) is False
        wait_for(lambda: not feed.is_connected, "the refusal")
        feed.disconnect()
    assert "POLYGON_API_KEY" in feed.problem
    assert wrong not in feed.problem + caplog.text


def test_a_provider_that_is_not_there_is_told_and_tried_again() -> None:
    feed = RealTimeDataFeed(
        "polygon", KEY, url="ws://127.0.0.1:9/stocks", connect_timeout_ms=300, auth_timeout_ms=300
    )
    feed.connect()
    assert feed.subscribe(["AAPL"]) is False
    assert "refused; nothing listens there" in feed.problem
    feed.disconnect()


@pytest.mark.parametrize("vendor", ["alphavantage", "finnhub", "polygon"])
def test_no_log_holds_the_key_at_any_level(vendor: str, caplog: pytest.LogCaptureFixture) -> None:
    with RunningVenue(CONFIG, vendor, rest=vendor == "alphavantage") as venue, caplog.at_level(logging.DEBUG):
        url = venue.url or f"{venue.rest_url}/query"
        feed = RealTimeDataFeed(vendor, KEY, url=url, channels=["T"], poll=FAST)
        assert feed.connect() and feed.subscribe(list(venue.symbols))
        wait_for(lambda: feed.get_latest_data(venue.symbols[0]), "data")
        status = feed.provider.status()
        feed.disconnect()
    of_the_simulator = ("websockets", "uvicorn", "asyncio")
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(of_the_simulator)]
    assert ours and KEY not in " ".join(ours) + str(status)


@pytest.mark.parametrize("key", [None, "", "YOUR_API_KEY_HERE"])
def test_without_a_key_nothing_is_connected_and_the_variable_is_named(key: str | None) -> None:
    feed = RealTimeDataFeed("alphavantage", key)
    assert feed.connect() is False
    assert feed.is_connected is False
    assert "ALPHAVANTAGE_API_KEY" in feed.problem


def test_the_key_comes_from_the_environment_and_an_argument_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", "from-the-environment")
    assert RealTimeDataFeed("polygon").provider.api_key == "from-the-environment"
    assert RealTimeDataFeed("polygon", "given").provider.api_key == "given"


def test_what_a_handler_raises_is_logged_and_the_feed_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    def handler(kind: RecordType, record: object) -> None:
        seen.append(record)
        raise ValueError("of the user's")

    with RunningVenue(CONFIG) as venue, caplog.at_level(logging.ERROR):
        feed = RealTimeDataFeed("polygon", KEY, url=venue.url, channels=["T"])
        feed.add_listener(handler)
        assert feed.connect() and feed.subscribe(list(venue.symbols))
        wait_for(lambda: len(seen) > 20, "trades after the first error")
        assert feed.is_connected
        feed.disconnect()
    assert "a handler of TRADE failed" in caplog.text


class MyProvider(DataFeedProvider):
    def __init__(self, api_key: str) -> None:
        self.api_key = api_key
        self.is_connected = False

    def connect(self) -> bool:
        self.is_connected = True
        return True

    def subscribe(self, tickers: list[str]) -> bool:
        self.tickers = tickers
        return True

    def get_latest_data(self, ticker: str) -> dict[str, object]:
        return {"ticker": ticker, "price": 1.5}

    def disconnect(self) -> bool:
        self.is_connected = False
        return True


def test_a_provider_of_ones_own_is_registered_by_name() -> None:
    RealTimeDataFeed.register_provider("mine", MyProvider)
    feed = RealTimeDataFeed(provider_name="mine", api_key="k")
    assert "mine" in RealTimeDataFeed.providers()
    assert feed.connect() and feed.is_connected and feed.subscribe(["X"])
    assert feed.get_latest_data("X") == {"ticker": "X", "price": 1.5}
    assert feed.disconnect() and not feed.is_connected
    with pytest.raises(TypeError, match="can only be asked"):
        feed.add_listener(print)


def test_a_provider_must_have_all_four_methods() -> None:
    with pytest.raises(TypeError, match="abstract"):
        DataFeedProvider()  # type: ignore[abstract]


def test_an_unknown_provider_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UnknownProviderError, match=r"'iexcloud'.*polygon.*alphavantage"):
        RealTimeDataFeed("iexcloud")


def test_an_unknown_setting_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"feed\.chanels"):
        RealTimeDataFeed("polygon", KEY, chanels=["T"])


def test_the_package_loads_the_names_only_when_they_are_asked_for() -> None:
    code = (
        "import sys, hft_engine; assert 'numba' not in sys.modules; "
        "from hft_engine import RealTimeDataFeed; assert 'numba' in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert all(getattr(hft_engine, name) for name in hft_engine.PUBLIC)
    assert set(hft_engine.PUBLIC) <= set(dir(hft_engine))
    with pytest.raises(AttributeError):
        hft_engine.nothing_of_the_sort  # noqa: B018
