"""When a polled venue is asked what: budgets that hold for every window, and a fair order."""

from hypothesis import given
from hypothesis import strategies as st

from hft_engine.feed.budget import CallBudget
from hft_engine.feed.poll_schedule import PollSchedule

S = 1_000_000_000


def _asked(schedule: PollSchedule, until_ns: int, now_ns: int = 0) -> list[tuple[str, int]]:
    """(pair, second) of every question until then, the clock jumping from one to the next."""
    found = []
    while now_ns < until_ns:
        pair, wait_ns = schedule.next(now_ns)
        if pair is None:
            if wait_ns < 0:
                break
            now_ns += wait_ns
        else:
            schedule.asked(pair, now_ns)
            found.append((pair, now_ns // S))
    return found


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 50)), min_size=1, max_size=3),
    st.lists(st.integers(0, 40), max_size=60),
)
def test_no_window_ever_holds_more_calls_than_its_limit(
    limits: list[tuple[int, int]], pauses: list[int]
) -> None:
    budget, now, made = CallBudget(limits), 0, []
    for pause in pauses:
        now += pause
        wait = budget.wait_ns(now)
        now += wait
        assert budget.wait_ns(now) == 0
        assert wait == 0 or budget.wait_ns(now - 1) == 1  # not a moment longer than needed
        budget.take(now)
        made.append(now)
    for calls, window in limits:
        for start in made:
            assert sum(start <= at < start + window for at in made) <= calls


def test_pairs_take_turns_each_at_its_interval() -> None:
    schedule = PollSchedule(60 * S, CallBudget([(1, S)]))
    schedule.add(["a", "b", "c"])
    assert _asked(schedule, 125 * S) == [
        ("a", 0), ("b", 1), ("c", 2), ("a", 60), ("b", 61), ("c", 62), ("a", 120), ("b", 121), ("c", 122),
    ]  # fmt: skip


def test_a_budget_that_is_too_small_serves_who_waited_longest() -> None:
    schedule = PollSchedule(10 * S, CallBudget([(2, 60 * S)]))
    schedule.add(["a", "b", "c"])
    asked = [pair for pair, _ in _asked(schedule, 590 * S)]
    assert len(asked) == 20 and asked[:3] == ["a", "b", "c"]
    assert max(map(asked.count, "abc")) - min(map(asked.count, "abc")) <= 1


def test_a_pair_that_rests_costs_nothing_meanwhile_and_rests_longer_each_time() -> None:
    schedule, rests = PollSchedule(1, CallBudget([(1_000, S)])), []
    schedule.add(["bad"])
    now = 0
    for _ in range(9):
        schedule.asked("bad", now)
        schedule.rest("bad", now)
        pair, wait = schedule.next(now)
        assert pair is None
        rests.append(wait // (60 * S))
        now += wait
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    schedule.answered("bad")
    schedule.rest("bad", now)
    assert schedule.next(now) == (None, 60 * S)
    schedule.add(["good"])
    assert schedule.next(now) == ("good", 0)


def test_a_pause_holds_for_all_and_removed_pairs_are_forgotten() -> None:
    schedule = PollSchedule(10 * S, CallBudget([(1, S)]))
    assert schedule.next(0) == (None, -1)
    schedule.add(["a", "b"])
    schedule.pause(30 * S)
    assert schedule.next(0) == (None, 30 * S)
    schedule.remove(["a", "unknown"])
    schedule.rest("a", 99 * S)
    assert _asked(schedule, 35 * S) == [("b", 30)]
    assert schedule.pairs == ("b",)
