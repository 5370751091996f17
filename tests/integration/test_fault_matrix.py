"""Every shipped scenario at every simulated vendor, over real sockets: what the engine makes of it, by its truth.

The table is ``support.fault_table``; the engine's own actors (feed, indicators, inference, signals) run here, in this
process.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from hft_engine import inline
from hft_engine.config.schema import FeedConfig, PollConfig, ReconnectConfig, RepairConfig, SimulatorConfig
from hft_engine.feed.repair import worker
from hft_engine.feed.simulator.scenario import Halt, Loss, Mute, Reorder, RestFailure, Scenario, shipped
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.feed.simulator.truth import Truth
from hft_engine.records import TickKind
from hft_engine.runtime.actor import FatalError
from support.fault_table import MATRIX, PATIENT, VENUES, Cell, health, hurried, over_s
from support.live_engine import LiveEngine, configuration, of_the_venue, running, unfit_signals

pytestmark = pytest.mark.timeout(300)  # the first one may wait for all that run beside it

KEY = "secret-key-12345"
INSTRUMENTS = 8
WORKERS = 4  # cells at a time: they mostly wait
NOTICED_S_MAX = 60.0  # 8 times the longest pause of the machine that the market's pace was learned from
AFTER_S = 0.3  # in which it goes on once the scenario is over
NUMBERED = (TickKind.TRADE, TickKind.QUOTE)
CHANNELS = {"finnhub": ("T",), "alphavantage": ("T",)}
Pair = tuple[int, int]  # kind, instrument of the venue


def test_every_scenario_has_a_place_for_every_vendor() -> None:
    assert set(MATRIX) == {(scenario, venue) for scenario in shipped() for venue in VENUES}


def feed_of(cell: Cell, venue: str, running: RunningVenue) -> FeedConfig:
    waits = {} if cell.shipped_waits else PATIENT
    return FeedConfig(
        venue=venue,
        url=running.url or f"{running.rest_url}/query",
        api_key=KEY,
        channels=CHANNELS.get(venue, ("T", "Q")),
        symbols=running.symbols,
        sequence="contiguous",
        reconnect=ReconnectConfig(connection_cap_cooldown_ms=900),
        poll=PollConfig(every_ms=20, calls_per_second=1_000, calls_per_minute=100_000, calls_per_day=0),
        rest_url=running.rest_url if cell.rest else None,
        repair=RepairConfig(spans=("second",), settle_ms=100, calls_per_s=50.0),
        health=health(cell.hurry),
        **waits,
    )


Runs = dict[tuple[str, str], "Future[None]"]


CIRCUIT_PAUSE_S = 3.0  # shipped: a minute, for which no cell waits


@pytest.fixture(scope="module", autouse=True)
def short_pause() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "CIRCUIT_PAUSE_S", CIRCUIT_PAUSE_S)
        yield


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Of every cell that was asked for, several at a time."""
    asked = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {(each.get("scenario", ""), each.get("venue", "")) for each in asked} & set(MATRIX)
    inline.warm_up()  # once, before threads do
    with ThreadPoolExecutor(WORKERS) as pool:
        yield {
            key: pool.submit(run, *key, tmp_path_factory.mktemp("-".join(key)))
            for key in MATRIX
            if key in wanted
        }


@pytest.mark.parametrize(("scenario", "venue"), MATRIX)
def test_the_engine_comes_through(runs: Runs, scenario: str, venue: str) -> None:
    runs[scenario, venue].result()


def run(scenario: str, venue: str, directory: Path) -> None:
    cell = MATRIX[scenario, venue]
    plot = hurried(scenario, cell)
    config = SimulatorConfig(api_key=KEY, instruments=INSTRUMENTS, ticks_per_s=cell.ticks_per_s)
    with RunningVenue(config, venue, plot, rest=cell.rest or venue == "alphavantage") as market:
        with running(configuration(feed_of(cell, venue, market), directory)) as engine:
            if cell.fatal:
                ends_with_a_message(engine, cell)
            else:
                goes_on(engine, cell, plot, market)
                judge(engine, cell, market)
        assert market.truth.open_max <= (venue != "alphavantage")


