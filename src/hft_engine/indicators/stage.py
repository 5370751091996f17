"""The indicator stage over rings: ticks in, feature records and bars out. One compiled entry for live and offline.

Features go out in batches of at most ``BATCH_MAX``, so that under a burst the first tick does not wait for the
last. While no more than ``patience`` ticks wait, a turn ends with as many features as the stage behind takes in one,
so that in a process with it a burst waits in the tick ring, which is deep, and costs nothing. When more wait, it runs
ahead: then features are lost, of which the next is as good, and not ticks, without which bars are wrong.
"""

import copy
import functools
from typing import Any

import numpy as np
from numba import carray

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators import bars, step
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.state import (
    C_INSTRUMENTS,
    C_SCAN_AT,
    C_WATERMARK,
    CLOCK_WORDS,
    PARAMETERS_DTYPE,
    STATE_DTYPE,
    IndicatorState,
    new_state,
    parameters_of,
)
from hft_engine.kernel import kernel
from hft_engine.memory import private_bytes
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, TICK_DTYPE
from hft_engine.runtime.chain import ATTENTION, NativeCall, entry
from hft_engine.runtime.checkpoint import Column
from hft_engine.runtime.schedule import NEXT_RECORD, SKIPPING, Schedule, is_due
from hft_engine.runtime.snapshot import CONTROL_WORDS, EPOCH, keep_row
from hft_engine.shm import histogram
from hft_engine.shm.clock import stamp_ns
from hft_engine.shm.ring import Ring, advance, claim, poll_into, position_of, publish, room, waiting
from hft_engine.wiring import wire, wired

BATCH_MAX = 16  # features made visible at once: bounds what a burst adds to the latency of its first tick
SCRATCH_TICKS = 128  # copied out of the ring at once: 16 KiB, half of a first-level cache
FEATURES_A_TURN = 128  # with patience; no more than the stage behind takes in one (``inference.kernels``)
DUE_MAX = 32  # bars closed by event time before they are made visible
BARS_CAPACITY_MIN = 16  # room for one tick's bars in the half of the ring that may be claimed at once
_ROW_AHEAD, _WINDOWS_AHEAD = 8, 4  # ticks before their own that the memory of an instrument is asked for
_CROWD_MIN = 200  # instruments whose rows no longer lie in a second-level cache: fewer are not asked for
_SPACE_MIN = bars.BARS_A_TRADE_MAX + 2  # a tick is taken up only when its bars and two due ones fit


# order of the arrays in the wiring of ``duty``
(
    _TICKS_HEAD,
    _TICKS,
    _FEATURES_HEAD,
    _FEATURES,
    _BARS_HEAD,
    _BARS,
    _BELLS,
    _STATE,
    _EXTENSIONS,
    _CLOCK,
    _PARAMETERS,
    _SCRATCH,
    _COUNTS,
    _LATENCIES,
    _CONTROL,
    _MARKS,
    _GATE,
    _WIRES,
) = range(18)


@kernel()
def _keep_due(clock: np.ndarray, control: np.ndarray, marks: np.ndarray, limit: int) -> None:
    """For a checkpoint, the rows that ``bars.close_due`` is about to change, in its order."""
    now_ns = clock[C_WATERMARK]
    for i in range(clock[C_SCAN_AT], clock[C_INSTRUMENTS]):
        if clock[CLOCK_WORDS + i] <= now_ns:
            keep_row(control, marks, i)
            limit -= 1
            if limit <= 0:
                return


@kernel()
def _close_due(
    bars_head: np.ndarray,
    bars_slots: np.ndarray,
    state: np.ndarray,
    clock: np.ndarray,
    tick: Any,
    p: Any,
    done: int,
    control: np.ndarray,
    marks: np.ndarray,
) -> int:
    """Bars due at the tick's event time, as many as may be claimed; ``done`` bars are written but not visible."""
    space = min(room(bars_head, len(bars_slots) >> 1), len(bars_slots) >> 1)
    limit = min(DUE_MAX, space - done - bars.BARS_A_TRADE_MAX)
    if control[EPOCH] != 0:
        _keep_due(clock, control, marks, limit)
    first = claim(bars_head, bars_slots, done + limit)
    return bars.close_due(state, clock, tick, p, bars_slots, first + done, limit)


