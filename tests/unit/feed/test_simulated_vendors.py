"""Our side against the simulated vendors: what they published is what comes out of the ring."""

from pathlib import Path

from test_feed_actor import Bench

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.conditions import RULES, flags_of, pack
from hft_engine.feed.simulator.finnhub import CONDITIONS
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.feed.venues.finnhub_decode import CODES
from support.sim_markets import SYMBOLS, recorded, steady_ticks

KEY = "secret-key-12345"
CONFIG = SimulatorConfig(api_key=KEY, instruments=3, ticks_per_s=500.0)


def test_every_trade_of_the_simulated_finnhub_arrives_equal(tmp_path: Path) -> None:
    ticks = steady_ticks(900)
    codes = [(), (37,), (14,), (12, 37), (13,)]
    ticks["conditions"] = [pack(codes[i % len(codes)]) for i in range(len(ticks))]
    with RunningVenue(CONFIG, "finnhub", source=recorded(ticks)) as venue:
        bench = Bench(venue.url, tmp_path, venue="finnhub", channels=("T",), symbols=SYMBOLS).start()
        bench.until(lambda: bench.ring.published == len(ticks), "all trades")
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