def ends_with_a_message(engine: LiveEngine, cell: Cell) -> None:
    with pytest.raises(FatalError) as end:
        engine.until(lambda: False, "the end")
    assert re.search(cell.fatal, str(end.value))
    assert KEY not in str(end.value) + "".join(engine.told)
    assert engine.state == "failed"
    assert not len(engine.signals())


def goes_on(engine: LiveEngine, cell: Cell, plot: Scenario, market: RunningVenue) -> None:
    """Until the scenario is over, all that is expected was seen and the feed is live again; then until all is in."""
    engine.until(lambda: engine.count("events"), "the first ticks")
    engine.for_s(over_s(plot))
    strike_again(engine, cell, plot, market)
    engine.until(lambda: seen(engine, cell, market), f"all of {cell}; truth {market.truth.counts}")
    engine.for_s(AFTER_S)
    engine.until(lambda: engine.state in ("live", "quiet"), "live again")
    if market.url:
        # What a reorder keeps back is sent: else a copy of it never is. And while ever more is lost every instrument
        # stays GAPPED: a signal would have to have come before each one's first gap.
        for step in (step for step in plot.steps if isinstance(step, Loss | Reorder)):
            market.inflict(step, begins=False)
        before = engine.ticks_count()
        engine.until(lambda: engine.ticks_count() > before + 50, "ticks again")
        engine.until(engine.signals_count, "a signal")
        market.inflict(Mute())
        engine.until(lambda: not any(one.bytes_waiting for one in market.venue.sessions), "all sent")
        engine.until_quiet()


def strike_again(engine: LiveEngine, cell: Cell, plot: Scenario, market: RunningVenue) -> None:
    """What a busy machine let pass unseen, now until it is seen: silence is judged by the pace of before, and a machine
    that stood still made the market look slow; a REST side may have failed while nobody asked it.
    """
    # Of their own: the end of the scenario's, on a venue that stood still, may come after their begin.
    steps = [replace(step) for step in plot.steps if isinstance(step, Mute | Halt | RestFailure)]
    for spoken_s in (2.0, 10.0):
        if not steps or noticed(engine, cell):
            return
        engine.for_s(spoken_s)  # its pace is learned
        for step in (*steps, *cell.also):
            market.inflict(step)
        engine.for_s(NOTICED_S_MAX, unless=lambda: noticed(engine, cell))
        for step in steps:
            market.inflict(step, begins=False)
        engine.for_s(AFTER_S)


def noticed(engine: LiveEngine, cell: Cell) -> bool:
    return was_told(engine, cell) and set(cell.health) <= engine.health_states()


def was_told(engine: LiveEngine, cell: Cell) -> bool:
    return not cell.told or any(re.search(cell.told, text, re.DOTALL) for text in engine.told)


def seen(engine: LiveEngine, cell: Cell, market: RunningVenue) -> bool:
    if not all(market.truth.counts[fate] for fate in cell.fates):
        return False
    if any(engine.count(name) < least for name, least in cell.counts):
        return False
    if sum(contact.fortune == "came" for contact in market.truth.contacts) < cell.ends + 1 and market.url:
        return False
    return engine.state == "live" and noticed(engine, cell)


def judge(engine: LiveEngine, cell: Cell, market: RunningVenue) -> None:
    ticks, signals = engine.ticks(), engine.signals()
    assert engine.state in ("live", "quiet")
    assert KEY not in "".join(engine.told)
    assert engine.count("rejected") == engine.count("frames_rejected") == 0
    assert not unfit_signals(ticks, signals)
    if market.url:
        assert len(signals)
    if (
        set(cell.health) & {"STALE", "GAPPED", "HALTED"}
        and "lost" in cell.fates
        and market.symbols[0][0] != "O"
    ):
        assert engine.count("suppressed_unfit", "signals") or "STALE" in cell.health
    if cell.quiet:
        assert (engine.count("losses"), engine.count("missing")) == (0, 0)
    if len(of_the_venue(ticks)["venue_sequence"].nonzero()[0]):
        every_number_is_accounted_for(engine, market)
    back_within(market.truth, cell)


