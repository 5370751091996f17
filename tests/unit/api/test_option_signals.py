"""Signals of option streams: each example of the document, then the whole over loopback."""

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.api import (
    RealtimeOptionsMonitor,
    RealtimeSignal,
    Thresholds,
    TradingAgentWebSocketIntegration,
    TradingOrchestrator,
)
from hft_engine.api.option_signals import SignalDetector
from hft_engine.api.polygon_websocket import OptionsQuote, OptionsTrade
from hft_engine.api.schema import FairMarketValue
from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.recorded import Recording
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.feed.simulator.source import RecordedSource
from hft_engine.records import TICK_DTYPE, TickKind
from support.sim_markets import START_NS
from support.waiting import wait_for

KEY = "secret-key-12345"
PUT = "O:SPY251220P00550000"
CONFIG = SimulatorConfig(api_key=KEY)


def _trade(price: float, size: int) -> OptionsTrade:
    return OptionsTrade(PUT, price, size, "302", 0, [])


def _quote(bid: float, ask: float) -> OptionsQuote:
    return OptionsQuote(PUT, bid, ask, 1, 1, "302", 0)


def _after(detector: SignalDetector, trades: Sequence[OptionsTrade]) -> SignalDetector:
    for trade in trades:
        assert detector.trade(trade) == []
    return detector


def test_a_volume_spike_is_the_documents() -> None:
    detector = _after(SignalDetector(), [_trade(2.5, 500)] * 10)
    (signal,) = detector.trade(_trade(2.5, 1500))
    assert isinstance(signal.timestamp, datetime)
    assert (signal.ticker, signal.signal_type, signal.reason) == (PUT, "buy", "Volume spike: 1500 vs avg 500")
    assert signal.strength == pytest.approx(0.8)
    assert signal.data == {
        "trade_price": 2.5, "trade_size": 1500, "volume_ratio": 3.0, "signal_type": "volume_spike",
    }  # fmt: skip


def test_a_spike_below_the_mid_is_a_sale() -> None:
    detector = _after(SignalDetector(), [_trade(2.5, 500)] * 10)
    detector.quote(_quote(2.5, 2.6))
    assert detector.trade(_trade(2.5, 1500))[0].signal_type == "sell"


def test_a_price_movement_is_the_documents() -> None:
    (signal,) = _after(SignalDetector(), [_trade(2.40, 500)]).trade(_trade(2.55, 500))
    assert (signal.signal_type, signal.reason) == ("buy", "Price movement: 6.2%")
    assert signal.strength == pytest.approx(0.7)
    assert signal.data["price_change"] == pytest.approx(0.0625)
    assert {key: signal.data[key] for key in ("prev_price", "current_price", "volume", "signal_type")} == {
        "prev_price": 2.40, "current_price": 2.55, "volume": 500, "signal_type": "price_movement",
    }  # fmt: skip
    (down,) = _after(SignalDetector(), [_trade(2.55, 500)]).trade(_trade(2.40, 500))
    assert down.signal_type == "sell" and down.reason == "Price movement: -5.9%"


def test_a_tightening_spread_is_the_documents_and_told_once() -> None:
    detector = SignalDetector()
    for _ in range(10):
        assert detector.quote(_quote(2.3979, 2.5021)) == []  # 4.25 %
    (signal,) = detector.quote(_quote(2.4743, 2.5257))  # 2.06 %
    assert (signal.signal_type, signal.reason) == ("buy", "Spread tightening: 2.1% vs avg 4.3%")
    assert 0.6 <= signal.strength < 0.63
    assert signal.data["spread"] == pytest.approx(0.0514)
    assert signal.data["spread_pct"] == pytest.approx(100 * 0.0514 / 2.5)
    assert signal.data["signal_type"] == "spread_tightening"
    assert detector.quote(_quote(2.4743, 2.5257)) == []


def test_a_diverging_fair_value_is_the_documents_and_told_once() -> None:
    detector = _after(SignalDetector(), [_trade(2.50, 5)])
    detector.quote(_quote(2.4, 2.6))
    (signal,) = detector.fair_value(FairMarketValue(PUT, 2.60, 0))
    assert (signal.signal_type, signal.reason) == ("buy", "FMV divergence: FMV $2.60 vs Market $2.50")
    assert signal.strength == pytest.approx(0.8)
    assert signal.data["fmv_diff"] == pytest.approx(0.04)
    assert signal.data["confidence"] == pytest.approx(1 - 0.2 / 2.5)
    assert (signal.data["fmv"], signal.data["market_price"]) == (2.60, 2.50)
    assert signal.data["signal_type"] == "fmv_divergence"
    assert detector.fair_value(FairMarketValue(PUT, 2.61, 0)) == []
    assert detector.fair_value(FairMarketValue(PUT, 2.50, 0)) == []
    assert detector.fair_value(FairMarketValue(PUT, 2.30, 0))[0].signal_type == "sell"


