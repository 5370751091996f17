"""Alpha Vantage: recorded answers field by field, every error body, its calendar and clock."""

import json
import math
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.venues import venue_of
from hft_engine.feed.venues.alphavantage import AlphaVantage
from hft_engine.feed.venues.alphavantage_decode import AlphaVantageDecoder
from hft_engine.feed.venues.alphavantage_errors import trouble_of
from hft_engine.feed.venues.base import Meaning
from hft_engine.records import TickKind
from support.decoding import MONO_NS, RECV_NS, DecoderBench

DATA = Path(__file__).parents[3] / "data" / "alphavantage"
QUOTE, INTRADAY, DAILY = "GLOBAL_QUOTE", "TIME_SERIES_INTRADAY", "TIME_SERIES_DAILY"
MINUTE_NS = 60 * 10**9
ERRORS = json.loads((DATA / "observed-error-bodies.json").read_text())
CONFIG = FeedConfig(
    venue="alphavantage", api_key="top&secret", channels=("T", "AM", "D"), symbols=("MSFT", "IBM")
)
VENUE = AlphaVantage()


def _bench(stamp: str = "start") -> DecoderBench:
    return DecoderBench(lambda table: AlphaVantageDecoder(table, 4, 1_000_000, stamp))


def _message(pair: str, body: object) -> bytes:
    return VENUE.message(pair, body if isinstance(body, bytes) else json.dumps(body).encode())


def _read(name: str) -> dict:
    return json.loads((DATA / name).read_text())


def _eastern_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) * 10**9


def _quote(price: str = "112.13", volume: str = "1000", day: str = "2018-10-05") -> dict:
    return {"Global Quote": {"05. price": price, "06. volume": volume, "07. latest trading day": day}}


# ---- quotes


def test_a_recorded_quote_becomes_a_trade_field_by_field() -> None:
    bench = _bench()
    (row,) = bench.rows(_message(f"{QUOTE}.MSFT", _read("global_quote.json")))
    assert bench.symbol(row) == "MSFT"
    assert (row["kind"], row["price"], row["size"], row["venue_id"]) == (TickKind.TRADE, 112.13, 0.0, 4)
    assert row["ts_venue_ns"] == _eastern_ns(
        "2018-10-05 16:00:00"
    )  # long over: not later than its day's close
    assert (row["ts_recv_ns"], row["ts_mono_ns"]) == (RECV_NS, MONO_NS)


def test_in_the_session_a_quote_has_the_time_of_its_answer() -> None:
    now_ns = _eastern_ns("2018-10-05 11:22:33")
    (row,) = _bench().rows(_message(f"{QUOTE}.MSFT", _quote()), now_ns)
    assert row["ts_venue_ns"] == now_ns


def test_a_trades_size_is_what_the_days_volume_grew_by() -> None:
    bench = _bench()
    answers = [_quote(), _quote(volume="1500"), _quote("113", "1500"), _quote("113", "20", "2018-10-08")]
    sizes = [bench.rows(_message(f"{QUOTE}.MSFT", answer))["size"].tolist() for answer in answers]
    assert sizes == [[0.0], [500.0], [0.0], [20.0]]


def test_the_same_quote_is_not_published_twice() -> None:
    bench = _bench()
    counts = [len(bench.rows(_message(f"{QUOTE}.{symbol}", _quote()))) for symbol in ("A", "A", "B", "A")]
    assert (counts, bench.decoder.duplicates) == ([1, 0, 1, 0], 2)


@pytest.mark.parametrize(
    "change", [{"price": "0"}, {"price": "x"}, {"volume": "-1"}, {"day": "soon"}, {"price": "nan"}]
)
def test_a_spoilt_quote_is_refused_and_named(change: dict[str, str]) -> None:
    bench = _bench()
    assert len(bench.rows(_message(f"{QUOTE}.MSFT", _quote(**change)))) == 0
    assert bench.decoder.rejected == 1 and "MSFT" in bench.decoder.reasons[0]
    bench.rows(_message(f"{QUOTE}.MSFT", {"Global Quote": {"05. price": "1"}}))
    assert "'06. volume' is missing" in bench.decoder.reasons[0]


