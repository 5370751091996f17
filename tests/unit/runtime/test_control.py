"""The control plane over real sockets in one process."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hft_engine.runtime.control import Client, ControlError, Hub, Peer
from hft_engine.runtime.messages import Command, Event, Message, Ping, Reply
from support.waiting import wait_for


@pytest.fixture
def run_dir(run_root: Path) -> Iterator[Path]:
    path = run_root / "run"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def received(hub: Hub) -> list[tuple[str, Message]]:
    found: list[tuple[str, Message]] = []
    wait_for(lambda: found.extend(hub.receive()) or found, "a message")
    return found


def test_events_and_replies_carry_the_peers_name(run_dir: Path) -> None:
    hub, peer = Hub(run_dir), Peer(run_dir, "feed")
    try:
        peer.send(Event(1, "feed", "kind", "text"))
        assert received(hub) == [("feed", Event(1, "feed", "kind", "text"))]
        assert hub.send("feed", Command(5, Ping(), "feed"))
        wait_for(lambda: peer.socket.poll(0), "the command")
        assert peer.receive() == Command(5, Ping(), "feed")
    finally:
        peer.close()
        hub.close()


def test_unknown_peer_is_a_refusal_not_silence(run_dir: Path) -> None:
    hub = Hub(run_dir)
    try:
        assert not hub.send("nobody", Reply(1, True))
    finally:
        hub.close()


def test_client_hears_silence_as_an_error(run_dir: Path) -> None:
    hub, client = Hub(run_dir), Client(run_dir)
    try:
        with pytest.raises(ControlError, match="no answer within 50 ms"):
            client.request(Ping(), timeout_ms=50)
    finally:
        client.close()
        hub.close()


def test_garbage_is_dropped(run_dir: Path) -> None:
    hub, peer = Hub(run_dir), Peer(run_dir, "feed")
    try:
        peer.socket.send(b"\xffgarbage")
        peer.send(Event(1, "feed", "kind", "text"))
        assert received(hub) == [("feed", Event(1, "feed", "kind", "text"))]
    finally:
        peer.close()
        hub.close()
