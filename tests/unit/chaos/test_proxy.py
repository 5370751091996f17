"""The proxy does to connections what its faults are called."""

import socket
from collections.abc import Iterator

import pytest

from support.proxy import LOOPBACK, Proxy
from support.waiting import wait_for


@pytest.fixture
def ends() -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """A proxy, a client's socket through it, and the venue's end of that."""
    with socket.create_server((LOOPBACK, 0)) as venue, Proxy(venue.getsockname()[1]) as proxy:
        client = socket.create_connection((LOOPBACK, proxy.port))
        server, _ = venue.accept()
        for end in (client, server):
            end.settimeout(5)
        with client, server:
            yield proxy, client, server


def test_bytes_pass_both_ways(ends) -> None:
    _, client, server = ends
    client.sendall(b"hello")
    assert server.recv(10) == b"hello"
    server.sendall(b"world")
    assert client.recv(10) == b"world"


def test_reset_is_a_reset_for_both(ends) -> None:
    proxy, client, server = ends
    proxy.reset()
    for end in (client, server):
        with pytest.raises(ConnectionResetError):
            end.recv(10)


def test_hold_lets_so_many_bytes_pass_and_nobody_is_told(ends) -> None:
    proxy, client, server = ends
    proxy.hold(after=3)
    server.sendall(b"abcdef")
    assert client.recv(10) == b"abc"
    client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.recv(10)
    proxy.heal()
    client.settimeout(5)
    with pytest.raises(ConnectionResetError):
        client.recv(10)


def test_refuse_refuses_until_healed(ends) -> None:
    proxy, client, _ = ends
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, proxy.port))
    proxy.heal()
    socket.create_connection((LOOPBACK, proxy.port)).close()


def test_throttled_bytes_take_their_time(ends) -> None:
    proxy, client, server = ends
    proxy.throttle(1_000_000)
    server.sendall(b"x" * 50_000)
    got = b""
    while len(got) < 50_000:
        got += client.recv(65_536)
    wait_for(
        lambda: proxy.bytes_passed == 50_000, "the last bytes counted, which is done after they are sent"
    )
