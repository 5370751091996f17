"""Every observed error body of Polygon's REST interface is understood."""

import json
from pathlib import Path

import pytest

from hft_engine.feed.venues.polygon_rest_errors import rest_refusal

BODIES = json.loads(
    (Path(__file__).parents[3] / "data" / "polygon_rest" / "observed-error-bodies.json").read_text()
)


@pytest.mark.parametrize(
    "seen", BODIES, ids=lambda seen: seen["body"].get("error", seen["body"].get("message"))[:24]
)
def test_every_observed_body_is_told_in_the_vendors_words_with_a_remedy(seen: dict) -> None:
    found = rest_refusal(seen["http"], json.dumps(seen["body"]).encode())
    assert found is not None
    assert found.status == seen["http"]
    assert found.text == seen["body"].get("error", seen["body"].get("message"))
    assert found.advice
    assert found.again == (seen["http"] == 429)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"error": 5}', b"\xff", b"[" * 100_000])
@pytest.mark.parametrize(("status", "again"), [(429, True), (503, True), (404, False), (301, False)])
def test_an_answer_without_words_is_judged_by_its_status(status: int, again: bool, body: bytes) -> None:
    found = rest_refusal(status, body)
    assert found is not None and (found.again, found.text) == (again, "")


def test_data_are_no_refusal() -> None:
    assert rest_refusal(200, b'{"status":"DELAYED","results":[]}') is None
