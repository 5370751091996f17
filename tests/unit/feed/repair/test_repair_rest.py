"""Asking for bars: pages, errors, pace, a vendor that is down, and a plan that does not allow it."""

import json
from pathlib import Path

import pytest

from hft_engine.feed.repair.plan import SPANS_NS, Plan, Request
from hft_engine.feed.repair.rest import AgainError, Aggregates, FailedError, RefusedError
from hft_engine.feed.repair.worker import CIRCUIT_FAILURES, CIRCUIT_PAUSE_S, Bucket, Circuit, Worker
from support.aggregates import aggregates
from support.waiting import wait_for

SECOND_NS = SPANS_NS["second"]
T0 = 1_700_000_000 * SECOND_NS
KEY = "secret-key-12345"
OBSERVED = json.loads((Path(__file__).parents[3] / "data/polygon_rest/observed-aggregates.json").read_text())


def bars(symbol: str, span: str, start_ms: int, end_ms: int) -> list[dict]:
    return [
        {"t": t, "o": 1, "h": 2.5, "l": 0.5, "c": 2, "v": 25933.6, "vw": 1.75, "n": 7}
        for t in range(start_ms, end_ms + 1, 1_000)
    ]


def request(seconds: int = 5) -> Request:
    plan = Plan(("second",), 0)
    plan.add(0, T0, T0 + seconds * SECOND_NS - 1)
    made = plan.take(T0 + 100 * SECOND_NS)
    assert made is not None
    return made


def client(url: str, attempts: int = 3) -> Aggregates:
    return Aggregates(url, KEY, 2_000, attempts)


def test_pages_are_followed_on_our_own_host_with_the_key_in_a_header() -> None:
    with aggregates(bars, page=2) as server:
        found = client(server.url).fetch("O:SPY241220P00720000", request())
    assert [bar.t for bar in found] == [T0 // 1_000_000 + 1_000 * i for i in range(5)]
    assert (found[0].o, found[0].h, found[0].l, found[0].c, found[0].v, found[0].vw, found[0].n) == (
        1.0,
        2.5,
        0.5,
        2.0,
        25933.6,
        1.75,
        7,
    )
    assert len(server.asked) == 3
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert not any(KEY in path for path in server.asked)


@pytest.mark.parametrize("answer", OBSERVED, ids=range(len(OBSERVED)))
def test_answers_of_the_vendor_are_read_field_by_field(answer: dict) -> None:
    with aggregates(bars) as server:
        server.answers = [(200, answer["body"] | {"next_url": None})]
        found = client(server.url).fetch("AAPL", request())
    wanted = [
        (bar["t"], bar["o"], bar["h"], bar["l"], bar["c"], bar["v"], bar["vw"], bar["n"])
        for bar in answer["body"]["results"]
    ]
    assert [(b.t, b.o, b.h, b.l, b.c, b.v, b.vw, b.n) for b in found] == wanted and wanted


def test_a_range_without_bars_is_an_empty_answer() -> None:
    with aggregates(lambda *_: []) as server:
        assert client(server.url).fetch("AAPL", request()) == []


@pytest.mark.parametrize("status", [429, 503])
def test_later_is_tried_again_and_then_left_for_later(status: int) -> None:
    with aggregates(bars) as server:
        server.answers = [(status, ""), (status, "")]
        assert len(client(server.url).fetch("AAPL", request())) == 5
        server.answers = [(status, "")] * 2
        with pytest.raises(AgainError, match=str(status)):
            client(server.url, attempts=2).fetch("AAPL", request())


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."}, "not entitled"),
        (401, {"status": "ERROR", "error": "Unknown API Key"}, "Unknown API Key"),
    ],
)
def test_a_refusal_is_told_in_the_vendors_words_and_not_tried_again(
    status: int, body: dict, words: str
) -> None:
    with aggregates(bars) as server:
        server.answers = [(status, body)]
        with pytest.raises(RefusedError, match=words):
            client(server.url).fetch("AAPL", request())
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "body"), [(404, {"status": "NOT_FOUND", "message": "Data not found."}), (200, "<html>")]
)
def test_what_cannot_be_used_is_a_failure_that_names_no_key(status: int, body: dict | str) -> None:
    with aggregates(bars) as server:
        server.answers = [(status, body)]
        with pytest.raises(FailedError) as failed:
            client(server.url).fetch("AAPL", request())
    assert KEY not in str(failed.value)


def test_nobody_there_is_left_for_later() -> None:
    with aggregates(bars) as server:
        url = server.url
    with pytest.raises(AgainError, match="ConnectionError"):
        client(url, attempts=1).fetch("AAPL", request())


def test_a_bucket_lets_a_second_of_calls_go_at_once_and_then_its_rate() -> None:
    now = [0.0]
    bucket = Bucket(5.0, lambda: now[0])
    assert [bucket.wait_s() for _ in range(7)] == pytest.approx([0, 0, 0, 0, 0, 0.2, 0.4])
    now[0] = 10.0
    assert bucket.wait_s() == 0.0


def test_a_circuit_opens_after_failures_in_a_row_and_closes_when_a_try_works() -> None:
    now = [0.0]
    circuit = Circuit(lambda: now[0])
    opened = [circuit.note(worked=False) for _ in range(CIRCUIT_FAILURES)]
    assert opened == [False] * (CIRCUIT_FAILURES - 1) + [True]
    assert circuit.wait_s() == CIRCUIT_PAUSE_S
    now[0] = CIRCUIT_PAUSE_S
    assert circuit.wait_s() == 0.0
    assert not circuit.note(worked=False), "it is told once"
    assert circuit.wait_s() == CIRCUIT_PAUSE_S
    circuit.note(worked=True)
    now[0] += CIRCUIT_PAUSE_S
    assert circuit.wait_s() == 0.0
    assert not circuit.note(worked=False)


def test_the_worker_answers_each_request_and_says_how_it_ended() -> None:
    with aggregates(bars) as server:
        worker = Worker(client(server.url, attempts=1).fetch, calls_per_s=100.0)
        answers = []
        server.answers = [(403, {"message": "no"}), (503, ""), (404, {"message": "what"})]
        for _ in range(4):
            worker.ask("AAPL", request())
        wait_for(lambda: answers.extend(worker.answers()) or len(answers) == 4, "four answers")
        worker.stop()
    assert [(answer.bars is None, answer.refused, answer.again) for answer in answers] == [
        (True, True, False),
        (True, False, True),
        (True, False, False),
        (False, False, False),
    ]
