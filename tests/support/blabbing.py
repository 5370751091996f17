"""A venue that repeats the caller's key wherever it can: statuses, bad frames, refused events, the reason to close.

So it does with the token in the address that it was called by.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import quote, unquote

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve


class BlabbingVenue:
    """Polygon's conversation. ``goodbyes``: connections that it has ended with the key as the reason."""

    def __init__(self) -> None:
        self.url = ""
        self.goodbyes = 0

    def converse(self, client: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            self._converse(client)

    def _converse(self, client: ServerConnection) -> None:
        _say(client, {"ev": "status", "status": "connected", "message": "hello"})
        assert client.request is not None
        called = client.request.path.partition("token=")[2]
        key = f"{json.loads(client.recv())['params']} {unquote(called)} {called}"
        _say(client, {"ev": "status", "status": "auth_success", "message": f"authenticated {key}"})
        pairs = json.loads(client.recv())["params"].split(",")
        _say(
            client,
            *({"ev": "status", "status": "success", "message": f"subscribed to: {pair}"} for pair in pairs),
        )
        _say(client, {"ev": "status", "status": "error", "message": f"key {key} is about to expire"})
        trade = {"ev": "T", "sym": "AAPL", "p": 100.0, "s": 1, "t": 1_700_000_000_000, "q": 1, "i": "1"}
        _say(client, trade)
        client.send(f"no JSON, and {key} in it")
        client.send(b"\xff\xfe" + key.encode())
        _say(client, trade | {"p": key}, trade | {"s": -1, "note": key}, {"ev": key})
        _say(client, {"ev": "T", "sym": "AAPL", "url": f"wss://x?token={quote(key, safe='')}", "p": -1})
        client.close(4_001, f"key {key} is used elsewhere"[:120])
        self.goodbyes += 1


def _say(client: ServerConnection, *events: dict) -> None:
    client.send(json.dumps(events, separators=(",", ":")))


@contextmanager
def blabbing() -> Iterator[BlabbingVenue]:
    venue = BlabbingVenue()
    with serve(venue.converse, "127.0.0.1", 0, compression=None) as server:
        venue.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/stocks"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield venue
        finally:
            server.shutdown()
            thread.join()
