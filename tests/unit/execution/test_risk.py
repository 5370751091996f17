"""Every rule of the gate refuses what it is there for, says so, and lets its neighbour pass."""

import pytest
from execution_bench import Bench, health, quote, signal, trade

from hft_engine.execution.state import A_LATCHED, A_TRIPPED
from hft_engine.execution.strategy import Strategy
from hft_engine.records import OrderStatus, Refusal, TickFlag


@pytest.fixture
def bench() -> Bench:
    bench = Bench(
        risk={
            "order_size_max": 1_000,
            "order_notional_max": 5_000,
            "position_max": 600,
            "collar_bps": 100,
            "working_max": 3,
        }
    )
    bench.feed(quote(9.99, 10.01), trade(10.00))
    return bench


def test_sizes_and_values_at_the_limit_pass_and_beyond_are_refused(bench: Bench) -> None:
    assert bench.ctx.buy("AAA", 500) > 0
    assert bench.refusal(bench.ctx.buy("AAA", 501)) is Refusal.ORDER_NOTIONAL
    assert bench.refusal(bench.ctx.buy("AAA", 1_001)) is Refusal.ORDER_SIZE


def test_a_position_counts_with_every_open_order_of_its_side_filled(bench: Bench) -> None:
    assert bench.ctx.buy("AAA", 400) > 0
    assert bench.refusal(bench.ctx.buy("AAA", 201)) is Refusal.POSITION
    assert bench.ctx.sell("AAA", 500) > 0, "the other side has room of its own"
    assert bench.ctx.buy("AAA", 200) > 0


def test_an_instrument_whose_data_are_unfit_takes_no_order_until_they_are_fit(bench: Bench) -> None:
    now_ns = bench.ctx.now_ns
    bench.feed(health(TickFlag.UNFIT))
    assert bench.refusal(bench.ctx.buy("AAA", 10)) is Refusal.UNFIT
    assert bench.refusal(bench.ctx.buy("BBB", 10)) is not Refusal.UNFIT
    assert bench.ctx.now_ns == now_ns
    bench.feed(health(TickFlag.NONE))
    assert bench.ctx.buy("AAA", 10) > 0


def test_out_of_a_position_is_always_possible(bench: Bench) -> None:
    bench.ctx.buy("AAA", 500)
    bench.feed(trade(10.00, at_ms=50))
    assert bench.ctx.position("AAA") == 500
    assert bench.ctx.sell("AAA", 500) > 0


def test_a_limit_far_from_the_last_price_is_refused(bench: Bench) -> None:
    assert bench.ctx.buy("AAA", 10, limit=9.90) > 0
    assert bench.refusal(bench.ctx.buy("AAA", 10, limit=9.89)) is Refusal.PRICE_COLLAR


def test_a_market_order_into_a_quote_far_from_the_last_price_is_refused(bench: Bench) -> None:
    bench.feed(quote(9.00, 11.00))
    assert bench.refusal(bench.ctx.buy("AAA", 10)) is Refusal.PRICE_COLLAR
    assert bench.refusal(bench.ctx.sell("AAA", 10)) is Refusal.PRICE_COLLAR


def test_more_open_orders_than_allowed_are_refused(bench: Bench) -> None:
    assert all(bench.ctx.buy("AAA", 10, limit=9.95) > 0 for _ in range(3))
    assert bench.refusal(bench.ctx.buy("AAA", 10, limit=9.95)) is Refusal.WORKING


def test_the_last_slot_stays_free_for_orders_that_are_refused() -> None:
    bench = Bench(risk={"working_max": 256})
    bench.feed(trade(10.00))
    ids = [bench.ctx.buy("AAA", 1, limit=9.95) for _ in range(256)]
    assert all(order > 0 for order in ids)
    assert bench.refusal(bench.ctx.buy("AAA", 1, limit=9.95)) is Refusal.WORKING
    assert all(bench.ctx.cancel(order) for order in ids)


@pytest.mark.parametrize("quantity", [0.0, -5.0, 0.4, float("nan"), float("inf")])
def test_a_quantity_that_is_none_is_refused(bench: Bench, quantity: float) -> None:
    assert bench.refusal(bench.ctx.buy("AAA", quantity)) is Refusal.INVALID


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_no_price_is_refused_and_not_taken_for_a_market_order(
    bench: Bench, limit: float
) -> None:
    assert bench.refusal(bench.ctx.buy("AAA", 10, limit=limit)) is Refusal.INVALID


def test_an_instrument_without_a_row_is_refused(bench: Bench) -> None:
    assert bench.refusal(bench.ctx.buy(99, 10)) is Refusal.INVALID


def test_without_any_price_an_order_cannot_be_valued(bench: Bench) -> None:
    assert bench.refusal(bench.ctx.buy("BBB", 10)) is Refusal.NO_PRICE


class _Slow(Strategy):
    """Keeps the first signal and acts on it whenever it is told to."""

    def on_signal(self, ctx, told) -> None:  # type: ignore[no-untyped-def]
        self.told = told


@pytest.mark.parametrize(("at_ms", "passes"), [(1_000, True), (1_001, False)])
def test_an_old_signal_is_refused(at_ms: int, passes: bool) -> None:
    strategy = _Slow()
    bench = Bench(strategy, latency_ms=0)
    bench.desk.signals.put(signal(source=0, side=1))
    bench.feed(trade(10.00))
    bench.feed(trade(10.00, at_ms=at_ms))
    bench.ctx._cause = strategy.told
    order = bench.ctx.buy("AAA", 10)
    assert order > 0 if passes else bench.refusal(order) is Refusal.STALE_SIGNAL


def test_an_order_that_would_arrive_after_the_signals_expiry_is_refused() -> None:
    bench = Bench(_Slow(), latency_ms=5_000)
    bench.desk.signals.put(signal(source=0, side=1))
    bench.feed(trade(10.00))
    bench.ctx._cause = bench.desk.strategy.told  # type: ignore[attr-defined]
    assert bench.refusal(bench.ctx.buy("AAA", 10)) is Refusal.STALE_SIGNAL


def test_latched_refuses_everything(bench: Bench) -> None:
    bench.desk.state.account[A_LATCHED] = 1
    assert bench.refusal(bench.ctx.sell("AAA", 1)) is Refusal.LATCHED


def test_a_loss_beyond_the_limit_latches_with_open_positions_counted() -> None:
    bench = Bench(latency_ms=0, risk={"loss_max": 100.0})
    bench.feed(trade(10.00))
    bench.ctx.buy("AAA", 100)
    bench.feed(trade(10.00), trade(9.00))
    assert bench.ctx.buy("AAA", 1) > 0, "a loss of just 100"
    bench.feed(trade(8.99))
    assert bench.refusal(bench.ctx.buy("AAA", 1)) is Refusal.LOSS
    assert bench.refusal(bench.ctx.sell("AAA", 1)) is Refusal.LATCHED
    assert bench.desk.state.account[A_TRIPPED] == 1


def test_a_refused_order_leaves_nothing_behind(bench: Bench) -> None:
    before = bench.desk.state.rows.copy()
    order = bench.ctx.buy("AAA", 5_000)
    assert bench.status(order) is OrderStatus.REFUSED
    assert (bench.desk.state.rows == before).all()
    assert bench.ctx.open_orders == 0
