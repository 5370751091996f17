"""The actor as a whole: determinism, resumption after a death at any step, latency, gating."""

import numpy as np
import pytest
from signals_bench import MS, Bench, records, rule, signals_config

from hft_engine.records import SIGNAL_DTYPE, SIGNAL_HASHED_BYTES
from hft_engine.runtime.actor import FatalError
from hft_engine.runtime.rundir import LOCK
from hft_engine.shm.ring import claim, publish, write_record
from hft_engine.shm.segment import SegmentError
from hft_engine.signals import checkpoint
from hft_engine.signals.actor import last_hash, warm
from hft_engine.signals.chain import link
from hft_engine.signals.checkpoint import Checkpoint
from hft_engine.signals.rules import C_RULES, decide, rule_table, write_signal

RULES = (rule(), rule("down", "beta", "sell", "below", -1.0, 0.0, -2.0))


def walk(n=400, seed=1):
    """A random walk over three instruments that crosses the thresholds often."""
    made = np.random.default_rng(seed)
    rows = records(made.normal(0.5, 1.0, n), made.normal(-0.5, 1.0, n))
    rows["instrument_id"] = made.integers(0, 3, n)
    return rows


def decided(signals):
    """What is a function of the input: the hashed bytes and the hash, without the stamps of this run."""
    return [signal.tobytes()[: SIGNAL_HASHED_BYTES + 8] for signal in signals]


@pytest.mark.parametrize("chunk", [1, 7, 64, 400])
def test_the_same_records_give_the_same_bits_however_they_arrive(bench, chunk):
    expected = bench(*RULES, cooldown_ms=5).run(walk(), 400)
    assert len(expected) > 20
    assert decided(bench(*RULES, cooldown_ms=5).run(walk(), chunk)) == decided(expected)


def test_a_new_life_goes_on_where_the_old_one_stopped(bench):
    expected = decided(bench(*RULES, cooldown_ms=5).run(walk()))
    made = bench(*RULES, cooldown_ms=5)
    for start in range(0, 400, 37):
        made.run(walk()[start : start + 37])
        made.start()
    assert decided(made.published()) == expected


def die(made: Bench, step: str) -> None:
    """Process the records that wait up to and with ``step``, then be dead: nothing after it happens."""
    position = made.predictions.position(0)
    group = made.predictions.slots[
        np.arange(position, made.predictions.published) & (len(made.predictions.slots) - 1)
    ]
    state = Checkpoint.open(made.run_dir, made.config.engine.instruments_max)
    table = rule_table(made.config.signals, ("alpha", "beta"))
    out = made.signals
    sequence = int(claim(out.head, out.slots, 0))
    for k in range(len(group)):
        checkpoint.note(state.memory, state.states, k, group[k]["instrument_id"])
    if step == "note":
        return
    checkpoint.enter(state.memory, len(group), int(group[-1]["source_sequence"]), sequence)
    if step == "enter":
        return
    drafts, chain = np.zeros(len(group), SIGNAL_DTYPE), np.uint64(last_hash(out))
    signals = 0
    for k in range(len(group)):
        winner = decide(table, state.states, group, k, np.zeros(C_RULES + len(table), np.int64))
        if step == "decide one":
            return
        if winner >= 0:
            write_signal(table, winner, group, k, drafts, signals, sequence + signals)
            drafts[signals]["chain_hash"] = chain = np.uint64(link(drafts, signals, chain))
            signals += 1
    if step == "decide":
        return
    if signals:
        claim(out.head, out.slots, signals)
        for k in range(signals):
            write_record(out.slots, sequence + k, drafts, k)
        if step == "write":
            return
        for shown in range(sequence + signals - 1, sequence - 1, -1):
            out.slots[shown & (out.capacity - 1)]["sequence"] = shown
            if step == "show one":
                return
        if step == "show":  # readers may have them, the cursor does not say so
            return
        publish(out.head, out.slots, out.bells, sequence + signals)
    if step in ("write", "show one", "show", "publish"):
        return
    checkpoint.leave(state.memory)  # and the reader's position is not advanced


STEPS = ["note", "enter", "decide one", "decide", "write", "show one", "show", "publish", "leave"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("waiting", [1, 2, checkpoint.GROUP_MAX])
def test_a_death_at_any_step_neither_doubles_nor_loses_a_signal(bench, step, waiting):
    rows = walk(240)
    expected = decided(bench(*RULES, cooldown_ms=5).run(rows))
    assert len(expected) > 20
    made = bench(*RULES, cooldown_ms=5)
    for start in range(0, len(rows), waiting):
        made.feed(rows[start : start + waiting])
        die(made, step)
        made.signals.recover()
        made.start()
        while made.actor.do_work():
            pass
    assert decided(made.published()) == expected


def test_without_a_run_directory_no_state_is_left_behind(bench):
    made = bench(*RULES)
    for name in (LOCK, checkpoint.FILE, "signals.ckpt"):
        (made.run_dir / name).unlink()
    made.start()
    assert len(made.run(walk())) > 0
    assert list(made.run_dir.iterdir()) == []


def test_a_half_made_checkpoint_is_made_again(bench):
    made = bench(*RULES)
    (made.run_dir / checkpoint.FILE).write_bytes(bytes(checkpoint._bytes(8)))
    made.start()
    assert len(made.run(walk())) > 0


def test_a_checkpoint_of_another_shape_is_refused_with_the_remedy(tmp_path):
    Checkpoint.open(tmp_path, 8)
    with pytest.raises(SegmentError, match=r"instruments_max; stop that run"):
        Checkpoint.open(tmp_path, 16)


def test_a_rule_on_an_unknown_feature_stops_the_engine_by_name(tmp_path):
    with pytest.raises(FatalError, match=r"signals\.rules: rule 'up': no feature 'gamma'"):
        Bench(tmp_path, signals_config(rule(feature="gamma")))


def test_latency_is_recorded_for_every_signal(bench):
    made = bench(rule())
    signals = made.run(records([2, 0, 2]))
    assert made.stats.histogram("signals")[0] == 2
    assert made.stats.histogram("tick_to_signal")[0] == 2
    assert all(np.diff(signals["ts_publish_ns"]) >= 0)


def test_on_a_gating_ring_the_actor_waits_for_the_reader_of_its_signals(bench):
    made = bench(rule(), capacity=8, gating=True)
    made.feed(records([2, 0] * 4))
    while made.actor.do_work():
        pass
    assert made.signals.published == 4
    made.feed(records([2, 0] * 4, ms=np.arange(8) + 100))
    while made.actor.do_work():
        pass
    assert made.signals.published == 8
    made.feed(records([2, 0], ms=[200, 201]))
    assert made.actor.do_work() == 0  # no room: the record stays in the input ring
    scratch = np.zeros(8, made.signals.dtype)
    assert made.signals.poll(0, scratch, 8) == 8
    assert made.actor.do_work() == 3  # the two, and one that had found no room before
    assert made.signals.published == 9


def test_signals_by_rule_are_counted_by_name(bench):
    made = bench(*RULES)
    signals = made.run(walk())
    counted = made.counters()
    assert counted["rule_up"] == np.count_nonzero(signals["reason"] == 0)
    assert counted["rule_down"] == np.count_nonzero(signals["reason"] == 1)
    assert counted["rule_up"] + counted["rule_down"] == counted["signals"] == len(signals)


def test_expiry_follows_event_time(bench):
    signals = bench(rule(), expiry_ms=7).run(walk())
    assert set(signals["ts_expiry_ns"] - signals["ts_venue_ns"]) == {7 * MS}


def test_the_kernel_warms_on_its_own():
    warm()
