"""The options side: its contracts, its events, and the limit on contracts held."""

import math
from datetime import date
from statistics import NormalDist

import numpy as np
import pytest

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.contracts import list_contracts, symbol_of
from hft_engine.feed.simulator.options_market import OptionsMarket, black_scholes
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.records import TickKind, join_ticks
from support.sim_clients import login, receive, send, subscribe, using
from support.sim_markets import START_NS

CONFIG = SimulatorConfig(api_key="KEY", instruments=3_000, ticks_per_s=20_000.0)
LIMIT = "Subscription limit reached for feed. Please remove some subscriptions and try again."


def of(running: RunningVenue, channel: str, start: int, stop: int) -> str:
    return ",".join(f"{channel}.{symbol}" for symbol in running.symbols[start:stop])


def test_symbols_are_the_vendors() -> None:
    assert symbol_of("SPY", date(2024, 12, 20), "put", 720.0) == "O:SPY241220P00720000"


@pytest.mark.parametrize("count", [1, 50, 3_000, 10_000])
def test_as_many_contracts_as_asked_for_each_once_and_none_expired(count: int) -> None:
    names, prices = [f"X{i}" for i in range(20)], np.geomspace(2.0, 900.0, 20)
    contracts = list_contracts(names, prices, date(2026, 9, 25), count)
    assert len({contract.symbol for contract in contracts}) == len(contracts) == count
    assert min(contract.expires for contract in contracts) > date(2026, 9, 25)
    assert all(contract.expires.weekday() == 4 and contract.strike > 0 for contract in contracts)


def test_values_keep_put_call_parity_and_grow_with_time() -> None:
    spot, strike, years = np.full(4, 100.0), np.array([80.0, 95.0, 105.0, 130.0]), np.full(4, 0.25)
    calls = black_scholes(spot, strike, years, np.ones(4, bool))
    puts = black_scholes(spot, strike, years, np.zeros(4, bool))
    assert np.allclose(calls - puts, spot - strike)
    assert (black_scholes(spot, strike, 2 * years, np.ones(4, bool)) > calls).all()
    spread = 0.3 * 0.5**0.5
    d1 = math.log(42 / 40) / spread + spread / 2
    expected = 42 * NormalDist().cdf(d1) - 40 * NormalDist().cdf(d1 - spread)
    one = black_scholes(np.array([42.0]), np.array([40.0]), np.array([0.5]), np.array([True]))
    assert one[0] == pytest.approx(expected, abs=1e-9)


def test_the_same_seed_makes_the_same_market_with_trades_on_its_quotes() -> None:
    first, second = (OptionsMarket(CONFIG, START_NS) for _ in range(2))
    ticks = join_ticks([first.block() for _ in range(20)])
    assert ticks.tobytes() == join_ticks([second.block() for _ in range(20)]).tobytes()
    assert (np.diff(ticks["ts_venue_ns"]) >= 0).all()
    quotes = ticks[ticks["kind"] == TickKind.QUOTE]
    assert (quotes["ask"] > quotes["bid"]).all() and (quotes["bid"] >= 0).all()
    trades = ticks[ticks["kind"] == TickKind.TRADE]
    assert (trades["price"] > 0).all() and (trades["size"] >= 1).all()


def test_a_contract_that_expires_worthless_still_trades_above_nothing() -> None:
    market = OptionsMarket(CONFIG, START_NS)
    market._expires_ns[:] = START_NS  # all of them, now
    ticks = join_ticks([market.block() for _ in range(20)])
    assert (ticks["price"][ticks["kind"] == TickKind.TRADE] > 0).all()


def test_events_have_the_fields_of_options_only() -> None:
    with RunningVenue(CONFIG, "polygon-options") as running, using(login(running)) as client:
        assert running.url.endswith("/options")
        subscribe(client, "T.*,A.*")
        kinds: dict[str, dict] = {}
        while len(kinds) < 2:
            kinds.update({event["ev"]: event for event in receive(client)})
        assert set(kinds["T"]) == {"ev", "sym", "x", "p", "s", "t", "q"}
        assert kinds["T"]["sym"].startswith("O:") and kinds["T"]["x"] >= 300
        assert kinds["A"]["e"] - kinds["A"]["s"] == 1000
        send(client, "unsubscribe", "T.*,A.*")
        assert subscribe_when_quiet(client, of(running, "Q", 0, 500)) == 500
        quote = next(event for _ in range(50) for event in receive(client) if event["ev"] == "Q")
        assert set(quote) == {"ev", "sym", "bx", "ax", "bp", "ap", "bs", "as", "t", "q"}


def subscribe_when_quiet(client: object, params: str) -> int:
    send(client, "subscribe", params)  # type: ignore[arg-type]
    while True:
        events = receive(client)  # type: ignore[arg-type]
        acks = [event for event in events if event.get("message", "").startswith("subscribed to")]
        if acks:
            return len(acks)


@pytest.mark.parametrize("channel", ["Q", "FMV"])
def test_a_request_beyond_a_thousand_contracts_is_refused_whole_and_again_and_again(channel: str) -> None:
    quiet = SimulatorConfig(api_key="KEY", instruments=3_000, ticks_per_s=0.001)
    with RunningVenue(quiet, "polygon-options") as running, using(login(running)) as client:
        assert len(subscribe(client, of(running, channel, 0, 900))) == 900
        assert subscribe(client, of(running, channel, 900, 1_100)) == [LIMIT] * 27
        # What was held stays, and the rest of the limit is free.
        assert len(subscribe(client, of(running, channel, 900, 1_000))) == 100
        assert subscribe(client, of(running, channel, 1_000, 1_001)) == [LIMIT]
        send(client, "unsubscribe", of(running, channel, 0, 500))
        assert len(receive(client)) == 500
        assert len(subscribe(client, of(running, channel, 1_000, 1_500))) == 500
        # Trades have no such limit.
        assert len(subscribe(client, of(running, "T", 0, 2_000))) == 2_000


def test_all_quotes_at_once_are_not_on_offer_and_not_answered() -> None:
    quiet = SimulatorConfig(api_key="KEY", instruments=10, ticks_per_s=0.001)
    with RunningVenue(quiet, "polygon-options") as running, using(login(running)) as client:
        send(client, "subscribe", "Q.*,LULD.X")
        assert subscribe(client, "T.*") == ["subscribed to: T.*"]
