"""Aggregates of the REST side: the very bars that the websocket sent, and the vendor's rules for odd prints."""

from datetime import date

import numpy as np
import pytest

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.conditions import flags_of
from hft_engine.feed.simulator.bars import BarMaker
from hft_engine.feed.simulator.eastern import day_of, midnight_ns
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.feed.simulator.history import History
from hft_engine.feed.simulator.rest.aggregates import Bar, aggregate, merge, period_of
from hft_engine.feed.simulator.rest.paging import next_url, unfold
from hft_engine.feed.simulator.rest.past import DAYS, Past
from hft_engine.feed.simulator.rest.polygon_indicators import ema, rsi, sma
from hft_engine.records import TICK_DTYPE, TickKind, join_ticks
from support.sim_markets import START_NS, SYMBOLS, steady_ticks

CONFIG = SimulatorConfig(instruments=5, ticks_per_s=2_000.0, seed=4)


@pytest.fixture(scope="module")
def history() -> History:
    """75 s of the synthetic market, which has prints of many conditions, with the bars the websocket sends."""
    market, maker = SyntheticMarket(CONFIG, START_NS), BarMaker(CONFIG.instruments)
    kept = History(market.symbols)
    for _ in range(750):
        kept.append(maker.push(market.block()))
    return kept


@pytest.mark.parametrize(("kind", "span"), [(TickKind.BAR_SECOND, "second"), (TickKind.BAR_MINUTE, "minute")])
def test_they_are_the_bars_of_the_websocket(history: History, kind: TickKind, span: str) -> None:
    for symbol in history.symbols:
        sent = history.of(symbol, kind)
        names = ("ts_start_ns", "open", "high", "low", "close", "volume", "vwap", "venue_sequence")
        bars = aggregate(history.of(symbol, TickKind.TRADE), span, 1)[: len(sent)]
        assert [tuple(bar) for bar in bars] == list(
            zip(*(sent[name].tolist() for name in names), strict=True)
        )
        assert len(sent) > 0


def trades(*prints: tuple[int, float, float, tuple[int, ...]]) -> np.ndarray:
    """(ms, price, size, conditions) each."""
    ticks = np.zeros(len(prints), TICK_DTYPE)
    ticks["kind"] = TickKind.TRADE
    for row, (ms, price, size, codes) in enumerate(prints):
        ticks[row]["ts_venue_ns"], ticks[row]["price"], ticks[row]["size"] = (
            START_NS + ms * 10**6,
            price,
            size,
        )
        ticks[row]["flags"] = flags_of(codes)
    return ticks


def test_a_print_does_what_its_conditions_allow_and_time_not_order_decides() -> None:
    found = aggregate(
        trades(
            (30, 11.0, 1, ()), (20, 10.0, 2, (14,)), (40, 99.0, 3, (37,)),  # odd lot: volume only
            (50, 50.0, 4, (16,)),  # official open: nothing
            (45, 12.0, 5, (41,)),
        ),
        "second",
        1,
    )  # fmt: skip
    assert found == [Bar(START_NS, 10.0, 12.0, 10.0, 12.0, 11.0, round((11 + 20 + 297 + 60) / 11, 4), 4)]


def test_without_an_eligible_print_there_is_no_bar() -> None:
    assert (
        aggregate(trades((0, 10.0, 5, (37,)), (1_500, 11.0, 1, ())), "second", 1)[0].start_ns
        == START_NS + 10**9
    )
    assert aggregate(trades(), "day", 1) == []


def test_windows_of_the_calendar_are_those_of_new_york() -> None:
    assert midnight_ns(date(2020, 1, 2)) == 1577941200000 * 10**6  # as the vendor's documentation has it
    late = trades((0, 1.0, 1, ()))
    late["ts_venue_ns"] = midnight_ns(date(2026, 3, 9)) - 1  # the day the clocks go forward has 23 h
    assert [day_of(bar.start_ns) for bar in aggregate(late, "day", 1)] == [date(2026, 3, 8)]
    starts = {
        span: period_of(date(2026, 11, 26), span).isoformat() for span in ("week", "month", "quarter", "year")
    }
    assert starts == {
        "week": "2026-11-22",
        "month": "2026-11-01",
        "quarter": "2026-10-01",
        "year": "2026-01-01",
    }


def test_longer_bars_are_made_of_days() -> None:
    days = [
        Bar(midnight_ns(date(2026, 1, d)), d, d + 1, d - 1, d + 0.5, 10.0, float(d), 3) for d in (29, 30, 31)
    ]
    days.append(Bar(midnight_ns(date(2026, 2, 1)), 1, 2, 0, 1, 5.0, 1.0, 1))
    assert merge(days, "month", 1) == [
        Bar(midnight_ns(date(2026, 1, 1)), 29, 32, 28, 31.5, 30.0, 30.0, 9), days[3],
    ]  # fmt: skip


def test_the_past_is_always_the_same_and_ends_at_the_first_price() -> None:
    history = History(SYMBOLS)
    assert Past(history).days("AAPL") == []
    history.append(steady_ticks(6))
    days = Past(history).days("AAPL")
    assert days == Past(history).days("AAPL") and len(days) == DAYS
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in days)
    assert days[-1].close == pytest.approx(100.0, rel=0.1)
    assert all(day_of(bar.start_ns).weekday() < 5 for bar in days)


def test_the_history_forgets_the_oldest_when_it_is_full() -> None:
    history = History(SYMBOLS, ticks_max=1_000)
    for piece in np.split(steady_ticks(3_000), 30):
        history.append(piece)
    numbers, kept = history.numbered("MSFT", TickKind.TRADE)
    assert history.forgotten > 0 and kept["trade_id"].tolist() == numbers.tolist()
    assert numbers[-1] == 2_998 and len(numbers) >= 250


def test_a_cursor_holds_the_query_and_no_key() -> None:
    url = next_url("/v3/trades/A", {"limit": "5", "apiKey": "SECRET", "timestamp.gte": "7"}, "41")
    assert url.startswith("https://api.polygon.io/v3/trades/A?cursor=") and "SECRET" not in url
    assert unfold({"cursor": url.partition("cursor=")[2]}) == {"limit": "5", "timestamp.gte": "7", "ap": "41"}
    with pytest.raises(ValueError):
        unfold({"cursor": "!!"})


def test_indicators_against_talib() -> None:
    talib = pytest.importorskip("talib")
    prices = np.cumsum(np.random.default_rng(1).normal(0, 1, 200)) + 100
    for ours, theirs in ((sma, talib.SMA), (ema, talib.EMA), (rsi, talib.RSI)):
        expected = theirs(prices, 14)
        assert ours(prices.tolist(), 14) == pytest.approx(expected[~np.isnan(expected)].tolist())
    assert ema([1.0], 2) == rsi([1.0, 2.0], 2) == sma([1.0], 2) == []


def test_ticks_of_history_are_copies(history: History) -> None:
    first = history.of(history.symbols[0], TickKind.TRADE)
    first["price"] = 0.0
    assert (history.of(history.symbols[0], TickKind.TRADE)["price"] > 0).all()
    assert len(join_ticks([first])) == len(first)
