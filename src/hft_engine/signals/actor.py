"""The signals actor: predictions -> rule kernel -> signals.

What waits is decided GROUP_MAX records at a time, and their signals become visible at once, with one look at the clock;
who keeps up decides each record as it comes.
"""

import functools
from typing import Any

import numpy as np
from numba import carray

from hft_engine.config.schema import DEFAULT_RULES, Config, SignalsConfig
from hft_engine.kernel import kernel
from hft_engine.records import PREDICTION_DTYPE, SIGNAL_DTYPE
from hft_engine.runtime import rundir, snapshot
from hft_engine.runtime.actor import ActorContext, BaseActor
from hft_engine.runtime.chain import ATTENTION, NativeCall, entry
from hft_engine.runtime.checkpoint import key_of
from hft_engine.runtime.laps import LapRecord
from hft_engine.runtime.messages import SetConfig
from hft_engine.runtime.schedule import SKIPPING, Schedule, is_due, too_late
from hft_engine.runtime.snapshot import EPOCH, Snapshots, keep_row
from hft_engine.shm import histogram, layout
from hft_engine.shm.clock import mono_ns, stamp_ns
from hft_engine.shm.ring import (
    Ring,
    advance,
    claim,
    holds,
    publish,
    room,
    seek,
    still_holds,
    write_record,
)
from hft_engine.signals.chain import link
from hft_engine.signals.checkpoint import DONE, GROUP_MAX, Checkpoint, Fact, enter, leave, note
from hft_engine.signals.live import LiveRules
from hft_engine.signals.rules import (
    C_PREDICTIONS,
    C_RULES,
    C_UNKNOWN,
    COUNTERS,
    RULE_DTYPE,
    STATE_DTYPE,
    decide,
    rule_table,
    write_signal,
)
from hft_engine.signals.slowest import keep
from hft_engine.wiring import wire, wired
from hft_engine.words import copy_head

RECORDS_MAX = 256  # a duty cycle: well under a millisecond


# Order of the arrays wired into ``duty``; ``chain`` uint64[1]: hash of the last signal; ``scratch``, ``drafts``: a
# group's records and signals; ``causes`` int64[GROUP_MAX]: places in scratch of the records to decide, then of those
# that gave a signal.
_WIRES = 19
_IN_HEAD, _IN, _OUT_HEAD, _OUT, _BELLS, _RULES, _STATES, _MEMORY, _CHAIN, _SCRATCH = range(10)
_COUNTS, _HIST, _HIST_TOTAL, _DRAFTS, _CAUSES, _SLOWEST, _CONTROL, _MARKS, _GATE = range(10, _WIRES)
_HEAD_WORDS = int(PREDICTION_DTYPE.fields["values"][1]) // 8  # type: ignore[index]  # all but the features


@kernel(forceinline=True)
def _is_usable(predictions: np.ndarray, i: int, states: np.ndarray, counts: np.ndarray) -> bool:
    counts[C_PREDICTIONS] += 1
    if not 0 <= predictions[i]["instrument_id"] < len(states):
        counts[C_UNKNOWN] += 1
        return False
    return True


@kernel(forceinline=True)
def _stops(gate: np.ndarray, slots: np.ndarray, sequence: int, scratch: np.ndarray, i: int) -> bool:
    """Whether Python has to come before this record: something changes, or it and some behind it came too late."""
    if is_due(gate, scratch[i]["source_sequence"], sequence):
        return True
    if scratch[i]["ts_deadline_ns"] == 0 or gate[SKIPPING] != 0:
        return False
    now_ns = mono_ns()
    end = sequence
    while holds(slots, end) and 0 < slots[end & (len(slots) - 1)]["ts_deadline_ns"] < now_ns:
        end += 1
    if end > sequence:
        too_late(gate, sequence, end)
    return end > sequence


