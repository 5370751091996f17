"""Shipped field maps against recorded sessions: counts, and each value against a plain reading of the JSON."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hft_engine.feed.venues.fieldmap import load_map
from hft_engine.feed.venues.generic_decode import GenericDecoder
from hft_engine.records import Side, TickKind
from support.decoding import MONO_NS, DecoderBench, same
from support.recordings import Frame, cryptofeed_frames, hftbacktest_frames, line_count

DATA = Path(__file__).parents[3] / "data"
NAN = math.nan
Tick = dict[str, Any]


# ---- plain readings, a venue each: what a frame should become


def _trade(
    symbol: str, price: object, size: object, time_ns: int, sequence: int, number: int, side: Side
) -> Tick:
    return {
        "kind": TickKind.TRADE, "symbol": symbol, "price": float(str(price)), "size": float(str(size)),
        "ts_venue_ns": time_ns, "venue_sequence": sequence, "trade_id": number, "side": side,
    }  # fmt: skip


def _quote(
    symbol: str, bid: Iterable[object], ask: Iterable[object], time_ns: int, sequence: int = 0
) -> Tick:
    (b, bs), (a, as_) = (
        [NAN if value is None else float(str(value)) for value in side] for side in (bid, ask)
    )
    return {
        "kind": TickKind.QUOTE, "symbol": symbol, "bid": b, "bid_size": bs, "ask": a, "ask_size": as_,
        "ts_venue_ns": time_ns, "venue_sequence": sequence,
    }  # fmt: skip


def _utc_ns(text: str) -> int:
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    whole = int(datetime.fromisoformat(seconds + "+00:00").timestamp())
    return whole * 10**9 + int(Decimal("0." + (fraction or "0")) * 10**9)


def _binance(frame: Frame) -> Iterator[Tick]:
    outer = json.loads(frame.text)
    name, event = outer.get("stream", ""), outer.get("data", {})
    if name.endswith("@trade"):
        side = Side.SELL if event["m"] else Side.BUY
        yield _trade(event["s"], event["p"], event["q"], event["T"] * 10**6, event["t"], event["t"], side)
    if name.endswith("@bookTicker"):
        time_ns = event["T"] * 10**6 if "T" in event else frame.ts_recv_ns
        yield _quote(event["s"], (event["b"], event["B"]), (event["a"], event["A"]), time_ns, event["u"])


def _coinbase(frame: Frame) -> Iterator[Tick]:
    event = json.loads(frame.text)
    if event["type"] == "match":
        side = {"sell": Side.BUY, "buy": Side.SELL}[event["side"]]  # of the order that waited
        time_ns, number = _utc_ns(event["time"]), event["trade_id"]
        yield _trade(
            event["product_id"], event["price"], event["size"], time_ns, event["sequence"], number, side
        )
    if event["type"] == "ticker":
        sides = (event["best_bid"], None), (event["best_ask"], None)
        yield _quote(event["product_id"], *sides, _utc_ns(event["time"]), event["sequence"])


def _kraken_futures(frame: Frame) -> Iterator[Tick]:
    event = json.loads(frame.text)
    if event.get("event") is None and event["feed"] == "trade":
        side = {"buy": Side.BUY, "sell": Side.SELL}[event["side"]]
        time_ns = event["time"] * 10**6
        yield _trade(event["product_id"], event["price"], event["qty"], time_ns, event["seq"], 0, side)
    if event.get("event") is None and event["feed"] == "ticker_lite":
        yield _quote(event["product_id"], (event["bid"], None), (event["ask"], None), frame.ts_recv_ns)


def _okx(frame: Frame) -> Iterator[Tick]:
    outer = json.loads(frame.text)
    for event in outer.get("data", []):
        if outer["arg"]["channel"] == "trades":
            side = {"buy": Side.BUY, "sell": Side.SELL}[event["side"]]
            number = int(event["tradeId"])
            yield _trade(
                event["instId"], event["px"], event["sz"], int(event["ts"]) * 10**6, number, number, side
            )
        if outer["arg"]["channel"] == "tickers":
            sides = (event["bidPx"], event["bidSz"]), (event["askPx"], event["askSz"])
            yield _quote(event["instId"], *sides, int(event["ts"]) * 10**6)


def _bitmex(frame: Frame) -> Iterator[Tick]:
    outer = json.loads(frame.text)
    for event in outer.get("data", []):
        if outer["table"] == "trade" and outer["action"] == "insert":
            side = {"Buy": Side.BUY, "Sell": Side.SELL}[event["side"]]
            yield _trade(
                event["symbol"], event["price"], event["size"], _utc_ns(event["timestamp"]), 0, 0, side
            )
        if outer["table"] == "quote":
            sides = (event["bidPrice"], event["bidSize"]), (event["askPrice"], event["askSize"])
            yield _quote(event["symbol"], *sides, _utc_ns(event["timestamp"]))


def _bitstamp(frame: Frame) -> Iterator[Tick]:
    outer = json.loads(frame.text)
    event = outer["data"]
    if outer["event"] == "trade":
        symbol, number = outer["channel"].removeprefix("live_trades_"), event["id"]
        side = Side.SELL if event["type"] else Side.BUY
        time_ns = int(event["microtimestamp"]) * 1_000
        yield _trade(symbol, event["price_str"], event["amount_str"], time_ns, number, number, side)


def _nothing(_frame: Frame) -> Iterator[Tick]:
    return iter(())


class Session(NamedTuple):
    """A recording, and what its README or a count of its own says: lines, trades, quotes, confirmations."""

    map: str
    file: str
    read: Callable[[Path], Iterator[Frame]]
    plain: Callable[[Frame], Iterator[Tick]]
    lines: int
    trades: int
    quotes: int
    confirmed: int


BINANCE_RAW, CRYPTOFEED_RAW = "binance-raw-ws/", "cryptofeed-raw-ws/"
HB, CF = hftbacktest_frames, cryptofeed_frames
SHARED = (
    Session("binance", BINANCE_RAW + "spot_btcusdt_20240808.jsonl.gz", HB, _binance, 41_249, 9_757, 28_040, 0),
    Session("binance-usdm", BINANCE_RAW + "usdm_btcusdt_20240808.jsonl.gz", HB, _binance, 93_954, 21_313, 66_089, 0),
    Session("binance", CRYPTOFEED_RAW + "BINANCE.ws.1.0.gz", CF, _binance, 267, 0, 84, 0),
    Session("coinbase", CRYPTOFEED_RAW + "COINBASE.ws.28.0.gz", CF, _coinbase, 9_952, 97, 107, 60),
    Session("kraken", CRYPTOFEED_RAW + "KRAKEN.ws.50.0.gz", CF, _nothing, 4_325, 0, 0, 10),
    Session("kraken-futures", CRYPTOFEED_RAW + "KRAKEN_FUTURES.ws.1.0.gz", CF, _kraken_futures, 7_179, 3, 107, 30),
    Session("okx", CRYPTOFEED_RAW + "OKX.ws.1.0.gz", CF, _okx, 414, 74, 28, 18),
    Session("bitmex", CRYPTOFEED_RAW + "BITMEX.ws.1.0.gz", CF, _bitmex, 2_124, 17, 436, 30),
    Session("bitstamp", CRYPTOFEED_RAW + "BITSTAMP.ws.1.0.gz", CF, _bitstamp, 768, 10, 0, 20),
)  # fmt: skip
OURS = (
    Session("binance", "binance/spot_btcusdt_20240808_cut.jsonl.gz", HB, _binance, 1_500, 272, 1_224, 0),
    Session("binance-usdm", "binance/usdm_btcusdt_20240808_cut.jsonl.gz", HB, _binance, 24_000, 4_002, 19_998, 0),
    Session("binance", "cryptofeed/binance.txt", CF, _binance, 101, 0, 84, 0),
    Session("coinbase", "cryptofeed/coinbase.txt", CF, _coinbase, 172, 66, 77, 60),
    Session("kraken", "cryptofeed/kraken.txt", CF, _nothing, 58, 0, 0, 10),
    Session("kraken-futures", "cryptofeed/kraken_futures.txt", CF, _kraken_futures, 157, 3, 107, 30),
    Session("okx", "cryptofeed/okx.txt", CF, _okx, 136, 74, 28, 18),
    Session("bitmex", "cryptofeed/bitmex.txt", CF, _bitmex, 156, 17, 388, 30),
    Session("bitstamp", "cryptofeed/bitstamp.txt", CF, _bitstamp, 63, 10, 0, 20),
)  # fmt: skip


def _name(session: Session) -> str:
    return Path(session.file).name


def _bench(name: str) -> DecoderBench:
    return DecoderBench(lambda table: GenericDecoder(load_map(name), table, 1_000_000), 1_000)


def _compare(session: Session, path: Path) -> tuple[DecoderBench, Counter[int], int]:
    """Every tick of the recording against the plain reading; (bench, ticks by kind, confirmations)."""
    bench, kinds, confirmed = _bench(session.map), Counter[int](), 0
    for frame in session.read(path):
        rows = bench.rows(frame.text, frame.ts_recv_ns)
        expected = list(session.plain(frame))
        assert len(rows) == len(expected), frame
        for row, tick in zip(rows, expected, strict=True):
            assert bench.symbol(row) == tick.pop("symbol")
            for field, value in tick.items():
                assert same(row[field], value), (field, row[field], value, frame)
            assert (row["ts_recv_ns"], row["ts_mono_ns"]) == (frame.ts_recv_ns, MONO_NS)
            kinds[int(row["kind"])] += 1
        confirmed += sum(status.status == "subscribed" for status in bench.decoder.statuses)
    return bench, kinds, confirmed


def _no_surprise(bench: DecoderBench) -> None:
    assert (bench.refused, bench.decoder.unknown_events, bench.decoder.duplicates) == (0, 0, 0)


@pytest.mark.shared_data
@pytest.mark.parametrize("session", SHARED, ids=_name)
def test_a_whole_recorded_session_becomes_the_ticks_its_json_says(
    session: Session, shared_data: Path
) -> None:
    path = shared_data / session.file
    bench, kinds, confirmed = _compare(session, path)
    found = line_count(path), kinds[TickKind.TRADE], kinds[TickKind.QUOTE], confirmed
    assert found == (session.lines, session.trades, session.quotes, session.confirmed)
    _no_surprise(bench)


@pytest.mark.parametrize("session", OURS, ids=_name)
def test_a_cut_session_becomes_the_ticks_its_json_says(session: Session) -> None:
    path = DATA / session.file
    bench, kinds, confirmed = _compare(session, path)
    found = line_count(path), kinds[TickKind.TRADE], kinds[TickKind.QUOTE], confirmed
    assert found == (session.lines, session.trades, session.quotes, session.confirmed)
    _no_surprise(bench)


# ---- Kraken's documented frames: the recording has its book only

KRAKEN = [
    b'[0,[["5541.20000","0.15850568","1534614057.321597","s","l",""],'
    b'["6060.00000","0.02455000","1534614057.324998","b","l",""]],"trade","XBT/USD"]',
    b'[0,["5698.40000","5700.00000","1542057299.545897","1.01234567","0.98765432"],"spread","XBT/USD"]',
]
KRAKEN_V2 = [
    b'{"channel":"trade","type":"update","data":[{"symbol":"MATIC/USD","side":"sell","price":0.5117,"qty":40.0,'
    b'"ord_type":"market","trade_id":4665906,"timestamp":"2023-09-25T07:49:37.708706Z"}]}',
    b'{"channel":"ticker","type":"snapshot","data":[{"symbol":"ALGO/USD","bid":0.10025,"bid_qty":740.0,'
    b'"ask":0.10036,"ask_qty":1361.44813783,"last":0.10035,"volume":997038.98383185,"vwap":0.10148,"low":0.09979,'
    b'"high":0.10285,"change":-0.00017,"change_pct":-0.17}]}',
    b'{"method":"subscribe","result":{"channel":"ticker","snapshot":true,"symbol":"ALGO/USD"},"success":true,'
    b'"time_in":"2023-09-25T09:04:31.742599Z","time_out":"2023-09-25T09:04:31.742648Z"}',
]


def test_kraken_arrays_become_trades_and_quotes() -> None:
    bench = _bench("kraken")
    first, second = bench.rows(KRAKEN[0])
    assert (first["price"], first["size"], first["side"]) == (5541.2, 0.15850568, Side.SELL)
    assert (first["ts_venue_ns"], second["ts_venue_ns"]) == (
        1_534_614_057_321_597_000,
        1_534_614_057_324_998_000,
    )
    assert (second["side"], bench.symbol(second)) == (Side.BUY, "XBT/USD")
    (quote,) = bench.rows(KRAKEN[1])
    assert [quote[name] for name in ("bid", "ask", "bid_size", "ask_size")] == [
        5698.4,
        5700.0,
        1.01234567,
        0.98765432,
    ]


def test_kraken_version_2_becomes_trades_quotes_and_confirmations() -> None:
    bench = _bench("kraken-v2")
    (trade,) = bench.rows(KRAKEN_V2[0])
    assert (trade["price"], trade["size"], trade["trade_id"], trade["side"]) == (
        0.5117,
        40.0,
        4665906,
        Side.SELL,
    )
    assert trade["ts_venue_ns"] == 1_695_628_177_708_706_000
    (quote,) = bench.rows(KRAKEN_V2[1])
    assert (quote["bid"], quote["ask_size"], bench.symbol(quote)) == (0.10025, 1361.44813783, "ALGO/USD")
    bench.rows(KRAKEN_V2[2])
    assert [(s.status, s.message) for s in bench.decoder.statuses] == [("subscribed", "ticker.ALGO/USD")]


@pytest.mark.parametrize(
    ("name", "frame", "text"),
    [
        ("binance", b'{"error":{"code":2,"msg":"Invalid request"},"id":1}', "Invalid request"),
        ("coinbase", b'{"type":"error","message":"Failed to subscribe","reason":"?"}', "Failed to subscribe"),
        ("kraken", b'{"errorMessage":"Not supported","event":"subscriptionStatus","status":"error"}', "Not supported"),
        ("kraken-v2", b'{"error":"Not supported","method":"subscribe","success":false}', "Not supported"),
        ("okx", b'{"event":"error","code":"60012","msg":"Invalid request","connId":"a4"}', "Invalid request"),
        ("bitmex", b'{"status":400,"error":"Unknown table: x","request":{"op":"subscribe"}}', "Unknown table: x"),
    ],
)  # fmt: skip
def test_a_venues_refusal_is_told_in_its_words(name: str, frame: bytes, text: str) -> None:
    bench = _bench(name)
    assert len(bench.rows(frame)) == 0
    assert [(s.status, s.message) for s in bench.decoder.statuses] == [("error", text)]
    assert bench.refused == 0
