"""A scenario's faults on the stream of ticks: ticks in, what is sent of them out. No clock: time is told."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from hft_engine.feed.simulator.routes import KINDS
from hft_engine.feed.simulator.scenario import (
    Duplicate,
    Lag,
    Loss,
    Missing,
    Mute,
    Reorder,
    Skew,
    StreamStep,
)
from hft_engine.feed.simulator.truth import Truth
from hft_engine.records import TICK_DTYPE, TickKind, join_ticks

NONE = np.zeros(0, TICK_DTYPE)
BARS = (TickKind.BAR_SECOND, TickKind.BAR_MINUTE)


class Scope:
    """Which ticks a step is about."""

    def __init__(self, step: StreamStep, symbols: Sequence[str]) -> None:
        self._symbols = np.isin(symbols, step.symbols) if step.symbols else np.ones(len(symbols), bool)
        kinds = [KINDS[channel] for channel in step.channels] or list(KINDS.values())
        self._kinds = np.zeros(max(KINDS.values()) + 1, bool)
        self._kinds[kinds] = True

    def mask(self, ticks: np.ndarray) -> np.ndarray:
        """bool[n] of TICK_DTYPE[n]."""
        found: np.ndarray = self._symbols[ticks["instrument_id"]] & self._kinds[ticks["kind"]]
        return found


class _Fault(Protocol):
    def apply(self, ticks: np.ndarray, now_ns: int) -> np.ndarray: ...
    def release(self) -> np.ndarray:
        """What it still keeps, when it ends."""


class _Dropping:
    """Mute, loss and missing: ``share`` of what is in scope, at most ``left``."""

    def __init__(
        self, scope: Scope, rng: np.random.Generator, truth: Truth, share: float, left: int | None = None
    ) -> None:
        self._scope, self._rng, self._truth = scope, rng, truth
        self._share, self._left = share, left

    def apply(self, ticks: np.ndarray, now_ns: int) -> np.ndarray:
        lost = self._scope.mask(ticks)
        if self._share < 1.0:
            lost &= self._rng.random(len(ticks)) < self._share
        if self._left is not None:
            lost &= np.cumsum(lost) <= self._left
            self._left -= int(lost.sum())
        self._truth.note("lost", ticks[lost])
        return ticks[~lost]

    def release(self) -> np.ndarray:
        return NONE


class _Duplicating:
    def __init__(self, scope: Scope, rng: np.random.Generator, truth: Truth, share: float) -> None:
        self._scope, self._rng, self._truth, self._share = scope, rng, truth, share

    def apply(self, ticks: np.ndarray, now_ns: int) -> np.ndarray:
        twice = self._scope.mask(ticks) & (self._rng.random(len(ticks)) < self._share)
        self._truth.note("duplicated", ticks[twice])
        return ticks[np.repeat(np.arange(len(ticks)), 1 + twice)]

    def release(self) -> np.ndarray:
        return NONE


class _Reordering:
    """Keeps a chosen tick back until the next of its symbol and channel has gone."""

    def __init__(self, scope: Scope, rng: np.random.Generator, truth: Truth, share: float) -> None:
        self._scope, self._rng, self._truth, self._share = scope, rng, truth, share
        self._held = NONE

    def apply(self, ticks: np.ndarray, now_ns: int) -> np.ndarray:
        held = len(self._held)
        chosen = self._scope.mask(ticks) & (self._rng.random(len(ticks)) < self._share)
        pool = join_ticks((self._held, ticks)) if held else ticks
        keys = list(zip(pool["kind"].tolist(), pool["instrument_id"].tolist(), strict=True))
        waiting = {keys[row]: row for row in range(held)}
        order, late = [], []
        for row in range(held, len(pool)):
            before = waiting.pop(keys[row], None)
            if before is not None:
                order += [row, before]
                late.append(before)
            elif chosen[row - held]:
                waiting[keys[row]] = row
            else:
                order.append(row)
        self._truth.note("reordered", pool[late])
        self._held = pool[list(waiting.values())]
        return pool[order]

    def release(self) -> np.ndarray:
        held, self._held = self._held, NONE
        return held


class _Lagging:
    def __init__(self, scope: Scope, step: Lag) -> None:
        self._scope = scope
        self._delay_ns, self._ramp_ns = step.delay_ms * 1_000_000, step.ramp_s * 1e9
        self._begun_ns = -1
        self._held: deque[tuple[int, np.ndarray]] = deque()  # due, ticks

    def apply(self, ticks: np.ndarray, now_ns: int) -> np.ndarray:
        if self._begun_ns < 0:
            self._begun_ns = now_ns
        late = self._scope.mask(ticks)
        if late.any():
            self._held.append((now_ns + self._delay(now_ns - self._begun_ns), ticks[late]))
        due = []
        while self._held and self._held[0][0] <= now_ns:
            due.append(self._held.popleft()[1])
        return join_ticks([*due, ticks[~late]]) if due else ticks[~late]

    def _delay(self, since_ns: int) -> int:
        return int(self._delay_ns * min(1.0, since_ns / self._ramp_ns)) if self._ramp_ns else self._delay_ns

    def release(self) -> np.ndarray:
        held = [ticks for _, ticks in self._held]
        self._held.clear()
        return join_ticks(held) if held else NONE


class _Skewing:
    def __init__(self, scope: Scope, offset_ns: int) -> None:
        self._scope, self._offset_ns = scope, offset_ns

    def apply(self, ticks: np.ndarray, now_ns: int) -> np.ndarray:
        skewed = self._scope.mask(ticks)
        ticks = ticks.copy()
        ticks["ts_venue_ns"][skewed] += self._offset_ns
        ticks["ts_start_ns"][skewed & np.isin(ticks["kind"], BARS)] += self._offset_ns
        return ticks

    def release(self) -> np.ndarray:
        return NONE


class StreamFaults:
    """The faults in force, in the order in which they began. Whatever they draw comes from one seed."""

    def __init__(self, symbols: Sequence[str], seed: int, truth: Truth) -> None:
        self._symbols, self._truth = symbols, truth
        self._rng = np.random.default_rng(seed)
        self._faults: dict[int, _Fault] = {}  # by identity of the step
        self._released: list[np.ndarray] = []

    def begin(self, step: StreamStep) -> None:
        self.end(step)
        self._faults[id(step)] = self._make(step)

    def end(self, step: StreamStep) -> None:
        fault = self._faults.pop(id(step), None)
        if fault is not None and len(kept := fault.release()):
            self._released.append(kept)

    def apply(self, ticks: np.ndarray, now_ns: int) -> np.ndarray:
        """What is to be sent now. Call it also without ticks: some may have become due."""
        for fault in self._faults.values():
            ticks = fault.apply(ticks, now_ns)
        if self._released:
            ticks = join_ticks([*self._released, ticks])
            self._released.clear()
        return ticks

    def _make(self, step: StreamStep) -> _Fault:
        scope = Scope(step, self._symbols)
        drawn = (scope, self._rng, self._truth)
        match step:
            case Mute():
                return _Dropping(*drawn, 1.0)
            case Loss():
                return _Dropping(*drawn, step.share)
            case Missing():
                return _Dropping(*drawn, 1.0, step.ticks)
            case Duplicate():
                return _Duplicating(*drawn, step.share)
            case Reorder():
                return _Reordering(*drawn, step.share)
            case Lag():
                return _Lagging(scope, step)
            case Skew():
                return _Skewing(scope, step.offset_ms * 1_000_000)
        raise AssertionError(f"no fault of the stream: {step!r}")