@kernel(forceinline=True)
def _take(slots: np.ndarray, sequence: int, rules: np.ndarray, scratch: np.ndarray, i: int) -> bool:
    """What the rules look at of a record: its head, and of the features their inputs. False: it was overwritten."""
    slot = sequence & (len(slots) - 1)
    if not holds(slots, sequence):
        return False
    copy_head(scratch, i, slots, slot, _HEAD_WORDS)
    for r in range(len(rules)):
        index = rules[r]["input"]
        if index >= 0:
            scratch[i]["values"][index] = slots[slot]["values"][index]
    return still_holds(slots, sequence)


@kernel()
def duty(wiring: np.ndarray, reader: int) -> int:
    """One duty cycle; returns the predictions handled, or ATTENTION. ``wiring``: the arrays of ``_WIRES``."""
    in_head, in_slots = wired(wiring, _IN_HEAD, np.int64), wired(wiring, _IN, PREDICTION_DTYPE)
    rules, scratch = wired(wiring, _RULES, RULE_DTYPE), wired(wiring, _SCRATCH, PREDICTION_DTYPE)
    gate = wired(wiring, _GATE, np.int64)
    limit = min(RECORDS_MAX, room(wired(wiring, _OUT_HEAD, np.int64), RECORDS_MAX))
    group_max = min(GROUP_MAX, len(wired(wiring, _OUT, SIGNAL_DTYPE)) >> 1)
    position = seek(in_head, in_slots, reader)
    done = 0
    stops = False
    while done < limit and not stops:
        n = 0
        skipping = gate[SKIPPING]
        while n < min(group_max, limit - done) and _take(in_slots, position + done + n, rules, scratch, n):
            stops = _stops(gate, in_slots, position + done + n, scratch, n)
            if stops or gate[SKIPPING] != skipping:
                break
            n += 1
        if n == 0 and gate[SKIPPING] == skipping:
            break
        if skipping == 0:
            _decide_group(wiring, scratch, n)
        advance(in_head, reader, n)
        done += n
    return ATTENTION if stops and done == 0 else done


@kernel()
def _decide_group(wiring: np.ndarray, scratch: np.ndarray, n: int) -> None:
    memory, causes = wired(wiring, _MEMORY, np.int64), wired(wiring, _CAUSES, np.int64)
    count = _note_group(wiring, scratch, n)
    if count == 0:
        return
    sequence = claim(wired(wiring, _OUT_HEAD, np.int64), wired(wiring, _OUT, SIGNAL_DTYPE), 0)
    enter(memory, count, scratch[causes[count - 1]]["source_sequence"], sequence)
    signals = _decide_all(wiring, scratch, count, sequence)
    if signals > 0:
        _let_out(wiring, scratch, signals, sequence)
    leave(memory)


@kernel(forceinline=True)
def _note_group(wiring: np.ndarray, scratch: np.ndarray, n: int) -> int:
    """How many of the first ``n`` records are to be decided: ``causes`` says which; what they may move is kept."""
    memory, causes = wired(wiring, _MEMORY, np.int64), wired(wiring, _CAUSES, np.int64)
    states, counts = wired(wiring, _STATES, STATE_DTYPE), wired(wiring, _COUNTS, np.int64)
    control, marks = wired(wiring, _CONTROL, np.int64), wired(wiring, _MARKS, np.int64)
    count = 0
    for i in range(n):
        if scratch[i]["source_sequence"] < memory[DONE] or not _is_usable(scratch, i, states, counts):
            continue
        row = scratch[i]["instrument_id"]
        if control[EPOCH] != 0:
            keep_row(control, marks, row)
        note(memory, states, count, row)
        causes[count] = i
        count += 1
    return count


@kernel(forceinline=True)
def _decide_all(wiring: np.ndarray, scratch: np.ndarray, count: int, sequence: int) -> int:
    """How many signals the records of ``causes`` give, from ``sequence`` on; they are in ``drafts`` then."""
    rules, states = wired(wiring, _RULES, RULE_DTYPE), wired(wiring, _STATES, STATE_DTYPE)
    chain, counts = wired(wiring, _CHAIN, np.uint64), wired(wiring, _COUNTS, np.int64)
    drafts, causes = wired(wiring, _DRAFTS, SIGNAL_DTYPE), wired(wiring, _CAUSES, np.int64)
    signals = 0
    for k in range(count):
        i = causes[k]
        winner = decide(rules, states, scratch, i, counts)
        if winner >= 0:
            write_signal(rules, winner, scratch, i, drafts, signals, sequence + signals)
            chain[0] = link(drafts, signals, chain[0])
            drafts[signals]["chain_hash"] = chain[0]
            causes[signals] = i
            signals += 1
    return signals


