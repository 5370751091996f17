"""The options client and the streamer against the simulated Polygon options venue over loopback."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hft_engine.api import OptionsDataStreamer, PolygonOptionsWebSocketClient, RecordType
from hft_engine.api.polygon_websocket import OptionsAggregate, OptionsQuote, OptionsTrade, options_record
from hft_engine.api.schema import Aggregate, FairMarketValue, Quote, Trade
from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.recorded import Recording
from hft_engine.feed.simulator.scenario import Drop
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.feed.simulator.source import RecordedSource
from hft_engine.records import TICK_DTYPE, TickKind
from support.sim_markets import START_NS
from support.waiting import wait_for

KEY = "secret-key-12345"
PUT, CALL = "O:SPY251220P00550000", "O:SPY251220C00550000"
CONFIG = SimulatorConfig(api_key=KEY, instruments=4, ticks_per_s=2_000.0)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MASSIVE_API_KEY", raising=False)
    monkeypatch.setenv("POLYGON_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)


def _mixed(count: int) -> RecordedSource:
    """Trades, quotes, minute and second bars of a put and a call in turn; and fair values."""
    kinds = (TickKind.TRADE, TickKind.QUOTE, TickKind.BAR_MINUTE, TickKind.BAR_SECOND, TickKind.FMV)
    ticks = np.zeros(count, TICK_DTYPE)
    for i, tick in enumerate(ticks):
        tick["kind"], tick["instrument_id"] = kinds[(i // 2) % len(kinds)], i % 2
        tick["ts_venue_ns"] = tick["ts_recv_ns"] = START_NS + i * 1_000_000
        tick["venue_sequence"] = 1 + i
        if tick["kind"] == TickKind.TRADE:
            tick["price"], tick["size"], tick["exchange"] = 2.5 + i / 100, 10 + i, 302
        elif tick["kind"] == TickKind.QUOTE:
            tick["bid"], tick["ask"], tick["bid_size"], tick["ask_size"] = 2.45, 2.5, 7, 9
        elif tick["kind"] == TickKind.FMV:
            tick["price"] = 2.6
        else:
            tick["open"], tick["high"], tick["low"], tick["close"] = 2.4, 2.6, 2.3, 2.5
            tick["volume"], tick["vwap"], tick["day_volume"], tick["day_vwap"] = 50, 2.45, 500, 2.4
            tick["ts_start_ns"] = tick["ts_venue_ns"] // 10**9 * 10**9
    return RecordedSource(Recording.of((PUT, CALL), ticks), (PUT, CALL), 0.0)


@pytest.fixture
def venue() -> Iterator[RunningVenue]:
    with RunningVenue(CONFIG, "polygon-options", source=_mixed(400)) as running:
        yield running


def test_the_documents_first_example_streams(venue: RunningVenue) -> None:
    trades: list[OptionsTrade] = []
    quotes: list[OptionsQuote] = []
    client = PolygonOptionsWebSocketClient(url=venue.url)
    client.subscribe_to_trades([PUT])
    client.subscribe_to_quotes([PUT])
    client.set_trade_handler(trades.append)
    client.set_quote_handler(quotes.append)
    assert client.start() is True
    wait_for(lambda: len(trades) == 40 and len(quotes) == 40, "all of the put")
    stats = client.stats()
    client.stop()
    assert trades[0] == OptionsTrade(PUT, 2.5, 10, "302", START_NS // 10**6, [])
    assert quotes[0] == OptionsQuote(PUT, 2.45, 2.5, 7, 9, quotes[0].exchange, START_NS // 10**6 + 2)
    assert {type(trade.size) for trade in trades} == {int}
    assert {trade.ticker for trade in trades} == {PUT}
    assert stats["received"] == {"trade": 40, "quote": 40}
    assert stats["per_second"]["trade"] > 0 and stats["state"] == "live"
    assert stats["counters"]["rejected"] == 0 and stats["handler_errors"] == 0
    assert stats["latency_us"]["feed"]["count"] > 0
    assert KEY not in str(stats)


def test_bars_of_seconds_and_minutes_and_fair_values_have_their_handlers(venue: RunningVenue) -> None:
    bars: list[OptionsAggregate] = []
    values: list[FairMarketValue] = []
    client = PolygonOptionsWebSocketClient(url=venue.url)
    client.subscribe_to_aggregates_minute([PUT, CALL])
    client.subscribe_to_aggregates_second([CALL])
    client.subscribe_to_fmv([CALL])
    client.set_aggregate_handler(bars.append)
    client.set_fmv_handler(values.append)
    assert client.start() is True
    wait_for(lambda: len(bars) == 120 and len(values) == 40, "all of them")
    client.stop()
    assert client.stats()["received"] == {"aggregate": 80, "second": 40, "fmv": 40}
    assert (bars[0].open_price, bars[0].high_price, bars[0].low_price, bars[0].close_price) == (
        2.4,
        2.6,
        2.3,
        2.5,
    )
    assert (bars[0].volume, bars[0].vwap) == (50, 2.45)
    assert values[0].fmv == 2.6 and values[0].ticker == CALL


def test_another_stream_and_another_contract_after_the_start() -> None:
    with RunningVenue(CONFIG, "polygon-options") as venue:
        first, second, *_ = venue.symbols
        client = PolygonOptionsWebSocketClient(url=venue.url)
        client.subscribe_to_quotes([first])
        assert client.start() is True
        wait_for(lambda: client.recent(first, RecordType.QUOTE), "quotes")
        assert client.subscribe_to_quotes([second]) is True
        wait_for(lambda: client.recent(second, RecordType.QUOTE), "quotes of another")
        assert client.subscribe_to_trades([first]) is True
        wait_for(lambda: client.recent(first, RecordType.TRADE), "trades")
        client.unsubscribe([first])
        assert client.stats()["tickers"] == [second]
        client.stop()


def test_a_thousand_contracts_a_connection_and_more_connections_for_more() -> None:
    contracts = [f"O:SPY251220P{strike:08d}" for strike in range(1_000, 1_002_000, 1_000)]
    with RunningVenue(CONFIG, "polygon-options", source=_mixed(10)) as venue:
        client = PolygonOptionsWebSocketClient(url=venue.url)
        client.subscribe_to_quotes(contracts)
        assert client.start() is True
        wait_for(lambda: sum(line["subscriptions"] for line in client.stats()["connections"]) == 1_001, "all")
        lines = client.stats()["connections"]
        client.stop()
    assert sorted(line["subscriptions"] for line in lines) == [500, 501]


def test_a_lost_connection_is_made_again() -> None:
    with RunningVenue(CONFIG, "polygon-options") as venue:
        client = PolygonOptionsWebSocketClient(url=venue.url)
        client.subscribe_to_quotes(list(venue.symbols))
        assert client.start()
        venue.inflict(Drop())
        wait_for(lambda: client.stats()["counters"]["reconnects"] == 1 and client.is_connected, "data again")
        client.stop()


@pytest.mark.parametrize("bad", ["SPY251220P00550000", "O:SPY251220X00550000", "O:SPY251320P00550000"])
def test_what_is_no_option_symbol_is_refused(bad: str) -> None:
    client = PolygonOptionsWebSocketClient(url="ws://127.0.0.1:9/options")
    with pytest.raises(ValueError, match="O:"):
        client.subscribe_to_trades([bad])
    with pytest.raises(ValueError, match="subscribe_to_trades"):
        client.start()
    with pytest.raises(ValueError, match="a list"):
        client.subscribe_to_trades(PUT)


def test_fair_values_want_a_business_host() -> None:
    client = PolygonOptionsWebSocketClient()  # of the vendor's own address; nothing is connected to
    client.subscribe_to_fmv([PUT])
    assert client.start() is False
    assert "business" in client.problem


def test_the_streamer_sums_up_what_came(venue: RunningVenue) -> None:
    streamer = OptionsDataStreamer(url=venue.url)
    assert streamer.get_trade_summary(PUT) == {"ticker": PUT, "count": 0}
    assert streamer.start_streaming(tickers=[PUT], include_fmv=False) is True
    wait_for(
        lambda: streamer.get_streaming_stats()["received"] == {"trade": 40, "quote": 40, "aggregate": 40},
        "all",
    )
    trades, quotes = streamer.get_trade_summary(PUT), streamer.get_quote_summary(PUT)
    streamer.stop_streaming()
    sizes = np.arange(10, 410, 10)
    prices = 2.5 + np.arange(0, 400, 10) / 100
    assert (trades["count"], trades["volume"], trades["last_size"]) == (40, sizes.sum(), 400)
    assert trades["vwap"] == pytest.approx((sizes * prices).sum() / sizes.sum())
    assert (trades["high"], trades["low"], trades["last_price"]) == (prices.max(), prices.min(), prices[-1])
    assert (quotes["count"], quotes["bid"], quotes["ask"]) == (40, 2.45, 2.5)
    assert quotes["spread_pct"] == pytest.approx(100 * 0.05 / 2.475)
    assert quotes["mean_spread_pct"] == pytest.approx(quotes["spread_pct"])


def test_records_have_the_documents_fields_and_types() -> None:
    assert options_record(Trade("X", 1.0, 3.0, "4", 5, ["6"])) == OptionsTrade("X", 1.0, 3, "4", 5, ["6"])
    assert options_record(Quote("X", 1.0, 2.0, 3.0, 4.0, "5", 6)) == OptionsQuote("X", 1.0, 2.0, 3, 4, "5", 6)
    bar = options_record(Aggregate("X", 1.0, 2.0, 0.5, 1.5, 9.0, None, 7))
    assert bar == OptionsAggregate("X", 1.0, 2.0, 0.5, 1.5, 9, None, 7)
