"""``subscribe_real_time`` as its document has it, against the simulated Finnhub over loopback."""

import logging
from pathlib import Path

import pytest

from hft_engine.api import FinnhubRealTime, webhook_is_genuine
from hft_engine.config.errors import ConfigError
from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.scenario import Drop
from hft_engine.feed.simulator.serving import RunningVenue
from support.waiting import wait_for

KEY = "secret-key-12345"
CONFIG = SimulatorConfig(api_key=KEY, instruments=3, ticks_per_s=2_000.0)
SOON = {"reconnect_delay": 0.05}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FINNHUB_API_KEY", "FINNHUB_SECRET", "REAL_TIME_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("key", [None, "", "demo"])
def test_without_a_key_there_is_a_warning_and_nothing_else(
    key: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    feed = FinnhubRealTime(key)
    assert feed.subscribe_real_time("STOCK:AAPL") is False
    assert "Real-time updates not available in demo mode" in caplog.text
    assert feed.pending_subscriptions == set() and feed.status()["state"] == "stopped"


def test_the_first_symbol_is_pending_until_the_venue_is_there() -> None:
    with RunningVenue(CONFIG, "finnhub") as venue:
        first, second, _ = venue.symbols
        feed = FinnhubRealTime(KEY, venue.url)
        assert feed.is_connected is False
        assert feed.subscribe_real_time(f"STOCK:{first}") is False
        wait_for(lambda: feed.real_time_subscriptions == {f"STOCK:{first}"}, "the pending one")
        assert feed.pending_subscriptions == set() and feed.is_connected
        assert feed.subscribe_real_time(second) is True
        assert feed.real_time_subscriptions == {f"STOCK:{first}", second}
        for symbol in (f"STOCK:{first}", second):
            wait_for(lambda symbol=symbol: feed.get_latest_data(symbol), symbol)
        assert feed.disconnect() is True
        assert (feed.is_connected, feed.stopping) == (False, True)
    assert feed.get_latest_data(second)["price"] > 0


def test_a_lost_connection_is_made_again_with_all_subscriptions() -> None:
    with RunningVenue(CONFIG, "finnhub") as venue:
        feed = FinnhubRealTime(KEY, venue.url, **SOON)
        for symbol in venue.symbols:
            feed.subscribe_real_time(symbol)
        wait_for(lambda: feed.is_connected, "the connection")
        venue.inflict(Drop())
        wait_for(lambda: feed.status()["counters"]["reconnects"] == 1 and feed.is_connected, "the next one")
        before = venue.counts.events
        wait_for(lambda: venue.counts.events > before + 100, "events")
        feed.disconnect()
    assert feed.real_time_subscriptions == set(venue.symbols)


def test_after_the_last_attempt_it_gives_up_and_says_so() -> None:
    feed = FinnhubRealTime(KEY, "ws://127.0.0.1:9", reconnect_delay=0.02, max_retries=2)
    feed.subscribe_real_time("AAPL")
    wait_for(lambda: "gave up after 2 attempts" in feed.problem, "the end")
    assert feed.pending_subscriptions == {"AAPL"}


def test_a_wrong_key_is_refused_for_good_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    wrong = "another-key-98765"
    with RunningVenue(CONFIG, "finnhub") as venue, caplog.at_level(logging.DEBUG, "hft_engine"):
        feed = FinnhubRealTime(wrong, venue.url)
        feed.subscribe_real_time("AAPL")
        wait_for(lambda: feed.status()["state"] == "failed", "the refusal")
    assert "401" in feed.problem and "API key" in feed.problem
    assert wrong not in feed.problem + caplog.text


def test_nothing_is_answered_with_a_ping_message() -> None:
    with RunningVenue(CONFIG, "finnhub") as venue:
        feed = FinnhubRealTime(KEY, venue.url)
        feed.subscribe_real_time(venue.symbols[0])
        wait_for(lambda: feed.status()["counters"].get("frames", 0) > 50, "messages")
        assert venue.counts.bad_requests == 0
        feed.disconnect()


def test_a_symbol_that_cannot_be_one_stays_pending() -> None:
    with RunningVenue(CONFIG, "finnhub") as venue:
        feed = FinnhubRealTime(KEY, venue.url)
        feed.subscribe_real_time(venue.symbols[0])
        wait_for(lambda: feed.is_connected, "the connection")
        assert feed.subscribe_real_time("A" * 60) is False
        assert "A" * 60 not in feed.real_time_subscriptions
        feed.disconnect()


@pytest.mark.parametrize(
    "ours, theirs",
    [("STOCK:AAPL", "AAPL"), ("FOREX:USD/JPY", "OANDA:USD_JPY"), ("BINANCE:BTCUSDT", "BINANCE:BTCUSDT")],
)
def test_symbols_are_mapped(ours: str, theirs: str) -> None:
    assert FinnhubRealTime("k")._map_symbol_to_provider(ours) == theirs


def test_the_timings_of_the_document_are_the_defaults() -> None:
    feed = FinnhubRealTime("k")._connection.feed_config
    assert (feed.reconnect.initial_ms, feed.reconnect.factor, feed.reconnect.immediate) == (
        30_000,
        2.0,
        False,
    )
    assert feed.ping_every_ms == 15_000


def test_the_secret_is_for_what_finnhub_posts_to_us() -> None:
    assert webhook_is_genuine("s3cret", "s3cret")
    assert not webhook_is_genuine("other", "s3cret") and not webhook_is_genuine(None, "s3cret")


def test_the_secret_of_webhooks_may_be_in_the_environment_and_must_be_somewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FINNHUB_SECRET", "s3cret")
    assert webhook_is_genuine("s3cret") and not webhook_is_genuine("other")
    monkeypatch.setenv("FINNHUB_SECRET", "")
    with pytest.raises(ConfigError, match="FINNHUB_SECRET"):
        webhook_is_genuine("")


@pytest.mark.parametrize("mode", ["false", "False", "0", "off"])
def test_real_time_updates_can_be_switched_off(
    mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REAL_TIME_MODE", mode)
    feed = FinnhubRealTime(KEY, "ws://127.0.0.1:9/")
    assert feed.subscribe_real_time("AAPL") is False
    assert "switched off" in caplog.text
    assert feed.pending_subscriptions == set() and feed.status()["state"] == "stopped"
