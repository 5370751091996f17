"""When and at what price the paper venue fills."""

import pytest
from execution_bench import Bench, quote, trade

from hft_engine.records import Liquidity, OrderStatus, TickFlag


def test_a_market_order_never_meets_the_tick_it_was_decided_on() -> None:
    bench = Bench(latency_ms=0)
    bench.feed(quote(10.00, 10.02))
    order = bench.ctx.buy("AAA", 100)
    assert bench.status(order) is OrderStatus.ACCEPTED
    assert not bench.fills
    bench.feed(quote(10.04, 10.06))
    assert bench.prices() == [1006]
    assert bench.status(order) is OrderStatus.FILLED


def test_a_market_order_waits_for_its_latency_in_event_time() -> None:
    bench = Bench(latency_ms=10)
    bench.feed(quote(10.00, 10.02, at_ms=0))
    bench.ctx.sell("AAA", 100)
    bench.feed(quote(9.90, 9.92, at_ms=9), quote(9.80, 9.82, at_ms=10))
    assert bench.prices() == [980]
    assert bench.fills[0]["liquidity"] == Liquidity.TAKER


@pytest.mark.parametrize(("side", "price"), [("buy", 1002), ("sell", 998)])
def test_without_a_quote_a_market_order_pays_the_half_spread_rounded_against_it(
    side: str, price: int
) -> None:
    bench = Bench(latency_ms=0, half_spread_bps=15.0)
    bench.feed(trade(10.00))
    getattr(bench.ctx, side)("AAA", 100)
    bench.feed(trade(10.00))
    assert bench.prices() == [price]


def test_ticks_of_another_instrument_fill_nothing() -> None:
    bench = Bench(latency_ms=0)
    bench.feed(trade(10.00))
    bench.ctx.buy("AAA", 100)
    bench.feed(trade(50.00, instrument=1))
    assert not bench.fills


@pytest.mark.parametrize("flag", [TickFlag.NO_PRICE_UPDATE, TickFlag.CONDITION_UNKNOWN])
def test_a_print_that_may_not_move_the_price_fills_nothing_and_values_nothing(flag: TickFlag) -> None:
    bench = Bench(latency_ms=0)
    bench.feed(trade(10.00), trade(10.00))
    bench.ctx.buy("AAA", 100, limit=9.90)
    bench.feed(trade(9.00, flags=flag))
    assert not bench.fills
    assert bench.ctx.last("AAA") == 10.00


def test_a_limit_order_within_the_quote_takes_and_never_pays_more() -> None:
    bench = Bench(latency_ms=0)
    bench.feed(quote(10.00, 10.02))
    bench.ctx.buy("AAA", 100, limit=10.05)
    bench.feed(quote(10.01, 10.03))
    assert bench.prices() == [1003]
    assert bench.fills[0]["liquidity"] == Liquidity.TAKER


def test_a_waiting_limit_order_fills_at_its_limit_when_traded_through() -> None:
    bench = Bench(latency_ms=0)
    bench.feed(quote(10.00, 10.02))
    bench.ctx.buy("AAA", 100, limit=10.00)
    bench.feed(quote(10.00, 10.02), trade(10.00, size=10_000), quote(9.99, 10.00))
    assert not bench.fills, "at its limit is not through it"
    bench.feed(trade(9.99))
    assert bench.prices() == [1000]
    assert bench.fills[0]["liquidity"] == Liquidity.MAKER


def test_the_other_sides_quote_beyond_a_limit_fills_it() -> None:
    bench = Bench(latency_ms=0)
    bench.feed(quote(10.00, 10.02))
    bench.ctx.sell("AAA", 100, limit=10.03)
    bench.feed(quote(10.00, 10.02), quote(10.04, 10.06))
    assert bench.prices() == [1003]


