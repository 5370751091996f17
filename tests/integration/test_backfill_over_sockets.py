"""The shipped scenario ``bad-line`` over a real socket: bars in the database with and without the vendor's REST side.

A fifth of the ticks is lost, a twentieth comes twice, a twentieth out of order; the simulator's REST side has the bars
of what was published.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from hft_engine.config.schema import Config, FeedConfig, HealthConfig, RepairConfig, SimulatorConfig
from hft_engine.feed.conditions import pack
from hft_engine.feed.simulator.rest.aggregates import Bar, aggregate
from hft_engine.feed.simulator.scenario import load_scenario
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.feed.simulator.source import RecordedSource
from hft_engine.records import BarFlag, TickKind
from support.live_engine import configuration, running
from support.sim_markets import SYMBOLS, recorded, steady_ticks

KEY = "secret-key-12345"
SECONDS, A_SECOND = 150, 60
SPEED = 30.0
SETTLED_S = 6.0  # longer than the shipped time after which a window's bar is asked for
CLEAN = 300  # ticks before anything goes wrong: what a line joins in the middle of it cannot know
FIELDS = ("open", "high", "low", "close", "volume", "vwap", "trade_count")
Bars = dict[tuple[str, int], tuple]  # (symbol, start) -> (flags, *FIELDS)


def market() -> RecordedSource:
    random = np.random.default_rng(11)
    ticks = steady_ticks(SECONDS * A_SECOND, 1_000_000_000 // A_SECOND, TickKind.TRADE)
    ticks["price"] = np.round(100 + np.cumsum(random.normal(0, 0.02, len(ticks))), 2)
    ticks["size"] = random.integers(1, 500, len(ticks))
    ticks["ts_venue_ns"] = ticks["ts_venue_ns"] // 1_000_000 * 1_000_000  # as the wire has it
    ticks["conditions"] = pack(())
    return recorded(ticks, SPEED)


def stored(config: Config, kind: str) -> Bars:
    with closing(
        sqlite3.connect(Path(config.engine.data_dir) / config.persistence.sqlite_file)
    ) as connection:
        query = f"SELECT symbol, ts_start_ns, flags, {', '.join(FIELDS)} FROM bars WHERE kind = ?"
        rows = connection.execute(query, (kind,)).fetchall()
    found = {row[:2]: row[2:] for row in rows}
    assert len(found) == len(rows), "one bar a window"
    return found


def published(venue: RunningVenue, kind: str, until_ns: int) -> dict[tuple[str, int], Bar]:
    """The bars of what the venue published, of windows that are over."""
    assert venue.history is not None
    return {
        (symbol, bar.start_ns): bar
        for symbol in SYMBOLS
        for bar in aggregate(venue.history.of(symbol, TickKind.TRADE), kind, 1)
        if bar.start_ns < until_ns
    }


def equal(fields: tuple, bar: Bar) -> bool:
    """Field by field; the mean price to the vendor's four places."""
    *prices, volume, vwap, count = fields
    exact = prices == [bar.open, bar.high, bar.low, bar.close] and (volume, count) == (bar.volume, bar.prints)
    return exact and abs(vwap - bar.vwap) <= 5.1e-5


@pytest.mark.parametrize("backfill", ["none", "refused", "available"])
def test_bars_of_a_bad_line(tmp_path: Path, backfill: str) -> None:
    plot = load_scenario("bad-line")
    plot = replace(plot, steps=tuple(replace(step, after_ticks=CLEAN) for step in plot.steps))
    if backfill == "refused":
        plot = replace(plot, venue=replace(plot.venue, rest_in_plan=False))
    with RunningVenue(SimulatorConfig(api_key=KEY), "polygon", plot, source=market(), rest=True) as venue:
        feed = FeedConfig(
            url=venue.url, api_key=KEY, channels=("T",), symbols=SYMBOLS, sequence="contiguous",
            rest_url=None if backfill == "none" else venue.rest_url,
            health=HealthConfig(session="always"), repair=RepairConfig(calls_per_s=100.0),
        )  # fmt: skip
        config = configuration(feed, tmp_path)
        with running(config, persistence=True) as engine:
            engine.until(lambda: venue.truth.counts["published"] == SECONDS * A_SECOND, "all published")
            engine.until_quiet()
            if backfill == "available":
                engine.until(lambda: engine.count("repairs") >= len(SYMBOLS), "repairs")
                filled = -1
                while filled != engine.count("bars_filled"):
                    filled = engine.count("bars_filled")
                    engine.for_s(SETTLED_S)
            engine.for_s(1.0)
            told = "".join(engine.told)
        assert venue.history is not None
        over_ns = venue.history.now_ns - 2_000_000_000
        truth = {
            kind: published(venue, kind, over_ns - width)
            for kind, width in (("second", 0), ("minute", 60 * 10**9))
        }
    assert ("not entitled" in told) == (backfill == "refused")
    assert len(truth["second"]) > 400 and len(truth["minute"]) >= 3
    wrong = repaired = 0
    for kind, bars in truth.items():
        found = stored(config, kind)
        assert set(bars) <= set(found)
        for key, bar in bars.items():
            flags, *fields = found[key]
            repaired += bool(flags & BarFlag.REPAIRED)
            if backfill == "available":
                assert equal(tuple(fields), bar), (kind, key, fields, bar)
                assert not flags & BarFlag.GAPPED, (kind, key)
            elif not equal(tuple(fields), bar):
                wrong += 1
                assert flags & BarFlag.GAPPED, (kind, key, fields, bar)
    if backfill == "available":
        assert repaired > 200
    else:
        assert wrong > 200 and not repaired
