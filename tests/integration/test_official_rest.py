"""The vendor's own REST clients against the simulated Polygon: bodies arrive equal, refusals raise their own errors."""

import gzip
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import massive
import numpy as np
import polygon
import pytest
from massive.exceptions import BadResponse
from polygon.exceptions import BadResponse as OlderBadResponse
from urllib3.exceptions import MaxRetryError

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.scenario import RestFailure, Scenario
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.records import TickKind
from support.sim_clients import login, send, using
from support.sim_markets import START_NS, recorded, steady_ticks
from support.waiting import wait_for

CONFIG = SimulatorConfig(api_key="KEY", instruments=4, ticks_per_s=2_000.0)
CLIENTS = [massive.RESTClient, polygon.RESTClient]
SECOND_MS, MINUTE_MS = 1_000, 60_000
START_MS = START_NS // 1_000_000
TICKS = 9_000  # 90 s of three symbols


@pytest.fixture(scope="module")
def running() -> Iterator[RunningVenue]:
    """A venue that has published all it has."""
    ticks = steady_ticks(TICKS)
    ticks["size"] = 1 + np.arange(TICKS) % 5
    with RunningVenue(CONFIG, source=recorded(ticks), rest=True) as venue:
        with using(login(venue)) as client:
            send(client, "subscribe", "AM.NONE")
            wait_for(lambda: published(venue) == TICKS, "everything published")
        yield venue


def published(venue: RunningVenue) -> int:
    assert venue.history is not None
    return sum(len(venue.history.of(symbol, TickKind.TRADE)) for symbol in venue.symbols)


def client_of(venue: RunningVenue, kind: Callable[..., Any] = massive.RESTClient, key: str = "KEY") -> Any:
    return kind(key, base=venue.rest_url, retries=1)


def ticks_of(venue: RunningVenue, symbol: str, kind: TickKind = TickKind.TRADE) -> np.ndarray:
    assert venue.history is not None
    return venue.history.of(symbol, kind)


