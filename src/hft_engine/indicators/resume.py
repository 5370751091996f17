"""A restarted indicators actor goes on as if its predecessor had not died.

The predecessor left a checkpoint: the state before tick N, and how many features and bars it had published then. The
ticks from N on go through the stage once more, onto rings that nobody reads and whose sequences go on from there.
Ticks below ``done`` need no more: their features and bars are out. Of the ticks after it, the predecessor may have
made the bars of one batch visible and not its features: such ticks are taken one by one, and of what they cause
only that is published whose sequence is not out yet. From there the actor itself goes on. So no record comes twice
and none is missing.

Ticks that the ring has lost since the checkpoint come from the journal (``runtime.history``). What neither has is
lost; then the state knows its part of the past only, and the bars of the batch cut short may come twice.
"""

import time
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from hft_engine.indicators import step
from hft_engine.indicators.extension import SHARED_MAX
from hft_engine.indicators.stage import IndicatorStage
from hft_engine.indicators.state import CLOCK_WORDS
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, TICK_DTYPE
from hft_engine.runtime.checkpoint import FACTS, Checkpoint
from hft_engine.runtime.history import CHUNK, TickHistory
from hft_engine.shm import layout
from hft_engine.shm.ring import Ring

_OUT = 4_096  # records; these rings are overwritten unread
READERS_WAIT_S = (
    1.0  # for a reader to make room while the backlog is taken up; one that stands still is lapped
)
_POLL_S = 0.000_1


class Fact(IntEnum):
    """Words of a checkpoint: the state is that before tick TICKS, with FEATURES and BARS records out.

    SOURCE: ``source_sequence`` of the last feature record, -1 without one. From COUNTS on the counters, from SHARED on
    the bits of what extensions share among instruments.
    """

    TICKS = 0
    FEATURES = 1
    BARS = 2
    SOURCE = 3
    CLOCK = 8
    COUNTS = 16
    SHARED = 48


assert Fact.CLOCK + CLOCK_WORDS <= Fact.COUNTS and Fact.COUNTS + len(step.COUNTERS) <= Fact.SHARED
assert Fact.SHARED + SHARED_MAX <= FACTS


@dataclass(frozen=True)
class Resumed:
    """What a new life did: ``again`` ticks unseen, ``repaired`` in the place of its predecessor, ``backlog`` that the
    ring had lost; ``lost``: [from, to) whose records are out, but which the state knows no more.
    """

    again: int = 0
    repaired: int = 0
    backlog: int = 0
    lost: tuple[tuple[int, int], ...] = ()


def write_facts(
    facts: np.ndarray, stage: IndicatorStage, ticks: Ring, reader: int, features: Ring, bars: Ring
) -> None:
    """Between two duty cycles: where the state stands."""
    facts[Fact.TICKS] = ticks.position(reader)
    facts[Fact.FEATURES], facts[Fact.BARS] = features.published, bars.published
    facts[Fact.SOURCE] = newest_source(features)
    facts[Fact.CLOCK : Fact.CLOCK + CLOCK_WORDS] = stage.state.clock[:CLOCK_WORDS]
    facts[Fact.COUNTS : Fact.COUNTS + len(step.COUNTERS)] = stage.counts[: len(step.COUNTERS)]
    facts[Fact.SHARED : Fact.SHARED + len(stage.state.shared)] = stage.state.shared.view(np.int64)


def newest_source(ring: Ring) -> int:
    """The tick of the newest record on a ring of ours, -1 without one."""
    return int(ring.record(ring.published - 1)["source_sequence"]) if ring.published else -1


