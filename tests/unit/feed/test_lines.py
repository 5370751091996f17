"""Several lines of one feed, driven by hand against servers on loopback: spread, mirrored, lost and back again."""

import json
import socket
import threading
from pathlib import Path

import pytest
from raw_venue import RawVenue, receive, serving, until_left, upgrade
from test_feed_actor import KEY, Bench, say, status, trade

from hft_engine.config.schema import LineConfig
from hft_engine.feed.line_table import read_lines
from hft_engine.feed.states import FEED_STATES
from hft_engine.feed.venues.polygon_options import PolygonOptions
from hft_engine.runtime.actor import ActorContext, FatalError
from hft_engine.runtime.messages import ControlError, Subscribe, Unsubscribe
from hft_engine.runtime.session_events import read_events

TCP_ESTABLISHED = 1  # linux/tcp_states.h


class Lines(Bench):
    """With a session directory, and the table of lines."""

    def context(self) -> ActorContext:
        ctx = super().context()
        ctx.session_dir = self.folder / "session"
        return ctx

    def row(self, name: str) -> dict:
        self.actor._rows.write(self.actor._lines, 1 << 62, at_once=True)
        (row,) = [row for row in read_lines(self.stats.table) if row["name"].decode() == name]
        return {key: row[key].item() for key in row.dtype.names} | {"state": FEED_STATES[row["state"]]}


def is_open(client: socket.socket) -> bool:
    """Whether neither side has closed it. Asked of the kernel: a thread may be slow to notice that a peer left."""
    try:
        return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_ESTABLISHED
    except OSError:
        return False