@kernel()
def _stamp(features_slots: np.ndarray, first: int, count: int, now_ns: int, latencies: np.ndarray) -> None:
    alike, before_ns = 0, 0  # ticks of a frame became visible at once
    for sequence in range(first, first + count):
        out = features_slots[sequence & (len(features_slots) - 1)]
        out.ts_publish_ns = now_ns
        if out.ts_tick_ns != before_ns:
            histogram.record(latencies, now_ns - before_ns, alike)
            alike, before_ns = 0, out.ts_tick_ns
        alike += 1
    histogram.record(latencies, now_ns - before_ns, alike)


@kernel()
def _stamp_bars(bars_slots: np.ndarray, first: int, count: int, now_ns: int) -> None:
    for sequence in range(first, first + count):
        bars_slots[sequence & (len(bars_slots) - 1)].ts_publish_ns = now_ns


@kernel()
def _batch(
    ticks: np.ndarray,
    begin: int,
    end: int,
    polled: int,
    features_head: np.ndarray,
    features_slots: np.ndarray,
    bars_head: np.ndarray,
    bars_slots: np.ndarray,
    bells: np.ndarray,
    state: np.ndarray,
    extensions: np.ndarray,
    clock: np.ndarray,
    p: Any,
    counts: np.ndarray,
    latencies: np.ndarray,
    control: np.ndarray,
    marks: np.ndarray,
) -> tuple[int, int]:
    """Take up ticks [begin, end) of ``polled``, make what they cause visible. Returns (ticks done, bars written).

    Ends early when no more bars may be claimed; both 0 means that the bar ring has no room.
    """
    features_first = claim(features_head, features_slots, end - begin)
    bars_first = claim(bars_head, bars_slots, 0)
    bar_space = min(room(bars_head, len(bars_slots) >> 1), len(bars_slots) >> 1)
    crowded = clock[C_INSTRUMENTS] > _CROWD_MIN
    written = 0
    bar_count: Any = np.int64(0)  # as in ``duty``
    i = begin
    while i < end and bar_space - bar_count >= _SPACE_MIN:
        tick = ticks[i]
        if crowded and i + _ROW_AHEAD < polled:
            step.fetch_ahead(state, ticks[i + _ROW_AHEAD])
            step.fetch_windows(state, ticks[i + _WINDOWS_AHEAD], p)
        if step.gives_features(tick):
            instrument = tick.instrument_id
            if 0 <= instrument < len(state):
                if bars.move_watermark(clock, tick.ts_venue_ns):
                    bar_count += _close_due(
                        bars_head, bars_slots, state, clock, tick, p, bar_count, control, marks
                    )
                    if clock[C_SCAN_AT] != 0:
                        break
                if control[EPOCH] != 0:
                    keep_row(control, marks, instrument)
                claim(bars_head, bars_slots, bar_count + bars.BARS_A_TRADE_MAX)
                row = state[instrument]
                bar_count += step.take(row, tick, p, clock, bars_slots, bars_first + bar_count, counts)
                if p.call_count > 0:
                    step.run_extensions(state, extensions, p, instrument, ticks, i)
                if row.new_bar != 0 or p.on_bars == 0:
                    sequence = features_first + written
                    step.write_features(row, tick, features_slots[sequence & (len(features_slots) - 1)])
                    counts[step.N_UNFIT] += row.unfit != 0
                    row.new_bar = 0
                    written += 1
            else:
                counts[step.N_OUT_OF_RANGE] += 1
        elif step.tells_of_data(tick) and 0 <= tick.instrument_id < len(state):
            if control[EPOCH] != 0:
                keep_row(control, marks, tick.instrument_id)
            claim(bars_head, bars_slots, bar_count + 1)
            row = state[tick.instrument_id]
            bar_count += step.take_told(row, tick, clock, bars_slots, bars_first + bar_count, counts)
        i += 1
    now_ns: int = stamp_ns()
    if bar_count > 0:
        _stamp_bars(bars_slots, bars_first, bar_count, now_ns)
        publish(bars_head, bars_slots, bells, bars_first + bar_count)
    if written > 0:
        _stamp(features_slots, features_first, written, now_ns, latencies)
        publish(features_head, features_slots, bells, features_first + written)
    counts[step.N_TICKS] += i - begin
    counts[step.N_FEATURES] += written
    counts[step.N_BARS] += bar_count
    return i - begin, bar_count


