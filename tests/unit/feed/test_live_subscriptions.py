"""Symbols that come and go while the feed runs: told to the venue, recorded first, in force in the next life."""

import json
import socket
import threading
from pathlib import Path

import pytest
from raw_venue import WAIT_S, receive, serving, until_left
from test_feed_actor import Bench, admit, say, status, trade
from test_session import Drive

from hft_engine.feed.session import FeedState
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TickKind
from hft_engine.runtime import faultpoints
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.messages import ControlError, Subscribe, Unsubscribe
from hft_engine.runtime.session_events import read_events


def test_a_change_tells_the_venue_only_what_is_new_and_what_is_over():
    drive = Drive().live()
    drive._note(drive.session.change(drive.now_ns, ("MSFT", "NVDA")))
    assert drive.sent() == [
        {"action": "unsubscribe", "params": "T.AAPL,Q.AAPL"},
        {"action": "subscribe", "params": "T.NVDA,Q.NVDA"},
    ]
    assert drive.session.acks_missing == 2
    drive.ack("T.NVDA", "Q.NVDA")
    assert drive.session.acks_missing == 0 and drive.state is FeedState.LIVE


def test_pairs_added_while_live_that_nobody_confirms_are_named_once():
    drive = Drive().live()
    drive._note(drive.session.change(drive.now_ns, ("AAPL", "MSFT", "NVDA")))
    drive.ack("T.NVDA")
    for _ in range(40):
        drive.after(100).data()
    assert [text for text in drive.reports if "not confirmed: Q.NVDA" in text] == [drive.reports[-1]]
    assert drive.session.acks_missing == 1 and drive.state is FeedState.LIVE


def test_a_change_without_a_connection_holds_for_the_next():
    drive = Drive().live().closed()
    drive._note(drive.session.change(drive.now_ns, ("NVDA",)))
    assert drive.sent() == []
    drive.after(60_000).opened().status("connected").status("auth_success")
    assert drive.sent() == [{"action": "subscribe", "params": "T.NVDA,Q.NVDA"}]


class SessionBench(Bench):
    """With a session directory."""

    def context(self) -> ActorContext:
        ctx = super().context()
        ctx.session_dir = self.folder / "session"
        return ctx


def test_a_subscription_is_recorded_and_survives_the_actor_and_a_reconnect(tmp_path: Path) -> None:
    asked: list[dict] = []
    drop = threading.Event()

    def venue(client: socket.socket) -> None:
        admit(client)
        say(client, trade(0), trade(1))
        asked.append(json.loads(receive(client)[1]))
        say(client, status("success", "subscribed to: T.NVDA"))
        assert drop.wait(WAIT_S)

    with serving(venue) as server:
        bench = SessionBench(server.url, tmp_path).start()
        bench.until(lambda: bench.count("events") == 2)
        bench.until_state("live")
        answer = bench.actor.on_control(Subscribe(("NVDA",)))
        sequence = bench.ring.published
        assert answer == {"symbols": ["AAPL", "NVDA"], "sequence": sequence, "line": "main"}
        bench.until(lambda: asked)
        drop.set()
        bench.actor.on_stop()
    assert asked == [{"action": "subscribe", "params": "T.NVDA,Q.NVDA"}]
    (event,) = read_events(tmp_path / "session", "feed")[0]
    assert (event.kind, event.sequence) == ("subscription", sequence)
    assert event.data == {"symbols": ["AAPL", "NVDA"], "line": "main"}

    later = SessionBench(server.url, tmp_path)
    later.actor.on_start(later.context())
    assert later.actor._lines[0].session.symbols == ("AAPL", "NVDA")
    later.actor.on_stop()


def test_a_reconnect_is_recorded_with_the_first_tick_after_it(tmp_path: Path) -> None:
    connections: list[int] = []

    def venue(client: socket.socket) -> None:
        connections.append(len(connections))
        admit(client)
        say(client, trade(2 * connections[-1]), trade(2 * connections[-1] + 1))
        if len(connections) > 1:
            until_left(client)  # else the connection ends here

    with serving(venue) as server:
        bench = SessionBench(server.url, tmp_path).start()
        bench.until(lambda: bench.count("events") == 4, "ticks of both connections")
        bench.until_state("live")
        bench.actor.on_stop()
    (event,) = read_events(tmp_path / "session", "feed")[0]
    came = [i for i in range(bench.ring.published) if bench.ring.record(i)["kind"] != TickKind.HEALTH]
    assert event.kind == "reconnect"
    assert came[1] < event.sequence <= came[2]
    assert event.data["gap_ms"] >= 0


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (Subscribe(("AAPL",)), "subscribed already"),
        (Subscribe(()), "at least one"),
        (Subscribe(("A,B",)), "no symbol"),
        (Subscribe(tuple(f"S{i}" for i in range(100))), "instruments_max"),
        (Unsubscribe(("IBM",)), "not subscribed"),
        (Unsubscribe(("AAPL",)), "must stay"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_recorded(tmp_path: Path, message, words) -> None:
    bench = SessionBench("ws://127.0.0.1:1/x", tmp_path)
    bench.actor.on_start(bench.context())
    with pytest.raises(ControlError, match=words):
        bench.actor.on_control(message)
    assert read_events(tmp_path / "session", "feed") == ([], [])
    bench.actor.on_stop()


def test_what_cannot_be_recorded_is_not_done(tmp_path: Path) -> None:
    bench = SessionBench("ws://127.0.0.1:1/x", tmp_path)
    bench.actor.on_start(bench.context())
    faultpoints.arm("events.append:error")
    try:
        with pytest.raises(ControlError, match="cannot be recorded"):
            bench.actor.on_control(Subscribe(("NVDA",)))
    finally:
        faultpoints.arm("")
    assert bench.actor._lines[0].session.symbols == ("AAPL",)
    bench.actor.on_stop()


def test_a_full_table_counts_only_symbols_that_it_does_not_know():
    from hft_engine.feed.subscriptions import with_added

    table = InstrumentTable.private(2)
    table.id_of("AAPL"), table.id_of("NVDA")
    assert with_added(("AAPL",), ("NVDA",), table) == ("AAPL", "NVDA")
