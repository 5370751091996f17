"""Which bars are asked for, and in which pieces."""

from hypothesis import given
from hypothesis import strategies as st

from hft_engine.feed.repair.plan import SPANS_NS, STRETCHES_MAX, WINDOWS_MAX, Plan

SECOND_NS, MINUTE_NS = SPANS_NS["second"], SPANS_NS["minute"]
T0 = 1_700_000_040 * SECOND_NS  # a whole minute


def test_a_stamp_makes_its_second_and_its_minute_suspect_once_they_have_settled() -> None:
    plan = Plan(("second", "minute"), settle_ns=5 * SECOND_NS)
    plan.add(3, T0 + 500_000_000, T0 + 500_000_000)
    assert plan.take(T0 + 6 * SECOND_NS - 1) is None
    second = plan.take(T0 + 6 * SECOND_NS)
    assert second is not None and (second.span, second.start_ns, second.end_ns) == (
        "second",
        T0,
        T0 + SECOND_NS,
    )
    assert plan.take(T0 + 64 * SECOND_NS) is None
    minute = plan.take(T0 + 65 * SECOND_NS)
    assert minute is not None and (minute.span, minute.end_ns) == ("minute", T0 + MINUTE_NS)
    assert not plan.settle(second), "its minute is under way"
    assert plan.settle(minute)


def test_what_is_suspect_of_an_instrument_is_asked_for_in_one_request_and_only_that_is_wanted() -> None:
    plan = Plan(("second",), settle_ns=0)
    for second in (0, 1, 7):
        plan.add(0, T0 + second * SECOND_NS, T0 + second * SECOND_NS)
    request = plan.take(T0 + 100 * SECOND_NS)
    assert request is not None
    assert (request.start_ns, request.end_ns) == (T0, T0 + 8 * SECOND_NS)
    assert [n for n in range(10) if request.wants(T0 + n * SECOND_NS)] == [0, 1, 7]
    assert plan.pending == 0


def test_a_long_gap_is_asked_for_piece_by_piece_and_its_fresh_end_later() -> None:
    plan = Plan(("second",), settle_ns=0)
    plan.add(0, T0, T0 + 12_000 * SECOND_NS - 1)
    ends = []
    while (request := plan.take(T0 + 11_000 * SECOND_NS)) is not None:
        ends.append((request.end_ns - T0) // SECOND_NS)
        assert request.end_ns - request.start_ns <= WINDOWS_MAX * SECOND_NS
    assert ends == [5_000, 10_000, 11_000]
    assert plan.pending == 1


def test_a_request_that_failed_is_asked_again_with_what_became_suspect_meanwhile() -> None:
    plan = Plan(("second",), settle_ns=0)
    plan.add(0, T0, T0)
    request = plan.take(T0 + 10 * SECOND_NS)
    assert request is not None
    plan.add(0, T0 + SECOND_NS, T0 + SECOND_NS)
    plan.put_back(request)
    again = plan.take(T0 + 10 * SECOND_NS)
    assert again is not None and again.stretches == ((T0, T0 + 2 * SECOND_NS),)


def test_the_plan_is_bounded_and_counts_what_it_drops() -> None:
    plan = Plan(("second",), settle_ns=0)
    for n in range(STRETCHES_MAX + 3):
        plan.add(n, T0, T0)
    assert (plan.pending, plan.dropped) == (STRETCHES_MAX, 3)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=30), st.integers(0, 60))
def test_every_suspect_window_that_has_settled_is_wanted_once(gaps: list[tuple[int, int]], now: int) -> None:
    plan = Plan(("second",), settle_ns=0)
    suspect = set()
    for start, length in gaps:
        plan.add(0, T0 + start * SECOND_NS, T0 + (start + length) * SECOND_NS)
        suspect |= set(range(start, start + length + 1))
    asked: list[int] = []
    while (request := plan.take(T0 + now * SECOND_NS)) is not None:
        asked += [n for n in range(60) if request.wants(T0 + n * SECOND_NS)]
    assert asked == sorted(n for n in suspect if n + 1 <= now)