@kernel(forceinline=True)
def _let_out(wiring: np.ndarray, scratch: np.ndarray, signals: int, sequence: int) -> None:
    """``drafts`` into the ring, visible at once."""
    out_head, out_slots = wired(wiring, _OUT_HEAD, np.int64), wired(wiring, _OUT, SIGNAL_DTYPE)
    drafts, causes = wired(wiring, _DRAFTS, SIGNAL_DTYPE), wired(wiring, _CAUSES, np.int64)
    hist, hist_total = wired(wiring, _HIST, np.int64), wired(wiring, _HIST_TOTAL, np.int64)
    bells, slowest = wired(wiring, _BELLS, np.int64), wired(wiring, _SLOWEST, np.int64)
    claim(out_head, out_slots, signals)
    now_ns: int = stamp_ns()
    for k in range(signals):
        drafts[k]["ts_publish_ns"] = now_ns
        write_record(out_slots, sequence + k, drafts, k)
    publish(out_head, out_slots, bells, sequence + signals)
    for k in range(signals):
        i = causes[k]
        histogram.record(hist, now_ns - scratch[i]["ts_publish_ns"])
        histogram.record(hist_total, now_ns - scratch[i]["ts_mono_ns"])
        keep(slowest, drafts, k, scratch, i)


def _call(wiring: Any, words: int, reader: int, argument: int) -> int:
    return duty(carray(wiring, (words,)), reader)


@functools.cache
def native_entry() -> Any:
    """The stage's C function, for ``runtime.chain``."""
    return entry(_call)


class SignalsActor(BaseActor):
    """Reads ``predictions``, writes ``signals``; the rules are those of the configuration."""

    role = "signals"
    histograms = ("signals", "tick_to_signal")

    def __init__(self) -> None:
        self.counters = (*COUNTERS, *snapshot.COUNTERS)
        self._native: NativeCall | None = None
        self._arrays: tuple[np.ndarray, ...] = ()  # the wiring holds their addresses

    def on_start(self, ctx: ActorContext) -> None:
        """Raises FatalError for a rule on a feature that is not there."""
        rules = (f"rule_{rule.name}" for rule in ctx.config.signals.rules)
        self.counters = (*COUNTERS, *rules, *snapshot.COUNTERS)
        ctx.stats.declare(self.counters, self.histograms)  # again: only now the rules' names are known
        source, target = ctx.ring("predictions"), ctx.ring("signals")
        checkpoint = _checkpoint(ctx)
        self._snapshots = _snapshots(ctx, checkpoint, target)
        if checkpoint.is_new and (kept := self._snapshots.restore()) is not None:
            checkpoint.resume(kept.facts)
        if checkpoint.recover(target.published):
            ctx.log.warning("an earlier life died inside a group of records; the state was put right")
        self._ctx, self._source = ctx, source
        self._schedule = Schedule()
        self._rules = LiveRules(ctx, self._schedule)
        self._arrays = _arrays(
            source,
            target,
            self._rules.table,
            checkpoint,
            ctx.counter_array(),
            ctx.histogram("signals"),
            ctx.histogram("tick_to_signal"),
            ctx.stats.table,
            self._snapshots,
            self._schedule.gate,
        )
        self._wiring = wire(self._arrays)
        self._reader = ctx.reader("predictions")
        self._laps = LapRecord(ctx, source, self._reader)
        self._done = checkpoint.memory[DONE : DONE + 1]  # records of ticks below it are decided

    def do_work(self) -> int:
        done = self.native().run()
        self.tend()
        return abs(done)  # ATTENTION: what stopped the kernel is dealt with, so there is more

    def glance(self) -> None:
        self._laps.tend()

    def tend(self) -> None:
        self._snapshots.tend()
        self._laps.tend()
        if self._schedule.asked:
            self._ctx.counter("late").add(self._schedule.tend(self._ctx, self._source.name))

    def on_control(self, message: object) -> object:
        """``SetConfig``: the reply names the tick from which on the values are in force."""
        if isinstance(message, SetConfig):
            return self._rules.change(message.changes, int(self._done[0]))
        return super().on_control(message)

    def on_stop(self) -> None:
        self._snapshots.complete()

    def native(self) -> NativeCall:
        if self._native is None:
            self._native = NativeCall(native_entry().address, self._wiring, self._reader)
        return self._native


