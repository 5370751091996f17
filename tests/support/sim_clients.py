"""A plain websocket client of the simulated venues."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import websocket

from hft_engine.feed.simulator.serving import RunningVenue

QUIET_S = 0.2  # how long "nothing came" is waited for


def connect(running: RunningVenue) -> websocket.WebSocket:
    return websocket.create_connection(running.url, timeout=5, skip_utf8_validation=True)


@contextmanager
def using(client: websocket.WebSocket) -> Iterator[websocket.WebSocket]:
    """Frees the socket in any case; the client's own ``close`` does not once the venue has closed."""
    try:
        yield client
    finally:
        client.shutdown()


def send(client: websocket.WebSocket, action: str, params: str) -> None:
    client.send(json.dumps({"action": action, "params": params}))


def receive(client: websocket.WebSocket) -> list[dict]:
    opcode, data = client.recv_data()
    assert opcode == websocket.ABNF.OPCODE_TEXT
    return list(json.loads(data))


def login(running: RunningVenue, key: str = "KEY") -> websocket.WebSocket:
    client = connect(running)
    assert receive(client)[0]["status"] == "connected"
    send(client, "auth", key)
    assert receive(client)[0]["status"] == "auth_success"
    return client


def subscribe(client: websocket.WebSocket, params: str) -> list[str]:
    """The messages of the answer."""
    send(client, "subscribe", params)
    return [event["message"] for event in receive(client)]


def until_quiet(client: websocket.WebSocket, quiet_s: float = QUIET_S) -> list[dict]:
    """All events until none comes."""
    client.settimeout(quiet_s)
    events: list[dict] = []
    try:
        while True:
            events += receive(client)
    except websocket.WebSocketTimeoutException:
        client.settimeout(5)
        return events


def ends_without_close_frame(client: websocket.WebSocket) -> bool:
    try:
        while True:
            opcode, _ = client.recv_data(control_frame=True)
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return False
    except (websocket.WebSocketConnectionClosedException, ConnectionResetError):
        return True


def close_code(client: websocket.WebSocket) -> int:
    while True:
        opcode, data = client.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int(struct.unpack("!H", data[:2])[0])
