"""Finnhub: every observed frame field by field, its errors, its symbols, its webhook secret."""

import json
from pathlib import Path

import pytest

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.conditions import RULES, flags_of, pack
from hft_engine.feed.venues import venue_of
from hft_engine.feed.venues.base import Meaning
from hft_engine.feed.venues.finnhub import Finnhub, venue_symbol, webhook_is_genuine
from hft_engine.feed.venues.finnhub_decode import CODES, FinnhubDecoder
from hft_engine.records import TickFlag, TickKind
from support.decoding import MONO_NS, RECV_NS, DecoderBench

FRAMES = [
    json.loads(line)["frame"]
    for line in (Path(__file__).parents[3] / "data" / "finnhub" / "observed-frames.jsonl")
    .read_text()
    .splitlines()
]
TRADE = {"c": ["1", "12"], "p": 164.0601, "s": "AAPL", "t": 1680286537580, "v": 5}
CONFIG = FeedConfig(venue="finnhub", api_key="top&secret", channels=("T",), symbols=("AAPL", "FOREX:USD/JPY"))


@pytest.fixture
def bench() -> DecoderBench:
    return DecoderBench(lambda table: FinnhubDecoder(table, 3, 1_000_000))


def _frame(*trades: dict, **more: object) -> bytes:
    return json.dumps({"data": trades, "type": "trade"} | more).encode()


def test_every_observed_frame_decodes_field_by_field(bench: DecoderBench) -> None:
    decoded = 0
    for text in FRAMES:
        trades = json.loads(text).get("data", [])
        rows = bench.rows(text.encode())
        assert len(rows) == len(trades)
        for row, trade in zip(
            rows, trades, strict=True
        ):  # in the venue's order, also where time goes backwards
            codes = tuple(CODES[int(code)] for code in trade["c"] or ())
            assert bench.symbol(row) == trade["s"]
            expected = (
                TickKind.TRADE, trade["p"], trade["v"], trade["t"] * 1_000_000, RECV_NS, MONO_NS, pack(codes),
                flags_of(codes), 3, 0,
            )  # fmt: skip
            names = (
                "kind", "price", "size", "ts_venue_ns", "ts_recv_ns", "ts_mono_ns", "conditions", "flags", "venue_id",
                "venue_sequence",
            )  # fmt: skip
            assert tuple(row[name] for name in names) == expected
        decoded += len(rows)
    assert (len(FRAMES), decoded) == (17, 101)
    assert (bench.refused, bench.decoder.unknown_events, bench.decoder.unknown_conditions) == (0, 0, 0)


def test_conditions_say_what_a_print_may_do(bench: DecoderBench) -> None:
    odd_lot, form_t, none, absent, unknown = bench.rows(
        _frame(
            TRADE, TRADE | {"c": ["1", "24"]}, TRADE | {"c": None}, {k: v for k, v in TRADE.items() if k != "c"},
            TRADE | {"c": ["1", "999", "x"]},
        )
    )  # fmt: skip
    assert odd_lot["flags"] == TickFlag.NO_PRICE_UPDATE
    assert form_t["flags"] == TickFlag.EXTENDED_HOURS
    assert none["flags"] == absent["flags"] == none["conditions"] == absent["conditions"] == 0
    assert unknown["flags"] & TickFlag.CONDITION_UNKNOWN
    assert bench.decoder.unknown_conditions == 1
    assert set(CODES.values()) <= set(RULES)


def test_a_frame_of_several_trades_that_comes_twice_is_a_duplicate(bench: DecoderBench) -> None:
    several = _frame(TRADE, TRADE | {"v": 6})
    assert len(bench.rows(several)) == 2
    assert len(bench.rows(b'{"type":"ping"}')) == 0
    assert len(bench.rows(several)) == 0
    assert bench.decoder.duplicates == 2
    # One order's prints at one price in one millisecond look the same.
    assert [len(bench.rows(_frame(TRADE))) for _ in range(3)] == [1, 1, 1]


def test_a_spoilt_trade_does_not_cost_its_neighbours(bench: DecoderBench) -> None:
    spoilt = [
        {"p": "x"},
        {"p": 0},
        {"p": -1},
        {"v": -1},
        {"v": None},
        {"t": 0},
        {"s": ""},
        {"s": "X" * 41},
        {"t": 2**70},
    ]
    rows = bench.rows(_frame(TRADE, *(TRADE | change for change in spoilt), TRADE | {"v": 0}))
    assert rows["size"].tolist() == [5.0, 0.0]  # a price without volume is news of a price
    assert bench.decoder.rejected == len(spoilt)


def test_what_is_no_trade_makes_no_tick(bench: DecoderBench) -> None:
    for frame in (b'{"type":"ping"}', b'{"type":"news","data":[{"headline":"x","id":1}]}', b'{"type":"odd"}'):
        assert len(bench.rows(frame)) == 0
    assert (bench.decoder.ignored_events, bench.decoder.unknown_events, bench.refused) == (1, 1, 0)


def test_errors_are_told_with_a_remedy(bench: DecoderBench) -> None:
    bench.rows(b'{"msg":"Subscribing to too many symbols","type":"error"}')
    (status,) = bench.decoder.statuses
    verdict = Finnhub().verdict(status)
    assert verdict.meaning is Meaning.LIMIT_REACHED and "feed.symbols" in verdict.advice
    bench.rows(b'{"msg":"Invalid API key.","type":"error"}')
    assert Finnhub().verdict(bench.decoder.statuses[0]).meaning is Meaning.REFUSED
    bench.rows(b'{"msg":"Something new","type":"error"}')
    assert Finnhub().verdict(bench.decoder.statuses[0]).meaning is Meaning.OTHER


def test_the_key_goes_into_the_address_and_each_symbol_into_a_message() -> None:
    venue = venue_of(CONFIG)
    assert venue.url(CONFIG) == "wss://ws.finnhub.io?token=top%26secret"
    pairs = venue.pairs(CONFIG)
    assert [json.loads(text) for text in venue.subscribe_texts(pairs)] == [
        {"type": "subscribe", "symbol": "AAPL"},
        {"type": "subscribe", "symbol": "OANDA:USD_JPY"},
    ]
    assert json.loads(venue.unsubscribe_texts(pairs)[0]) == {"type": "unsubscribe", "symbol": "AAPL"}
    assert venue.problem(CONFIG) is None


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (FeedConfig(venue="finnhub", channels=("T",)), "FINNHUB_API_KEY"),
        (FeedConfig(venue="finnhub", api_key="k", channels=("Q",)), "trades only"),
        (FeedConfig(venue="finnhub", api_key="k", channels=("T",), symbols=("*",)), "each symbol named"),
    ],
)
def test_what_cannot_work_is_named(config: FeedConfig, why: str) -> None:
    assert why in (venue_of(config).problem(config) or "")


@pytest.mark.parametrize(
    ("generic", "theirs"),
    [
        ("STOCK:AAPL", "AAPL"),
        ("FOREX:USD/JPY", "OANDA:USD_JPY"),
        ("BINANCE:BTCUSDT", "BINANCE:BTCUSDT"),
        ("AAPL", "AAPL"),
    ],
)
def test_generic_symbols_become_finnhubs(generic: str, theirs: str) -> None:
    assert venue_symbol(generic) == theirs


def test_a_webhook_is_known_by_its_secret() -> None:
    assert webhook_is_genuine("s3cret", "s3cret")
    assert not webhook_is_genuine("other", "s3cret")
    assert not webhook_is_genuine(None, "s3cret")
    assert not webhook_is_genuine("sécret", "s3cret")
