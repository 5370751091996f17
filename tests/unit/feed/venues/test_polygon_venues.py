"""Polygon's stocks and options: option symbols, hosts, what a configuration may ask for, every session script."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.option_symbol import is_option_symbol, option_symbol, parse_option_symbol
from hft_engine.feed.venues import venue_of
from hft_engine.feed.venues.base import Meaning
from hft_engine.feed.venues.polygon_hosts import HOSTS, address, delayed_url, host_of
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TickKind

DATA = Path(__file__).parents[3] / "data" / "polygon"
CONTRACT = "O:SPY241220P00720000"


def _options(**changes: object) -> FeedConfig:
    return FeedConfig(**{"venue": "polygon-options", "api_key": "k", "symbols": (CONTRACT,)} | changes)


# ---- symbols


def test_an_option_symbol_has_its_parts() -> None:
    found = parse_option_symbol(CONTRACT)
    assert found == ("SPY", date(2024, 12, 20), "P", Decimal(720))
    assert str(found) == CONTRACT
    assert str(option_symbol("SPXW", date(2025, 12, 8), "C", 6840)) == "O:SPXW251208C06840000"
    assert str(option_symbol("F", date(2025, 1, 17), "C", "12.82")) == "O:F250117C00012820"


@given(
    st.from_regex(r"[A-Z][A-Z0-9]{0,5}", fullmatch=True),
    st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    st.sampled_from("CP"),
    st.integers(1, 99_999_999),
)
def test_every_contract_is_read_back_as_it_was_written(
    root: str, expiry: date, right: str, units: int
) -> None:
    made = option_symbol(root, expiry, right, Decimal(units) / 1_000)
    assert parse_option_symbol(str(made)) == made
    assert made.strike * 1_000 == units


@pytest.mark.parametrize(
    ("symbol", "why"),
    [
        ("O:AAPL211022C000150000", "8 digits"),  # nine digits, as the vendor's specification once has it
        ("SPY241220P00720000", "looks like"),
        ("O:SPY241320P00720000", "no date"),
        ("O:SPY241220X00720000", "looks like"),
        ("O:SPY241220P00000000", "strike is 0"),
        ("O:241220P00720000", "looks like"),
        ("O:SPY241220P0072000\n", "looks like"),
        ("AAPL", "looks like"),
    ],
)
def test_what_is_no_option_symbol_says_why(symbol: str, why: str) -> None:
    assert not is_option_symbol(symbol)
    with pytest.raises(ValueError, match=why):
        parse_option_symbol(symbol)


@pytest.mark.parametrize("strike", ["0", "-1", "100000", "1.0005"])
def test_a_strike_without_a_symbol_is_refused(strike: str) -> None:
    with pytest.raises(ValueError, match="strike"):
        option_symbol("SPY", date(2025, 1, 17), "C", strike)


# ---- hosts


@pytest.mark.parametrize("domain", ["polygon.io", "massive.com"])
def test_hosts_go_by_both_names(domain: str) -> None:
    for host in HOSTS:
        url = address(host.stem, "options", domain)
        assert host_of(url) == host
        later = delayed_url(url)
        assert later == (address(host.delayed, "options", domain) if host.delayed else None)
        assert later is None or not host_of(later).realtime
    assert host_of(f"wss://launchpad.{domain}/stocks") is None


def test_a_simulators_address_is_no_host_of_the_vendor() -> None:
    assert host_of("ws://127.0.0.1:5000/stocks") is None
    assert delayed_url("ws://127.0.0.1:5000/stocks") is None


# ---- what may be asked for


def test_options_have_the_stocks_protocol_on_their_own_path() -> None:
    venue = venue_of(_options())
    assert venue.url(_options()) == "wss://socket.polygon.io/options"
    assert venue.problem(_options(channels=("T", "Q", "A", "AM"))) is None
    assert (venue.pairs_max, venue.scans) == (1_000, True)
    assert venue.pairs(_options(channels=("T", "AM"))) == (f"T.{CONTRACT}", f"AM.{CONTRACT}")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (_options(api_key=""), "POLYGON_API_KEY"),
        (_options(symbols=("SPY",)), "'SPY': an option symbol looks like"),
        (_options(symbols=("*",), channels=("T", "Q")), "quotes cannot be had"),
        (_options(channels=("LULD",)), "polygon-options has no LULD"),
        (_options(channels=("FMV",)), "business hosts only"),
        (_options(channels=("Q",), url="wss://delayed.massive.com/options"), "delayed host delayed has no Q"),
        (FeedConfig(api_key="k", channels=("D",)), "polygon has no D"),
        (FeedConfig(api_key="k", channels=("LULD",), url="wss://delayed.polygon.io/stocks"), "has no LULD"),
    ],
)
def test_what_cannot_be_had_is_named(config: FeedConfig, why: str) -> None:
    assert why in (venue_of(config).problem(config) or "")


def test_all_trades_of_all_contracts_may_be_asked_for() -> None:
    config = _options(symbols=("*",), channels=("T", "A", "AM"))
    assert venue_of(config).problem(config) is None
    business = _options(channels=("FMV",), url="wss://business.polygon.io/options")
    assert venue_of(business).problem(business) is None


# ---- session scripts

IN, OUT = (Meaning.GREETED, Meaning.AUTHENTICATED), Meaning.REFUSED
EXPECTED = {
    "happy_path": [*IN, Meaning.SUBSCRIBED, Meaning.SUBSCRIBED, Meaning.UNSUBSCRIBED],
    "bad_key": [Meaning.GREETED, OUT],
    "plan_without_websocket": [Meaning.GREETED, OUT],
    "no_auth_sent": [Meaning.GREETED, Meaning.AUTH_TIMEOUT],
    "realtime_host_on_delayed_plan": [*IN, getattr(Meaning, "DELAYED_ONLY", OUT)],
}
SCRIPTS = {
    script["name"]: script["steps"] for script in json.loads((DATA / "session-scripts.json").read_text())
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_status_of_every_recorded_session_is_understood(name: str) -> None:
    venue, table = venue_of(FeedConfig()), InstrumentTable.private(4)
    decoder, meanings = venue.decoder(table, FeedConfig()), []
    for what, content in SCRIPTS[name]:
        if what != "recv":
            continue
        rows = decoder.decode(json.dumps(content).encode(), 1, 2)
        assert [(s.status, s.message) for s in decoder.statuses] == [
            (event["status"], event["message"]) for event in content if event["ev"] == "status"
        ]
        assert rows == sum(event["ev"] != "status" for event in content)
        meanings += [venue.verdict(status).meaning for status in decoder.statuses]
    assert Meaning.OTHER not in meanings
    assert meanings == EXPECTED.get(name, meanings)
    assert (decoder.rejected, decoder.frames_rejected, decoder.unknown_events) == (0, 0, 0)


@pytest.mark.parametrize(("stamp", "ns"), [(1_401_715_883_806_000_000, 1), (1_678_220_098_130, 1_000_000)])
def test_fair_values_come_in_nano_or_milliseconds(stamp: int, ns: int) -> None:
    decoder = venue_of(_options()).decoder(InstrumentTable.private(4), _options())
    frame = json.dumps([{"ev": "FMV", "fmv": 7.2, "sym": "O:TSLA210903C00700000", "t": stamp}]).encode()
    assert decoder.decode(frame, 1, 2) == 1
    row = decoder.rows[0]
    assert (row["kind"], row["price"], row["ts_venue_ns"], row["venue_id"]) == (
        TickKind.FMV,
        7.2,
        stamp * ns,
        2,
    )
