"""What the signals stage must remember to be killed at any instruction and go on as if nothing had happened.

It lives in a file of the run directory that the actor maps and its kernel writes in place:

    identity words as in ``shm.layout`` | word 16: the words below | page 1: ``STATE_DTYPE`` rows

Records are processed in groups: copy their instruments' rows to the undo words, ENTERED := the last one's tick + 1,
decide them all, publish their signals at once, DONE := ENTERED. After a death in between, the rows are put back unless
the group's signals were published; then records of ticks below DONE are skipped. So no signal comes twice and none is
missing.

For a new run that goes on with an old session the same is copied now and then (``runtime.snapshot``): FACTS.
"""

from enum import IntEnum
from pathlib import Path

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.runtime.checkpoint import Column
from hft_engine.shm import layout
from hft_engine.shm.atomics import fence_release, store_release
from hft_engine.shm.segment import Segment, SegmentError
from hft_engine.signals.rules import STATE_DTYPE

FILE = "signals.state"
_FIRST = 16
GROUP_MAX = 16  # records of a group
ENTERED, DONE, PUBLISHED, COUNT, _UNDO_0 = range(5)
_ROW, _DISARMED, _WEAK, _LAST_BUY, _LAST_SELL, _UNDO_WORDS = range(6)  # of a record of the group
WORDS = _UNDO_0 + GROUP_MAX * _UNDO_WORDS


@kernel(forceinline=True)
def note(memory: np.ndarray, states: np.ndarray, at: int, row: int) -> None:
    """Keep ``states[row]``, which the group's record number ``at`` may move, as it is before the group."""
    undo = _UNDO_0 + at * _UNDO_WORDS
    memory[undo + _ROW] = row
    memory[undo + _DISARMED] = np.int64(states[row]["disarmed"])
    memory[undo + _WEAK] = np.int64(states[row]["weak"])
    memory[undo + _LAST_BUY] = states[row]["last_buy_ns"]
    memory[undo + _LAST_SELL] = states[row]["last_sell_ns"]


@kernel(forceinline=True)
def enter(memory: np.ndarray, count: int, tick: int, published: int) -> None:
    """Before a group moves any state. ``count``: noted rows; ``tick``: of its last record; ``published``: signals."""
    memory[PUBLISHED], memory[COUNT] = published, count
    store_release(memory, ENTERED, tick + 1)
    fence_release()


@kernel(forceinline=True)
def leave(memory: np.ndarray) -> None:
    """After what the group caused is published."""
    store_release(memory, DONE, memory[ENTERED])
    fence_release()


class Fact(IntEnum):
    """Words of a checkpoint: the rules have seen every prediction of ticks below DONE, and SIGNALS are out."""

    DONE = 0
    SIGNALS = 1
    CHAIN = 2  # ``chain_hash`` of the last of them, as int64


class Checkpoint:
    """``memory`` int64[WORDS], ``states`` STATE_DTYPE[instruments]: shared with a later life."""

    def __init__(self, words: np.ndarray, instruments_max: int) -> None:
        self.memory = words[_FIRST : _FIRST + WORDS]
        raw = words.view(np.uint8)[layout.PAGE_BYTES :]
        self.states = raw[: instruments_max * STATE_DTYPE.itemsize].view(STATE_DTYPE)

    @classmethod
    def private(cls, instruments_max: int) -> "Checkpoint":
        """In this process's own memory: replay, tests."""
        return cls(np.zeros(_bytes(instruments_max) // layout.WORD, np.int64), instruments_max)

    @classmethod
    def open(cls, run_dir: Path, instruments_max: int) -> "Checkpoint":
        """The run's checkpoint, made if it is not there yet. Raises SegmentError."""
        path = run_dir / FILE
        if not _is_complete(path):
            _create(path, instruments_max)
        segment = Segment.attach(path)
        segment.expect(STATE_DTYPE)
        if int(segment.words[layout.W_CAPACITY]) != instruments_max:
            raise SegmentError(f"{path} is of a run with another engine.instruments_max; stop that run first")
        return cls(segment.words, instruments_max)

    @property
    def column(self) -> Column:
        """The rules' rows, for a checkpoint."""
        return Column(self.states, STATE_DTYPE.itemsize)

    @property
    def is_new(self) -> bool:
        """Whether no record was processed yet."""
        return not self.memory[DONE] and not self.memory[ENTERED]

    def resume(self, facts: np.ndarray) -> None:
        """Go on from a session's checkpoint, whose rows are in place already."""
        self.memory[ENTERED] = self.memory[DONE] = facts[Fact.DONE]

    def recover(self, published: int) -> bool:
        """Undo a group that a death cut short. ``published``: signals in the ring. True if there was one."""
        memory = self.memory
        if memory[ENTERED] <= memory[DONE]:
            return False
        if published > memory[PUBLISHED]:
            memory[DONE] = memory[ENTERED]
        else:
            undo = memory[_UNDO_0:].reshape(-1, _UNDO_WORDS)[: int(memory[COUNT])]
            self.states.view(np.int64).reshape(-1, _UNDO_WORDS - 1)[undo[:, _ROW]] = undo[:, _DISARMED:]
            memory[ENTERED] = memory[DONE]
        return True


def _bytes(instruments_max: int) -> int:
    return layout.PAGE_BYTES + instruments_max * STATE_DTYPE.itemsize


def _is_complete(path: Path) -> bool:
    # The magic word is written last: a file without it is from a life that died while making it.
    if not path.exists():
        return False
    with Segment.attach(path) as segment:
        return bool(segment.words[layout.W_MAGIC] == layout.MAGIC)


def _create(path: Path, instruments_max: int) -> None:
    path.unlink(missing_ok=True)
    with Segment.create(path, _bytes(instruments_max)) as segment:
        words = segment.words
        words[layout.W_VERSION] = layout.LAYOUT_VERSION
        words[layout.W_DTYPE] = layout.dtype_hash(STATE_DTYPE)
        words[layout.W_CAPACITY] = instruments_max
        words[layout.W_MAGIC] = layout.MAGIC
