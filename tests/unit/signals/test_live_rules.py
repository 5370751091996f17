"""Thresholds that change while the actor runs: at exactly one record, in every next life, and in a replay."""

import numpy as np
import pytest
from signals_bench import records, rule
from test_signals_actor import decided, walk

from hft_engine.runtime import faultpoints
from hft_engine.runtime.actor import FatalError
from hft_engine.runtime.messages import ControlError, SetConfig
from hft_engine.runtime.session_events import read_events

RULES = (rule(), rule("down", "beta", "sell", "below", -1.0, 0.0, -2.0))
CHANGES = {"signals.rules.up.enter": 0.5, "signals.cooldown_ms": 2, "signals.strength_min": 0.1}
LATER = {"signals.rules.down.enter": -0.5, "signals.expiry_ms": 70}


def with_changes(bench, session):
    """A run of 400 records whose rules change after 150 and after 300; the actor dies after each change."""
    made = bench(*RULES, cooldown_ms=5)
    made.start(session)
    rows = walk()
    made.run(rows[:150], 37)
    made.actor.on_control(SetConfig(CHANGES))
    made.start(session)
    made.run(rows[150:300], 37)
    made.actor.on_control(SetConfig(LATER))
    made.start(session)
    made.run(rows[300:], 37)
    return made


def test_a_change_holds_from_the_next_record_on(bench, tmp_path):
    made = bench(rule())
    made.start(tmp_path / "session")
    assert len(made.run(records([0.8, -1.0]))) == 0
    answer = made.actor.on_control(SetConfig({"signals.rules.up.enter": 0.5}))
    assert answer == {"signals.rules.up.enter": 0.5, "sequence": 1_002}
    rows = records([0.8, -1.0])
    rows["source_sequence"] += 2
    assert list(made.run(rows)["source_sequence"]) == [1_002]
    (event,) = read_events(tmp_path / "session", "signals")[0]
    assert (event.kind, event.sequence) == ("config_change", 1_002)


def test_changes_make_a_difference_and_outlive_the_actor(bench, tmp_path):
    made = with_changes(bench, tmp_path / "session")
    unchanged = bench(*RULES, cooldown_ms=5).run(walk())
    assert decided(made.published()) != decided(unchanged)
    after = made.published()[-1]
    assert after["ts_expiry_ns"] - after["ts_venue_ns"] == 70_000_000


@pytest.mark.parametrize("chunk", [1, 7, 64, 400])
def test_a_replay_makes_the_same_changes_at_the_same_records(bench, tmp_path, chunk):
    live = decided(with_changes(bench, tmp_path / "session").published())
    again = bench(*RULES, cooldown_ms=5)
    again.start(history=tmp_path / "session")
    assert decided(again.run(walk(), chunk)) == live


def test_a_change_that_the_checks_refuse_changes_nothing(bench, tmp_path):
    made = bench(*RULES)
    made.start(tmp_path / "session")
    before = made.actor._rules.table.copy()
    with pytest.raises(ControlError, match=r"signals\.rules\.up\.release: must be"):
        made.actor.on_control(SetConfig({"signals.cooldown_ms": 9, "signals.rules.up.enter": -5.0}))
    assert read_events(tmp_path / "session", "signals") == ([], [])
    made.run(walk()[:10])
    assert np.array_equal(made.actor._rules.table, before)


def test_a_change_that_cannot_be_recorded_is_not_made(bench, tmp_path):
    made = bench(*RULES)
    made.start(tmp_path / "session")
    faultpoints.arm("events.append:error")
    try:
        with pytest.raises(ControlError, match="cannot be recorded"):
            made.actor.on_control(SetConfig({"signals.cooldown_ms": 9}))
    finally:
        faultpoints.arm("")
    made.run(walk()[:10])
    assert made.actor._rules.table[0]["cooldown_ns"] == 0


def test_a_change_of_a_rule_that_is_not_there_ends_a_replay_with_the_reason(bench, tmp_path):
    with_changes(bench, tmp_path / "session")
    other = bench(rule("another"))
    with pytest.raises(FatalError, match=r"tick 1150.*no rule 'up'.*--config"):
        other.start(history=tmp_path / "session")


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_what_came_too_late_is_recorded_and_missed_again_by_a_replay(bench, tmp_path, chunk):
    made = bench(*RULES)
    made.start(tmp_path / "session")
    late = walk()
    late["ts_deadline_ns"][[5, 6, 7, 30, 399]] = 1
    live = decided(made.run(late, 50))
    assert made.counters()["late"] == 5
    told = [event.data for event in read_events(tmp_path / "session", "signals")[0]]
    assert [(d["from"], d["to"]) for d in told] == [(5, 8), (30, 31), (399, 400)]
    again = bench(*RULES)
    again.start(history=tmp_path / "session")
    assert decided(again.run(walk(), chunk)) == live != decided(bench(*RULES).run(walk()))
