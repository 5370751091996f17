"""3,000 option contracts at a venue that lets a connection hold 1,000: spread over connections, all delivered."""

from collections import Counter
from pathlib import Path

import numpy as np

from hft_engine.config.schema import FeedConfig, HealthConfig, SimulatorConfig
from hft_engine.feed.simulator.scenario import Drop, Mute, Scenario
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.feed.venues.polygon_options import PolygonOptions
from hft_engine.records import TickKind
from support.live_engine import LiveEngine, configuration, of_the_venue, running

CONTRACTS = 3_000
TICKS = 20_000
NAMES = ("main", "main.2", "main.3")
KEY = "secret-key-12345"


def delivered(engine: LiveEngine, market: RunningVenue) -> dict[tuple[int, int], set[int]]:
    """Numbers that came, by kind and the venue's instrument."""
    places = {engine.instruments.find(symbol): i for i, symbol in enumerate(market.symbols)}
    found: dict[tuple[int, int], set[int]] = {}
    ticks = of_the_venue(engine.ticks())
    columns = (ticks[name].tolist() for name in ("kind", "instrument_id", "venue_sequence"))
    for kind, instrument, number in zip(*columns, strict=True):
        numbers = found.setdefault((kind, places[instrument]), set())
        assert number not in numbers, "a tick came twice"
        numbers.add(number)
    return found


def test_three_thousand_contracts_are_spread_and_every_tick_of_theirs_comes(tmp_path: Path) -> None:
    config = SimulatorConfig(api_key=KEY, instruments=CONTRACTS, ticks_per_s=8_000.0)
    plot = Scenario(sequence="contiguous")
    with RunningVenue(config, "polygon-options", plot) as market:
        feed = FeedConfig(
            venue="polygon-options",
            url=market.url,
            api_key=KEY,
            channels=("T", "Q"),
            symbols=market.symbols,
            sequence="contiguous",
            health=HealthConfig(session="always"),
        )
        with running(configuration(feed, tmp_path, CONTRACTS)) as engine:
            engine.until(lambda: engine.state == "live", "live")
            assert engine.count("acks_missing") == 0
            first = engine.count("events")
            engine.until(lambda: engine.count("events") > TICKS, "some seconds of the market")
            market.inflict(Mute())
            engine.until_quiet()

            lines = engine.lines()
            assert tuple(lines) == NAMES
            assert [lines[name]["wanted"] for name in NAMES] == [2 * PolygonOptions.pairs_max] * 3
            assert all(lines[name]["events"] > first for name in NAMES), "each connection brings its share"
            assert sum(int(lines[name]["events"]) for name in NAMES) == engine.count("events")
            assert market.truth.open_max == len(NAMES)
            assert (engine.count("losses"), engine.count("missing")) == (0, 0)
            assert engine.count("rejected") == 0, engine.told

            came = delivered(engine, market)
            assert sum(map(len, came.values())) == engine.count("events") == market.counts.events
            assert all(numbers == set(range(min(numbers), max(numbers) + 1)) for numbers in came.values())
            assert len({who for _, who in came}) > 0.99 * CONTRACTS
            assert Counter(kind for kind, _ in came).keys() == {int(TickKind.TRADE), int(TickKind.QUOTE)}


def test_a_connection_that_is_lost_costs_its_own_contracts_only(tmp_path: Path) -> None:
    config = SimulatorConfig(api_key=KEY, instruments=CONTRACTS, ticks_per_s=8_000.0)
    with RunningVenue(config, "polygon-options", Scenario(sequence="contiguous")) as market:
        feed = FeedConfig(
            venue="polygon-options", url=market.url, api_key=KEY, channels=("Q",), symbols=market.symbols,
            sequence="contiguous", health=HealthConfig(session="always", gapped_hold_ms=1_000, recover_ms=100),
        )  # fmt: skip
        with running(configuration(feed, tmp_path, CONTRACTS)) as engine:
            engine.until(lambda: engine.count("events") > TICKS, "some seconds of the market")
            market.inflict(Drop(which="newest"))
            engine.until(lambda: engine.count("reconnects") == 1 and engine.state == "live", "back")
            before = engine.count("events")
            engine.until(lambda: engine.count("events") > before + TICKS, "what was missed is known")
            market.inflict(Mute())
            engine.until_quiet()
            lines = engine.lines()
            assert sorted(int(lines[name]["losses"]) for name in NAMES) == [0, 0, 1]
            (lost,) = (name for name in NAMES if lines[name]["losses"])
            unheard = market.truth.ticks_of("unheard")
            holders = {name: set(line.session.symbols) for name, line in engine.feed_lines().items()}
            assert {market.symbols[i] for i in np.unique(unheard["instrument_id"])} <= holders[lost]
            assert engine.count("missing") > 0
            assert market.truth.open_max == len(NAMES)