def test_thresholds_are_ones_own() -> None:
    detector = _after(SignalDetector(Thresholds(price_change=0.10)), [_trade(2.40, 5)])
    assert detector.trade(_trade(2.55, 5)) == []
    assert _after(SignalDetector(Thresholds(price_change=0.06)), [_trade(2.40, 5)]).trade(_trade(2.55, 5))


numbers = st.just(0.0) | st.floats(0.01, 1e6)


@given(st.lists(st.tuples(numbers, numbers, st.integers(0, 10**9)), max_size=60))
def test_whatever_comes_strengths_are_between_0_and_1(events: list[tuple[float, float, int]]) -> None:
    detector = SignalDetector()
    for first, second, size in events:
        found = detector.trade(_trade(first, size)) + detector.quote(_quote(first, second))
        found += detector.fair_value(FairMarketValue(PUT, second, 0))
        for signal in found:
            assert 0.0 <= signal.strength <= 1.0 and signal.signal_type in ("buy", "sell")
            assert all(not isinstance(value, float) or math.isfinite(value) for value in signal.data.values())


def _market() -> RecordedSource:
    """Ten trades of 10 at 2.40, one of 100 at 2.40, one of 10 at 2.60; quotes; two fair values."""
    rows = [(TickKind.TRADE, 2.40, 10)] * 10 + [(TickKind.TRADE, 2.40, 100), (TickKind.TRADE, 2.60, 10)]
    rows += [(TickKind.QUOTE, 2.5, 2.7), (TickKind.FMV, 2.80, 0), (TickKind.TRADE, 2.60, 10)]
    ticks = np.zeros(len(rows), TICK_DTYPE)
    for i, (tick, (kind, first, second)) in enumerate(zip(ticks, rows, strict=True)):
        tick["kind"], tick["venue_sequence"] = kind, i + 1
        tick["ts_venue_ns"] = tick["ts_recv_ns"] = START_NS + i * 1_000_000
        if kind == TickKind.QUOTE:
            tick["bid"], tick["ask"], tick["bid_size"], tick["ask_size"] = first, second, 7, 9
        else:
            tick["price"], tick["size"] = first, second
    return RecordedSource(Recording.of((PUT,), ticks), (PUT,), 0.0)


class Agent:
    def get_current_positions(self) -> list[object]:
        return ["AAPL", {"ticker": PUT}]


@pytest.fixture(autouse=True)
def key_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)


def test_the_monitor_tells_handlers_what_streams_show() -> None:
    found: list[RealtimeSignal] = []
    with RunningVenue(CONFIG, "polygon-options", source=_market()) as venue:
        monitor = RealtimeOptionsMonitor(url=venue.url)
        monitor.add_signal_handler(found.append)
        assert monitor.start_monitoring([PUT], include_fmv=True) is True
        wait_for(lambda: len(found) == 3, "three signals")
        wait_for(lambda: monitor.get_analysis(PUT)["trades"]["count"] == 13, "all trades")
        analysis, stats = monitor.get_analysis(PUT), monitor.get_stats()
        monitor.stop_monitoring()
    assert [signal.data["signal_type"] for signal in found] == [
        "volume_spike", "price_movement", "fmv_divergence",
    ]  # fmt: skip
    assert analysis["signals"] == found and stats["signals"] == 3
    assert analysis["liquidity"] == 16 and analysis["volatility"] > 0
    assert analysis["impact"] == pytest.approx(0.2 / (9 * 10 + 100 + 10 + 10))


def test_an_agents_option_positions_are_watched() -> None:
    with RunningVenue(CONFIG, "polygon-options", source=_market()) as venue:
        monitor = RealtimeOptionsMonitor(url=venue.url)
        integration = TradingAgentWebSocketIntegration(Agent(), monitor)
        assert integration.start_position_monitoring(Agent().get_current_positions()) is True
        wait_for(lambda: integration.get_position_analysis(PUT)["trades"]["count"] == 13, "trades")
        integration.stop_position_monitoring()
    with pytest.raises(ValueError, match="no position is an option"):
        integration.start_position_monitoring(["AAPL"])
    with pytest.raises(ValueError, match="neither ticker nor symbol"):
        integration.start_position_monitoring([7])


def test_the_orchestrators_methods() -> None:
    with RunningVenue(CONFIG, "polygon-options", source=_market()) as venue:
        orchestrator = TradingOrchestrator(Agent(), RealtimeOptionsMonitor(url=venue.url))
        assert orchestrator.start_websocket_monitoring() is True
        wait_for(lambda: orchestrator.get_websocket_stats()["received"]["trade"] == 13, "trades")
        assert orchestrator.get_position_realtime_analysis(PUT)["quotes"]["bid"] == 2.5
        orchestrator.stop_websocket_monitoring()
    assert orchestrator.get_websocket_stats()["state"] == "stopped"
