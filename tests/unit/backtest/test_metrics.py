"""The report's figures against plain Python over the same numbers, written apart."""

import math
import statistics
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hft_engine.backtest.metrics import metrics_of, sharpe_of
from hft_engine.backtest.trades import Trade, trades_of
from hft_engine.records import FILL_DTYPE

MINUTE_NS = 60_000_000_000
DAY_NS = 86_400_000_000_000
EQUITIES = st.lists(st.integers(50_000, 150_000).map(float), min_size=3, max_size=60)


def metrics(equity: list[float], trades: list[Trade] = [], gross: list[float] | None = None):  # type: ignore[no-untyped-def]  # noqa: B006
    stamps = np.arange(len(equity), dtype=np.int64) * MINUTE_NS
    return metrics_of(stamps, np.array(equity), np.array(gross or [0.0] * len(equity)), trades, 1.5, 10.0)


@given(EQUITIES)
def test_drawdown_is_the_deepest_fall_from_a_high(equity: list[float]) -> None:
    falls = [(max(equity[: i + 1]) - e, 1 - e / max(equity[: i + 1])) for i, e in enumerate(equity)]
    found = metrics(equity)
    assert found.drawdown == max(fall for fall, _ in falls)
    assert found.drawdown_share == pytest.approx(max(share for _, share in falls))
    longest, high = 0, 0
    for i, e in enumerate(equity):
        if e >= max(equity[: i + 1]):
            longest, high = max(longest, i - high), i
    assert found.drawdown_s == 60 * max(longest, len(equity) - 1 - high)


@given(EQUITIES)
def test_sharpe_is_that_of_a_plain_loop(equity: list[float]) -> None:
    returns = [b / a - 1 for a, b in pairwise(equity)]
    assume(len(set(returns)) > 1)
    expected = statistics.mean(returns) / statistics.stdev(returns) * math.sqrt(252 * len(returns))
    assert metrics(equity).sharpe == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_daily_samples_are_annualised_by_252_days() -> None:
    equity = np.array([100.0, 101.0, 100.5, 102.0, 103.0])
    returns = [b / a - 1 for a, b in pairwise(equity)]
    expected = statistics.mean(returns) / statistics.stdev(returns) * math.sqrt(252)
    assert sharpe_of(np.arange(5) * DAY_NS, equity) == pytest.approx(expected)


def test_what_cannot_be_computed_is_none() -> None:
    flat = metrics([100.0, 100.0, 100.0])
    assert (flat.sharpe, flat.win_rate, flat.profit_factor, flat.held_mean_s) == (None,) * 4
    assert (flat.profit, flat.drawdown, flat.exposure) == (0.0, 0.0, 0.0)


def test_rates_of_trades() -> None:
    def ended(profit: float, held_s: int) -> Trade:
        return Trade("A", "long", 0, held_s * 1_000_000_000, 1.0, 1.0, 1.0, profit, 0.0, 2)

    found = metrics([100.0] * 4, [ended(30.0, 10), ended(-10.0, 20), ended(10.0, 60)], [0.0, 5.0, 5.0, 0.0])
    assert (found.trades, found.win_rate, found.profit_factor) == (3, pytest.approx(2 / 3), 4.0)
    assert (found.win_mean, found.loss_mean, found.held_mean_s) == (20.0, -10.0, 30.0)
    assert (found.exposure, found.gross_mean) == (0.5, 2.5)


FILLS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from([-1, 1]),
        st.integers(1, 50),
        st.integers(900, 1_100),
        st.integers(0, 9),
    ),
    max_size=60,
)


def fills_of(rows: list[tuple[int, int, int, int, int]]) -> np.ndarray:
    fills = np.zeros(len(rows), FILL_DTYPE)
    for i, row in enumerate(rows):
        for name, value in zip(("instrument_id", "side", "quantity", "price", "fee"), row, strict=True):
            fills[name][i] = value
        fills["ts_venue_ns"][i] = i
    return fills


@given(FILLS)
def test_round_trips_hold_all_that_was_closed_and_nothing_else(
    rows: list[tuple[int, int, int, int, int]],
) -> None:
    trades = trades_of(fills_of(rows), {0: "A", 1: "B"}, 0.01, 1.0)
    open_money, held = defaultdict(float), defaultdict(int)
    closed = defaultdict(float)
    trips = 0
    for instrument, side, quantity, price, fee in rows:  # one unit after the other
        for _ in range(quantity):
            open_money[instrument] -= side * price / 100 + fee / 100 / quantity
            held[instrument] += side
            if held[instrument] == 0:
                closed[instrument] += open_money.pop(instrument)
                trips += 1
    assert len(trades) == trips
    for i, symbol in enumerate("AB"):
        mine = sum(trade.profit for trade in trades if trade.symbol == symbol)
        assert mine == pytest.approx(closed[i], abs=0.011 * (len(rows) + 1))  # fees are split in whole cents
    assert all(trade.quantity > 0 and trade.opened_ns <= trade.closed_ns for trade in trades)


def test_a_long_and_a_short_round_trip_in_full() -> None:
    fills = fills_of(
        [(0, 1, 10, 1_000, 2), (0, 1, 10, 1_100, 2), (0, -1, 30, 1_200, 6), (0, 1, 10, 1_150, 1)]
    )
    long, short = trades_of(fills, {0: "A"}, 0.01, 1.0)
    assert (long.side, long.quantity, long.entry, long.exit) == ("long", 20.0, pytest.approx(10.5), 12.0)
    assert (long.profit, long.fees, long.fills) == (pytest.approx(30.0 - 0.08), pytest.approx(0.08), 3)
    assert (short.side, short.quantity, short.entry, short.exit) == ("short", 10.0, 12.0, 11.5)
    assert short.profit == pytest.approx(5.0 - 0.03)
