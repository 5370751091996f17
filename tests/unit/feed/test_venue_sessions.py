"""Finnhub and a mapped venue through the whole feed, over a real websocket: what is sent, what becomes of answers."""

import json
import socket
from pathlib import Path

import pytest
from raw_venue import receive, serving, until_left, upgrade
from test_feed_actor import Bench

from hft_engine.records import Side, TickKind
from support.framing import frame

KEY = "secret-key-12345"
FINNHUB = {"venue": "finnhub", "api_key": KEY, "channels": ("T",), "symbols": ("AAPL", "FOREX:USD/JPY")}
KRAKEN = {"venue": "generic", "map": "kraken", "api_key": "", "symbols": ("XBT/USD",)}


def _say(client: socket.socket, message: object) -> None:
    client.sendall(frame(json.dumps(message).encode()))


def _request_line(client: socket.socket) -> str:
    return client.recv(4096, socket.MSG_PEEK).split(b"\r\n", 1)[0].decode()


@pytest.mark.parametrize("compiled", [True, False])
def test_finnhub_gets_the_key_in_the_address_and_each_symbol_apart(tmp_path: Path, compiled: bool) -> None:
    def venue(client: socket.socket) -> None:
        assert _request_line(client).split()[1] == f"/stocks?token={KEY}"
        upgrade(client)
        asked = [json.loads(receive(client)[1]) for _ in range(2)]
        assert asked == [
            {"type": "subscribe", "symbol": "AAPL"},
            {"type": "subscribe", "symbol": "OANDA:USD_JPY"},
        ]
        _say(client, {"type": "ping"})
        for number in range(50):
            trades = [
                {"s": "AAPL", "p": 100 + number, "t": 1_700_000_000_000 + number, "v": 1, "c": ["1", "12"]}
            ]
            _say(client, {"data": trades * 2, "type": "trade"})
        _say(client, {"msg": "Subscribing to too many symbols", "type": "error"})
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path, compiled=compiled, **FINNHUB).start()
        bench.until(lambda: bench.count("events") == 100)
        bench.until(lambda: any("too many symbols" in event for event in bench.events))
        ticks = bench.ticks()
        bench.actor.on_stop()
    assert ticks["price"].tolist() == [100.0 + i // 2 for i in range(100)]
    assert set(ticks["venue_id"].tolist()) == {3}
    assert any("feed.symbols" in event for event in bench.events)
    assert KEY not in " ".join(bench.events)
    assert (bench.count("rejected"), bench.count("frames_rejected")) == (0, 0)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_mapped_venue_is_live_when_its_pairs_are_confirmed(tmp_path: Path, compiled: bool) -> None:
    def venue(client: socket.socket) -> None:
        upgrade(client)
        _say(client, {"connectionID": 17843232920108168701, "event": "systemStatus", "status": "online"})
        for name in ("trade", "spread"):
            asked = json.loads(receive(client)[1])
            assert asked == {"event": "subscribe", "pair": ["XBT/USD"], "subscription": {"name": name}}
            confirmed = {"event": "subscriptionStatus", "pair": "XBT/USD", "status": "subscribed"}
            _say(client, confirmed | {"subscription": {"name": name}})
        _say(client, [0, [["5541.2", "0.5", "1534614057.321597", "s", "l", ""]], "trade", "XBT/USD"])
        _say(client, {"event": "heartbeat"})
        _say(client, [1, ["5698.4", "5700.0", "1542057299.545897", "1.5", "2.5"], "spread", "XBT/USD"])
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path, compiled=compiled, **KRAKEN).start()
        bench.until_state("live")
        bench.until(lambda: bench.count("events") == 2)
        trade, quote = bench.ticks()
        bench.actor.on_stop()
    assert (trade["kind"], trade["price"], trade["side"]) == (TickKind.TRADE, 5541.2, Side.SELL)
    assert (quote["bid"], quote["ask_size"], quote["venue_id"]) == (5698.4, 2.5, 14)
    assert (bench.count("acks"), bench.count("acks_missing")) == (2, 0)


def test_what_a_mapped_venue_does_not_confirm_is_named(tmp_path: Path) -> None:
    def venue(client: socket.socket) -> None:
        upgrade(client)
        refused = {
            "event": "subscriptionStatus",
            "status": "error",
            "errorMessage": "Currency pair not supported",
        }
        for _ in range(2):
            receive(client)
            _say(client, refused)
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path, auth_timeout_ms=1_000, **KRAKEN).start()
        bench.until_state("live")
        bench.actor.on_stop()
    told = " ".join(bench.events)
    assert "Currency pair not supported" in told and "trade.XBT/USD" in told


def test_anything_a_mapped_venue_sends_is_survived_and_kept(tmp_path: Path) -> None:
    def venue(client: socket.socket) -> None:
        upgrade(client)
        for _ in range(2):
            receive(client)
        for noise in (
            b"",
            b"\xff\xfe",
            b"[" * 5_000,
            b"null",
            b'[0,[["x"]],"trade","XBT/USD"]',
            b'{"event":"odd"}',
        ):
            client.sendall(frame(noise))
        _say(client, [0, [["5541.2", "0.5", "1534614057.321597", "s", "l", ""]], "trade", "XBT/USD"])
        until_left(client)

    with serving(venue) as server:
        bench = Bench(server.url, tmp_path, auth_timeout_ms=1_000, **KRAKEN).start()
        bench.until(lambda: bench.count("events") == 1)
        bench.until_state("live")
        bench.actor.on_stop()
    counts = [bench.count(name) for name in ("frames_rejected", "rejected", "unknown_events", "losses")]
    assert counts == [3, 1, 2, 0]
    assert bench.count("quarantined") == 4
