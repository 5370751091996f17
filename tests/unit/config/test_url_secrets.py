import pytest

from hft_engine.config.load import remedy_for_secret
from hft_engine.config.url_secrets import secrets_of, without_secrets
from hft_engine.feed.masking import Mask


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("wss://a.example/ws?token=k/1", ("k/1",), "wss://a.example/ws?token=***"),
        (
            "wss://a.example/ws?x=1&apiKey=k%2F1#t",
            ("k%2F1", "k/1"),
            "wss://a.example/ws?x=1&apiKey=***#t",
        ),
        ("https://u:p4ss@a.example:1/x", ("p4ss",), "https://u:***@a.example:1/x"),
        (
            "{b: {url: 'wss://a/?access_token=one'}, c: 'x://u:two@h'}",
            ("two", "one"),
            "{b: {url: 'wss://a/?access_token=***'}, c: 'x://u:***@h'}",
        ),
        ("WSS://a.example/ws?X-Auth-Signature=s", ("s",), "WSS://a.example/ws?X-Auth-Signature=***"),
    ],
)
def test_a_secret_in_an_address_is_found_and_covered(text: str, secrets: tuple[str, ...], shown: str) -> None:
    assert secrets_of(text) == secrets
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "wss://stream.example/stream?streams=btcusdt@trade/ethusdt@trade",
        "wss://a.example/ws?token={api_key}",
        "wss://a.example/ws?token=",
        "wss://user@a.example/ws",
        "a.example?token=k",  # no address
        "token=k",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert secrets_of(text) == ()
    assert without_secrets(text) == text
    assert remedy_for_secret(f"feed.url={text}") is None


@pytest.mark.parametrize(
    "override",
    [
        "feed.url=wss://a.example/ws?token=k1234",
        "feed.delayed_url=wss://u:k1234@a.example/ws",
        "feed.rest_url=https://a.example/?apikey=k1234",
        "feed.lines={b: {url: 'wss://a.example/ws?key=k1234'}}",
        "feed.lines.b.url=wss://a.example/ws?key=k1234",
    ],
)
def test_an_address_with_a_secret_on_the_command_line_is_refused_with_where_it_belongs(override: str) -> None:
    remedy = remedy_for_secret(override)
    assert remedy is not None and "k1234" not in remedy
    assert override.partition("=")[0] in remedy and "***" in remedy and "configuration file" in remedy


def test_a_mask_covers_keys_and_secrets_of_addresses_in_every_form() -> None:
    mask = Mask("key/1", "wss://a.example/ws?token=to%2Fken", None, "https://u:pass%20word@h")
    text = "key/1 key%2F1 to/ken to%2Fken pass word pass%20word"
    assert mask.text(text) == " ".join(["***"] * 6)
    assert mask.data(text.encode()) == b" ".join([b"***"] * 6)


def test_of_two_secrets_the_longer_is_covered_first() -> None:
    assert Mask("abcd", "wss://h/?token=abcdef").text("abcdef abcd") == "*** ***"
