"""The Finnhub side: websocket, REST through the official client, webhooks."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from urllib.error import HTTPError

import finnhub
import pytest
import websocket
from finnhub.exceptions import FinnhubAPIException

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.conditions import pack
from hft_engine.feed.simulator.finnhub import FinnhubEncoder
from hft_engine.feed.simulator.finnhub_webhook import post_event
from hft_engine.feed.simulator.options import HEALTHY, VenueOptions
from hft_engine.feed.simulator.scenario import AuthFailure, Reorder, RestFailure, Scenario
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.records import TickKind
from support.sim_clients import ends_without_close_frame, using
from support.sim_markets import START_NS, SYMBOLS, recorded, steady_ticks
from support.waiting import wait_for

CONFIG = SimulatorConfig(api_key="KEY", instruments=5, ticks_per_s=500.0, events_per_frame_max=10)
QUIET = SimulatorConfig(api_key="KEY", instruments=5, ticks_per_s=0.001)


@contextmanager
def finnhub_venue(config: SimulatorConfig = CONFIG, count: int = 0, **more: object) -> Iterator[RunningVenue]:
    """Of the synthetic market, or of ``count`` trades as fast as they go."""
    source = recorded(steady_ticks(count)) if count else None
    with RunningVenue(config, "finnhub", source=source, **more) as running:  # type: ignore[arg-type]
        yield running


def connect(running: RunningVenue, token: str = "KEY") -> websocket.WebSocket:
    return websocket.create_connection(f"{running.url}?token={token}", timeout=30)


def ask(client: websocket.WebSocket, kind: str, symbol: str) -> None:
    client.send(json.dumps({"type": kind, "symbol": symbol}))


def trades(client: websocket.WebSocket, count: int) -> list[dict]:
    found: list[dict] = []
    while len(found) < count:
        frame = json.loads(client.recv())
        assert list(frame) == ["data", "type"] and frame["type"] == "trade"
        found += frame["data"]
    return found


def test_data_come_without_greeting_or_acknowledgement_field_by_field() -> None:
    with finnhub_venue(count=300) as running, using(connect(running)) as client:
        for symbol in SYMBOLS:
            ask(client, "subscribe", symbol)
        found = trades(client, 3)
        assert set(found[0]) == {"c", "p", "s", "t", "v"}
        assert found[0] == {"c": ["1"], "p": 100.0, "s": "AAPL", "t": START_NS // 10**6, "v": 1}


def test_several_symbols_share_a_frame_of_at_most_ten_and_only_those_asked_for_come() -> None:
    with finnhub_venue() as running, using(connect(running)) as client:
        ask(client, "subscribe", "AAPL")
        ask(client, "subscribe", "MSFT")
        frames = [json.loads(client.recv())["data"] for _ in range(60)]
        assert max(map(len, frames)) <= 10
        assert {trade["s"] for frame in frames for trade in frame} == {"AAPL", "MSFT"}
        ask(client, "unsubscribe", "AAPL")
        while any(trade["s"] == "AAPL" for trade in json.loads(client.recv())["data"]):
            pass
        assert {trade["s"] for trade in trades(client, 10)} == {"MSFT"}


def test_conditions_are_finnhubs_numbers_or_null_and_volumes_can_be_fractions() -> None:
    ticks = steady_ticks(3)
    ticks["conditions"], ticks["size"] = [pack((14, 37)), pack((12,)), 0], [5.0, 0.25, 7.0]
    plain = [json.loads(event) for event in FinnhubEncoder(SYMBOLS, HEALTHY).encode(ticks)]
    assert [event["c"] for event in plain] == [["1", "8", "12"], ["1", "24"], ["1"]]
    assert [event["v"] for event in plain] == [5, 0.25, 7]
    odd = FinnhubEncoder(SYMBOLS, VenueOptions(null_conditions_every=1)).encode(ticks)
    assert [json.loads(event)["c"] for event in odd] == [None] * 3


def test_time_can_step_backwards() -> None:
    plot = Scenario(steps=(Reorder(share=0.3),))
    with finnhub_venue(count=600, scenario=plot) as running, using(connect(running)) as client:
        ask(client, "subscribe", "AAPL")
        stamps = [trade["t"] for trade in trades(client, 150)]
    assert any(after < before for before, after in pairwise(stamps))


@pytest.mark.parametrize("token", ["WRONG", ""])
def test_a_wrong_key_is_refused_in_the_upgrade(token: str) -> None:
    with finnhub_venue() as running:
        with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
            connect(running, token)
        assert running.counts.auth_failures == 1


def test_the_right_key_can_be_refused_by_a_scenario() -> None:
    with finnhub_venue(scenario=Scenario(steps=(AuthFailure(count=1),))) as running:
        with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
            connect(running)
        with using(connect(running)):
            pass


def test_an_idle_connection_gets_ping_frames_of_text() -> None:
    options = VenueOptions(idle_ping_ms=40)
    with finnhub_venue(QUIET, scenario=Scenario(venue=options)) as running, using(connect(running)) as client:
        assert [client.recv_data() for _ in range(2)] == [
            (websocket.ABNF.OPCODE_TEXT, b'{"type":"ping"}')
        ] * 2


def test_beyond_fifty_symbols_comes_one_error_and_unsubscribing_frees_a_place() -> None:
    with finnhub_venue(QUIET) as running, using(connect(running)) as client:
        for i in range(51):
            ask(client, "subscribe", f"S{i}")
        assert json.loads(client.recv()) == {"msg": "Subscribing to too many symbols", "type": "error"}
        ask(client, "unsubscribe", "S0")
        ask(client, "subscribe", "S50")
        wait_for(lambda: ("T", "S50") in running.venue.sessions[0].pairs, "the place taken")
        assert len(running.venue.sessions[0].pairs) == 50


def test_a_second_connection_with_the_key_ends_both() -> None:
    with finnhub_venue() as running, using(connect(running)) as first, using(connect(running)) as second:
        assert ends_without_close_frame(second) and ends_without_close_frame(first)


@pytest.mark.parametrize("text", ["no json", "[]", '{"type":"dance"}'])
def test_what_is_no_request_is_counted_and_passed_over(text: str) -> None:
    with finnhub_venue() as running, using(connect(running)) as client:
        client.send(text)
        client.send('{"type":"subscribe-news","symbol":"AAPL"}')  # known, and not simulated
        ask(client, "subscribe", "AAPL")
        trades(client, 1)
        assert running.counts.bad_requests == 1


@contextmanager
def official(
    monkeypatch: pytest.MonkeyPatch, running: RunningVenue, key: str = "KEY"
) -> Iterator[finnhub.Client]:
    monkeypatch.setattr(finnhub.Client, "API_URL", f"{running.rest_url}/api/v1")
    with finnhub.Client(key) as client:
        yield client


def test_the_official_client_reads_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    with finnhub_venue(count=300, rest=True) as running, using(connect(running)) as feed:
        ask(feed, "subscribe", "AAPL")
        trades(feed, 100)
        with official(monkeypatch, running) as client:
            found = client.quote("AAPL")
            assert (found["o"], found["c"], found["l"], found["h"]) == (100.0, 397.0, 100.0, 397.0)
            assert found["d"] == pytest.approx(found["c"] - found["pc"], abs=1e-3)
            assert found["t"] == START_NS // 10**9 + 2
            assert client.quote("NOSUCH")["c"] == 0
            with pytest.raises(FinnhubAPIException, match="You don't have access to this resource"):
                client.stock_candles("AAPL", "D", 1, 2)


def test_refusals_raise_the_official_clients_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario(steps=(RestFailure(status=429, count=1),))
    with finnhub_venue(QUIET, rest=True, scenario=scenario) as running:
        with official(monkeypatch, running) as client, pytest.raises(FinnhubAPIException, match="429"):
            client.quote("AAPL")
        with official(monkeypatch, running, "WRONG") as client:
            with pytest.raises(FinnhubAPIException, match="Invalid API key") as refused:
                client.quote("AAPL")
            assert refused.value.status_code == 401


class _Receiver(BaseHTTPRequestHandler):
    """Takes an event whose secret is right."""

    seen: list[dict] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        right = self.headers.get("X-Finnhub-Secret") == "S3CRET"
        if right:
            self.seen.append(json.loads(body))
        self.send_response(204 if right else 401)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def test_webhooks_carry_the_secret_in_their_header() -> None:
    with HTTPServer(("127.0.0.1", 0), _Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/hook"
        try:
            assert post_event(url, "S3CRET", "trade", [{"s": "AAPL"}]) == 204
            with pytest.raises(HTTPError, match="401") as refused:
                post_event(url, "GUESS", "trade", [])
            refused.value.close()
        finally:
            server.shutdown()
            thread.join()
    assert _Receiver.seen == [{"event": "trade", "data": [{"s": "AAPL"}]}]


def test_only_trades_are_on_the_wire() -> None:
    with finnhub_venue(CONFIG) as running, using(connect(running)) as client:
        ask(client, "subscribe", "*")  # not on offer: ignored
        ask(client, "subscribe", "AAPL")
        assert {trade["s"] for trade in trades(client, 20)} == {"AAPL"}
        assert running.truth.counts["published"] >= 20
        assert TickKind.QUOTE not in running.truth.ticks_of("lost")["kind"]