def _checkpoint(ctx: ActorContext) -> Checkpoint:
    # Without a run directory (inline, simulation) the rings are private and die with us: so may the state.
    instruments_max = ctx.config.engine.instruments_max
    if (ctx.run_dir / rundir.LOCK).exists():
        return Checkpoint.open(ctx.run_dir, instruments_max)
    return Checkpoint.private(instruments_max)


def _snapshots(ctx: ActorContext, checkpoint: Checkpoint, target: Ring) -> Snapshots:
    def write_facts(facts: np.ndarray) -> None:
        facts[Fact.DONE], facts[Fact.SIGNALS] = checkpoint.memory[DONE], target.published
        facts[Fact.CHAIN] = np.uint64(last_hash(target)).astype(np.int64)

    columns, rows_max = [checkpoint.column], len(checkpoint.states)
    return Snapshots(
        snapshot.file_of(ctx.run_dir, "signals", state_key(ctx.config), columns, rows_max),
        columns,
        lambda: min(len(ctx.instruments), rows_max),
        write_facts,
        ctx.config.checkpoints.memory_ms,
        [ctx.counter(name) for name in snapshot.COUNTERS],
    )


def state_key(config: Config) -> int:
    """Of a checkpoint: bit r of a row belongs to the r-th rule."""
    return key_of(STATE_DTYPE.descr, [rule.name for rule in config.signals.rules])


def _arrays(
    source: Ring,
    target: Ring,
    rules: np.ndarray,
    checkpoint: Checkpoint,
    counts: np.ndarray,
    hist: np.ndarray,
    hist_total: np.ndarray,
    slowest: np.ndarray,
    snapshots: Snapshots,
    gate: np.ndarray,
) -> tuple[np.ndarray, ...]:
    return (
        source.head,
        source.slots,
        target.head,
        target.slots,
        target.bells,
        rules,
        checkpoint.states,
        checkpoint.memory,
        np.array([last_hash(target)], np.uint64),
        np.zeros(GROUP_MAX, PREDICTION_DTYPE),
        counts,
        hist,
        hist_total,
        np.zeros(GROUP_MAX, SIGNAL_DTYPE),
        np.zeros(GROUP_MAX, np.int64),
        slowest,
        snapshots.control,
        snapshots.marks,
        gate,
    )


def last_hash(signals: Ring) -> int:
    """``chain_hash`` of the newest signal in the ring, 0 where there is none."""
    if signals.published == 0:
        return 0
    return int(signals.record(signals.published - 1)["chain_hash"])


def warm() -> None:
    """Compile (or load from the cache) the kernel with its production types."""
    rules = rule_table(SignalsConfig(rules=DEFAULT_RULES), ("bar_rsi",))
    source = Ring.private("predictions", PREDICTION_DTYPE, 8)
    target = Ring.private("signals", SIGNAL_DTYPE, 8)
    counts = np.zeros(C_RULES + len(rules), np.int64)
    checkpoint = Checkpoint.private(1)
    source.publish_rows(np.zeros(1, PREDICTION_DTYPE))
    hist = histogram.new_counts()
    slowest = np.zeros(layout.TABLE_WORDS, np.int64)
    snapshots = Snapshots(None, (), int, lambda facts: None, 0, ())
    arrays = _arrays(
        source, target, rules, checkpoint, counts, hist, hist, slowest, snapshots, Schedule().gate
    )
    NativeCall(native_entry().address, wire(arrays), 0).run()
