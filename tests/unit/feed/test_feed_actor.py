"""The actor driven by hand against a server on loopback: from the wire to the ring."""

import itertools
import json
import logging
import socket
import ssl
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from raw_venue import WAIT_S, RawVenue, receive, serving, until_left, upgrade, wait_for

from hft_engine.config.schema import Config, FeedConfig, ReconnectConfig
from hft_engine.feed.actor import DIALING_TURN_NS, FRAMES_MAX, FeedActor, warm
from hft_engine.feed.states import FEED_STATES
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE, HealthCause, TickKind
from hft_engine.runtime.actor import ActorContext, FatalError
from hft_engine.runtime.chain import Chain
from hft_engine.runtime.limits import TURN_NS
from hft_engine.shm.counters import Stats
from hft_engine.shm.doorbell import new_bells
from hft_engine.shm.ring import Ring
from support.framing import frame

KEY = "secret-key-12345"
PAIRS = ["T.AAPL", "Q.AAPL"]


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    warm()


class Bench:
    """An actor with private rings and counters, and what it told people."""

    def __init__(
        self, url: str, folder: Path, ring_capacity: int = 1024, compiled: bool = False, **changes: object
    ) -> None:
        settings = {
            "url": url,
            "api_key": KEY,
            "channels": ("T", "Q"),
            "symbols": ("AAPL",),
            "reconnect": ReconnectConfig(initial_ms=20, cap_ms=50, connection_cap_cooldown_ms=1),
        }
        self.config = Config(feed=FeedConfig(**(settings | changes)))
        self.ring = Ring.private("ticks", TICK_DTYPE, ring_capacity, ("test",))
        self.stats = Stats.private()
        self.events: list[str] = []
        self.folder = folder
        self.actor = FeedActor()
        self.compiled = compiled
        self._chain: Chain | None = None
        self.let_through = 0
        self.stats.declare(self.actor.counters, self.actor.histograms)
        self._instruments = InstrumentTable.private(64)

    def context(self) -> ActorContext:
        return ActorContext(
            role="feed",
            config=self.config,
            log=logging.getLogger("test-feed"),
            instruments=self._instruments,
            stats=self.stats,
            rings={"ticks": self.ring},
            feature_schema=None,  # type: ignore[arg-type]
            run_id="run1",
            run_dir=self.folder,
            data_dir=self.folder,
            log_dir=self.folder,
            emit=lambda _kind, text: self.events.append(text),
            let_through=self._let_through,
        )

    def start(self) -> "Bench":
        self.actor.on_start(self.context())
        return self

    def until(self, condition: Callable[[], object], what: str = "condition") -> None:
        wait_for(lambda: (self.cycle(), condition())[1], what)

    def cycle(self) -> None:
        """As a runner drives it: in compiled turns with ``tend`` between, or by ``do_work``."""
        if not self.compiled:
            self.actor.do_work()
            return
        if self._chain is None:
            self._chain = Chain([self.actor.native()], [], new_bells(), 0, "park")
        self._chain.use([self.actor.native()])
        self._chain.turn(1_000_000)
        self.actor.tend()

    def _let_through(self) -> None:
        self.let_through += 1
        if self._chain is not None:
            self._chain.use([self.actor.native()])
            self._chain.let_through()

    def until_state(self, name: str) -> None:
        self.until(lambda: self.state == name, name)

    @property
    def state(self) -> str:
        return FEED_STATES[self.stats.counters()["state"]]

    def count(self, name: str) -> int:
        return self.stats.counters()[name]

    def ticks(self) -> np.ndarray:
        """What came from the venue since the last time."""
        scratch = np.zeros(1024, TICK_DTYPE)
        rows = scratch[: self.ring.poll(0, scratch, 1024)]
        return rows[rows["kind"] != TickKind.HEALTH]


def say(client: socket.socket, *events: dict) -> None:
    client.sendall(frame(json.dumps(events).encode()))


def status(kind: str, message: str = "") -> dict:
    return {"ev": "status", "status": kind, "message": message}


def trade(number: int) -> dict:
    return {
        "ev": "T",
        "sym": "AAPL",
        "p": 100 + number,
        "s": 1,
        "t": 1651684192462,
        "q": number + 1,
        "i": "1",
    }