def every_number_is_accounted_for(engine: LiveEngine, market: RunningVenue) -> None:
    """By the truth: what was not sent has not come, all else has, nothing twice."""
    came, repeated = numbers_that_came(engine, market)
    kept = numbers_not_sent(market)
    missing = 0
    for pair, numbers in came.items():
        first, last = numbers[0], max(numbers)
        inside = {number for number in kept[pair] if first < number < last}
        assert not inside & set(numbers), "what was never sent has come"
        assert set(range(first, last + 1)) - set(numbers) == inside, "what was sent has not come"
        missing += len(inside)
    assert engine.count("missing") == missing
    assert engine.count("repeated") == repeated == 0
    assert engine.count("duplicates") == came_of(market, "duplicated", came)
    assert engine.count("reordered") == sum(map(out_of_order, came.values()))
    if not market.truth.counts["duplicated"]:
        assert engine.count("reordered") == came_of(market, "reordered", came)


def numbers_that_came(engine: LiveEngine, market: RunningVenue) -> tuple[dict[Pair, list[int]], int]:
    """By pair, each once, in the order of the ring; and how many were there once more."""
    places = {engine.instruments.find(symbol): i for i, symbol in enumerate(market.symbols)}
    came: dict[Pair, dict[int, None]] = defaultdict(dict)
    repeated = 0
    ticks = of_the_venue(engine.ticks())
    columns = (ticks[name].tolist() for name in ("kind", "instrument_id", "venue_sequence"))
    for kind, instrument, number in zip(*columns, strict=True):
        if kind in NUMBERED:
            numbers = came[kind, places[instrument]]
            repeated += number in numbers
            numbers[number] = None
    return {pair: list(numbers) for pair, numbers in came.items()}, repeated


def numbers_not_sent(market: RunningVenue) -> dict[Pair, set[int]]:
    found: dict[Pair, set[int]] = defaultdict(set)
    for fate in ("lost", "unheard"):
        for pair, number in numbered(market, fate):
            found[pair].add(number)
    kinds = {"T": int(TickKind.TRADE), "Q": int(TickKind.QUOTE)}
    for event in map(json.loads, market.truth.undelivered):
        found[kinds[event["ev"]], market.symbols.index(event["sym"])].add(event["q"])
    return found


def numbered(market: RunningVenue, fate: str) -> Iterator[tuple[Pair, int]]:
    ticks = market.truth.ticks_of(fate)
    columns = (ticks[name].tolist() for name in ("kind", "instrument_id", "venue_sequence"))
    for kind, who, number in zip(*columns, strict=True):
        yield (kind, who), number


def came_of(market: RunningVenue, fate: str, came: dict[Pair, list[int]]) -> int:
    """How many of this fate were not lost afterwards."""
    seen = {pair: set(numbers) for pair, numbers in came.items()}
    return sum(number in seen.get(pair, ()) for pair, number in numbered(market, fate))


def out_of_order(numbers: list[int]) -> int:
    """How many came behind a later one."""
    return int((np.maximum.accumulate(numbers) > numbers).sum())


def back_within(truth: Truth, cell: Cell) -> None:
    """From each end of a connection, or the stroke that silenced it, to the next that came."""
    struck_ns = 0
    waits = []
    for contact in truth.contacts:
        if contact.fortune in ("struck", "ended") and not struck_ns:
            struck_ns = contact.mono_ns
        elif contact.fortune == "came" and struck_ns:
            waits.append((contact.mono_ns - struck_ns) / 1e6)
            struck_ns = 0
    assert len(waits) >= cell.ends
    if cell.back_ms:
        assert cell.not_before_ms <= waits[0] <= cell.back_ms, waits