class Venue:
    """A venue that acknowledges everything but channel FMV, and lets the test speak on each connection."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []  # pairs, by connection
        self.clients: list[socket.socket] = []
        self.most_open = 0
        self._lock = threading.Lock()

    def __call__(self, client: socket.socket) -> None:
        upgrade(client)
        with self._lock:
            held: list[str] = []
            self.asked.append(held)
            self.clients.append(client)
            self.most_open = max(self.most_open, self.open())
        say(client, status("connected"))
        opcode, payload = receive(client)
        if opcode == 1:  # else it leaves
            assert json.loads(payload)["params"] == KEY
            say(client, status("auth_success"))
            self._converse(client, held)

    def open(self) -> int:
        """Connections."""
        return sum(map(is_open, self.clients))

    def _converse(self, client: socket.socket, held: list[str]) -> None:
        while True:
            opcode, payload = receive(client)
            if opcode == 8:
                return
            if opcode != 1:
                continue
            order = json.loads(payload)
            pairs = [pair for pair in order["params"].split(",") if pair]
            if order["action"] == "subscribe":
                held += pairs
                say(
                    client,
                    *(status("success", f"subscribed to: {p}") for p in pairs if not p.startswith("FMV")),
                )
            else:
                for pair in pairs:
                    held.remove(pair)

    def holder_of(self, pair: str) -> socket.socket:
        return next(c for c, held in zip(self.clients, self.asked, strict=True) if pair in held)


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PolygonOptions, "pairs_max", 3)


def contract(number: int) -> str:
    return f"O:SPY241220C{1_000 + number:08d}"


def options(server: RawVenue, folder: Path, count: int, **changes: object) -> Lines:
    symbols = tuple(contract(i) for i in range(count))
    return Lines(
        server.url, folder, venue="polygon-options", symbols=symbols, channels=("T",), **changes
    ).start()


@pytest.mark.parametrize("compiled", [True, False])
def test_symbols_are_spread_over_connections_and_all_their_ticks_come(
    tmp_path: Path, small_limit: None, compiled: bool
) -> None:
    venue = Venue()
    with serving(venue) as server:
        bench = options(server, tmp_path, 8, compiled=compiled)
        bench.until_state("live")
        assert sorted(len(held) for held in venue.asked) == [2, 3, 3]
        for i in range(8):
            say(venue.holder_of(f"T.{contract(i)}"), trade(i) | {"sym": contract(i)})
        bench.until(lambda: bench.count("events") == 8)
        assert sorted(bench.ticks()["price"]) == [100.0 + i for i in range(8)]
        assert [bench.row(name)["wanted"] for name in ("main", "main.2", "main.3")] == [3, 3, 2]
        assert sum(bench.row(name)["events"] for name in ("main", "main.2", "main.3")) == 8
        bench.actor.on_stop()
    assert venue.most_open == 3


def test_changes_while_it_runs_go_where_there_is_room_and_hold_after_a_reconnect(
    tmp_path: Path, small_limit: None
) -> None:
    venue = Venue()
    with serving(venue) as server:
        bench = options(server, tmp_path, 5)
        bench.until_state("live")
        bench.actor.on_control(Subscribe((contract(101),)))
        bench.actor.on_control(Subscribe((contract(102),)))
        bench.until(lambda: sum(len(held) for held in venue.asked) == 7, "both are asked for")
        bench.until_state("live")
        assert [len(held) for held in sorted(venue.asked, key=len)] == [1, 3, 3]
        bench.actor.on_control(Unsubscribe((contract(102),)))
        bench.until(
            lambda: len(bench.actor._lines) == 2 and venue.open() == 2, "the third connection is over"
        )
        before = set(venue.clients)
        venue.holder_of(f"T.{contract(101)}").shutdown(socket.SHUT_RDWR)
        bench.until(lambda: bench.count("reconnects") == 1 and bench.state == "live", "it is back")
        (back,) = set(venue.clients) - before
        assert f"T.{contract(101)}" in venue.asked[venue.clients.index(back)]
        bench.actor.on_stop()
    events = read_events(tmp_path / "session", "feed")[0]
    assert [event.data["line"] for event in events] == ["main"] * 3 + [events[-1].data["line"]]
    assert events[-1].kind == "reconnect" and events[-1].data["line"] in ("main", "main.2")


def test_a_pair_that_nobody_confirms_is_named_with_its_line(tmp_path: Path) -> None:
    lines = {"fair": LineConfig(channels=("FMV",), symbols=("AAPL",))}
    with serving(Venue()) as server:
        bench = Lines(server.url, tmp_path, lines=lines, auth_timeout_ms=1_000).start()
        bench.until(
            lambda: any("fair: 1 subscriptions were not confirmed: FMV.AAPL" in e for e in bench.events)
        )
        bench.until(lambda: bench.count("acks_missing") == 1)
        assert bench.row("fair")["acks_missing"] == 1
        assert bench.row("main")["acks_missing"] == 0
        bench.actor.on_stop()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("scanner", [True, False])
def test_of_mirrored_lines_the_first_copy_of_a_tick_goes_on(
    tmp_path: Path, compiled: bool, scanner: bool
) -> None:
    a, b = Venue(), Venue()
    with serving(a) as first, serving(b) as other:
        lines = {"b": LineConfig(url=other.url, mirrors="main")}
        bench = Lines(
            first.url, tmp_path, compiled=compiled, scanner=scanner, lines=lines, sequence="contiguous"
        ).start()
        bench.until(lambda: bench.count("acks") == 4, "both are live")
        for numbers, client in (([0, 1, 2], a.clients[0]), ([0, 2, 3, 5], b.clients[0])):
            wanted = bench.count("frames") + len(numbers)
            for number in numbers:
                text = json.dumps([trade(number)], separators=(",", ":"))
                client.sendall(bytes([0x81, 126, *len(text).to_bytes(2, "big")]) + text.encode())
            bench.until(lambda wanted=wanted: bench.count("frames") == wanted)
        assert [tick["price"] for tick in bench.ticks()] == [100.0, 101.0, 102.0, 103.0, 105.0]
        assert (bench.count("events"), bench.count("second_copies")) == (5, 2)
        say(a.clients[0], trade(5))
        bench.until(lambda: bench.count("second_copies") == 3)
        assert bench.count("lost_by_all") == 1  # number 4, which neither brought
        assert (bench.row("main")["first"], bench.row("b")["first"]) == (3, 2)
        assert bench.row("b")["mirrors"] == b"main" and bench.row("b")["lead_us_mean"] > 0
        bench.actor.on_stop()


def test_a_mirror_that_fails_for_good_is_told_and_the_other_goes_on(tmp_path: Path) -> None:
    def refuses(client: socket.socket) -> None:
        upgrade(client)
        say(client, status("connected"))
        receive(client)
        say(client, status("auth_failed", "no"))
        until_left(client)

    with serving(Venue()) as server, serving(refuses) as other:
        lines = {"b": LineConfig(url=other.url, mirrors="main")}
        bench = Lines(server.url, tmp_path, lines=lines).start()
        bench.until(lambda: bench.row("b")["state"] == "failed" and bench.state == "live")
        assert any("b: " in text and "goes on without this line" in text for text in bench.events)
        bench.actor.on_stop()


def test_a_line_without_a_mirror_that_fails_for_good_ends_the_feed(tmp_path: Path) -> None:
    lines = {"other": LineConfig(channels=("T",), symbols=("NVDA",), api_key="")}
    with serving(Venue()) as server:
        bench = Lines(server.url, tmp_path, lines=lines)
        with pytest.raises(FatalError, match="other: feed"):
            bench.start()
            bench.until(lambda: False)
        for line in bench.actor._lines:
            line.stop()


def test_a_plan_without_real_time_data_is_served_delayed_and_shown_so(tmp_path: Path) -> None:
    text = "You don't have access real-time data. If your plan only includes delayed data, you can connect to the ..."

    def real_time(client: socket.socket) -> None:
        upgrade(client)
        say(client, status("connected"))
        receive(client)
        say(client, status("auth_success"), status("error", text))
        until_left(client)

    delayed = Venue()
    with serving(real_time) as server, serving(delayed) as other:
        bench = Lines(server.url, tmp_path, delayed_url=other.url).start()
        bench.until_state("live")
        assert bench.row("main")["delayed"] == 1
        assert any("DELAYED DATA" in text for text in bench.events)
        assert server.accepted == 1
        bench.actor.on_stop()


def test_a_peer_that_stalls_inside_a_frame_is_left_and_dialled_again(tmp_path: Path) -> None:
    venue = Venue()
    with serving(venue) as server:
        bench = Lines(server.url, tmp_path, quiet_after_ms=300, dead_after_ms=1_000).start()
        bench.until_state("live")
        venue.clients[0].sendall(b"\x81\x7e\x01\x00[{")  # a frame of 256 bytes begins
        bench.until(lambda: bench.count("reconnects") == 1 and bench.state == "live", "it is back")
        assert any("neither data nor pong" in text for text in bench.events)
        bench.actor.on_stop()
    assert venue.most_open == 1


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (Subscribe(("NVDA",), "c"), "no line is called 'c'; there are main, b, options"),
        (Subscribe(("NVDA",), "b"), "b has the symbols of main"),
        (Subscribe(("NVDA",), "options"), "an option symbol looks like"),
    ],
)
def test_a_change_of_a_line_that_cannot_be_is_refused(tmp_path: Path, message: Subscribe, words: str) -> None:
    contracts = LineConfig(venue="polygon-options", symbols=(contract(1),), api_key=KEY)
    lines = {"b": LineConfig(mirrors="main"), "options": contracts}
    bench = Lines("ws://127.0.0.1:1/x", tmp_path, lines=lines).start()
    with pytest.raises(ControlError, match=words):
        bench.actor.on_control(message)
    bench.actor.on_stop()


def test_more_connections_than_there_is_room_for_are_refused(
    tmp_path: Path, small_limit: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hft_engine.feed.actor.LINES_MAX", 5)
    with serving(Venue()) as server:
        bench = options(server, tmp_path, 1)
        with pytest.raises(ControlError, match="7 connections, and a feed has room for 5"):
            bench.actor.on_control(Subscribe(tuple(contract(200 + i) for i in range(20))))
        bench.actor.on_stop()


def test_lines_restore_their_symbols_and_counts_in_the_next_life(tmp_path: Path) -> None:
    lines = {"other": LineConfig(channels=("A",), symbols=("IBM",))}
    venue = Venue()
    with serving(venue) as server:
        bench = Lines(server.url, tmp_path, lines=lines).start()
        bench.until_state("live")
        bench.actor.on_control(Subscribe(("NVDA",), "other"))
        say(venue.holder_of("A.IBM"), {"ev": "status", "status": "success", "message": "hello"})
        bench.until(lambda: bench.row("other")["frames"] >= 3)
        counted = bench.row("other")["frames"]
        bench.actor.on_stop()
        later = Lines(server.url, tmp_path, lines=lines)
        later.stats = bench.stats
        later.actor.on_start(later.context())
        assert [group.symbols for group in later.actor._groups.values()] == [("AAPL",), ("IBM", "NVDA")]
        later.until_state("live")
        assert later.row("other")["frames"] > counted
        later.actor.on_stop()