def admit(client: socket.socket) -> None:
    """The venue's part until the session is live."""
    upgrade(client)
    say(client, status("connected", "Connected Successfully"))
    assert json.loads(receive(client)[1]) == {"action": "auth", "params": KEY}
    say(client, status("auth_success", "authenticated"))
    assert json.loads(receive(client)[1]) == {"action": "subscribe", "params": ",".join(PAIRS)}
    say(client, *(status("success", f"subscribed to: {pair}") for pair in PAIRS))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("tight", [True, False])
def test_ticks_reach_the_ring_in_order_with_stamps_and_latency(
    tmp_path: Path, compiled: bool, tight: bool
) -> None:
    separators = (",", ":") if tight else None

    def venue(client: socket.socket) -> None:
        admit(client)
        for start in range(0, 300, 3):
            events = [trade(i) for i in range(start, start + 3)]
            client.sendall(frame(json.dumps(events, separators=separators).encode()))
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path, compiled=compiled).start()
        bench.until(lambda: bench.count("events") == 300)
        bench.until_state("live")
        ticks = bench.ticks()
        assert ticks["price"].tolist() == [100.0 + i for i in range(300)]
        assert np.all(np.diff(ticks["sequence"]) >= 1)
        assert np.all(np.diff(ticks["ts_mono_ns"]) >= 0) and np.all(ticks["ts_recv_ns"] > 10**18)
        assert bench.stats.histogram("feed")[0] == 100  # one value a frame
        bench.actor.on_stop()
    assert bench.state == "stopped"
    assert (bench.count("events"), bench.count("rejected"), bench.count("acks")) == (300, 0, 2)
    assert bench.count("frames") == 103
    assert bench.count("bytes") > 0


def test_no_tick_waits_for_all_that_python_has_to_do_between_turns(tmp_path: Path) -> None:
    def venue(client: socket.socket) -> None:
        admit(client)
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path, compiled=True).start()
        bench.until_state("live")
        bench.cycle()
        before = bench.let_through
        bench.cycle()
        assert bench.let_through - before >= 3
        bench.actor.on_stop()


@pytest.mark.parametrize("scanner", [True, False])
def test_ticks_and_counts_are_the_same_with_and_without_the_scanner(tmp_path: Path, scanner: bool) -> None:
    def venue(client: socket.socket) -> None:
        admit(client)
        for events in ([trade(0)], [trade(1), trade(2)], [trade(2)], [trade(3)], [trade(4) | {"c": [999]}]):
            client.sendall(frame(json.dumps(events, separators=(",", ":")).encode()))
        say(client, trade(5) | {"p": 0})
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path, scanner=scanner).start()
        bench.until(lambda: bench.count("rejected") == 1)
        bench.actor.on_stop()
    assert bench.ticks()["price"].tolist() == [100.0, 101.0, 102.0, 103.0, 104.0]
    names = ("events", "duplicates", "unknown_conditions", "rejected", "frames")
    assert [bench.count(name) for name in names] == [5, 1, 1, 1, 9]
    assert bench.actor._lines[0].scanner.events == (3 if scanner else 0)


def test_one_duty_cycle_is_bounded(tmp_path: Path) -> None:
    live, sent = threading.Event(), threading.Event()

    def venue(client: socket.socket) -> None:
        admit(client)
        live.wait(WAIT_S)
        client.sendall(b"".join(frame(json.dumps([trade(i)]).encode()) for i in range(500)))
        sent.set()
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path).start()
        bench.until_state("live")
        live.set()
        assert sent.wait(WAIT_S)
        most = 0
        while bench.count("events") < 500:
            most = max(most, bench.actor.do_work())
        assert 0 < most <= FRAMES_MAX
        bench.actor.on_stop()


def test_a_frame_larger_than_half_the_ring_goes_through(tmp_path: Path) -> None:
    def venue(client: socket.socket) -> None:
        admit(client)
        say(client, *(trade(i) for i in range(50)))
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path, ring_capacity=16).start()
        bench.until(lambda: bench.count("events") == 50)
        assert bench.ring.slots[49 & 15]["price"] == 149.0
        bench.actor.on_stop()


def test_what_health_finds_after_the_last_message_is_counted(tmp_path: Path) -> None:
    live = threading.Event()

    def venue(client: socket.socket) -> None:
        admit(client)
        live.wait(WAIT_S)
        say(client, trade(5), trade(3))
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path).start()
        bench.until_state("live")
        live.set()
        bench.until(lambda: bench.count("events") == 2)
        bench.until(lambda: bench.count("reordered") == 1)
        bench.actor.on_stop()


