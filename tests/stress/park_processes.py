"""Processes of the park stress: ``lead DIRECTORY FOLLOWERS ROUNDS``, ``follow DIRECTORY NUMBER ROUNDS``.

The leader publishes a record and sleeps until every follower has answered it; a follower sleeps until there is a
record. Nobody looks but for a doorbell: one that is lost leaves its actor asleep for PATIENCE_NS, and what it waits for
is there. Each prints the number of those as JSON, after a line when its kernels are compiled.
"""

import json
import sys
from pathlib import Path

import numpy as np
from numba import njit

from hft_engine.runtime.wait import INPUT_WORDS, Input, addresses, park, ready
from hft_engine.shm.atomics import mono_ns, spin_hint
from hft_engine.shm.ring import Ring, advance, claim, poll_into, publish
from hft_engine.shm.segment import Segment
from hft_engine.wiring import wire, wired, wired_rows

DTYPE = np.dtype([("sequence", "<i8"), ("round", "<i8")])
CAPACITY = 64
PATIENCE_NS = 10_000_000_000
LEADER_BELL = 63  # the highest: its bit is the sign of the word
PAUSES = 64  # of that many lengths, so that every interleaving of parking and ringing has its turn
_HEAD, _SLOTS, _BELLS, _INPUTS, _SCRATCH = range(5)  # wiring of a ring's end


@njit(nogil=True, cache=True)
def say(end: np.ndarray, number: int) -> None:
    head, slots = wired(end, _HEAD, np.int64), wired(end, _SLOTS, DTYPE)
    sequence = claim(head, slots, 1)
    slots[sequence & (len(slots) - 1)].round = number
    publish(head, slots, wired(end, _BELLS, np.int64), sequence + 1)


@njit(nogil=True, cache=True)
def hear(end: np.ndarray, reader: int, bell: int, number: int) -> int:
    """Sleep until record ``number`` is there. Returns the doorbells that did not come, or -1 for another record."""
    head, slots = wired(end, _HEAD, np.int64), wired(end, _SLOTS, DTYPE)
    inputs, scratch = wired_rows(end, _INPUTS, INPUT_WORDS), wired(end, _SCRATCH, DTYPE)
    lost = 0
    while not ready(inputs):
        began = mono_ns()
        park(inputs, wired(end, _BELLS, np.int64), bell, PATIENCE_NS)
        lost += mono_ns() - began >= PATIENCE_NS and ready(inputs)  # else the others have not come so far
    poll_into(head, slots, reader, scratch, 1)
    advance(head, reader, 1)
    return lost if scratch[0].round == number else -1


@njit(nogil=True, cache=True)
def lead(out: np.ndarray, answers: np.ndarray, rounds: int) -> int:
    lost = 0
    for number in range(rounds):
        for _ in range(number % PAUSES):
            spin_hint()
        say(out, number)
        for i in range(len(answers)):
            lost += hear(answers[i], 0, LEADER_BELL, number)
    return lost


@njit(nogil=True, cache=True)
def follow(calls: np.ndarray, reader: int, out: np.ndarray, rounds: int) -> int:
    lost = 0
    for number in range(rounds):
        lost += hear(calls, reader, reader, number)
        for _ in range(7 * number % PAUSES):
            spin_hint()
        say(out, number)
    return lost


class End:
    """A ring as one of its ends sees it."""

    def __init__(self, directory: Path, name: str, reader: int = 0) -> None:
        bells = Segment.attach(directory / "bells").words
        self.ring = Ring.attach(directory / f"{name}.ring", DTYPE, bells)
        inputs, scratch = addresses([Input(self.ring, reader)]), np.zeros(1, DTYPE)
        self._arrays = self.ring.head, self.ring.slots, bells, inputs, scratch
        self.wiring = wire(self._arrays)


def main(arguments: list[str]) -> None:
    mode, directory, number, rounds = arguments[0], Path(arguments[1]), int(arguments[2]), int(arguments[3])
    if mode == "lead":
        calls = End(directory, "calls")
        ends = [End(directory, f"answers-{i}") for i in range(number)]
        answers = np.stack([end.wiring for end in ends])
        lead(calls.wiring, answers, 0)
        print("compiled", flush=True)
        lost = lead(calls.wiring, answers, rounds)
    else:
        calls, answer = End(directory, "calls", number), End(directory, f"answers-{number}")
        follow(calls.wiring, number, answer.wiring, 0)
        print("compiled", flush=True)
        lost = follow(calls.wiring, number, answer.wiring, rounds)
    print(json.dumps({"lost": int(lost)}))


if __name__ == "__main__":
    main(sys.argv[1:])
