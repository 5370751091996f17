"""Polling over a real HTTP connection on loopback: answers come out like a socket's messages."""

import json
import logging
import select
import threading
import time
from pathlib import Path

import pytest
from raw_venue import wait_for
from test_feed_actor import Bench

from hft_engine.config.schema import FeedConfig, PollConfig, ReconnectConfig
from hft_engine.feed.poller import FAILURES_MAX, PolledConnection
from hft_engine.feed.transport import TransportError
from hft_engine.feed.venues.alphavantage import AlphaVantage
from hft_engine.feed.venues.polled import request_text
from support.http_venue import Answer, HttpVenue, http_venue

KEY = "secret-key-12345"
VENUE = AlphaVantage()
FAST = PollConfig(every_ms=1, calls_per_second=1_000, calls_per_minute=100_000, calls_per_day=0)
RETRY = ReconnectConfig(initial_ms=1, cap_ms=2)


def _quote(price: float, volume: int = 1_000) -> Answer:
    quote = {"05. price": str(price), "06. volume": str(volume), "07. latest trading day": "2024-07-01"}
    return Answer(json.dumps({"Global Quote": quote}).encode())


def _config(venue: HttpVenue, **changes: object) -> FeedConfig:
    settings = {
        "venue": "alphavantage", "url": venue.url, "api_key": KEY, "channels": ("T",), "symbols": ("IBM",),
        "poll": FAST, "reconnect": RETRY,
    }  # fmt: skip
    return FeedConfig(**(settings | changes))


class Polled:
    """A connection, and what came out of it so far."""

    def __init__(self, config: FeedConfig, *pairs: str) -> None:
        self.connection = PolledConnection(VENUE, config)
        self.messages: list[dict] = []
        self.connection.send(request_text("subscribe", pairs))

    def take(self) -> None:
        while self.connection.read():
            while (message := self.connection.next_message()) is not None:
                self.messages.append(json.loads(message))

    def until(self, count: int) -> list[dict]:
        wait_for(lambda: (self.take(), len(self.messages) >= count)[1], f"{count} answers")
        return self.messages

    def __enter__(self) -> "Polled":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def test_each_pair_is_asked_for_and_its_answer_names_it() -> None:
    with (
        http_venue(lambda asked: _quote(1.0)) as venue,
        Polled(_config(venue), "GLOBAL_QUOTE.IBM", "TIME_SERIES_DAILY.BRK.B") as polled,
    ):
        messages = polled.until(4)
    assert {(m["function"], m["symbol"]) for m in messages} == {
        ("GLOBAL_QUOTE", "IBM"),
        ("TIME_SERIES_DAILY", "BRK.B"),
    }
    assert messages[0]["body"] == json.loads(_quote(1.0).body)
    assert {asked["apikey"] for asked in venue.asked} == {KEY}
    assert polled.connection.ts_recv_ns > 0 and polled.connection.bytes_read > 0


def test_what_there_is_wakes_who_waits_and_what_is_taken_does_not() -> None:
    with http_venue(lambda asked: _quote(1.0)) as venue:
        slow = PollConfig(every_ms=3_600_000)
        with Polled(_config(venue, poll=slow), "GLOBAL_QUOTE.IBM") as polled:
            assert select.select([polled.connection.fileno()], [], [], 10)[0]
            polled.until(1)
            polled.take()
            assert not select.select([polled.connection.fileno()], [], [], 0)[0]
            before = polled.connection.controls
            polled.connection.ping()  # the thread lives: nobody needs to ask the venue
            assert polled.connection.controls == before
            polled.take()
            assert polled.connection.controls == before + 1


def test_an_answer_longer_than_a_read_arrives_whole() -> None:
    long = json.dumps({"Time Series (Daily)": {"x": "y" * 300_000}}).encode()
    with (
        http_venue(lambda asked: Answer(long)) as venue,
        Polled(_config(venue), "TIME_SERIES_DAILY.IBM") as polled,
    ):
        assert polled.until(1)[0]["body"] == json.loads(long)


