"""Clients of the simulated venues: a plain one, and how to run an official one until it has what is wanted."""

import asyncio
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import websocket

from hft_engine.feed.simulator.serving import RunningVenue

QUIET_S = 0.2  # how long "nothing came" is waited for


def connect(running: RunningVenue, receive_buffer: int = 0) -> websocket.WebSocket:
    options = ((socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer),) if receive_buffer else ()
    return websocket.create_connection(running.url, timeout=30, sockopt=options, skip_utf8_validation=True)


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


def statuses(client: websocket.WebSocket) -> list[str]:
    return [event["status"] for event in receive(client)]


def messages(client: websocket.WebSocket) -> list[str]:
    return [event["message"] for event in receive(client)]


def login(running: RunningVenue, receive_buffer: int = 0) -> websocket.WebSocket:
    client = connect(running, receive_buffer)
    assert statuses(client) == ["connected"]
    send(client, "auth", "KEY")
    assert statuses(client) == ["auth_success"]
    return client


def subscribe(client: websocket.WebSocket, params: str) -> list[str]:
    """The messages of the answer."""
    send(client, "subscribe", params)
    return messages(client)


def nothing_comes(client: websocket.WebSocket) -> bool:
    return until_quiet(client) == []


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


def received_from(client: Any, count: int) -> list[Any]:
    """The first ``count`` events that the vendor's own client hands to its user."""
    got: list[Any] = []

    async def run() -> None:
        enough = asyncio.Event()

        async def handle(events: list[Any]) -> None:
            got.extend(events)
            if len(got) >= count:
                enough.set()

        task = asyncio.create_task(client.connect(handle))
        waiter = asyncio.create_task(enough.wait())
        done, _ = await asyncio.wait({task, waiter}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        await client.close()
        task.cancel()
        await asyncio.gather(task, waiter, return_exceptions=True)
        assert done, f"only {len(got)} of {count} events came"

    asyncio.run(run())
    return got
