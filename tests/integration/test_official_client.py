"""The vendor's own client (``polygon-api-client``) against the simulated venue: not a frame of it is ours."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from polygon import WebSocketClient
from polygon.exceptions import AuthError
from polygon.websocket.models import EquityAgg, EquityQuote, EquityTrade, FairMarketValue, LimitUpLimitDown

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.recorded import Recording, open_recording
from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.scenario import Scenario
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.feed.simulator.source import RecordedSource, open_source
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TickKind, join_ticks
from support.sim_clients import received_from

CUT = Path(__file__).parents[1] / "data/binance/usdm_btcusdt_20240808_cut.jsonl.gz"
START_NS = 1_700_000_040_000_000_000
CONFIG = SimulatorConfig(api_key="right", instruments=10, ticks_per_s=100.0, seed=11)
MODELS = {
    "T": EquityTrade,
    "Q": EquityQuote,
    "A": EquityAgg,
    "AM": EquityAgg,
    "FMV": FairMarketValue,
    "LULD": LimitUpLimitDown,
}


@pytest.fixture(scope="module")
def market() -> tuple[tuple[str, ...], np.ndarray]:
    """Symbols and 65 s of a market, without bars: the venue makes those."""
    source = SyntheticMarket(CONFIG, START_NS)
    return source.symbols, join_ticks([source.block() for _ in range(650)])


def client_of(venue: RunningVenue, subscriptions: list[str], key: str = "right") -> WebSocketClient:
    return WebSocketClient(
        api_key=key,
        feed=f"127.0.0.1:{venue.port}",
        secure=False,
        market="stocks",
        subscriptions=subscriptions,
        max_reconnects=0,
    )


def sent_by(source: RecordedSource, wanted: set[tuple[str, str]]) -> list[dict[str, Any]]:
    """What a source like the venue's gives, encoded, cut to the wanted (channel, symbol) pairs."""
    source.start(0)
    parts = []
    while not source.finished:
        parts.append(source.take(0, 4_096))
    events = [json.loads(event) for event in Encoder(source.symbols).encode(join_ticks(parts))]
    return [event for event in events if {(event["ev"], symbol(event)), (event["ev"], "*")} & wanted]


def symbol(event: dict[str, Any]) -> str:
    return str(event["T"] if event["ev"] == "LULD" else event["sym"])


def as_set(models: list[Any]) -> set[str]:
    return {repr(model) for model in models}


@pytest.mark.parametrize(
    "subscriptions",
    [
        ["T.AAPL", "Q.MSFT"],
        ["T.*", "Q.*", "A.*", "AM.*", "FMV.*", "LULD.*"],
        ["AM.*", "A.AAPL", "T.NOTATICKER"],
    ],
)
def test_every_event_subscribed_to_arrives_field_by_field(
    market: tuple[tuple[str, ...], np.ndarray], subscriptions: list[str]
) -> None:
    def source() -> RecordedSource:
        return RecordedSource(Recording.of(*market), market[0], speed=0)

    wanted = {(pair.split(".")[0], pair.split(".")[1]) for pair in subscriptions}
    sent = sent_by(source(), wanted)
    assert len({event["ev"] for event in sent}) == len(
        {channel for channel, _ in wanted} - {"T"}
        | {channel for channel, name in wanted if name != "NOTATICKER"}
    )
    with RunningVenue(CONFIG, source=source()) as venue:
        got = received_from(client_of(venue, subscriptions), len(sent))
    assert len(got) == len(sent)
    assert as_set(got) == as_set([MODELS[event["ev"]].from_dict(event) for event in sent])


def test_a_recorded_market_arrives_whole() -> None:
    config = SimulatorConfig(api_key="right", source=str(CUT), speed=0)
    with RunningVenue(config) as venue:
        got = received_from(client_of(venue, ["T.BTCUSDT", "Q.BTCUSDT"]), 24_000)
    assert len(got) == 24_000
    source = open_source(config, 0)
    assert isinstance(source, RecordedSource)
    sent = sent_by(source, {("T", "BTCUSDT"), ("Q", "BTCUSDT")})
    assert as_set(got) == as_set([MODELS[event["ev"]].from_dict(event) for event in sent])
    # And against the file itself, past our encoder.
    instruments = InstrumentTable.private(1)
    ticks = join_ticks(list(open_recording(CUT, instruments)))
    quotes = [event for event in got if event.event_type == "Q"]
    own = ticks[ticks["kind"] == TickKind.QUOTE]
    assert [q.sequence_number for q in quotes] == own["venue_sequence"].tolist()
    for name, theirs in (
        ("bid", "bid_price"),
        ("ask", "ask_price"),
        ("bid_size", "bid_size"),
        ("ask_size", "ask_size"),
    ):
        assert [getattr(q, theirs) for q in quotes] == own[name].tolist()
    assert [q.timestamp for q in quotes] == (own["ts_venue_ns"] // 10**6).tolist()
    trades = [event for event in got if event.event_type == "T"]
    own = ticks[ticks["kind"] == TickKind.TRADE]
    assert [int(t.id) for t in trades] == own["trade_id"].tolist()
    assert [t.price for t in trades] == own["price"].tolist()


def test_a_live_synthetic_market_arrives_at_once() -> None:
    with RunningVenue(SimulatorConfig(api_key="right")) as venue:
        got = received_from(client_of(venue, ["T.*", "Q.*"]), 500)
    assert {event.event_type for event in got} == {"T", "Q"}


def test_a_wrong_key_raises_the_clients_auth_error() -> None:
    with RunningVenue(CONFIG) as venue:
        with pytest.raises(AuthError, match="authentication failed"):
            client_of(venue, ["T.AAPL"], key="wrong").run(lambda events: None)
        assert venue.counts.auth_failures == 1


def test_a_plan_without_websocket_raises_the_clients_auth_error() -> None:
    with (
        RunningVenue(CONFIG, scenario=Scenario(venue=VenueOptions(websocket_in_plan=False))) as venue,
        pytest.raises(AuthError, match="plan doesn't include websocket access"),
    ):
        client_of(venue, ["T.AAPL"]).run(lambda events: None)


def test_odd_but_observed_events_do_not_upset_the_client(market: tuple[tuple[str, ...], np.ndarray]) -> None:
    options = VenueOptions(
        bar_average_as_float_every=2,
        trade_id_as_number_every=3,
        time_in_ns_every=5,
        newer_fields=True,
        split_acks=True,
    )
    source = RecordedSource(Recording.of(*market), market[0], speed=0)
    with RunningVenue(CONFIG, scenario=Scenario(venue=options), source=source) as venue:
        got = received_from(client_of(venue, ["T.*", "A.*"]), 1_000)
    assert {type(event) for event in got} == {EquityTrade, EquityAgg}
