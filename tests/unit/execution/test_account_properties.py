"""Whatever is ordered and traded: money adds up to the last unit, and no order does what an order may not do."""

from collections import defaultdict

from execution_bench import Bench, quote, trade
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.execution import kernels
from hft_engine.execution.state import A_CASH, A_FEES, A_REALISED, A_START, A_WORKING
from hft_engine.records import OrderStatus

PRICES = st.integers(900, 1_100).map(lambda cents: cents / 100)
SIZES = st.integers(1, 400)
TICKS = st.one_of(
    st.tuples(st.just("trade"), st.integers(0, 1), PRICES, SIZES),
    st.tuples(st.just("quote"), PRICES, st.integers(0, 5), SIZES),
)
ORDERS = st.one_of(
    st.tuples(st.just("buy"), st.integers(0, 1), SIZES, st.none() | PRICES, st.none() | st.integers(0, 40)),
    st.tuples(st.just("sell"), st.integers(0, 1), SIZES, st.none() | PRICES, st.none() | st.integers(0, 40)),
    st.tuples(st.just("cancel"), st.integers(1, 30)),
    st.just(("cancel_all",)),
)
STEPS = st.lists(st.one_of(TICKS, ORDERS), max_size=80)
TERMS = st.fixed_dictionaries(
    {
        "latency_ms": st.integers(0, 15),
        "fee_per_unit": st.sampled_from([0.0, 0.005, 0.013]),
        "fee_bps": st.sampled_from([0.0, 0.7]),
        "queue": st.sampled_from(["through", "estimate"]),
    }
)
FINAL = {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REFUSED}
LEGAL = {
    None: {OrderStatus.ACCEPTED, OrderStatus.REFUSED},
    OrderStatus.ACCEPTED: {
        OrderStatus.PARTIAL,
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.EXPIRED,
    },
    OrderStatus.PARTIAL: {
        OrderStatus.PARTIAL,
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.EXPIRED,
    },
}


def play(steps: list[tuple], terms: dict) -> Bench:
    bench = Bench(**terms, risk={"working_max": 20, "collar_bps": 3_000})
    for at, (what, *rest) in enumerate(steps):
        if what == "trade":
            bench.feed(trade(rest[1], size=rest[2], at_ms=5 * at, instrument=rest[0]))
        elif what == "quote":
            bench.feed(quote(rest[0], rest[0] + rest[1] / 100, at_ms=5 * at, sizes=(rest[2], rest[2])))
        elif what == "cancel":
            bench.ctx.cancel(rest[0])
        elif what == "cancel_all":
            bench.desk.cancel_all()
        else:
            getattr(bench.ctx, what)(rest[0], rest[1], limit=rest[2], expiry_ms=rest[3])
        bench.collect()
    return bench


@given(STEPS, TERMS)
def test_money_adds_up_to_the_last_unit(steps: list[tuple], terms: dict) -> None:
    bench = play(steps, terms)
    account, rows = bench.desk.state.account, bench.desk.state.rows
    paid = sum(int(f["side"]) * int(f["price"]) * int(f["quantity"]) for f in bench.fills)
    fees = sum(int(f["fee"]) for f in bench.fills)
    assert account[A_CASH] == account[A_START] - paid - fees
    assert account[A_FEES] == fees == rows["fees"].sum()
    assert account[A_REALISED] == rows["realised"].sum() == sum(int(f["realised"]) for f in bench.fills)
    equity, gross, net = kernels.value(bench.desk.wiring)
    marks = [kernels.mark(bench.desk.wiring, i) for i in range(2)]
    held = [int(rows[i]["position"]) for i in range(2)]
    assert net == sum(p * m for p, m in zip(held, marks, strict=True))
    assert gross == sum(abs(p * m) for p, m in zip(held, marks, strict=True))
    assert equity == account[A_CASH] + net
    unrealised = sum(p * m - int(rows[i]["cost"]) for i, (p, m) in enumerate(zip(held, marks, strict=True)))
    assert equity - account[A_START] == account[A_REALISED] + unrealised - fees
    for i in range(2):
        mine = [f for f in bench.fills if f["instrument_id"] == i]
        assert held[i] == sum(int(f["side"]) * int(f["quantity"]) for f in mine)
        assert (held[i] == 0) <= (int(rows[i]["cost"]) == 0), "nothing held costs nothing"
        if mine:
            assert int(mine[-1]["position"]) == held[i]


@given(STEPS, TERMS)
def test_an_order_only_goes_where_an_order_may_go(steps: list[tuple], terms: dict) -> None:
    bench = play(steps, terms)
    status: dict[int, OrderStatus] = {}
    filled: dict[int, int] = defaultdict(int)
    fills = iter(bench.fills)
    for record in bench.orders:
        order, now = int(record["order_id"]), OrderStatus(int(record["status"]))
        assert now in LEGAL[status.get(order)], f"order {order}: {status.get(order)} -> {now}"
        status[order] = now
        if now in (OrderStatus.PARTIAL, OrderStatus.FILLED):
            fill = next(fills)
            assert fill["order_id"] == order and fill["price"] == record["price"]
            filled[order] += int(fill["quantity"])
            limit, side = int(record["limit"]), int(record["side"])
            assert limit == 0 or (int(fill["price"]) - limit) * side <= 0, "never worse than its limit"
        assert filled[order] == record["filled"] <= record["quantity"] or now is OrderStatus.REFUSED
        assert (now is OrderStatus.FILLED) == (record["filled"] == record["quantity"])
    assert next(fills, None) is None, "a fill without its order's record"
    still_open = [order for order, last in status.items() if last not in FINAL]
    assert len(still_open) == bench.desk.state.account[A_WORKING]
    working = bench.desk.state.working
    assert sorted(int(o) for o in working["order_id"] if o) == still_open
    for i in range(2):
        mine = working[(working["order_id"] > 0) & (working["instrument_id"] == i)]
        for side, name in ((1, "open_buy"), (-1, "open_sell")):
            of_side = mine[mine["side"] == side]
            assert bench.desk.state.rows[i][name] == (of_side["quantity"] - of_side["filled"]).sum()


@given(STEPS, TERMS)
def test_the_same_steps_give_the_same_hash(steps: list[tuple], terms: dict) -> None:
    one, two = play(steps, terms), play(steps, terms)
    assert [f.tobytes() for f in one.fills] == [f.tobytes() for f in two.fills]
    assert [o.tobytes() for o in one.orders] == [o.tobytes() for o in two.orders]