class Resumption:
    """The first thing that a new life does; ``run`` once."""

    def __init__(
        self,
        stage: IndicatorStage,
        rings: tuple[Ring, Ring, Ring],
        reader: int,
        history: TickHistory,
    ) -> None:
        self._stage, self._history, self._reader = stage, history, reader
        self._ticks, self._features, self._bars = rings
        self._lost: list[tuple[int, int]] = []
        self._published = self._ticks.published  # when this life began

    def run(self, checkpoint: Checkpoint | None) -> Resumed:
        """``checkpoint``: whose rows the stage holds already; None: the stage is as new, and so is the run."""
        self._done = max(self._ticks.position(self._reader), newest_source(self._features) + 1)
        facts = self._facts(checkpoint)
        self._again = Ring.private(
            "ticks", TICK_DTYPE, 2 * CHUNK, ("indicators",), start=int(facts[Fact.TICKS])
        )
        self._unread = (
            Ring.private("features", FEATURE_DTYPE, _OUT, gating=True, start=int(facts[Fact.FEATURES])),
            Ring.private("bars", BAR_DTYPE, _OUT, gating=True, start=int(facts[Fact.BARS])),
        )
        shadow = self._stage.on_rings(self._again, *self._unread)
        again = self._take(shadow, self._done)
        repaired = 0 if self._lost else self._repair(shadow)
        self._ticks.pass_to(self._reader, max(self._done, self._again.published))
        return Resumed(again, repaired, self._take_backlog(), tuple(self._lost))

    def _facts(self, checkpoint: Checkpoint | None) -> np.ndarray:
        if checkpoint is None:
            facts = np.zeros(Fact.COUNTS, np.int64)
            rings = self._ticks, self._features, self._bars
            facts[: len(rings)] = [ring.start for ring in rings]
            self._stage.counts[: len(step.COUNTERS)] = 0
            return facts
        facts = checkpoint.facts
        self._stage.state.clock[:CLOCK_WORDS] = facts[Fact.CLOCK : Fact.CLOCK + CLOCK_WORDS]
        self._stage.counts[: len(step.COUNTERS)] = facts[Fact.COUNTS : Fact.COUNTS + len(step.COUNTERS)]
        shared = self._stage.state.shared
        shared.view(np.int64)[:] = facts[Fact.SHARED : Fact.SHARED + len(shared)]
        return facts

    def _take(self, stage: IndicatorStage, end: int) -> int:
        """Ticks up to ``end`` through ``stage``; returns how many."""
        taken = 0
        while self._again.published < end:
            rows = self._history.read(self._again.published, end)
            if not len(rows):
                self._lose(end)
                break
            for part in _runs(rows):
                self._lose(int(part["sequence"][0]))
                self._again.publish_rows(part.copy())
                while self._again.lag(0):
                    stage.run()
                    for ring in self._unread:
                        ring.pass_to(0, ring.published)
                taken += len(part)
        return taken

    def _lose(self, sequence: int) -> None:
        """Nobody has the ticks before ``sequence`` any more."""
        first = self._again.published
        if sequence <= first:
            return
        self._again.jump(sequence)
        if first < self._done:
            self._lost.append((first, sequence))
        else:
            self._ticks.pass_to(self._reader, first)
            self._ticks.miss(self._reader, sequence)

    def _repair(self, shadow: IndicatorStage) -> int:
        """The batch that was cut short: its bars are out, its features are not."""
        ticks = 0
        features, bars = self._unread
        while bars.published < self._bars.published:
            rows = self._history.read(self._again.published, self._again.published + 1)
            if not len(rows) or rows["sequence"][0] != self._again.published:
                break
            self._again.publish_rows(rows)
            while self._again.lag(0):
                shadow.run()
                _hand_on(bars, self._bars)
                _hand_on(features, self._features)
            ticks += 1
        return ticks

    def _take_backlog(self) -> int:
        """Ticks that the ring loses before the actor comes to them: from the journal, and now for all to see."""
        stage = self._stage.on_rings(self._again, self._features, self._bars)
        taken = 0
        while self._is_losing() and self._await_readers():
            position = self._ticks.position(self._reader)
            taken += self._take(stage, min(position + CHUNK, self._ticks.published))
            self._ticks.pass_to(self._reader, self._again.published)
        return taken

    def _is_losing(self) -> bool:
        """Whether the ring has lost the next tick, or is about to."""
        ring, position = self._ticks, self._ticks.position(self._reader)
        if ring.head[layout.W_GATING]:
            return False
        filling = ring.published != self._published and ring.oldest > ring.start
        return position < ring.oldest or (filling and position < ring.oldest + (ring.capacity >> 3))

    def _await_readers(self) -> bool:
        """Until there is room for a chunk's features. False where the slowest reader stood still for READERS_WAIT_S:
        it is not running, and what is published now would be lost to it.
        """
        ring = self._features
        positions = self._positions()
        deadline_s = time.monotonic() + READERS_WAIT_S
        while ring.published - min(positions, default=ring.published) > max(0, ring.capacity - CHUNK):
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_POLL_S)
            now = self._positions()
            if now != positions:
                positions, deadline_s = now, time.monotonic() + READERS_WAIT_S
        return True

    def _positions(self) -> list[int]:
        return [self._features.position(reader) for reader in range(len(self._features.reader_roles))]


def _runs(rows: np.ndarray) -> list[np.ndarray]:
    """``rows`` split where the sequence jumps."""
    return np.split(rows, np.flatnonzero(np.diff(rows["sequence"]) != 1) + 1)


def _hand_on(unread: Ring, real: Ring) -> None:
    """What ``unread`` has got and ``real`` has not goes there, with the same sequences."""
    sequences = np.arange(max(unread.position(0), real.published), unread.published)
    if len(sequences):
        real.publish_rows(unread.slots[sequences & (unread.capacity - 1)])
    unread.pass_to(0, unread.published)
