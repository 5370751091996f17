"""The language of field maps: what it can say, what is refused when it is read, what is said to the venue."""

import json
import math
from pathlib import Path

import pytest

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.venues import UnknownVenueError, venue_of
from hft_engine.feed.venues.base import Meaning
from hft_engine.feed.venues.fieldmap import MapError, load_map, parse_map, shipped_maps
from hft_engine.feed.venues.generic_decode import GenericDecoder
from hft_engine.records import Side, TickKind
from support.decoding import RECV_NS, DecoderBench

HEAD = """
url: wss://feed.example/ws?token={api_key}
channels: {T: trades}
subscribe: {message: {op: sub, args: "{pairs}"}}
unsubscribe: {message: {op: unsub, args: "{pairs}"}}
kind: [k]
"""
TRADE_RULE = """
frames:
  - make: trade
    kind: trade
    each: events
    fields: {symbol: s, price: p, size: q, time: t, sequence: n, id: n, side: {path: b, buy: true, sell: false}}
"""
EVENT = {"s": "A", "p": "1.5", "q": 2, "t": 1_700_000_000_123, "n": 7, "b": True}


def _bench(text: str) -> DecoderBench:
    return DecoderBench(lambda table: GenericDecoder(parse_map(text, "test"), table, 100_000))


def _frame(*events: dict, **more: object) -> bytes:
    return json.dumps({"k": "trade", "events": events} | more).encode()


def _with_time_unit(unit: str) -> DecoderBench:
    return _bench(HEAD + f"time_unit: {unit}\n" + TRADE_RULE)


# ---- values


@pytest.mark.parametrize(
    ("unit", "sent", "ns"),
    [
        ("s", 1_700_000_000, 1_700_000_000_000_000_000),
        ("s", "1700000000.123456789", 1_700_000_000_123_456_789),
        ("s", 1_700_000_000.123456, 1_700_000_000_123_456_000),  # the float's own digits, no more
        ("ms", 1_700_000_000_123, 1_700_000_000_123_000_000),
        ("ms", "1700000000123.5", 1_700_000_000_123_500_000),
        ("us", "1700000000123456", 1_700_000_000_123_456_000),
        ("ns", 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        ("iso", "2023-11-14T22:13:20.123456789Z", 1_700_000_000_123_456_789),
        ("iso", "2023-11-14T22:13:20Z", 1_700_000_000_000_000_000),
        ("iso", "2023-11-15T03:43:20.5+05:30", 1_700_000_000_500_000_000),
        ("auto", 1_700_000_000, 1_700_000_000_000_000_000),
        ("auto", "1700000000123", 1_700_000_000_123_000_000),
        ("ms", None, RECV_NS),  # none came
    ],
)
def test_times_become_nanoseconds(unit: str, sent: object, ns: int) -> None:
    (row,) = _with_time_unit(unit).rows(_frame(EVENT | {"t": sent}))
    assert row["ts_venue_ns"] == ns


@pytest.mark.parametrize(
    ("unit", "sent"),
    [("s", "x"), ("s", "1.-5"), ("s", True), ("ms", []), ("ms", -1), ("iso", 5), ("iso", "yesterday"), ("auto", 1.5),
     ("ms", 10**30), ("iso", "2023-13-01T00:00:00Z"), ("s", "1e9"), ("ms", 0)],
)  # fmt: skip
def test_a_time_that_is_none_is_refused(unit: str, sent: object) -> None:
    bench = _with_time_unit(unit)
    assert len(bench.rows(_frame(EVENT | {"t": sent}))) == 0
    assert bench.decoder.rejected == 1
    assert "time" in bench.decoder.reasons[0] or "range" in bench.decoder.reasons[0]


def test_numbers_and_sides_are_taken_as_text_or_number() -> None:
    bought, sold, unknown = _bench(HEAD + TRADE_RULE).rows(
        _frame(EVENT, EVENT | {"p": 1.5, "q": "2", "n": "8", "b": False}, EVENT | {"n": 9, "b": 1})
    )
    assert bought["price"] == sold["price"] == 1.5 and bought["size"] == sold["size"] == 2.0
    assert (bought["side"], sold["side"], unknown["side"]) == (Side.BUY, Side.SELL, Side.NONE)
    assert (sold["venue_sequence"], sold["trade_id"]) == (8, 8)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"p": None}, "price cannot be read"), ({"p": "nan"}, "price"), ({"p": "inf"}, "price"), ({"p": True}, "price"),
        ({"p": 0}, "price 0"), ({"p": "-1"}, "price -1"), ({"q": -1}, "size -1"), ({"q": [1]}, "size"),
        ({"s": ""}, "symbol"), ({"s": 5}, "symbol"), ({"s": None}, "symbol"), ({"s": "X" * 41}, "symbol"),
    ],
)  # fmt: skip
def test_a_spoilt_event_names_its_field_and_does_not_cost_its_neighbours(change: dict, why: str) -> None:
    bench = _bench(HEAD + TRADE_RULE)
    assert len(bench.rows(_frame(EVENT | change, EVENT))) == 1
    assert bench.decoder.rejected == 1
    assert why in bench.decoder.reasons[0]