def test_a_key_that_the_venue_repeats_is_in_no_message_and_not_in_quarantine(tmp_path: Path) -> None:
    turn = itertools.count()

    def venue(client: socket.socket) -> None:
        if next(turn):
            return  # the feed is back before the test has ended it
        admit(client)
        client.sendall(frame(f"no JSON with {KEY}".encode()) + frame(b"\xff" + KEY.encode()))
        say(client, trade(1) | {"p": KEY}, trade(2))
        client.sendall(frame((4001).to_bytes(2, "big") + f"key {KEY} is used elsewhere".encode(), 8))
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path).start()
        bench.until(lambda: bench.count("losses") >= 1)
        bench.actor.on_stop()
    kept = (tmp_path / "quarantine" / "run1.jsonl").read_text()
    assert "no JSON with ***" in kept and KEY not in kept
    spoilt = next(line for line in map(json.loads, kept.splitlines()) if "frame_base64" in line)
    assert b64decode(spoilt["frame_base64"]) == b"\xff***"
    assert any("*** is used elsewhere" in text for text in bench.events)
    assert KEY not in "".join(bench.events)


def test_bad_frames_are_quarantined_and_the_good_ones_live(tmp_path: Path) -> None:
    def venue(client: socket.socket) -> None:
        admit(client)
        client.sendall(frame(b"not json") + frame(b"\xff\xfe"))
        say(client, trade(1) | {"p": -1}, trade(2), {"ev": "NEW"})
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path).start()
        bench.until(lambda: bench.count("events") == 1)
        bench.actor.on_stop()
    assert (bench.count("frames_rejected"), bench.count("rejected"), bench.count("unknown_events")) == (
        2,
        1,
        1,
    )
    assert bench.count("quarantined") == 3
    lines = (tmp_path / "quarantine" / "run1.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["frame"] == "not json"


def test_an_encrypted_venues_ticks_reach_the_ring(
    tmp_path: Path, certificate: Path, tls_server: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(certificate / "cert.pem"))

    def venue(client: socket.socket) -> None:
        admit(client)
        for start in range(0, 900, 3):
            events = [trade(i) for i in range(start, start + 3)]
            client.sendall(frame(json.dumps(events, separators=(",", ":")).encode()))
        client.sendall(frame(b"", 9))
        until_left(client)

    with serving(venue, tls_server) as server:
        bench = Bench(server.url, tmp_path, compiled=True).start()
        bench.until(lambda: bench.count("events") == 900)
        assert bench.actor._lines[0].scanner.events > 890  # Python reads, compiled code scans
        bench.until_state("live")
        bench.actor.on_stop()
    assert bench.ticks()["price"].tolist() == [100.0 + i for i in range(900)]


def health_causes(bench: Bench) -> np.ndarray:
    slots = bench.ring.slots
    return slots["health_cause"][slots["kind"] == TickKind.HEALTH]


@pytest.mark.parametrize("encrypted", [True, False])
def test_more_than_the_machine_takes_is_counted_told_and_makes_gaps(
    tmp_path: Path,
    certificate: Path,
    tls_server: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    encrypted: bool,
) -> None:
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(certificate / "cert.pem"))
    calm = threading.Event()

    def venue(client: socket.socket) -> None:
        admit(client)
        flood = b"".join(
            frame(json.dumps([trade(i) for i in range(n, n + 50)], separators=(",", ":")).encode())
            for n in range(0, 50_000, 50)
        )
        client.sendall(flood)
        calm.wait(WAIT_S)
        client.sendall(frame(json.dumps([trade(60_000)], separators=(",", ":")).encode()))
        until_left(client)

    with serving(venue, tls_server if encrypted else None) as server:
        bench = Bench(server.url, tmp_path, ring_capacity=65_536, shed_after_ms=1).start()
        bench.until_state("live")
        wait_for(lambda: server.accepted, "the venue's flood")
        time.sleep(0.2)  # the socket fills while nobody reads
        bench.until(lambda: bench.count("events") + bench.count("shed") == 50_000, "all is taken or counted")
        calm.set()
        bench.until(lambda: bench.count("events") + bench.count("shed") == 50_001, "the next one")
        bench.until(lambda: HealthCause.CONNECTION in health_causes(bench), "a gap")
        bench.actor.on_stop()
    assert bench.count("shed") > 0
    assert bench.count("losses") == 0, "the connection stays"
    assert any("events were left out" in text for text in bench.events)


