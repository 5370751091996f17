"""Our side against the simulated vendors: what they published is what comes out of the ring."""

import urllib.request
from pathlib import Path

import numpy as np
from test_feed_actor import Bench

from hft_engine.config.schema import PollConfig, SimulatorConfig
from hft_engine.feed.conditions import RULES, flags_of, pack
from hft_engine.feed.simulator.finnhub import CONDITIONS
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.feed.venues.finnhub_decode import CODES
from hft_engine.records import TickKind
from support.sim_markets import SYMBOLS, held, recorded, steady_ticks
from support.waiting import wait_for

KEY = "secret-key-12345"
CONFIG = SimulatorConfig(api_key=KEY, instruments=3, ticks_per_s=500.0)
FAST = PollConfig(every_ms=1, calls_per_second=1_000, calls_per_minute=100_000, calls_per_day=0)


def test_every_trade_of_the_simulated_finnhub_arrives_equal(tmp_path: Path) -> None:
    ticks = steady_ticks(900)
    codes = [(), (37,), (14,), (12, 37), (13,)]
    ticks["conditions"] = [pack(codes[i % len(codes)]) for i in range(len(ticks))]
    source = held(ticks)
    with RunningVenue(CONFIG, "finnhub", source=source) as venue:
        bench = Bench(venue.url, tmp_path, venue="finnhub", channels=("T",), symbols=SYMBOLS).start()
        subscribed = [{("T", symbol) for symbol in SYMBOLS}]  # each by a message of its own
        bench.until(lambda: [one.pairs for one in venue.venue.sessions] == subscribed, "all subscribed")
        source.held = False
        bench.until(lambda: bench.count("events") == len(ticks), "all trades")
        found = bench.ticks()
        bench.actor.on_stop()
    for name in ("price", "size"):
        assert found[name].tolist() == ticks[name].tolist()
    assert (found["ts_venue_ns"] // 10**6).tolist() == (ticks["ts_venue_ns"] // 10**6).tolist()
    wanted = [flags_of(codes[i % len(codes)]) for i in range(len(ticks))]
    assert found["flags"].tolist() == wanted
    assert (bench.count("rejected"), bench.count("unknown_conditions")) == (0, 0)


def test_the_tables_of_conditions_were_made_apart_and_agree() -> None:
    assert {int(theirs): ours for ours, theirs in CONDITIONS.items()} == {k: v for k, v in CODES.items() if v}
    assert CODES[1] == 0 and set(CONDITIONS) | {0} <= set(RULES)


def test_quotes_and_bars_of_the_simulated_alpha_vantage_arrive_equal(tmp_path: Path) -> None:
    ticks = steady_ticks(24_000)  # four minutes
    with RunningVenue(CONFIG, "alphavantage", source=recorded(ticks), rest=True) as venue:
        with urllib.request.urlopen(f"{venue.rest_url}/query?function=GLOBAL_QUOTE&symbol=AAPL&apikey={KEY}"):
            pass  # the market begins with the first question
        history = venue.history
        wait_for(lambda: history.now_ns == ticks["ts_venue_ns"][-1], "everything published")
        settings = {"venue": "alphavantage", "channels": ("T", "AM"), "symbols": SYMBOLS, "poll": FAST}
        bench = Bench(f"{venue.rest_url}/query", tmp_path, ring_capacity=4096, **settings).start()
        scratch = np.zeros(4096, ticks.dtype)
        bench.until(
            lambda: bench.count("events") >= 3 + 3 * 100 and bench.count("duplicates") >= 6,
            "all answers twice",
        )
        found = scratch[: bench.ring.poll(0, scratch, len(scratch))]
        found = found[found["kind"] != TickKind.HEALTH]
        bench.actor.on_stop()
    assert bench.count("events") == len(found)  # nothing twice
    quotes, bars = (found[found["kind"] == kind] for kind in (TickKind.TRADE, TickKind.BAR_MINUTE))
    assert sorted(quotes["price"].tolist()) == ticks["price"][-3:].tolist()
    volumes = ticks["ts_venue_ns"] // (60 * 10**9)
    known = {int(minute) * 60 * 10**9: int(np.sum(volumes == minute)) // 3 for minute in np.unique(volumes)}
    ours = bars[np.isin(bars["ts_start_ns"], list(known)[:3])]
    assert len(ours) >= 9
    assert all(float(bar["volume"]) == known[int(bar["ts_start_ns"])] for bar in ours)
    assert len({(int(bar["instrument_id"]), int(bar["ts_start_ns"])) for bar in bars}) == len(
        bars
    )  # each once