def test_a_missing_field_is_named() -> None:
    bench = _bench(HEAD + TRADE_RULE)
    bench.rows(_frame({key: value for key, value in EVENT.items() if key != "q"}))
    assert bench.decoder.reasons == ["trade: size is missing"]


def test_a_trade_sent_twice_in_a_row_is_a_duplicate() -> None:
    bench = _bench(HEAD + TRADE_RULE)
    assert len(bench.rows(_frame(EVENT, EVENT, EVENT | {"s": "B"}, EVENT | {"n": 8}))) == 3
    assert bench.decoder.duplicates == 1


def test_trades_without_numbers_are_never_duplicates() -> None:
    bench = _bench(HEAD + TRADE_RULE)
    bare = {key: value for key, value in EVENT.items() if key != "n"}
    assert len(bench.rows(_frame(bare, bare))) == 2


# ---- finding events


def test_paths_lead_through_lists_and_to_the_frame() -> None:
    bench = _bench(
        HEAD.replace("kind: [k]", 'kind: [e, "-2"]')
        + 'frames: [{make: quote, kind: book, event: "1", fields: '
        '{symbol: "/-1", bid: b.0.0, bid_size: b.0.1, ask: a.0.0}}]'
    )
    (row,) = bench.rows(b'[3,{"b":[["1.5","2"]],"a":[["1.6","3"]]},"book","XBT/USD"]')
    assert (row["bid"], row["bid_size"], row["ask"], bench.symbol(row)) == (1.5, 2.0, 1.6, "XBT/USD")
    assert math.isnan(row["ask_size"]) and row["ts_venue_ns"] == RECV_NS
    # Text has letters at indices as well: they are no prices.
    assert len(bench.rows(b'[3,{"b":["12"],"a":["34"]},"book","XBT/USD"]')) == 0
    assert bench.decoder.rejected == 1


def test_an_empty_side_of_a_quote_is_nan_and_both_are_no_quote() -> None:
    bench = _bench(HEAD + "frames: [{make: quote, kind: q, fields: {symbol: s, bid: b, ask: a}}]")
    (row,) = bench.rows(b'{"k":"q","s":"A","b":"0","a":5}')
    assert math.isnan(row["bid"]) and row["ask"] == 5.0
    (row,) = bench.rows(b'{"k":"q","s":"A","b":3}')
    assert row["bid"] == 3.0 and math.isnan(row["ask"])
    assert len(bench.rows(b'{"k":"q","s":"A","b":0}')) == 0
    assert bench.decoder.rejected == 1


def test_rules_are_tried_in_order_and_only_fitting_ones_are_used() -> None:
    bench = _bench(
        HEAD + "frames:\n"
        "  - {make: nothing, kind: t, when: {side: [x, y]}}\n"
        "  - {make: fair_value, kind: t, has: p, only: {final: true}, fields: {symbol: s, price: p, time: t}}\n"
        "  - {make: heartbeat, kind: 't*'}\n"
    )
    event = {"k": "t", "s": "A", "p": 1.5, "t": 1_700_000_000, "final": True}
    (row,) = bench.rows(json.dumps(event).encode())
    assert (row["kind"], row["price"]) == (TickKind.FMV, 1.5)
    for change in ({"side": "x"}, {"final": False}, {"final": 1}):
        assert len(bench.rows(json.dumps(event | change).encode())) == 0
    assert bench.decoder.ignored_events == 3
    assert len(bench.rows(b'{"k":"t"}')) == len(bench.rows(b'{"k":"tick"}')) == 0
    assert (bench.decoder.ignored_events, bench.decoder.unknown_events, bench.refused) == (3, 0, 0)
    bench.rows(b'{"k":"other"}')
    assert bench.decoder.unknown_names == {"other"}


