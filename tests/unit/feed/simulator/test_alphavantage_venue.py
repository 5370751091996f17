"""The Alpha Vantage side, through the client that the vendor recommends: every answer is HTTP 200."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime

import pytest
from alpha_vantage.alphavantage import AlphaVantage
from alpha_vantage.timeseries import TimeSeries

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.command import main
from hft_engine.feed.simulator.eastern import EASTERN, time_of
from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.rest.aggregates import aggregate
from hft_engine.feed.simulator.scenario import RestFailure, Scenario
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.records import TickKind
from support.sim_markets import START_NS, recorded, steady_ticks
from support.waiting import wait_for

CONFIG = SimulatorConfig(api_key="KEY", instruments=3, ticks_per_s=500.0)
TICKS = 24_000  # four minutes


@pytest.fixture(scope="module")
def running() -> Iterator[RunningVenue]:
    with RunningVenue(CONFIG, "alphavantage", source=recorded(steady_ticks(TICKS)), rest=True) as venue:
        ask(venue, function="GLOBAL_QUOTE", symbol="AAPL")
        assert venue.history is not None
        history = venue.history
        wait_for(lambda: history.now_ns == START_NS + (TICKS - 1) * 10**7, "everything published")
        yield venue


def ask(venue: RunningVenue, **query: str) -> tuple[int, dict]:
    """Status and body."""
    text = "&".join(f"{name}={value}" for name, value in {"apikey": "KEY", **query}.items())
    with urllib.request.urlopen(f"{venue.rest_url}/query?{text}", timeout=40) as answer:
        return answer.status, json.loads(answer.read())


def client_of(
    monkeypatch: pytest.MonkeyPatch, venue: RunningVenue, key: str = "KEY", output: str = "json"
) -> TimeSeries:
    monkeypatch.setattr(AlphaVantage, "_ALPHA_VANTAGE_API_URL", f"{venue.rest_url}/query?")
    return TimeSeries(key, output_format=output)


def test_the_quote_is_that_of_the_published_trades(
    running: RunningVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = client_of(monkeypatch, running).get_quote_endpoint("AAPL")
    assert list(found) == [
        "01. symbol", "02. open", "03. high", "04. low", "05. price", "06. volume", "07. latest trading day",
        "08. previous close", "09. change", "10. change percent",
    ]  # fmt: skip
    last = 100.0 + TICKS - 3
    assert (found["02. open"], found["05. price"], found["06. volume"]) == (
        "100.0000",
        f"{last:.4f}",
        str(TICKS // 3),
    )
    assert float(found["09. change"]) == pytest.approx(last - float(found["08. previous close"]), abs=1e-3)
    assert found["10. change percent"].endswith("%")


@pytest.mark.parametrize(("interval", "minutes"), [("1min", 1), ("5min", 5)])
def test_minutes_are_those_of_the_trades_newest_first_in_eastern_time(
    running: RunningVenue, monkeypatch: pytest.MonkeyPatch, interval: str, minutes: int
) -> None:
    series, meta = client_of(monkeypatch, running).get_intraday("MSFT", interval=interval, outputsize="full")
    assert running.history is not None
    bars = aggregate(running.history.of("MSFT", TickKind.TRADE), "minute", minutes)[: 3 // minutes]
    assert list(series) == sorted(series, reverse=True)
    assert meta["4. Interval"] == interval and meta["3. Last Refreshed"] == next(iter(series))
    for bar in bars:
        shown = series[f"{time_of(bar.start_ns):%Y-%m-%d %H:%M:%S}"]
        assert shown == {
            "1. open": f"{bar.open:.4f}", "2. high": f"{bar.high:.4f}", "3. low": f"{bar.low:.4f}",
            "4. close": f"{bar.close:.4f}", "5. volume": str(int(bar.volume)),
        }  # fmt: skip
    newest = datetime.fromisoformat(next(iter(series))).replace(tzinfo=EASTERN).timestamp()
    assert newest + minutes * 60 <= START_NS / 1e9 + 240  # no bar that is not over


def test_compact_is_a_hundred_rows_and_there_is_a_past_from_the_start_on(running: RunningVenue) -> None:
    _, body = ask(running, function="TIME_SERIES_INTRADAY", symbol="AAPL", interval="1min")
    assert len(body["Time Series (1min)"]) == 100
    _, days = ask(running, function="TIME_SERIES_DAILY", symbol="AAPL", outputsize="full")
    assert len(days["Time Series (Daily)"]) > 500
    assert [key[:3] for key in days["Meta Data"]] == ["1. ", "2. ", "3. ", "4. ", "5. "]


def test_csv_has_the_same_rows(running: RunningVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = client_of(monkeypatch, running, output="csv").get_daily("SPY")
    head, first, *_ = list(rows)
    series, _ = client_of(monkeypatch, running).get_daily("SPY")
    assert head == ["timestamp", "open", "high", "low", "close", "volume"]
    assert first == [next(iter(series)), *next(iter(series.values())).values()]


@pytest.mark.parametrize(
    ("query", "key", "words"),
    [
        ({"function": "TIME_SERIES_DAILY", "symbol": "NOSUCH"}, "Error Message", "Invalid API call"),
        ({"function": "DANCE", "symbol": "AAPL"}, "Error Message", "Invalid API call"),
        (
            {"function": "TIME_SERIES_INTRADAY", "symbol": "AAPL", "interval": "2min"},
            "Error Message",
            "Invalid API call",
        ),
        ({"apikey": ""}, "Error Message", "the parameter apikey is invalid or missing"),
        ({"function": "TIME_SERIES_DAILY_ADJUSTED", "symbol": "AAPL"}, "Information", "premium endpoint"),
    ],
)
def test_errors_are_keys_of_a_body_with_status_200(
    running: RunningVenue, query: dict[str, str], key: str, words: str
) -> None:
    status, body = ask(running, **query)
    assert status == 200 and list(body) == [key] and words in body[key]


def test_an_unknown_symbol_has_an_empty_quote(running: RunningVenue) -> None:
    assert ask(running, function="GLOBAL_QUOTE", symbol="NOSUCH") == (200, {"Global Quote": {}})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            VenueOptions(calls_per_day=2),
            "Our standard API rate limit is 2 requests per day",
        ),
        (VenueOptions(calls_per_day=2, limit_prints_key=True), "detected your API key as KEY"),
        (VenueOptions(calls_per_minute=2), "2 calls per minute"),
    ],
)
def test_beyond_the_budget_the_client_raises_the_vendors_words(
    monkeypatch: pytest.MonkeyPatch, options: VenueOptions, words: str
) -> None:
    with RunningVenue(CONFIG, "alphavantage", scenario=Scenario(venue=options), rest=True) as venue:
        client = client_of(monkeypatch, venue)
        with pytest.raises(ValueError, match=words):
            for _ in range(3):
                client.get_quote_endpoint("AAPL")
        assert venue.counts.rest_failures == 1


def test_a_wrong_key_raises_the_vendors_words(running: RunningVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="apikey is invalid or missing"):
        client_of(monkeypatch, running, "WRONG").get_quote_endpoint("AAPL")


def test_a_scenario_can_make_it_fail_as_a_server_does() -> None:
    plot = Scenario(steps=(RestFailure(status=503, count=1),))
    with RunningVenue(CONFIG, "alphavantage", scenario=plot, rest=True) as venue:
        with pytest.raises(urllib.error.HTTPError, match="503") as failed:
            ask(venue, function="GLOBAL_QUOTE", symbol="AAPL")
        failed.value.close()
        assert ask(venue, function="GLOBAL_QUOTE", symbol="AAPL")[0] == 200


def test_without_rest_there_is_nothing_left_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alphavantage", "--no-rest"]) == 1
    assert "REST and nothing else" in capsys.readouterr().err