@kernel()
def duty(wiring: np.ndarray, reader: int, limit: int) -> int:
    """Take up to ``limit`` ticks through the stage; returns how many, or ATTENTION. Never waits.

    ``wiring``: see ``_WIRES``.
    """
    ticks_head = wired(wiring, _TICKS_HEAD, np.int64)
    ticks_slots = wired(wiring, _TICKS, TICK_DTYPE)
    features_head = wired(wiring, _FEATURES_HEAD, np.int64)
    features_slots = wired(wiring, _FEATURES, FEATURE_DTYPE)
    scratch = wired(wiring, _SCRATCH, TICK_DTYPE)
    batch_max = min(BATCH_MAX, len(features_slots) >> 1)
    done: Any = np.int64(0)  # a bare 0 is a type of its own: _batch would be compiled for it, too
    gate = wired(wiring, _GATE, np.int64)
    patience = wired(wiring, _PARAMETERS, PARAMETERS_DTYPE)[0].patience
    counts = wired(wiring, _COUNTS, np.int64)
    features_before = counts[step.N_FEATURES]
    while done < limit:
        position = position_of(ticks_head, reader)
        if is_due(gate, position, position):
            return ATTENTION if done == 0 else done
        space = len(scratch)
        if waiting(ticks_head, reader) < patience:
            space = min(space, FEATURES_A_TURN - (counts[step.N_FEATURES] - features_before))
            if space <= 0:
                break
        wanted = min(limit - done, space, gate[NEXT_RECORD] - position)
        polled = poll_into(ticks_head, ticks_slots, reader, scratch, min(wanted, room(features_head, wanted)))
        taken: Any = np.int64(0)
        if gate[SKIPPING] != 0:
            advance(ticks_head, reader, polled)
            taken += polled
            done += polled
        while taken < polled:
            count, closed = _batch(
                scratch,
                taken,
                min(taken + batch_max, polled),
                polled,
                features_head,
                features_slots,
                wired(wiring, _BARS_HEAD, np.int64),
                wired(wiring, _BARS, BAR_DTYPE),
                wired(wiring, _BELLS, np.int64),
                wired(wiring, _STATE, STATE_DTYPE),
                wired(wiring, _EXTENSIONS, np.float64),
                wired(wiring, _CLOCK, np.int64),
                wired(wiring, _PARAMETERS, PARAMETERS_DTYPE)[0],
                counts,
                wired(wiring, _LATENCIES, np.int64),
                wired(wiring, _CONTROL, np.int64),
                wired(wiring, _MARKS, np.int64),
            )
            if count == 0 and closed == 0:
                return done
            advance(ticks_head, reader, count)
            taken += count
            done += count
        if polled < wanted:
            break
    return done


def _call(wiring: Any, words: int, reader: int, limit: int) -> int:
    return duty(carray(wiring, (words,)), reader, limit)


@functools.cache
def native_entry() -> Any:
    """The stage's C function, for ``runtime.chain``."""
    return entry(_call)


