"""Each rule of the venue's protocol, seen by a plain websocket client over a real socket."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import websocket

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.recorded import Recording
from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.scenario import Drop, HalfFrame, Scenario
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.feed.simulator.source import RecordedSource
from hft_engine.feed.simulator.venue import VenueError
from hft_engine.records import TICK_DTYPE, TickKind
from support.sim_clients import (
    QUIET_S,
    close_code,
    connect,
    ends_without_close_frame,
    login,
    messages,
    nothing_comes,
    receive,
    send,
    statuses,
    using,
)
from support.waiting import wait_for

SCRIPTS = json.loads((Path(__file__).parents[3] / "data/polygon/session-scripts.json").read_text())
CONFIG = SimulatorConfig(api_key="KEY", instruments=5, ticks_per_s=500.0)


def still_market() -> RecordedSource:
    """A market in which AAPL and SPY are traded, one day."""
    ticks = np.zeros(2, TICK_DTYPE)
    ticks["ts_recv_ns"], ticks["instrument_id"], ticks["kind"] = [0, 86_400 * 10**9], [0, 1], TickKind.QUOTE
    return RecordedSource(Recording.of(["AAPL", "SPY"], ticks[1:]), ("AAPL", "SPY"), speed=1e-9)


@contextmanager
def venue(**options: object) -> Iterator[RunningVenue]:
    """A venue in which nothing happens, so that only the protocol speaks."""
    with RunningVenue(
        CONFIG, scenario=Scenario(venue=VenueOptions(**options)), source=still_market()
    ) as running:
        yield running


@contextmanager
def busy_venue(config: SimulatorConfig = CONFIG, **options: object) -> Iterator[RunningVenue]:
    with RunningVenue(config, scenario=Scenario(venue=VenueOptions(**options))) as running:
        yield running


OPTIONS_OF_SCRIPT: dict[str, dict[str, object]] = {
    "plan_without_websocket": {"websocket_in_plan": False},
    "no_auth_sent": {"auth_timeout_ms": 50},
    "realtime_host_on_delayed_plan": {"realtime_in_plan": False},
    "channel_not_in_plan": {"channels_in_plan": ("Q",)},
}
PLAYED_ELSEWHERE = {
    "connection_cap_late_refusal",
    "options_quote_limit",
}  # needs two clients; no options here


@pytest.mark.parametrize(
    "script", [s for s in SCRIPTS if s["name"] not in PLAYED_ELSEWHERE], ids=lambda script: script["name"]
)
def test_transcripts_of_the_real_venue(script: dict) -> None:
    with venue(**OPTIONS_OF_SCRIPT.get(script["name"], {})) as running:
        begins_in_session = script["steps"][0][0] == "send"
        with using(login(running) if begins_in_session else connect(running)) as client:
            for step, payload in script["steps"]:
                play(client, step, payload)


def play(client: websocket.WebSocket, step: str, payload: object) -> None:
    if step == "send":
        client.send(json.dumps(payload))
    elif step == "recv":
        assert receive(client) == payload
    elif step == "abort":
        assert ends_without_close_frame(client)
    elif step == "close":
        assert close_code(client) == 1000
    elif step == "nothing":
        assert nothing_comes(client)
    else:
        assert step == "wait"


def test_every_frame_is_one_array_and_connected_comes_alone_and_unasked() -> None:
    with venue() as running, using(connect(running)) as client:
        assert receive(client) == [
            {"ev": "status", "status": "connected", "message": "Connected Successfully"}
        ]
        assert nothing_comes(client)


def test_auth_and_subscribe_sent_before_connected_arrives_are_taken() -> None:
    with venue() as running, using(connect(running)) as client:
        send(client, "auth", "KEY")
        send(client, "subscribe", "T.AAPL")
        assert [statuses(client) for _ in range(3)] == [["connected"], ["auth_success"], ["success"]]


def test_acknowledgements_can_come_one_per_frame() -> None:
    with venue(split_acks=True) as running, using(login(running)) as client:
        send(client, "subscribe", "T.AAPL,Q.AAPL")
        assert [messages(client), messages(client)] == [["subscribed to: T.AAPL"], ["subscribed to: Q.AAPL"]]


def test_wildcards_of_every_channel_are_acknowledged() -> None:
    with venue() as running, using(login(running)) as client:
        send(client, "subscribe", "T.*,Q.*,A.*,AM.*,FMV.*,LULD.*")
        assert messages(client) == [f"subscribed to: {c}.*" for c in ("T", "Q", "A", "AM", "FMV", "LULD")]


def test_a_pair_already_held_is_not_answered() -> None:
    with venue() as running, using(login(running)) as client:
        send(client, "subscribe", "T.AAPL")
        receive(client)
        send(client, "subscribe", "T.AAPL")
        assert nothing_comes(client)
        send(client, "subscribe", "T.AAPL,T.SPY")
        assert messages(client) == ["subscribed to: T.SPY"]


def test_a_refused_channel_names_no_pair_and_comes_ahead_of_the_acknowledgements() -> None:
    with venue(channels_in_plan=("T",)) as running, using(login(running)) as client:
        send(client, "subscribe", "T.AAPL,Q.AAPL,T.SPY")
        assert messages(client) == ["not authorized", "subscribed to: T.AAPL", "subscribed to: T.SPY"]


def test_a_subscribe_before_auth_gives_nothing_and_is_counted() -> None:
    with venue() as running, using(connect(running)) as client:
        receive(client)
        send(client, "subscribe", "T.AAPL")
        assert nothing_comes(client)
        send(client, "auth", "KEY")
        assert statuses(client) == ["auth_success"]
        assert running.counts.bad_requests == 1


@pytest.mark.parametrize("text", ["no json", "[]", '{"params":"x"}', '{"action":"dance"}'])
def test_a_request_that_is_none_is_passed_over_and_counted(text: str) -> None:
    with venue() as running, using(login(running)) as client:
        client.send(text)
        send(client, "subscribe", "T.AAPL")
        assert messages(client) == ["subscribed to: T.AAPL"]
        assert running.counts.bad_requests == 1


def test_another_market_than_stocks_is_refused_in_the_handshake() -> None:
    with venue() as running, using(websocket.WebSocket()) as client:
        client.settimeout(5)
        with pytest.raises(websocket.WebSocketBadStatusException, match="404"):
            client.connect(running.url.replace("stocks", "options"))


@pytest.mark.parametrize(("closes", "victim"), [("older", 0), ("newer", 1)])
def test_one_connection_too_many_is_refused_late_with_1008(closes: str, victim: int) -> None:
    with (
        venue(connections_max=1, connection_cap_closes=closes) as running,
        using(login(running)) as first,
        using(login(running)) as second,
    ):
        send(second, "subscribe", "A.AAPL")
        assert messages(second) == ["subscribed to: A.AAPL"]
        (refusal,) = receive((first, second)[victim])
        assert refusal["status"] == "max_connections"
        assert refusal["message"].startswith("Maximum number of websocket connections exceeded.")
        assert close_code((first, second)[victim]) == 1008
        send((first, second)[1 - victim], "subscribe", "T.SPY")
        assert messages((first, second)[1 - victim]) == ["subscribed to: T.SPY"]


def test_only_what_was_subscribed_comes() -> None:
    with busy_venue() as running, using(login(running)) as client:
        send(client, "subscribe", "T.AAPL,Q.MSFT,Q.NOTATICKER")
        receive(client)
        seen = {(event["ev"], event["sym"]) for _ in range(50) for event in receive(client)}
        assert seen == {("T", "AAPL"), ("Q", "MSFT")}


def test_a_pair_and_its_wildcard_send_an_event_once() -> None:
    with busy_venue() as running, using(login(running)) as client:
        send(client, "subscribe", "T.AAPL,T.*")
        receive(client)
        ids = [event["i"] for _ in range(60) for event in receive(client)]
        assert len(ids) == len(set(ids))


def test_after_unsubscribe_only_what_was_in_flight_comes() -> None:
    with busy_venue() as running, using(login(running)) as client:
        send(client, "subscribe", "T.*")
        receive(client)
        receive(client)
        send(client, "unsubscribe", "T.*")
        while messages_or_none(client) != ["unsubscribed to: T.*"]:
            pass
        client.settimeout(QUIET_S)
        with pytest.raises(websocket.WebSocketTimeoutException):
            while True:
                receive(client)


def messages_or_none(client: websocket.WebSocket) -> list[str | None]:
    return [event.get("message") for event in receive(client)]


def test_frames_mix_kinds_and_symbols_and_keep_to_their_limit() -> None:
    config = SimulatorConfig(api_key="KEY", instruments=20, ticks_per_s=20_000.0, events_per_frame_max=10)
    with busy_venue(config) as running, using(login(running)) as client:
        send(client, "subscribe", "T.*,Q.*")
        receive(client)
        frames = [receive(client) for _ in range(100)]
        assert max(map(len, frames)) == 10
        assert any(len({(event["ev"], event["sym"]) for event in frame}) > 2 for frame in frames)


def test_events_carry_the_time_of_now() -> None:
    with busy_venue() as running, using(login(running)) as client:
        send(client, "subscribe", "Q.*")
        receive(client)
        event = receive(client)[-1]
        assert abs(time.time() * 1000 - event["t"]) < 5_000


def test_a_slow_reader_is_dropped_without_a_word_and_the_others_go_on() -> None:
    config = SimulatorConfig(api_key="KEY", instruments=20, ticks_per_s=20_000.0)
    with (
        busy_venue(config, buffer_bytes_max=100_000) as running,
        using(login(running, receive_buffer=65_536)) as slow,
        using(login(running)) as quick,
    ):
        send(slow, "subscribe", "T.*,Q.*")
        send(quick, "subscribe", "T.AAPL")
        deadline = time.monotonic() + 30
        while not running.counts.slow_consumer_kills and time.monotonic() < deadline:
            receive(quick)
        assert running.counts.slow_consumer_kills == 1
        opcodes = frames_until_the_end(slow.sock)
        assert len(opcodes) > 100
        assert set(opcodes) == {websocket.ABNF.OPCODE_TEXT}
        receive(quick)


def frames_until_the_end(sock: socket.socket) -> list[int]:
    """The opcode of every frame, the last perhaps cut, until the connection ends."""
    data = bytearray()
    with suppress(ConnectionResetError):
        while piece := sock.recv(1 << 20):
            data += piece
    opcodes, at = [], 0
    while at + 4 <= len(data):
        opcodes.append(data[at] & 0x0F)
        short = data[at + 1]
        wide = {126: 2, 127: 8}.get(short, 0)
        length = int.from_bytes(data[at + 2 : at + 2 + wide]) if wide else short
        at += 2 + wide + length
    return opcodes


def test_a_connection_can_be_made_to_drop() -> None:
    with busy_venue() as running, using(login(running)) as client:
        send(client, "subscribe", "Q.*")
        receive(client)
        receive(client)
        running.inflict(Drop())
        assert ends_without_close_frame(client)


def test_a_connection_can_be_made_to_stall_in_the_middle_of_a_frame() -> None:
    with busy_venue() as running, using(login(running)) as client:
        send(client, "subscribe", "Q.*")
        receive(client)
        running.inflict(HalfFrame())
        client.settimeout(1)
        with pytest.raises(websocket.WebSocketTimeoutException):
            while True:
                client.recv()
        # What came is the head of a text frame whose length promises more.
        assert client.frame_buffer.length is not None


def test_a_replay_at_full_speed_loses_nothing_to_a_reader_slower_than_itself() -> None:
    count = 60_000
    ticks = np.zeros(count, TICK_DTYPE)
    ticks["kind"], ticks["price"], ticks["size"] = TickKind.TRADE, 1.0, 1.0
    ticks["trade_id"] = np.arange(count)
    source = RecordedSource(Recording.of(["AAPL"], ticks), ("AAPL",), speed=0)
    with (
        RunningVenue(
            CONFIG, scenario=Scenario(venue=VenueOptions(buffer_bytes_max=1_000_000)), source=source
        ) as running,
        using(login(running)) as client,
    ):
        send(client, "subscribe", "T.AAPL")
        receive(client)
        ids: list[int] = []
        while len(ids) < count:
            ids += [int(event["i"]) for event in receive(client)]
        assert ids == list(range(count))
        assert running.counts.slow_consumer_kills == 0


def test_stopping_says_goodbye_and_frees_the_port() -> None:
    with venue() as running:
        client = login(running)
    with using(client):
        assert close_code(client) == 1001
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", running.port))


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    with venue() as running:
        taken = SimulatorConfig(port=running.port)
        with (
            pytest.raises(VenueError, match=rf"127.0.0.1:{running.port} is in use.*0 = any"),
            RunningVenue(taken),
        ):
            pass


def test_counts_tell_what_happened() -> None:
    with busy_venue() as running:
        with using(connect(running)) as client:
            receive(client)
            send(client, "auth", "WRONG")
            receive(client)
        with using(login(running)) as client:
            send(client, "subscribe", "Q.*")
            receive(client)
            received = sum(len(receive(client)) for _ in range(5))
        wait_for(lambda: running.counts.frames >= 5, "five frames")
        assert (running.counts.connections, running.counts.auth_failures) == (2, 1)
        assert running.counts.events >= received