# ---- series


def test_a_recorded_series_becomes_minute_bars_field_by_field() -> None:
    body, bench = _read("mock_time_series.json"), _bench()
    rows = bench.rows(_message(f"{INTRADAY}.MSFT", body))
    series = body["Time Series (1min)"]
    assert len(rows) == len(series) == 100
    for row, (stamp, values) in zip(rows, reversed(series.items()), strict=True):  # oldest first
        assert row["kind"] == TickKind.BAR_MINUTE
        assert row["ts_start_ns"] == _eastern_ns(stamp) == row["ts_venue_ns"] - MINUTE_NS
        found = [row[name] for name in ("open", "high", "low", "close", "volume")]
        assert found == [float(text) for text in values.values()]
        assert all(math.isnan(row[name]) for name in ("vwap", "day_volume", "day_vwap", "day_open"))
    assert bench.refused == 0


def test_a_bars_time_may_name_its_end_as_it_did_until_2020() -> None:
    rows = _bench("end").rows(_message(f"{INTRADAY}.MSFT", _read("mock_time_series.json")))
    assert rows["ts_venue_ns"][-1] == _eastern_ns("2017-12-18 14:56:00")


def test_only_new_bars_whose_window_is_over_are_published() -> None:
    prices = {"1. open": "1", "2. high": "2", "3. low": "1", "4. close": "2"}
    series = {f"2024-07-01 10:0{i}:00": prices | {"5. volume": str(i)} for i in range(6)}
    bench, sizes = _bench(), []
    for clock in ("10:02:30", "10:02:40", "10:04:00", "10:30:00"):
        body = {"Meta Data": {}, "Time Series (1min)": dict(reversed(series.items()))}
        rows = bench.rows(_message(f"{INTRADAY}.A", body), _eastern_ns(f"2024-07-01 {clock}"))
        sizes.append(rows["volume"].tolist())
    assert sizes == [[0.0, 1.0], [], [2.0, 3.0], [4.0, 5.0]]
    assert bench.decoder.duplicates == 1


@pytest.mark.parametrize(
    ("day", "utc"),
    [("2024-03-08", "21:00"), ("2024-03-11", "20:00"), ("2024-11-01", "20:00"), ("2024-11-04", "21:00")],
)
def test_day_bars_end_at_the_eastern_close_summer_and_winter(day: str, utc: str) -> None:
    values = {"1. open": "1", "2. high": "2", "3. low": "1", "4. close": "2", "5. volume": "9"}
    (row,) = _bench().rows(_message(f"{DAILY}.A", {"Time Series (Daily)": {day: values}}))
    assert row["kind"] == TickKind.BAR_DAY
    assert row["ts_venue_ns"] == int(datetime.fromisoformat(f"{day}T{utc}+00:00").timestamp()) * 10**9
    assert row["ts_venue_ns"] - row["ts_start_ns"] == 390 * MINUTE_NS


def test_a_spoilt_bar_does_not_cost_its_neighbours() -> None:
    sound = {"1. open": "1", "2. high": "2", "3. low": "1", "4. close": "2", "5. volume": "9"}
    series = {
        "2024-07-01 10:01:00": sound, "2024-07-01 10:02:00": sound | {"2. high": "0.5"}, "not a time": sound,
        "2024-07-01 10:03:00": sound | {"5. volume": 9}, "2024-07-01 10:04:00": [], "2024-07-01 10:05:00": sound,
        "0001-01-01": sound, "9999-12-31 23:59:59": sound,
    }  # fmt: skip
    bench = _bench()
    assert len(bench.rows(_message(f"{INTRADAY}.A", {"Time Series (1min)": series}))) == 2
    assert bench.decoder.rejected == 5


# ---- errors