@pytest.mark.parametrize("compiled", [True, False])
def test_it_reconnects_resubscribes_and_counts_the_gap(tmp_path: Path, compiled: bool) -> None:
    turn = iter(range(10))

    def venue(client: socket.socket) -> None:
        number = next(turn)
        admit(client)
        say(client, trade(number))
        if number == 2:
            until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path, compiled=compiled).start()
        bench.until(lambda: bench.count("events") == 3)
        bench.actor.on_stop()
        assert server.accepted == 3
    assert (bench.count("gaps"), bench.count("reconnects"), bench.count("losses")) == (2, 2, 2)


def test_compiled_turns_are_short_while_a_thread_dials(tmp_path: Path) -> None:
    def venue(client: socket.socket) -> None:
        admit(client)
        say(client, trade(1))
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path, compiled=True).start()
        assert bench.actor.turn_ns == DIALING_TURN_NS, "the first one, too"
        bench.cycle()
        assert bench.actor.turn_ns == DIALING_TURN_NS
        bench.until(lambda: bench.count("events") == 1)
        assert bench.actor.turn_ns == TURN_NS
        bench.actor.on_stop()


def test_a_restarted_actor_counts_on_and_counts_the_gap(tmp_path: Path) -> None:
    def venue(client: socket.socket) -> None:
        admit(client)
        say(client, trade(1))
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path).start()
        bench.until(lambda: bench.count("events") == 1)
        bench.actor._lines[0].hang_up()  # its process died
        bench.actor = FeedActor()
        bench.start()
        bench.until(lambda: bench.count("events") == 2)
        bench.actor.on_stop()
    assert (bench.count("gaps"), bench.count("reconnects")) == (1, 1)


def test_a_wrong_key_is_fatal_with_the_remedy_and_without_the_key(tmp_path: Path) -> None:
    def venue(client: socket.socket) -> None:
        upgrade(client)
        say(client, status("connected"))
        receive(client)
        say(client, status("auth_failed", f"authentication failed for {KEY}"))

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path).start()
        with pytest.raises(FatalError, match="POLYGON_API_KEY") as caught:
            bench.until(lambda: False)
        assert bench.state == "failed"
        assert KEY not in str(caught.value) + "".join(bench.events)
        bench.actor.on_stop()
    assert bench.state == "failed"


def test_a_missing_key_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="api_key is empty"):
        Bench("ws://127.0.0.1:1/stocks", tmp_path, api_key="").start()


def test_the_duty_cycle_goes_on_while_a_handshake_hangs(tmp_path: Path) -> None:
    asked = threading.Event()

    def venue(client: socket.socket) -> None:
        client.recv(4096)
        asked.set()
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path).start()
        bench.until(asked.is_set)
        assert bench.state == "connecting"
        assert bench.actor.wait_fd() is None
        assert [bench.actor.do_work() for _ in range(100)] == [0] * 100
        bench.actor.on_stop()


def test_a_silent_venue_is_pinged_dropped_and_dialled_again(tmp_path: Path) -> None:
    pings: list[int] = []

    def venue(client: socket.socket) -> None:
        admit(client)
        if server.accepted == 1:
            pings.append(receive(client)[0])
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path, quiet_after_ms=300, dead_after_ms=1_000).start()
        bench.until(lambda: bench.count("reconnects") == 1)
        bench.actor.on_stop()
    assert pings == [9]
    assert any("neither data nor pong" in text for text in bench.events)


def test_a_venue_that_is_not_there_is_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/stocks"
    bench = Bench(url, tmp_path).start()
    bench.until(lambda: bench.count("losses") >= 3)
    bench.actor.on_stop()
    assert any("refused" in text and "feed.url" in text for text in bench.events)


def test_it_waits_on_the_socket(tmp_path: Path) -> None:
    def venue(client: socket.socket) -> None:
        admit(client)
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path).start()
        bench.until_state("live")
        fd = bench.actor.wait_fd()
        assert fd is not None and fd > 0
        bench.actor.on_stop()
        assert bench.actor.wait_fd() is None
    assert isinstance(server, RawVenue)
