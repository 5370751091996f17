"""Changes and laps take effect at exactly their record, whatever else is due there."""

import pytest
from test_session_events import context

from hft_engine.runtime.schedule import (
    NEVER,
    NEXT_RECORD,
    NEXT_TICK,
    SKIPPING,
    STRETCHES_MAX,
    Schedule,
    is_due,
    is_piled,
    too_late,
)
from hft_engine.runtime.session_events import read_events


def course(schedule: Schedule, ticks, log) -> list[int]:
    """As a kernel does: records 0, 1, ... of the given ticks; returns the records that were seen."""
    seen = []
    for record, tick in enumerate(ticks):
        if is_due(schedule.gate, tick, record):
            schedule.reach()
            assert not is_due(schedule.gate, tick, record), "one stop a record"
        if not schedule.gate[SKIPPING]:
            seen.append(record)
            log.append(tick)
    return seen


def test_a_change_comes_before_the_first_record_of_its_tick_or_a_later_one():
    log: list[object] = []
    schedule = Schedule()
    schedule.change_at(5, lambda: log.append("b"))
    schedule.change_at(3, lambda: log.append("a"))
    schedule.change_at(5, lambda: log.append("c"))
    course(schedule, [1, 2, 4, 6, 7], log)
    assert log == [1, 2, "a", 4, "b", "c", 6, 7]
    assert schedule.gate[NEXT_TICK] == NEVER


def test_a_change_of_the_past_is_made_before_the_next_record():
    log: list[object] = []
    schedule = Schedule()
    course(schedule, [1, 2, 3], log)
    schedule.change_at(2, lambda: log.append("late"))
    course(schedule, [4], log)
    assert log == [1, 2, 3, "late", 4]


@pytest.mark.parametrize(
    ("laps", "seen"),
    [
        ([(2, 4)], [0, 1, 4, 5, 6]),
        ([(0, 1)], [1, 2, 3, 4, 5, 6]),
        ([(1, 3), (3, 5)], [0, 5, 6]),
        ([(4, 6), (1, 2), (5, 6)], [0, 2, 3, 6]),
        ([(5, 99)], [0, 1, 2, 3, 4]),
        ([(3, 3)], [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_laps_are_skipped_exactly(laps, seen):
    schedule = Schedule()
    for first, end in laps:
        schedule.skip(first, end)
    assert course(schedule, range(10, 17), []) == seen


@pytest.mark.parametrize("count", [STRETCHES_MAX, 3 * STRETCHES_MAX])
def test_stretches_begin_and_end_without_python_but_for_one_stop_a_full_table(count):
    schedule = Schedule()
    first = 5
    schedule.thin_out(first, first + 2 * count, range(first + 1, first + 2 * count, 2))
    stops, seen = 0, []
    for record in range(first + 2 * count + 3):
        if is_due(schedule.gate, record, record):
            stops += 1
            schedule.reach()
        if not is_due(schedule.gate, record, record) and not schedule.gate[SKIPPING]:
            seen.append(record)
    assert stops == (count - 1) // STRETCHES_MAX
    assert seen == [
        *range(first),
        *range(first + 1, first + 2 * count, 2),
        *range(first + 2 * count, record + 1),
    ]


def test_stretches_that_are_added_meanwhile_join_those_under_way():
    schedule = Schedule()
    schedule.skip(2, 6)
    seen = []
    for record in range(14):
        if record == 4:
            schedule.skip(5, 8)
            schedule.thin_out(10, 13, [11])
        assert not is_due(schedule.gate, record, record)
        if not schedule.gate[SKIPPING]:
            seen.append(record)
    assert seen == [0, 1, 8, 9, 11, 13]


def test_python_is_asked_to_look_at_a_pile_once():
    schedule = Schedule()
    assert not is_piled(schedule.gate, 0, 10**9)
    schedule.look_at_pile(100, 50)
    assert [is_piled(schedule.gate, *at) for at in ((50, 100), (50, 101), (49, 500))] == [False, True, False]


def test_a_change_inside_a_lap_is_made_all_the_same():
    log: list[object] = []
    schedule = Schedule()
    schedule.skip(1, 4)
    schedule.change_at(12, lambda: log.append("change"))
    assert course(schedule, range(10, 16), log) == [0, 4, 5]
    assert log == [10, "change", 14, 15]
    assert schedule.gate[NEXT_RECORD] == NEVER


def test_only_what_was_missed_on_the_ring_in_question_counts(tmp_path):
    ctx = context(tmp_path, "inference")
    for ring, kind, first in (("ticks", "lap", 1), ("features", "lap", 3), ("features", "late_drop", 0)):
        ctx.record(kind, first + 1, {"ring": ring, "from": first, "to": first + 1})
    schedule = Schedule()
    schedule.skip_missed(ctx, "features")
    assert course(schedule, range(5), []) == [1, 2, 4]


def test_what_is_too_late_is_recorded_before_it_is_skipped(tmp_path):
    ctx, schedule = context(tmp_path, "inference"), Schedule()
    assert course(schedule, [10, 11], []) == [0, 1]
    too_late(schedule.gate, 2, 5)
    assert schedule.asked
    assert schedule.tend(ctx, "features") == 3
    assert not schedule.asked
    (event,) = read_events(tmp_path, "inference")[0]
    assert (event.kind, event.data) == ("late_drop", {"ring": "features", "from": 2, "to": 5})
    seen = [r for r in range(2, 8) if not is_due(schedule.gate, 10 + r, r) and not schedule.gate[SKIPPING]]
    assert seen == [5, 6, 7]