def test_a_printed_key_leaves_the_thread_masked() -> None:
    body = json.dumps(
        {"Information": f"We have detected your API key as {KEY} and 25 requests per day"}
    ).encode()
    with (
        http_venue(lambda asked: Answer(body)) as venue,
        Polled(_config(venue), "GLOBAL_QUOTE.IBM") as polled,
    ):
        assert KEY not in json.dumps(polled.until(1)) and "***" in json.dumps(polled.messages)


def test_no_log_of_any_level_holds_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        http_venue(lambda asked: _quote(1.0)) as venue,
        Polled(_config(venue), "GLOBAL_QUOTE.IBM") as polled,
    ):
        polled.until(3)
    assert KEY not in caplog.text


def test_a_limit_stops_all_questions() -> None:
    body = json.dumps({"Information": "our standard API rate limit is 25 requests per day"}).encode()
    with (
        http_venue(lambda asked: Answer(body)) as venue,
        Polled(_config(venue), "GLOBAL_QUOTE.IBM", "GLOBAL_QUOTE.MSFT") as polled,
    ):
        polled.until(1)
        polled.connection.send(request_text("subscribe", ["GLOBAL_QUOTE.AAPL"]))
        assert polled.connection._poller._schedule.next(0)[1] > 3_000_000_000_000
    assert len(venue.asked) == 1


def test_an_unknown_symbol_is_put_off_and_the_others_go_on() -> None:
    def answer(asked: dict[str, str]) -> Answer:
        return Answer(b'{"Global Quote":{}}') if asked["symbol"] == "NOPE" else _quote(1.0)

    with (
        http_venue(answer) as venue,
        Polled(_config(venue), "GLOBAL_QUOTE.NOPE", "GLOBAL_QUOTE.IBM") as polled,
    ):
        polled.until(5)
    assert [asked["symbol"] for asked in venue.asked].count("NOPE") == 1


def test_unsubscribed_pairs_are_asked_for_no_more() -> None:
    with (
        http_venue(lambda asked: _quote(1.0)) as venue,
        Polled(_config(venue), "GLOBAL_QUOTE.IBM", "GLOBAL_QUOTE.MSFT") as polled,
    ):
        polled.until(4)
        polled.connection.send(request_text("unsubscribe", ["GLOBAL_QUOTE.IBM"]))
        known = len(polled.until(len(polled.messages) + 3))
        later = polled.until(known + 4)[known:]
    assert {message["symbol"] for message in later} == {"MSFT"}


@pytest.mark.parametrize(
    ("answer", "why", "timeout_ms"),
    [
        (Answer(b"", 503), "HTTP 503", 10_000),
        (Answer(b"", 429), "HTTP 429", 10_000),
        (Answer(b"", 302, (("Location", "http://127.0.0.1:1/"),)), "HTTP 302", 10_000),
        (Answer(b"x" * 1_000_001), "more than 1000000 bytes", 10_000),
        (Answer(b"cut", 200, (("Content-Length", "10"),)), "no connection|no answer in time", 200),
    ],
)
def test_calls_that_fail_in_a_row_end_the_connection_and_say_why(
    answer: Answer, why: str, timeout_ms: int
) -> None:
    with (
        http_venue(lambda asked: answer) as venue,
        Polled(_config(venue, connect_timeout_ms=timeout_ms), "GLOBAL_QUOTE.IBM") as polled,
    ):
        wait_for(lambda: polled.connection._poller.failure is not None, "failure")
        with pytest.raises(TransportError, match=why) as caught:
            polled.connection.check()
        assert select.select([polled.connection.fileno()], [], [], 10)[0]
        before = polled.connection.controls
        polled.connection.ping()
        polled.take()
        assert polled.connection.controls == before
    assert KEY not in str(caught.value)
    assert len(venue.asked) == FAILURES_MAX


def test_a_server_that_is_not_there_is_named_without_the_key() -> None:
    with http_venue(lambda asked: _quote(1.0)) as venue:
        gone = _config(venue)
    with Polled(gone, "GLOBAL_QUOTE.IBM") as polled:
        wait_for(lambda: polled.connection._poller.failure is not None, "failure")
        with pytest.raises(TransportError, match=r"http://127\.0\.0\.1:\d+ failed.*no connection") as caught:
            polled.connection.check()
    assert KEY not in str(caught.value)