MEANT = {
    "daily_limit_2024on": ("daily limit", Meaning.OTHER, 3_600, False),
    "daily_limit_key_echo": ("daily limit", Meaning.OTHER, 3_600, False),
    "burst_limit_1rps": ("limit per second", Meaning.OTHER, 2, False),
    "legacy_minute_limit": ("limit per minute", Meaning.OTHER, 60, False),
    "bad_symbol_or_call": ("bad call", Meaning.OTHER, 0, True),
    "missing_key": ("key refused", Meaning.REFUSED, 3_600, False),
    "unknown_symbol_quote": ("unknown symbol", Meaning.OTHER, 0, True),
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error["kind"])
def test_every_observed_error_body_is_recognised(error: dict) -> None:
    kind, meaning, pause_s, rests = MEANT[error["kind"]]
    bench, pair = _bench(), f"{QUOTE}.MSFT"
    assert len(bench.rows(_message(pair, error["body"]))) == 0
    (status,) = bench.decoder.statuses
    assert status.status == kind
    verdict = VENUE.verdict(status)
    assert verdict.meaning is meaning and verdict.advice
    pause = VENUE.trouble(pair, json.dumps(error["body"]).encode())
    assert pause is not None and (pause.pause_s, pause.pair_rests) == (pause_s, rests)
    assert bench.refused == 0


def test_an_unknown_symbol_is_named() -> None:
    bench = _bench()
    bench.rows(_message(f"{QUOTE}.NOPE", {"Global Quote": {}}))
    assert "NOPE" in bench.decoder.statuses[0].message


def test_a_printed_key_goes_no_further() -> None:
    text = next(error["body"]["Information"] for error in ERRORS if error["kind"] == "daily_limit_key_echo")
    body = {"Information": text.replace("*************", "QWERTYUIOP123456")}
    trouble = trouble_of(body, "MSFT")
    assert trouble is not None and "QWERTY" not in trouble.text and "API key as ***" in trouble.text


def test_a_premium_function_is_no_limit() -> None:
    text = "Thank you! This is a premium endpoint. You may subscribe to any of the premium plans"
    trouble = trouble_of({"Information": text}, "MSFT")
    assert trouble is not None and trouble.kind == "premium endpoint" and "MSFT" in trouble.text


@pytest.mark.parametrize("body", [b"<html>down</html>", b"", b"[]", b"null", b'{"a":', b'"text"'])
def test_an_answer_that_is_no_object_is_counted(body: bytes) -> None:
    bench = _bench()
    assert len(bench.rows(_message(f"{QUOTE}.MSFT", body))) == 0
    assert bench.decoder.frames_rejected == 1
    assert VENUE.trouble(f"{QUOTE}.MSFT", body) is None


# ---- what is asked


def test_each_channel_is_a_function_and_the_key_is_a_parameter_only() -> None:
    pairs = VENUE.pairs(CONFIG)
    assert pairs == tuple(
        f"{function}.{symbol}" for function in (QUOTE, INTRADAY, DAILY) for symbol in ("MSFT", "IBM")
    )
    query = VENUE.query(f"{INTRADAY}.BRK.B", CONFIG)
    assert query.url == VENUE.url(CONFIG) == "https://www.alphavantage.co/query"
    assert query.parameters == {
        "function": INTRADAY, "symbol": "BRK.B", "interval": "1min", "outputsize": "compact", "apikey": "top&secret",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"api_key": ""}, "ALPHAVANTAGE_API_KEY"),
        ({"channels": ("Q",)}, "has no Q"),
        ({"symbols": ("*",)}, "each symbol named"),
    ],
)
def test_what_cannot_work_is_named(changes: dict, why: str) -> None:
    config = FeedConfig(**{"venue": "alphavantage", "api_key": "k", "channels": ("T",)} | changes)
    assert why in (venue_of(config).problem(config) or "")


def test_no_answer_that_is_cut_raises() -> None:
    body = (DATA / "mock_time_series.json").read_bytes()[:3_000]
    bench = _bench()
    for end in range(len(body)):
        assert len(bench.rows(_message(f"{INTRADAY}.A", body[:end]))) == 0
    assert bench.decoder.frames_rejected == len(body)
    assert np.all(bench.decoder.rows["ts_venue_ns"] == 0)