class IndicatorStage:
    """The stage bound to its rings and state: what the actor and ``offline`` call.

    ``counts`` int64[len(step.COUNTERS)] and ``latencies`` (a histogram) are written; ``reader`` is this stage's
    index on the tick ring. Raises FeatureError, ExtensionError, ValueError for a bar ring that is too small.
    """

    def __init__(
        self,
        config: IndicatorConfig,
        ticks: Ring,
        reader: int,
        features: Ring,
        bars_ring: Ring,
        instruments: int,
        counts: np.ndarray,
        latencies: np.ndarray,
        ticks_max: int = 256,
        on_bars: bool = False,
        patience: int = 0,
    ) -> None:
        if bars_ring.capacity < BARS_CAPACITY_MIN:
            raise ValueError(f"rings.bars is {bars_ring.capacity}; it must be at least {BARS_CAPACITY_MIN}")
        self.schema = feature_schema(config)
        self.parameters = parameters_of(config)
        self.parameters[0]["on_bars"], self.parameters[0]["patience"] = on_bars, patience
        self._extensions, shared = _bind_extensions(config, self.parameters, instruments)
        doubles = int(self.parameters[0]["extension_doubles"])
        self.state: IndicatorState = new_state(instruments, doubles, shared)
        self.counts = counts
        self._arguments: tuple[np.ndarray, int, int]
        self._schedule = Schedule()
        self._native: NativeCall | None = None
        self._wire(ticks, reader, features, bars_ring, counts, latencies, ticks_max)

    @property
    def columns(self) -> list[Column]:
        """What makes an instrument's row of a checkpoint; what instruments share is among its facts."""
        doubles = int(self.parameters[0]["extension_doubles"])
        return [
            Column(self.state.rows, STATE_DTYPE.itemsize),
            Column(self.state.clock[CLOCK_WORDS:], self.state.clock.itemsize),
            Column(self.state.extensions, doubles * self.state.extensions.itemsize),
        ]

    def take_snapshots(self, control: np.ndarray, marks: np.ndarray) -> None:
        """From now on rows are kept for a checkpoint before they change; see ``runtime.snapshot``."""
        self._rewire({_CONTROL: control, _MARKS: marks})

    def _rewire(self, arrays: dict[int, np.ndarray]) -> None:
        self._arrays.update(arrays)
        wiring = wire([self._arrays[i] for i in range(_WIRES)])
        self._arguments = (wiring, *self._arguments[1:])
        self._native = None

    def follow(self, schedule: Schedule) -> None:
        """From now on skip the ticks that ``schedule`` says."""
        self._schedule = schedule
        self._rewire({_GATE: schedule.gate})

    def on_rings(self, ticks: Ring, features: Ring, bars_ring: Ring) -> "IndicatorStage":
        """The same state, counts and schedule on other rings, as their first reader, with latencies of its own."""
        other = copy.copy(self)
        other._wire(ticks, 0, features, bars_ring, self.counts, histogram.new_counts(), self._ticks_max)
        return other

    def run(self) -> int:
        """Take up what is there, at most ``ticks_max``. Returns how many ticks, or 1 where the schedule moved on."""
        done = self.native().run()
        if done != ATTENTION:
            return done
        self._schedule.reach()
        return 1

    def native(self) -> NativeCall:
        """``run`` for a chain of stages; new when the rings are."""
        if self._native is None:
            wiring, reader, ticks_max = self._arguments
            self._native = NativeCall(native_entry().address, wiring, reader, ticks_max)
        return self._native

    def _wire(
        self,
        ticks: Ring,
        reader: int,
        features: Ring,
        bars_ring: Ring,
        counts: np.ndarray,
        latencies: np.ndarray,
        ticks_max: int,
    ) -> None:
        self._ticks_max = ticks_max
        self._arrays = {
            _TICKS_HEAD: ticks.head,
            _TICKS: ticks.slots,
            _FEATURES_HEAD: features.head,
            _FEATURES: features.slots,
            _BARS_HEAD: bars_ring.head,
            _BARS: bars_ring.slots,
            _BELLS: features.bells,
            _STATE: self.state.rows,
            _EXTENSIONS: self.state.extensions,
            _CLOCK: self.state.clock,
            _PARAMETERS: self.parameters,
            _SCRATCH: private_bytes(min(ticks_max, SCRATCH_TICKS) * TICK_DTYPE.itemsize).view(TICK_DTYPE),
            _COUNTS: counts,
            _LATENCIES: latencies,
            _CONTROL: np.zeros(CONTROL_WORDS, np.int64),
            _MARKS: np.zeros(1, np.int64),
            _GATE: self._schedule.gate,
        }
        wiring = wire([self._arrays[i] for i in range(_WIRES)])
        self._arguments = (wiring, reader, ticks_max)
        self._native = None


def _bind_extensions(
    config: IndicatorConfig, parameters: np.ndarray, instruments: int
) -> tuple[list[Any], int]:
    """Compile the configured extensions and write into the parameters where each and its state are.

    Returns (what must be kept alive, doubles that the instruments share). Raises ExtensionError.
    """
    if not config.extensions:
        return [], 0
    from hft_engine.indicators.extension import check_shared, compile_extension, load_extensions

    extensions = load_extensions(config.extensions)
    check_shared(extensions)
    compiled = [compile_extension(extension) for extension in extensions]
    starts = np.cumsum([0, *(extension.state_size for extension in extensions)])
    shared = np.cumsum([0, *(extension.shared_size for extension in extensions)])
    count = len(extensions)
    p = parameters[0]
    p["call_count"], p["extension_doubles"] = count, starts[-1]
    p["calls"][:count] = [code.address for code in compiled]
    p["call_offset"][:count] = starts[:-1]
    p["call_shared"][:count] = instruments * starts[-1] + shared[:-1]
    return compiled, int(shared[-1])


assert BARS_CAPACITY_MIN >> 1 >= _SPACE_MIN
assert CLOCK_WORDS > C_SCAN_AT