def test_one_failure_is_forgotten_by_the_next_answer() -> None:
    answers = [Answer(b"", 500), _quote(1.0)] * 6

    with (
        http_venue(lambda asked: answers.pop(0) if answers else _quote(1.0)) as venue,
        Polled(_config(venue), "GLOBAL_QUOTE.IBM") as polled,
    ):
        polled.until(6)
        polled.connection.check()


def test_closing_leaves_neither_thread_nor_descriptor() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with http_venue(lambda asked: _quote(1.0)) as venue:
        with Polled(_config(venue), "GLOBAL_QUOTE.IBM") as polled:
            polled.until(1)
        wait_for(
            lambda: "feed-poller" not in {thread.name for thread in threading.enumerate()}, "the thread's end"
        )
    wait_for(lambda: set(Path("/proc/self/fd").iterdir()) <= before, "descriptors closed")


# ---- through the feed


@pytest.mark.parametrize("compiled", [False, True])
def test_quotes_come_out_of_the_feed_as_ticks(tmp_path: Path, compiled: bool) -> None:
    prices = iter(range(10, 1_000))
    with http_venue(lambda asked: _quote(next(prices))) as venue:
        settings = _config(venue)
        changes = {
            name: getattr(settings, name) for name in ("venue", "channels", "symbols", "poll", "reconnect")
        }
        bench = Bench(venue.url, tmp_path, compiled=compiled, **changes).start()
        bench.until_state("live")
        bench.until(lambda: bench.count("events") >= 5, "ticks")
        assert bench.ticks()["price"][:5].tolist() == [10.0, 11.0, 12.0, 13.0, 14.0]
        bench.actor.on_stop()
    assert KEY not in " ".join(bench.events)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_venue_that_is_asked_seldom_is_quiet_but_not_lost(tmp_path: Path, compiled: bool) -> None:
    with http_venue(lambda asked: _quote(1.0)) as venue:
        settings = {"venue": "alphavantage", "channels": ("T",), "symbols": ("IBM",)}
        limits = {"quiet_after_ms": 100, "dead_after_ms": 1_000, "poll": PollConfig(every_ms=3_600_000)}
        bench = Bench(venue.url, tmp_path, compiled=compiled, **settings, **limits).start()
        bench.until_state("quiet")
        end = time.monotonic() + 2.5  # several times what ends a connection that does not answer
        bench.until(lambda: time.monotonic() > end, "time")
        assert (bench.count("losses"), len(venue.asked)) == (0, 1)
        bench.actor.on_stop()


def test_a_key_that_is_refused_ends_the_feed_with_a_remedy(tmp_path: Path) -> None:
    body = json.dumps({"Error Message": "the parameter apikey is invalid or missing."}).encode()
    with http_venue(lambda asked: Answer(body)) as venue:
        settings = _config(venue)
        changes = {
            name: getattr(settings, name) for name in ("venue", "channels", "symbols", "poll", "reconnect")
        }
        bench = Bench(venue.url, tmp_path, **changes).start()
        with pytest.raises(Exception, match="ALPHAVANTAGE_API_KEY"):
            bench.until(lambda: False, "the end")


def test_a_venue_that_comes_back_is_live_again(tmp_path: Path) -> None:
    state = {"down": True, "price": 1.0}

    def answer(asked: dict[str, str]) -> Answer:
        state["price"] += 1.0
        return Answer(b"", 503) if state["down"] else _quote(state["price"])

    with http_venue(answer) as venue:
        settings = _config(venue)
        changes = {
            name: getattr(settings, name) for name in ("venue", "channels", "symbols", "poll", "reconnect")
        }
        bench = Bench(venue.url, tmp_path, **changes).start()
        bench.until(lambda: bench.count("losses") >= 2, "losses")
        state["down"] = False
        bench.until(lambda: bench.count("events") >= 2, "ticks")
        bench.actor.on_stop()
    assert any("HTTP 503" in event for event in bench.events)
