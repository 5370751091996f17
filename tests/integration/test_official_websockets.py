"""The official clients (``massive``, and ``polygon`` before it) against the simulated stocks and options, and Finnhub's
documented sample."""

import json
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import websocket
from massive import WebSocketClient
from massive.exceptions import AuthError
from massive.websocket import models
from polygon import WebSocketClient as OlderClient
from polygon.exceptions import AuthError as OlderAuthError
from polygon.websocket import models as older_models

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.recorded import Recording
from hft_engine.feed.simulator.bars import BarMaker
from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.options_market import OptionsMarket
from hft_engine.feed.simulator.polygon_options import OptionsEncoder
from hft_engine.feed.simulator.scenario import AuthFailure, Drop, Scenario
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.feed.simulator.source import RecordedSource
from hft_engine.records import join_ticks
from support.sim_clients import received_from
from support.sim_markets import START_NS, SYMBOLS, recorded, steady_ticks

CONFIG = SimulatorConfig(api_key="KEY", instruments=40, ticks_per_s=100.0, seed=5)
MODELS = {
    "T": "EquityTrade",
    "Q": "EquityQuote",
    "A": "EquityAgg",
    "AM": "EquityAgg",
    "FMV": "FairMarketValue",
    "LULD": "LimitUpLimitDown",
}
CLIENTS = {
    "massive": (WebSocketClient, AuthError, models),
    "polygon": (OlderClient, OlderAuthError, older_models),
}
MARKETS = {
    "polygon": (SyntheticMarket, Encoder, "stocks"),
    "polygon-options": (OptionsMarket, OptionsEncoder, "options"),
}
BLOCKS = 620  # 62 s, so that there is a minute bar


def client_of(
    running: RunningVenue, market: str, subscriptions: Sequence[str], kind: Any = WebSocketClient, **more: Any
) -> Any:
    options = {"api_key": "KEY", "max_reconnects": 0, **more}
    return kind(
        feed=f"127.0.0.1:{running.port}",
        secure=False,
        market=market,
        subscriptions=list(subscriptions),
        **options,
    )


@pytest.mark.parametrize("name", list(CLIENTS))
@pytest.mark.parametrize("vendor", list(MARKETS))
def test_every_event_arrives_equal(vendor: str, name: str) -> None:
    make, encoder, market = MARKETS[vendor]
    kind, _, of_client = CLIENTS[name]
    made = make(CONFIG, START_NS)
    ticks = join_ticks([made.block() for _ in range(BLOCKS)])
    sent = [
        json.loads(event) for event in encoder(made.symbols).encode(BarMaker(len(made.symbols)).push(ticks))
    ]
    quotes = [f"Q.{symbol}" for symbol in made.symbols]  # of options there is no Q.*
    source = RecordedSource(Recording.of(made.symbols, ticks), made.symbols, speed=0)
    with RunningVenue(CONFIG, vendor, source=source) as running:
        wanted = ["T.*", "A.*", "AM.*", "FMV.*", "LULD.*", *quotes]
        got = received_from(client_of(running, market, wanted, kind), len(sent))
    assert len(got) == len(sent) and {event["ev"] for event in sent} >= {"T", "Q", "A", "AM", "FMV"}
    expected = {repr(getattr(of_client, MODELS[event["ev"]]).from_dict(event)) for event in sent}
    assert {repr(model) for model in got} == expected


def test_odd_bars_do_not_upset_the_client() -> None:
    options = VenueOptions(bar_average_as_float_every=2, bar_without_volume_every=3, newer_fields=True)
    made = OptionsMarket(CONFIG, START_NS)
    ticks = join_ticks([made.block() for _ in range(BLOCKS)])
    source = RecordedSource(Recording.of(made.symbols, ticks), made.symbols, speed=0)
    with RunningVenue(CONFIG, "polygon-options", Scenario(venue=options), source=source) as running:
        got = received_from(client_of(running, "options", ["A.*"]), 100)
    assert {bar.volume == 0 for bar in got} == {True, False}


@pytest.mark.parametrize("name", list(CLIENTS))
@pytest.mark.parametrize("vendor", list(MARKETS))
def test_a_refused_key_raises_the_clients_own_error(vendor: str, name: str) -> None:
    plot = Scenario(steps=(AuthFailure(),))
    kind, refusal, _ = CLIENTS[name]
    with (
        RunningVenue(CONFIG, vendor, plot) as running,
        pytest.raises(refusal, match="authentication failed"),
    ):
        client_of(running, MARKETS[vendor][2], ["T.*"], kind).run(lambda events: None)


def test_the_client_comes_back_after_a_drop_and_misses_what_the_truth_says() -> None:
    plot = Scenario(sequence="contiguous", steps=(Drop(after_ticks=600),))
    with RunningVenue(CONFIG, scenario=plot, source=recorded(steady_ticks(2_000), speed=10.0)) as running:
        client = client_of(running, "stocks", ["T.*"], max_reconnects=3)
        got = received_from(client, 1_900 - 600)
        assert running.counts.connections == 2
    seen = {(event.symbol, event.sequence_number) for event in got}
    assert len(seen) == len(got)
    highest = {symbol: max(number for who, number in seen if who == symbol) for symbol in SYMBOLS}
    gone = running.truth.ticks_of("unheard")
    pairs = zip(gone["instrument_id"].tolist(), gone["venue_sequence"].tolist(), strict=True)
    unheard = {(SYMBOLS[who], number) for who, number in pairs if number < highest[SYMBOLS[who]]}
    assert unheard == {(s, n) for s in SYMBOLS for n in range(1, highest[s] + 1)} - seen and unheard


def test_finnhubs_documented_sample_runs_as_it_stands() -> None:
    """WebSocketApp with on_open, on_message, as in the vendor's documentation; only the host is ours."""
    frames: list[str] = []

    def on_message(ws: websocket.WebSocketApp, message: str) -> None:
        frames.append(message)
        if len(frames) == 5:
            ws.close()

    def on_open(ws: websocket.WebSocketApp) -> None:
        ws.send('{"type":"subscribe","symbol":"AAPL"}')
        ws.send('{"type":"subscribe","symbol":"AMZN"}')

    with RunningVenue(SimulatorConfig(api_key="KEY"), "finnhub") as running:
        app = websocket.WebSocketApp(f"{running.url}?token=KEY", on_message=on_message, on_open=on_open)
        thread = threading.Thread(target=app.run_forever)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    symbols = {trade["s"] for frame in frames for trade in msgspec.json.decode(frame)["data"]}
    assert symbols <= {"AAPL", "AMZN"} and np.all([json.loads(frame)["type"] == "trade" for frame in frames])