def raw(
    venue: RunningVenue, path: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(venue.rest_url + path, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=40) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(("span", "width_ms"), [("second", SECOND_MS), ("minute", MINUTE_MS)])
def test_aggregates_are_of_the_published_trades(
    running: RunningVenue, kind: Callable[..., Any], span: str, width_ms: int
) -> None:
    bars = list(client_of(running, kind).list_aggs("AAPL", 1, span, START_MS, START_MS + 90_000))
    ticks = ticks_of(running, "AAPL")
    assert len(bars) == 90_000 // width_ms + (width_ms == MINUTE_MS)
    for bar in bars:
        own = ticks[ticks["ts_venue_ns"] // 1_000_000 // width_ms * width_ms == bar.timestamp]
        assert (bar.open, bar.close) == (own["price"][0], own["price"][-1])
        assert (bar.high, bar.low) == (own["price"].max(), own["price"].min())
        assert (bar.volume, bar.transactions) == (own["size"].sum(), len(own))
        assert bar.vwap == round(float((own["price"] * own["size"]).sum() / own["size"].sum()), 4)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_aggregates_come_page_by_page_from_another_host(
    running: RunningVenue, kind: Callable[..., Any], order: str
) -> None:
    before = running.counts.rest_requests
    arguments = ("AAPL", 1, "second", START_MS, START_MS + 90_000)
    paged = list(client_of(running, kind).list_aggs(*arguments, sort=order, limit=40))
    assert running.counts.rest_requests == before + 3
    whole = client_of(running, kind).get_aggs(*arguments, sort=order)
    assert [bar.timestamp for bar in paged] == [bar.timestamp for bar in whole] and len(paged) == 90
    _, _, body = raw(
        running, f"/v2/aggs/ticker/AAPL/range/1/second/{START_MS}/{START_MS + 9_000}?limit=3&apiKey=KEY"
    )
    assert json.loads(body)["next_url"].startswith(
        "https://api.polygon.io/v2/aggs/ticker/AAPL/range/1/second/"
    )
    assert "KEY" not in json.loads(body)["next_url"]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_trades_come_page_by_page_each_once(running: RunningVenue, order: str) -> None:
    before = running.counts.rest_requests
    found = list(client_of(running).list_trades("MSFT", order=order, limit=1_300))
    assert running.counts.rest_requests == before + 3
    ticks = ticks_of(running, "MSFT")[:: 1 if order == "asc" else -1]
    assert [trade.id for trade in found] == [str(i) for i in ticks["trade_id"]]
    assert [trade.sip_timestamp for trade in found] == ticks["ts_venue_ns"].tolist()
    assert [trade.price for trade in found] == ticks["price"].tolist()
    assert [trade.sequence_number for trade in found] == ticks["venue_sequence"].tolist()


def test_trades_of_a_time_only(running: RunningVenue) -> None:
    bounds = {"timestamp_gte": START_NS + 10**9, "timestamp_lt": START_NS + 2 * 10**9}
    found = list(client_of(running).list_trades("MSFT", order="asc", **bounds))
    stamps = ticks_of(running, "MSFT")["ts_venue_ns"]
    assert [t.sip_timestamp for t in found] == stamps[
        (stamps >= START_NS + 10**9) & (stamps < START_NS + 2 * 10**9)
    ].tolist()


def test_a_range_without_bars_has_no_results_key(running: RunningVenue) -> None:
    status, _, body = raw(running, "/v2/aggs/ticker/AAPL/range/1/minute/1000/2000?apiKey=KEY")
    found = json.loads(body)
    assert (status, found["resultsCount"], "results" in found) == (200, 0, False)
    assert list(client_of(running).list_aggs("AAPL", 1, "minute", 1_000, 2_000)) == []


def test_previous_day_open_close_and_daily_bars_agree(running: RunningVenue) -> None:
    client = client_of(running)
    (previous,) = client.get_previous_close_agg("AAPL")
    days = client.get_aggs("AAPL", 1, "day", "2023-10-01", "2023-11-30")
    today = days[-1]
    assert (previous.timestamp, previous.close) == (days[-2].timestamp, days[-2].close)
    assert today.volume == ticks_of(running, "AAPL")["size"].sum()
    found = client.get_daily_open_close_agg("AAPL", "2023-11-14")  # the day of START_NS
    assert (found.open, found.close, found.volume) == (today.open, today.close, today.volume)
    weeks = client.get_aggs("AAPL", 1, "week", "2023-10-01", "2023-11-30")
    assert sum(bar.volume for bar in weeks) == sum(bar.volume for bar in days)


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_day_without_data_is_not_found(running: RunningVenue, kind: Callable[..., Any]) -> None:
    with pytest.raises((BadResponse, OlderBadResponse), match="Data not found"):
        client_of(running, kind).get_daily_open_close_agg("AAPL", "2023-11-12")


def test_snapshots_show_where_symbols_stand_and_leave_out_unknown_ones(running: RunningVenue) -> None:
    found = client_of(running).get_snapshot_all("stocks", tickers=["AAPL", "NOTATICKER", "SPY"])
    assert [one.ticker for one in found] == ["AAPL", "SPY"]
    last = ticks_of(running, "AAPL")[-1]
    assert (found[0].last_trade.price, found[0].last_trade.sip_timestamp) == (
        last["price"],
        last["ts_venue_ns"],
    )
    assert found[0].day.close == found[0].min.close == last["price"]
    one = client_of(running).get_snapshot_ticker("stocks", "SPY")
    assert one.todays_change == pytest.approx(one.day.close - one.prev_day.close)


def test_splits_financials_and_market_status_are_read(running: RunningVenue) -> None:
    client = client_of(running)
    splits = list(client.list_splits(limit=1))
    assert len({split.id for split in splits}) == len(splits) > 1
    reports = list(client.vx.list_stock_financials(ticker="AAPL", timeframe="quarterly", limit=5))
    assert [report.fiscal_period for report in reports[:4]] == ["Q4", "Q3", "Q2", "Q1"] and len(reports) == 12
    assert reports[0].financials.income_statement.revenues.value > 0
    assert client.get_market_status().market in ("open", "closed", "extended-hours")
    assert {holiday.name for holiday in client.get_market_holidays()} == {"New Years Day"}


def test_indicators_are_of_the_aggregates(running: RunningVenue) -> None:
    client = client_of(running)
    closes = [bar.close for bar in client.get_aggs("AAPL", 1, "second", START_MS, START_MS + 90_000)]
    found = client.get_sma(
        "AAPL", timespan="second", window=10, order="asc", limit=5_000, expand_underlying=True
    )
    assert [value.value for value in found.values] == pytest.approx(
        [float(np.mean(closes[i : i + 10])) for i in range(81)]
    )
    assert [bar.close for bar in found.underlying.aggregates] == closes
    lines = client.get_macd("AAPL", timespan="second", limit=5_000).values
    assert all(line.histogram == pytest.approx(line.value - line.signal) for line in lines)
    assert {v.value for v in client.get_rsi("AAPL", timespan="second").values} == {100.0}  # it only rises
    assert client.get_ema("AAPL", timespan="second", window=80).values[0].value > 100


def test_contracts_and_chains_of_the_options_market() -> None:
    config = SimulatorConfig(api_key="KEY", instruments=300, ticks_per_s=5_000.0)
    with RunningVenue(config, "polygon-options", rest=True) as running:
        client = client_of(running)
        contracts = list(client.list_options_contracts("AAPL", limit=60))
        assert {contract.ticker for contract in contracts} == {
            s for s in running.symbols if s.startswith("O:AAPL")
        }
        calls = list(
            client.list_options_contracts(
                "AAPL", contract_type="call", strike_price_gte=contracts[0].strike_price
            )
        )
        assert calls and {contract.contract_type for contract in calls} == {"call"}
        wait_for(lambda: len(ticks_of(running, contracts[0].ticker, TickKind.QUOTE)), "a quote of the first")
        chain = list(client.list_snapshot_options_chain("AAPL", params={"limit": 50}))
        assert [one.details.ticker for one in chain] == [contract.ticker for contract in contracts]
        first = client.get_snapshot_option("AAPL", contracts[0].ticker)
        assert first.details.strike_price == contracts[0].strike_price
        assert first.last_quote.ask >= first.last_quote.bid and -1 <= first.greeks.delta <= 1
        quotes = list(client.list_quotes(contracts[0].ticker, limit=5, order="asc"))
        assert quotes[0].ask_price > quotes[0].bid_price
        bars = list(client.list_aggs(contracts[0].ticker, 1, "day", "2020-01-01", "2099-12-31"))
        assert bars


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("options", "key", "words"),
    [
        (VenueOptions(), "WRONG", "Unknown API Key"),
        (VenueOptions(rest_in_plan=False), "KEY", "You are not entitled to this data"),
        (VenueOptions(today_in_plan=False), "KEY", "Attempted to request today's data before end of day"),
    ],
)
def test_refusals_raise_the_clients_own_error(
    kind: Callable[..., Any], options: VenueOptions, key: str, words: str
) -> None:
    with RunningVenue(CONFIG, scenario=Scenario(venue=options), rest=True) as venue:
        with pytest.raises((BadResponse, OlderBadResponse), match=words):
            client_of(venue, kind, key).get_aggs("AAPL", 1, "minute", "2020-01-01", "2099-01-01")
        assert venue.counts.rest_failures == 1


@pytest.mark.parametrize("kind", CLIENTS)
def test_too_many_requests_end_in_the_clients_retry_error(kind: Callable[..., Any]) -> None:
    plot = Scenario(venue=VenueOptions(rest_calls_per_minute=2))
    with RunningVenue(CONFIG, scenario=plot, rest=True) as venue:
        client = client_of(venue, kind)
        for _ in range(2):
            client.get_market_status()
        with pytest.raises(MaxRetryError, match="429"):
            client.get_market_status()
        assert b"exceeded the maximum requests per minute" in raw(venue, "/v1/marketstatus/now?apiKey=KEY")[2]


def test_a_burst_of_failures_passes_and_its_body_can_be_empty() -> None:
    plot = Scenario(steps=(RestFailure(status=429, body="empty", count=1), RestFailure(status=500, count=1)))
    with RunningVenue(CONFIG, scenario=plot, rest=True) as venue:
        assert raw(venue, "/v1/marketstatus/now?apiKey=KEY")[::2] == (429, b"")
        assert raw(venue, "/v1/marketstatus/now?apiKey=KEY")[0] == 500
        assert raw(venue, "/v1/marketstatus/now?apiKey=KEY")[0] == 200


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/marketstatus/now", 401, "API Key was not provided"),
        ("/v9/nothing?apiKey=KEY", 404, "Data not found."),
        ("/v2/aggs/ticker/AAPL/range/1/eon/1/2?apiKey=KEY", 400, "eon"),
        ("/v2/aggs/ticker/AAPL/range/1/day/1/tomorrow?apiKey=KEY", 400, "tomorrow"),
        ("/v3/trades/AAPL?limit=many&apiKey=KEY", 400, "many"),
        ("/v3/trades/AAPL?cursor=%21%21&apiKey=KEY", 400, "cursor"),
    ],
)
def test_errors_have_the_vendors_words(running: RunningVenue, path: str, status: int, words: str) -> None:
    found, _, body = raw(running, path)
    assert found == status and words in body.decode()
    assert set(json.loads(body)) <= {"status", "request_id", "error", "message"}


def test_long_answers_are_compressed_for_who_wants_it(running: RunningVenue) -> None:
    headers = {"Authorization": "Bearer KEY", "Accept-Encoding": "gzip"}
    _, answered, body = raw(running, "/v3/trades/AAPL?limit=500", headers)
    assert answered["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(body))["results"]) == 500
