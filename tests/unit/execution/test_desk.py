"""The desk calls a strategy in one order, whatever the pieces in which ticks, bars and signals come."""

import numpy as np
import pytest
from execution_bench import Bench, bar, quote, signal, trade
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.execution.strategies import EmaCross, Follow
from hft_engine.execution.strategy import Strategy, StrategyError
from hft_engine.records import BarFlag, join_ticks


class Diary(Strategy):
    """Writes down all it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple] = []

    def on_tick(self, ctx, tick):  # type: ignore[no-untyped-def]
        self.lines.append(("tick", tick.sequence))

    def on_bar(self, ctx, bar):  # type: ignore[no-untyped-def]
        self.lines.append(("bar", bar.source_sequence, bar.close))

    def on_signal(self, ctx, signal):  # type: ignore[no-untyped-def]
        self.lines.append(("signal", signal.source_sequence))
        ctx.buy(signal.instrument_id, 10)

    def on_fill(self, ctx, fill):  # type: ignore[no-untyped-def]
        self.lines.append(("fill", fill.order_id, fill.price, fill.position))


def test_a_tick_comes_before_what_it_caused_and_a_fill_before_its_tick() -> None:
    diary = Diary()
    bench = Bench(diary, latency_ms=0)
    bench.desk.bars.put(bar(source=1, close=10.5))
    bench.desk.signals.put(signal(source=1, side=1))
    bench.feed(trade(10.0), trade(10.5), trade(11.0))
    assert diary.lines == [
        ("tick", 0),
        ("tick", 1),
        ("bar", 1, 10.5),
        ("signal", 1),
        ("fill", 1, 11.0, 10.0),
        ("tick", 2),
    ]


def test_a_bar_that_revises_another_is_not_told() -> None:
    diary = Diary()
    bench = Bench(diary)
    revised = bar(source=0, close=10.7)
    revised["flags"] = BarFlag.REVISION
    bench.desk.bars.put(revised)
    bench.feed(trade(10.0))
    assert diary.lines == [("tick", 0)]


def test_what_a_missed_tick_caused_comes_before_the_next_tick() -> None:
    diary = Diary()
    bench = Bench(diary, latency_ms=0)
    bench.feed(trade(10.0))
    bench.desk.signals.put(signal(source=3, side=1))
    bench.sequence = 7
    bench.feed(trade(10.0))
    assert diary.lines[1:] == [("signal", 3), ("fill", 1, 10.0, 10.0), ("tick", 7)]


class PythonFollow(Follow):
    """The same, not compiled."""


class TickFollow(Follow):
    """The same, told of every tick and every fill."""

    def on_tick(self, ctx, tick):  # type: ignore[no-untyped-def]
        assert ctx.now_ns == tick.ts_venue_ns

    def on_fill(self, ctx, fill):  # type: ignore[no-untyped-def]
        assert ctx.position(fill.instrument_id) == fill.position


def market(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(ticks, signals): a random walk, and signals at random ticks of it."""
    random = np.random.default_rng(seed)
    cents = 1_000 + np.cumsum(random.integers(-2, 3, count))
    rows = [
        trade(c / 100, at_ms=4 * i)
        if random.random() < 0.5
        else quote((c - 1) / 100, (c + 1) / 100, at_ms=4 * i)
        for i, c in enumerate(cents.tolist())
    ]
    sources = np.sort(random.choice(count, count // 5, replace=False))
    signals = [
        signal(int(s), int(random.choice([-1, 1])), at_ms=4 * int(s), sequence=k)
        for k, s in enumerate(sources)
    ]
    return join_ticks(rows), np.concatenate(signals)


@given(st.integers(0, 2**31), st.integers(1, 60), st.booleans(), st.integers(0, 12))
def test_compiled_and_python_follow_fill_the_same_in_any_pieces(
    seed: int, chunk: int, short: bool, latency_ms: int
) -> None:
    ticks, signals = market(seed, 120)
    found = []
    for strategy, pieces in (
        (Follow(), 120),
        (Follow(), chunk),
        (PythonFollow(), chunk),
        (TickFollow(), 120),
    ):
        bench = Bench(strategy, latency_ms=latency_ms, parameters={"quantity": 7, "short": float(short)})
        bench.desk.signals.put(signals)
        bench.feed_all(ticks.copy(), pieces)
        found.append(([f.tobytes() for f in bench.fills], [o.tobytes() for o in bench.orders]))
    assert found[0][1], "no order at all proves nothing"
    assert all(other == found[0] for other in found[1:])


def test_ema_cross_holds_while_the_fast_average_is_above() -> None:
    bench = Bench(EmaCross(), latency_ms=0, parameters={"quantity": 5, "fast": 2, "slow": 3})
    closes = [10.0, 10.0, 10.0, 10.2, 10.4, 10.1, 9.5, 9.4]
    for i, close in enumerate(closes):
        bench.desk.bars.put(bar(source=i, close=close))
    bench.feed(*(trade(close, at_ms=10 * i) for i, close in enumerate([*closes, 9.4])))
    assert [(int(f["side"]), int(f["price"])) for f in bench.fills] == [(1, 1040), (-1, 950)]
    assert bench.ctx.position("AAA") == 0.0


def test_context_speaks_in_currency_and_units() -> None:
    bench = Bench(latency_ms=0, fee_per_unit=0.01, cash=10_000.0)
    bench.feed(quote(9.98, 10.02), trade(10.00))
    bench.ctx.buy("AAA", 100)
    assert bench.ctx.pending("AAA") == 100.0
    bench.feed(quote(9.98, 10.02))
    ctx = bench.ctx
    assert (ctx.position("AAA"), ctx.average_price("AAA")) == (100.0, pytest.approx(10.02))
    assert (ctx.cash, ctx.fees, ctx.realised) == (pytest.approx(8_997.0), pytest.approx(1.0), 0.0)
    assert ctx.equity == pytest.approx(9_997.0)
    assert (ctx.last("AAA"), ctx.bid("AAA"), ctx.ask("AAA")) == (
        10.0,
        pytest.approx(9.98),
        pytest.approx(10.02),
    )
    assert ctx.symbol(0) == "AAA" and ctx.rules == ("up", "down")
    assert np.isnan(ctx.last("BBB")) and np.isnan(ctx.average_price("BBB"))
    with pytest.raises(StrategyError, match="no instrument 'ZZZ' has been seen; known: AAA, BBB"):
        ctx.position("ZZZ")


@pytest.mark.parametrize(
    ("side", "limit", "ticks"), [("buy", 10.009, 1000), ("sell", 10.001, 1001), ("buy", 0.29, 29)]
)
def test_a_limit_is_rounded_for_the_one_who_set_it(side: str, limit: float, ticks: int) -> None:
    bench = Bench(risk={"collar_bps": 100_000})
    bench.feed(trade(10.00))
    getattr(bench.ctx, side)("AAA", 1, limit=limit)
    bench.collect()
    assert int(bench.orders[-1]["limit"]) == ticks


def test_orders_without_end_in_one_callback_are_an_error_that_says_so() -> None:
    bench = Bench()
    with pytest.raises(StrategyError, match="thousands of orders in one callback"):
        for _ in range(10_000):
            bench.ctx.buy("AAA", 1)