@pytest.mark.parametrize(
    ("make", "kind", "span_s"),
    [
        ("second_bar", TickKind.BAR_SECOND, 1),
        ("minute_bar", TickKind.BAR_MINUTE, 60),
        ("day_bar", TickKind.BAR_DAY, 86_400),
    ],
)
def test_bars_end_a_span_after_their_start(make: str, kind: TickKind, span_s: int) -> None:
    bench = _bench(
        HEAD + f"frames: [{{make: {make}, kind: b, fields: "
        "{symbol: s, start: t, open: o, high: h, low: l, close: c, volume: v}}]"
    )
    (row,) = bench.rows(b'{"k":"b","s":"A","t":1700000000,"o":"2","h":"4","l":"1","c":"3","v":"10.5"}')
    assert row["kind"] == kind
    assert [row[n] for n in ("open", "high", "low", "close", "volume")] == [2.0, 4.0, 1.0, 3.0, 10.5]
    assert row["ts_venue_ns"] - row["ts_start_ns"] == span_s * 10**9
    assert math.isnan(row["vwap"])
    assert len(bench.rows(b'{"k":"b","s":"A","t":1700000000,"o":2,"h":1,"l":4,"c":3,"v":1}')) == 0
    assert bench.decoder.rejected == 1


def test_a_symbol_may_be_cut_out_of_a_channels_name() -> None:
    bench = _bench(
        HEAD + "frames: [{make: fair_value, kind: f, fields: "
        "{symbol: {path: c, pattern: '^live_(.+)$'}, price: p}}]"
    )
    (row,) = bench.rows(b'{"k":"f","c":"live_btcusd","p":1}')
    assert bench.symbol(row) == "btcusd"
    bench.rows(b'{"k":"f","c":"dead_btcusd","p":1}')
    assert "does not fit" in bench.decoder.reasons[0]


def test_more_events_than_a_frame_can_hold_are_refused_not_written() -> None:
    text = HEAD + "frames: [{make: quote, kind: '*', each: '', fields: {symbol: '0', bid: '0', ask: '0'}}]"
    bench = DecoderBench(lambda table: GenericDecoder(parse_map(text, "test"), table, 80))
    rows = bench.rows(b"[" + b",".join([b'["1"]'] * 40) + b"]")
    assert len(rows) == 11 and bench.decoder.rejected == 29


# ---- what a map may not say


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "test: "),
        ("[]", "test: Expected `object`"),
        (HEAD, "missing required field `frames`"),
        (HEAD + "frames: [{make: trades, kind: t}]", r"Invalid enum value 'trades'.*frames\[0\]\.make"),
        (HEAD + "frames: [{make: trade, fields: {symbol: s, price: p}}]", r"frames\[0\]\.fields\.size is missing"),
        (HEAD + "frames: [{make: fair_value, fields: {symbol: s, price: p, size: q}}]", r"fields\.size: a fair_value"),
        (HEAD + "frames: [{make: subscribed, kind: s}]", r"frames\[0\]\.pair is missing"),
        (HEAD + "frames: []\nfields: {}", "unknown field `fields`"),
    ],
)  # fmt: skip
def test_a_map_that_cannot_be_used_names_its_place(text: str, why: str) -> None:
    with pytest.raises(MapError, match=why):
        parse_map(text, "test")


def test_a_map_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownVenueError, match=r"feed\.map: .*nowhere\.yaml.*binance, binance-usdm, bitmex"):
        venue_of(FeedConfig(venue="generic", map=str(tmp_path / "nowhere.yaml")))
    with pytest.raises(UnknownVenueError, match=r"feed\.map: name a file"):
        venue_of(FeedConfig(venue="generic"))


