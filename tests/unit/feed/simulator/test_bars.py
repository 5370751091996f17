"""Bars that the venue sends equal the trades that it sends."""

import numpy as np
import pytest

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.bars import MINUTE_NS, SECOND_NS, BarMaker
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.records import TICK_DTYPE, TickFlag, TickKind, join_ticks

START_NS = 1_700_000_040_000_000_000  # a whole minute
assert START_NS % MINUTE_NS == 0


@pytest.fixture(scope="module")
def market() -> np.ndarray:
    """130 s of a market with its bars."""
    source = SyntheticMarket(SimulatorConfig(seed=2, instruments=8, ticks_per_s=300.0), START_NS)
    maker = BarMaker(8)
    return join_ticks([maker.push(source.block()) for _ in range(1_300)])


@pytest.mark.parametrize(
    ("kind", "width_ns"), [(TickKind.BAR_SECOND, SECOND_NS), (TickKind.BAR_MINUTE, MINUTE_NS)]
)
def test_bars_equal_the_trades_of_their_window(market: np.ndarray, kind: TickKind, width_ns: int) -> None:
    trades = market[market["kind"] == TickKind.TRADE]
    bars = market[market["kind"] == kind]
    assert len(bars) >= 8 * 2
    for bar in bars:
        own = trades[
            (trades["instrument_id"] == bar["instrument_id"])
            & (trades["ts_venue_ns"] >= bar["ts_start_ns"])
            & (trades["ts_venue_ns"] < bar["ts_start_ns"] + width_ns)
        ]
        eligible = own[(own["flags"] & TickFlag.NO_PRICE_UPDATE) == 0]["price"]
        prices = (eligible[0], eligible.max(), eligible.min(), eligible[-1])
        assert (bar["open"], bar["high"], bar["low"], bar["close"]) == prices
        assert bar["volume"] == own["size"].sum()
        assert bar["vwap"] == pytest.approx((own["size"] * own["price"]).sum() / own["size"].sum(), abs=1e-4)
        assert bar["venue_sequence"] == len(own)
        assert bar["ts_venue_ns"] == bar["ts_start_ns"] + width_ns


def test_every_window_with_an_eligible_trade_has_a_bar(market: np.ndarray) -> None:
    last_second = market["ts_venue_ns"].max() // SECOND_NS
    trades = market[(market["kind"] == TickKind.TRADE) & (market["ts_venue_ns"] // SECOND_NS < last_second)]
    eligible = trades[(trades["flags"] & TickFlag.NO_PRICE_UPDATE) == 0]
    windows = {(int(t["instrument_id"]), int(t["ts_venue_ns"] // SECOND_NS)) for t in eligible}
    bars = market[market["kind"] == TickKind.BAR_SECOND]
    assert {(int(b["instrument_id"]), int(b["ts_start_ns"] // SECOND_NS)) for b in bars} == windows
    assert len(bars) == len(windows)


def test_a_bar_stands_before_the_first_tick_of_the_next_window(market: np.ndarray) -> None:
    assert np.all(np.diff(market["ts_venue_ns"] // SECOND_NS) >= 0)
    bars = np.flatnonzero(market["kind"] == TickKind.BAR_SECOND)
    before = market[bars - 1]
    assert np.all(
        (before["kind"] >= TickKind.BAR_SECOND) | (before["ts_venue_ns"] < market["ts_venue_ns"][bars])
    )


def test_day_fields_count_since_the_start(market: np.ndarray) -> None:
    trades = market[(market["kind"] == TickKind.TRADE) & (market["instrument_id"] == 0)]
    bar = market[(market["kind"] == TickKind.BAR_MINUTE) & (market["instrument_id"] == 0)][-1]
    earlier = trades[trades["ts_venue_ns"] < bar["ts_venue_ns"]]
    assert bar["day_volume"] == earlier["size"].sum()
    assert bar["day_open"] == earlier[(earlier["flags"] & TickFlag.NO_PRICE_UPDATE) == 0]["price"][0]


def one_trade(ts_ns: int, price: float, flags: int = 0, size: float = 100.0) -> np.ndarray:
    tick = np.zeros(1, TICK_DTYPE)
    tick["kind"], tick["ts_venue_ns"], tick["ts_recv_ns"] = TickKind.TRADE, ts_ns, ts_ns
    tick["price"], tick["size"], tick["flags"] = price, size, flags
    return tick


def test_a_window_without_an_eligible_trade_has_no_bar() -> None:
    maker = BarMaker(1)
    maker.push(one_trade(START_NS, 5.0, TickFlag.NO_PRICE_UPDATE))
    out = maker.push(one_trade(START_NS + SECOND_NS, 6.0))
    assert out["kind"].tolist() == [TickKind.TRADE]


def test_a_trade_that_adds_no_volume_is_left_out() -> None:
    maker = BarMaker(1)
    maker.push(one_trade(START_NS, 5.0, size=100))
    maker.push(one_trade(START_NS + 1, 9.0, TickFlag.NO_VOLUME_UPDATE, size=700))
    bar = maker.push(one_trade(START_NS + SECOND_NS, 6.0))[0]
    assert (bar["volume"], bar["high"]) == (100, 5.0)


def test_a_trade_that_goes_back_in_time_counts_for_the_open_window() -> None:
    maker = BarMaker(1)
    maker.push(one_trade(START_NS + SECOND_NS, 5.0))
    maker.push(one_trade(START_NS, 7.0))
    bar = maker.push(one_trade(START_NS + 2 * SECOND_NS, 6.0))[0]
    assert (bar["ts_start_ns"], bar["volume"], bar["high"]) == (START_NS + SECOND_NS, 200, 7.0)
