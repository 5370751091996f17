"""What the signals stage must remember to be killed at any instruction and go on as if nothing had happened.

It lives in a file of the run directory that the actor maps and its kernel writes in place:

    identity words as in ``shm.layout`` | word 16: the eight words below | page 1: ``STATE_DTYPE`` rows

A record is processed as: copy its instrument's row to the undo words, ENTERED := its tick + 1, decide, publish,
DONE := its tick + 1. After a death in between, the row is put back unless the record's signal was published;
then records of ticks below DONE are skipped. So no signal comes twice and none is missing.

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
WORDS = 8
ENTERED, DONE, PUBLISHED, INSTRUMENT, DISARMED, WEAK, LAST_BUY, LAST_SELL = range(WORDS)


@kernel(forceinline=True)
def enter(memory: np.ndarray, states: np.ndarray, predictions: np.ndarray, i: int, published: int) -> None:
    """Before ``predictions[i]`` moves any state. ``published``: signals so far."""
    row = predictions[i]["instrument_id"]
    memory[PUBLISHED] = published
    memory[INSTRUMENT] = row
    memory[DISARMED] = np.int64(states[row]["disarmed"])
    memory[WEAK] = np.int64(states[row]["weak"])
    memory[LAST_BUY] = states[row]["last_buy_ns"]
    memory[LAST_SELL] = states[row]["last_sell_ns"]
    store_release(memory, ENTERED, predictions[i]["source_sequence"] + 1)
    fence_release()


@kernel(forceinline=True)
def leave(memory: np.ndarray, predictions: np.ndarray, i: int) -> None:
    """After what ``predictions[i]`` caused is published."""
    store_release(memory, DONE, predictions[i]["source_sequence"] + 1)
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
        """Undo a record that a death cut short. ``published``: signals in the ring. True if there was one."""
        memory = self.memory
        if memory[ENTERED] <= memory[DONE]:
            return False
        if published > memory[PUBLISHED]:
            memory[DONE] = memory[ENTERED]
        else:
            row = self.states[int(memory[INSTRUMENT])]
            row["disarmed"], row["weak"] = memory[DISARMED : WEAK + 1].view(np.uint64)
            row["last_buy_ns"], row["last_sell_ns"] = memory[LAST_BUY], memory[LAST_SELL]
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