def test_an_estimated_queue_gives_what_trades_leave_after_those_in_front() -> None:
    bench = Bench(latency_ms=0, queue="estimate")
    bench.feed(quote(10.00, 10.02, sizes=(300, 300)))
    order = bench.ctx.buy("AAA", 100, limit=10.00)
    bench.feed(quote(10.00, 10.02, sizes=(300, 300)), trade(10.00, size=250))
    assert not bench.fills
    bench.feed(trade(10.00, size=80))
    assert [int(fill["quantity"]) for fill in bench.fills] == [30]
    assert bench.status(order) is OrderStatus.PARTIAL
    bench.feed(trade(10.00, size=1_000))
    assert [int(fill["quantity"]) for fill in bench.fills] == [30, 70]
    assert bench.status(order) is OrderStatus.FILLED


def test_an_estimated_queue_is_empty_for_a_better_price_and_unknown_for_a_worse_one() -> None:
    bench = Bench(latency_ms=0, queue="estimate")
    bench.feed(quote(10.00, 10.04))
    better, worse = bench.ctx.buy("AAA", 10, limit=10.02), bench.ctx.buy("AAA", 10, limit=9.98)
    bench.feed(quote(10.00, 10.04), trade(10.02, size=10))
    assert bench.status(better) is OrderStatus.FILLED
    bench.feed(trade(9.98, size=5_000))
    assert bench.status(worse) is OrderStatus.ACCEPTED


def test_a_cancel_takes_as_long_as_an_order_and_may_come_too_late() -> None:
    bench = Bench(latency_ms=10)
    bench.feed(quote(10.00, 10.02, at_ms=0))
    late, in_time = bench.ctx.buy("AAA", 100, limit=9.99), bench.ctx.buy("AAA", 100, limit=9.60)
    bench.feed(quote(10.00, 10.02, at_ms=20))
    assert bench.ctx.cancel(late) and bench.ctx.cancel(in_time)
    bench.feed(trade(9.98, at_ms=25), quote(10.00, 10.02, at_ms=30))
    assert bench.status(late) is OrderStatus.FILLED
    assert bench.status(in_time) is OrderStatus.CANCELLED
    assert not bench.ctx.cancel(in_time)
    assert bench.ctx.open_orders == 0


def test_an_order_expires_before_it_meets_the_market() -> None:
    bench = Bench(latency_ms=0)
    bench.feed(quote(10.00, 10.02, at_ms=0))
    order = bench.ctx.buy("AAA", 100, limit=9.99, expiry_ms=50)
    bench.feed(quote(10.00, 10.02, at_ms=49), trade(9.00, at_ms=50))
    assert bench.status(order) is OrderStatus.EXPIRED
    assert not bench.fills


def test_orders_of_an_instrument_are_matched_in_the_order_they_were_sent() -> None:
    bench = Bench(latency_ms=0)
    bench.feed(trade(10.00))
    ids = [bench.ctx.buy("AAA", 10), bench.ctx.buy("AAA", 20), bench.ctx.sell("AAA", 5)]
    bench.feed(trade(10.00))
    assert [int(fill["order_id"]) for fill in bench.fills] == ids


def test_fees_are_of_quantity_and_notional_and_rounded_up() -> None:
    bench = Bench(latency_ms=0, fee_per_unit=0.005, fee_bps=1.0)
    bench.feed(trade(10.00))
    bench.ctx.buy("AAA", 3)
    bench.feed(trade(10.00))
    assert int(bench.fills[0]["fee"]) == 2  # 0.015 + 0.003 = 1.8 cents


def test_cancel_all_is_at_once() -> None:
    bench = Bench(latency_ms=10)
    bench.feed(trade(10.00))
    ids = [bench.ctx.buy("AAA", 10, limit=9.6 + i / 100) for i in range(5)]
    bench.desk.cancel_all()
    assert all(bench.status(order) is OrderStatus.CANCELLED for order in ids)
    assert bench.ctx.pending("AAA") == 0.0
