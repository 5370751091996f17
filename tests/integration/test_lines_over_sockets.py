"""Two mirrored lines over real sockets, each losing a tenth at random: what goes on, and what is counted as lost."""

from pathlib import Path

import numpy as np

from hft_engine.config.schema import FeedConfig, HealthConfig, LineConfig, SimulatorConfig
from hft_engine.feed.simulator.scenario import Loss, Scenario
from hft_engine.feed.simulator.serving import RunningVenue
from support.live_engine import LiveEngine, configuration, of_the_venue, running, unfit_signals
from support.sim_markets import SYMBOLS, recorded, steady_ticks

KEY = "secret-key-12345"
CONFIG = SimulatorConfig(api_key=KEY)
TICKS = 2_400
STEP_NS = 3_000_000  # 64 ticks of an instrument, the window, are 576 ms: in CI a line was late by 200
Numbers = dict[int, set[int]]  # by instrument of the venue


def venue_losing(share: float, seed: int) -> RunningVenue:
    plot = Scenario(sequence="contiguous", seed=seed, steps=(Loss(share=share),))
    return RunningVenue(CONFIG, "polygon", plot, source=recorded(steady_ticks(TICKS, STEP_NS), 1.0))


def lost_by(venue: RunningVenue) -> Numbers:
    lost = venue.truth.ticks_of("lost")
    return {i: set(lost["venue_sequence"][lost["instrument_id"] == i].tolist()) for i in range(len(SYMBOLS))}


def came_to(engine: LiveEngine) -> dict[int, list[int]]:
    """In the order of the ring."""
    ticks = of_the_venue(engine.ticks())
    places = {engine.instruments.find(symbol): i for i, symbol in enumerate(SYMBOLS)}
    who = np.array([places[instrument] for instrument in ticks["instrument_id"].tolist()])
    return {i: ticks["venue_sequence"][who == i].tolist() for i in range(len(SYMBOLS))}


def test_a_tick_goes_on_once_whichever_line_brings_it_and_what_none_brings_is_counted(tmp_path: Path) -> None:
    with venue_losing(0.1, 3) as a, venue_losing(0.1, 4) as b:
        feed = FeedConfig(
            url=a.url, api_key=KEY, channels=("T",), symbols=SYMBOLS, sequence="contiguous",
            lines={"b": LineConfig(url=b.url, mirrors="main")},
            health=HealthConfig(session="always", gapped_hold_ms=20, recover_ms=0),
        )  # fmt: skip
        with running(configuration(feed, tmp_path)) as engine:
            engine.until(
                lambda: all(v.truth.counts["published"] == TICKS for v in (a, b)), "both published all"
            )
            engine.until_quiet()
            came, lost_a, lost_b = came_to(engine), lost_by(a), lost_by(b)
            second = lost = 0
            for i in range(len(SYMBOLS)):
                assert len(came[i]) == len(set(came[i])), "a tick went on twice"
                whole = set(range(1, 1 + (TICKS - i + len(SYMBOLS) - 1) // len(SYMBOLS)))
                sent_a, sent_b = whole - lost_a[i], whole - lost_b[i]
                assert set(came[i]) == sent_a | sent_b
                second += len(sent_a & sent_b)
                both = range(
                    min(sent_a | sent_b), min(max(sent_a), max(sent_b))
                )  # between what both have passed
                lost += len(lost_a[i] & lost_b[i] & set(both))
            lines = engine.lines()
            counted = {
                name: engine.count(name) for name in ("second_copies", "repeated_copies", "lost_by_all")
            }
            assert counted == {"second_copies": second, "repeated_copies": 0, "lost_by_all": lost}
            assert 6 < lost < 60, "a hundredth"
            assert engine.count("missing") == lost
            assert engine.count("repeated") == 0
            assert lines["main"]["first"] + lines["b"]["first"] == sum(map(len, came.values()))
            assert a.truth.open_max == b.truth.open_max == 1
            assert len(engine.signals()) and not unfit_signals(engine.ticks(), engine.signals())