def test_a_map_may_be_a_file_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + TRADE_RULE)
    config = FeedConfig(venue="generic", map=str(path), api_key="k&y", channels=("T",), symbols=("A", "B"))
    venue = venue_of(config)
    assert venue.url(config) == "wss://feed.example/ws?token=k%26y"
    assert venue.problem(config) is None
    assert json.loads(venue.subscribe_texts(venue.pairs(config))[0]) == {
        "op": "sub",
        "args": ["trades.A", "trades.B"],
    }


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"channels": ("T", "Q")}, "has no Q; it has T"),
        ({"symbols": ("*",)}, "name each symbol"),
        ({"api_key": ""}, "api_key"),
    ],
)
def test_what_a_map_cannot_do_is_named(tmp_path: Path, changes: dict, why: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + TRADE_RULE)
    config = FeedConfig(
        **{"venue": "generic", "map": str(path), "api_key": "k", "channels": ("T",)} | changes
    )
    assert why in (venue_of(config).problem(config) or "")


# ---- what is said to the venues whose maps are shipped

BOTH = ("T", "Q")


@pytest.mark.parametrize(
    ("name", "symbols", "messages"),
    [
        ("binance", ("BTCUSDT", "ETHBTC"), [
            {"method": "SUBSCRIBE", "id": 1, "params": [
                "btcusdt@trade", "ethbtc@trade", "btcusdt@bookTicker", "ethbtc@bookTicker"]}]),
        ("coinbase", ("BTC-USD", "ETH-USD"), [
            {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channels": ["matches"]},
            {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channels": ["ticker"]}]),
        ("kraken", ("XBT/USD",), [
            {"event": "subscribe", "pair": ["XBT/USD"], "subscription": {"name": "trade"}},
            {"event": "subscribe", "pair": ["XBT/USD"], "subscription": {"name": "spread"}}]),
        ("okx", ("BTC-USDT",), [
            {"op": "subscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}]},
            {"op": "subscribe", "args": [{"channel": "tickers", "instId": "BTC-USDT"}]}]),
        ("bitmex", ("XBTUSD",), [{"op": "subscribe", "args": ["trade:XBTUSD", "quote:XBTUSD"]}]),
    ],
)  # fmt: skip
def test_subscriptions_are_said_in_each_venues_words(
    name: str, symbols: tuple[str, ...], messages: list[dict]
) -> None:
    config = FeedConfig(venue="generic", map=name, channels=BOTH, symbols=symbols)
    venue = venue_of(config)
    assert [json.loads(text) for text in venue.subscribe_texts(venue.pairs(config))] == messages
    gone = [json.loads(text) for text in venue.unsubscribe_texts(venue.pairs(config))]
    assert len(gone) == len(messages) and gone != messages
    assert venue.subscribe_texts([]) == []


@pytest.mark.parametrize(
    "name", ["coinbase", "kraken", "kraken-v2", "kraken-futures", "okx", "bitmex", "bitstamp"]
)
def test_a_confirmation_names_the_pair_that_was_asked_for(name: str) -> None:
    """The recorded and documented confirmations, and the pairs that this venue would be asked for."""
    frames = {
        "coinbase": b'{"type":"subscriptions","channels":[{"name":"matches","product_ids":["A","B"]}]}',
        "kraken": b'{"channelID":1,"channelName":"trade","event":"subscriptionStatus","pair":"A","status":"subscribed",'
        b'"subscription":{"name":"trade"}}',
        "kraken-v2": b'{"method":"subscribe","result":{"channel":"trade","symbol":"A"},"success":true}',
        "kraken-futures": b'{"event":"subscribed","feed":"trade","product_ids":["A"]}',
        "okx": b'{"event":"subscribe","arg":{"channel":"trades","instId":"A"}}',
        "bitmex": b'{"success":true,"subscribe":"trade:A","request":{"op":"subscribe","args":["trade:A"]}}',
        "bitstamp": b'{"event":"bts:subscription_succeeded","channel":"live_trades_A","data":{}}',
    }
    config = FeedConfig(venue="generic", map=name, channels=("T",), symbols=("A", "B"))
    venue, bench = (
        venue_of(config),
        DecoderBench(lambda table: GenericDecoder(load_map(name), table, 100_000)),
    )
    bench.rows(frames[name])
    verdicts = [venue.verdict(status) for status in bench.decoder.statuses]
    assert {verdict.meaning for verdict in verdicts} == {Meaning.SUBSCRIBED}
    assert [verdict.subject for verdict in verdicts] == list(venue.pairs(config)[: len(verdicts)])


def test_every_shipped_map_is_tested_here() -> None:
    assert set(shipped_maps()) == {
        "binance", "binance-usdm", "bitmex", "bitstamp", "coinbase", "kraken", "kraken-futures", "kraken-v2", "okx",
    }  # fmt: skip
