"""The transport against servers that misbehave in every way seen, on loopback."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_venue import WAIT_S, RawVenue, receive, serving, until_left, upgrade, wait_for
from websockets.sync.server import ServerConnection, serve

from hft_engine.feed.transport import OUTBOX_BYTES_MAX, Connection, Dialer, TransportError, place
from support.framing import frame

FRAME_BYTES_MAX = 100_000


def dial(url: str, timeout_ms: int = 5_000) -> Dialer:
    return Dialer(url, timeout_ms, FRAME_BYTES_MAX)


def connected(dialer: Dialer) -> Connection:
    opened: list[Connection] = []
    wait_for(lambda: opened.extend(filter(None, [dialer.result()])) or opened, "connection")
    dialer.join(WAIT_S)
    return opened[0]


def failure(dialer: Dialer) -> str:
    with pytest.raises(TransportError) as caught:
        wait_for(dialer.result, "failure")
    dialer.join(WAIT_S)
    return str(caught.value)


def receive_message(connection: Connection) -> bytes:
    got: list[bytes] = []

    def look() -> bool:
        message = connection.next_message()
        if message is None:
            connection.read()
            message = connection.next_message()
        if message is not None:
            got.append(message)
        return bool(got)

    wait_for(look, "message")
    return got[0]


def loss(connection: Connection) -> str:
    with pytest.raises(TransportError) as caught:
        receive_message(connection)
    return str(caught.value)


class Steps:
    """Lets a test say when the server goes on."""

    def __init__(self) -> None:
        self._go = threading.Semaphore(0)

    def wait(self) -> None:
        assert self._go.acquire(timeout=WAIT_S)

    def go(self) -> None:
        self._go.release()


def test_messages_go_both_ways_with_a_real_server() -> None:
    def echo(peer: ServerConnection) -> None:
        for message in peer:
            peer.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        connection = connected(dial(f"ws://127.0.0.1:{server.socket.getsockname()[1]}/stocks"))
        for text in ("hello", "x" * 1_000, "y" * 90_000):
            connection.send(text)
            assert receive_message(connection) == text.encode()
        connection.close()
        server.shutdown()
        thread.join(WAIT_S)


@pytest.mark.parametrize("size", [5, 300, 70_000])
@pytest.mark.parametrize("part", ["header", "length", "payload"])
def test_a_peer_that_stalls_inside_a_frame_blocks_nothing_and_loses_nothing(size: int, part: str) -> None:
    payload = b"p" * size
    wire = frame(payload)
    cut = {"header": 1, "length": len(wire) - size - (size > 125), "payload": len(wire) - 2}[part]
    steps = Steps()

    def stall(client: socket.socket) -> None:
        upgrade(client)
        client.sendall(wire[:cut])
        steps.wait()
        client.sendall(wire[cut:])
        until_left(client)

    with serving(stall) as venue:
        connection = connected(dial(venue.url))
        wait_for(lambda: (connection.read(), connection.bytes_read)[1] == cut)
        for _ in range(100):  # a read that waited would do so until the rest came: the other end waits for us
            assert connection.read() is False
            assert connection.next_message() is None
        steps.go()
        assert receive_message(connection) == payload
        connection.close()


def test_one_read_takes_many_frames_and_all_have_its_stamps() -> None:
    steps = Steps()

    def burst(client: socket.socket) -> None:
        upgrade(client)
        client.sendall(b"".join(frame(b"%d" % i) for i in range(100)))
        steps.go()
        until_left(client)

    with serving(burst) as venue:
        connection = connected(dial(venue.url))
        steps.wait()
        before_ns = time.monotonic_ns()
        assert connection.read()
        assert before_ns <= connection.ts_mono_ns <= time.monotonic_ns()
        assert abs(connection.ts_recv_ns - time.time_ns()) < 5_000_000_000
        assert [connection.next_message() for _ in range(100)] == [b"%d" % i for i in range(100)]
        assert connection.next_message() is None
        connection.close()


def test_pings_are_answered_and_pongs_are_signs_of_life() -> None:
    heard: list[tuple[int, bytes]] = []

    def pinging(client: socket.socket) -> None:
        upgrade(client)
        client.sendall(frame(b"are you there", 9))
        heard.append(receive(client))
        heard.append(receive(client))
        client.sendall(frame(b"", 10) + frame(b"done"))
        until_left(client)

    with serving(pinging) as venue:
        connection = connected(dial(venue.url))
        wait_for(lambda: (connection.read(), connection.next_message(), connection.controls)[2] == 1)
        connection.ping()
        assert receive_message(connection) == b"done"
        assert connection.controls == 2
        assert heard == [(10, b"are you there"), (9, b"")]
        connection.close()


def test_a_drop_without_close_frame_is_noticed() -> None:
    def drop(client: socket.socket) -> None:
        upgrade(client)
        client.sendall(frame(b"last words"))

    with serving(drop) as venue:
        connection = connected(dial(venue.url))
        assert receive_message(connection) == b"last words"
        assert "without a close frame" in loss(connection)
        connection.close()


def test_a_reset_is_noticed() -> None:
    def reset(client: socket.socket) -> None:
        upgrade(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with serving(reset) as venue:
        connection = connected(dial(venue.url))
        assert "broke" in loss(connection)
        connection.close()


def test_close_code_and_reason_are_told() -> None:
    def refuse(client: socket.socket) -> None:
        upgrade(client)
        client.sendall(frame(b"[]") + frame((1008).to_bytes(2, "big") + b"policy", 8))
        until_left(client)

    with serving(refuse) as venue:
        connection = connected(dial(venue.url))
        assert receive_message(connection) == b"[]"
        assert "1008 policy" in loss(connection)
        connection.close()


def test_a_frame_over_the_limit_is_refused_by_its_header() -> None:
    def huge(client: socket.socket) -> None:
        upgrade(client)
        client.sendall(frame(b"x" * (FRAME_BYTES_MAX + 1))[:10])
        until_left(client)

    with serving(huge) as venue:
        connection = connected(dial(venue.url))
        assert "feed.frame_bytes_max" in loss(connection)
        connection.close()


def test_a_peer_that_reads_nothing_costs_bounded_memory_and_no_wait() -> None:
    steps = Steps()

    def deaf(client: socket.socket) -> None:
        upgrade(client)
        steps.wait()

    with serving(deaf) as venue:
        connection = connected(dial(venue.url))
        with pytest.raises(TransportError, match="takes no data"):  # if it waited: for the other to end
            for _ in range(1_000):
                connection.send("x" * (OUTBOX_BYTES_MAX // 10))
        connection.close()
        steps.go()


def test_what_a_full_socket_did_not_take_goes_out_later() -> None:
    steps = Steps()
    got: list[bytes] = []

    def slow(client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        upgrade(client)
        steps.wait()
        got.append(receive(client)[1])
        until_left(client)

    with serving(slow) as venue:
        connection = connected(dial(venue.url))
        connection._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        text = "z" * (OUTBOX_BYTES_MAX - 100)
        connection.send(text)
        assert connection._outbox
        steps.go()
        wait_for(lambda: connection.flush() or got, "delivery")
        assert got == [text.encode()]
        connection.close()


def test_small_messages_are_not_held_back() -> None:
    def still(client: socket.socket) -> None:
        upgrade(client)
        until_left(client)

    with serving(still) as venue:
        connection = connected(dial(venue.url))
        assert connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connection.fileno() > 0
        connection.close()
        connection.close()
        assert connection.fileno() == -1


# ---- connecting


def test_nothing_listening_is_said_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    text = failure(dial(f"ws://127.0.0.1:{port}/stocks"))
    assert f"ws://127.0.0.1:{port}" in text and "refused" in text and "feed.url" in text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404"),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nno!", "HTTP 401"),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\n\r\n", "does not speak websocket"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "does not speak websocket"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "does not speak websocket"),
        (b"\xff\xfe\xfd\r\n\r\n", "does not speak websocket"),
        (b"", "does not speak websocket"),
    ],
    ids=range(7),
)
def test_servers_that_do_not_upgrade_are_named(answer: bytes, said: str) -> None:
    def other(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(answer)

    with serving(other) as venue:
        assert said in failure(dial(venue.url))


def test_a_handshake_that_stalls_times_out_without_blocking_the_caller() -> None:
    steps = Steps()

    def stall(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 101 Swit")
        steps.wait()

    with serving(stall) as venue:
        dialer = dial(venue.url, timeout_ms=1_000)
        assert dialer.result() is None  # not waited for: there would be a result
        assert "in time" in failure(dialer)
        steps.go()


def test_an_abandoned_attempt_ends_at_once() -> None:
    reached = threading.Event()

    def stall(client: socket.socket) -> None:
        client.recv(4096)
        reached.set()
        until_left(client)

    with serving(stall) as venue:
        dialer = dial(venue.url, timeout_ms=60_000)
        assert reached.wait(WAIT_S)
        wait_for(lambda: dialer._client.sock is not None, "socket")
        dialer.abandon()
        dialer.join(WAIT_S)
        assert not dialer._thread.is_alive()
        assert dialer.result() is None


def test_a_connection_that_came_too_late_is_closed() -> None:
    closed = threading.Event()

    def greet(client: socket.socket) -> None:
        upgrade(client)
        until_left(client)
        closed.set()

    with serving(greet) as venue:
        dialer = dial(venue.url)
        dialer.join(WAIT_S)
        dialer.abandon()
        assert closed.wait(WAIT_S)
        assert dialer.result() is None


def test_a_proxy_in_the_environment_does_not_touch_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.com")

    def greet(client: socket.socket) -> None:
        upgrade(client)
        until_left(client)

    with serving(greet) as venue:
        connected(dial(venue.url)).close()


def test_no_error_shows_more_of_the_address_than_its_place() -> None:
    assert place("wss://user:pw@host:1/path?token=KEY#x") == "wss://host:1"

    def refuse(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 401 Unauthorized\r\nX-Key: KEY\r\nContent-Length: 3\r\n\r\nKEY")

    with serving(refuse) as venue:
        assert "KEY" not in failure(dial(venue.url + "?token=KEY"))
    assert "KEY" not in failure(dial(venue.url + "?token=KEY"))


# ---- TLS


@pytest.fixture
def tls_burst(tls_server: ssl.SSLContext) -> Iterator[RawVenue]:
    def burst(client: socket.socket) -> None:
        upgrade(client)
        client.sendall(b"".join(frame(b"%d" % i * 100) for i in range(2_000)))
        until_left(client)

    with serving(burst, tls_server) as venue:
        yield venue


def test_tls_data_inside_the_library_is_never_left_waiting(
    tls_burst: RawVenue, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(certificate / "cert.pem"))
    connection = connected(dial(tls_burst.url))
    for i in range(2_000):
        assert receive_message(connection) == b"%d" % i * 100
    while connection.read():
        pass
    assert connection._socket.pending() == 0  # type: ignore[attr-defined]
    connection.close()


def test_an_untrusted_certificate_is_refused(tls_burst: RawVenue) -> None:
    assert "certificate is not trusted" in failure(dial(tls_burst.url))


def test_plain_speech_to_a_tls_server_is_explained(tls_burst: RawVenue) -> None:
    assert "cannot connect" in failure(dial(tls_burst.url.replace("wss", "ws")))


def test_tls_speech_to_a_plain_server_is_explained() -> None:
    def plain(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(plain) as venue:
        assert "wss:// or ws://" in failure(dial(venue.url.replace("ws", "wss")))
