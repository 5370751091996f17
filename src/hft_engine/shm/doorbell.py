"""Doorbells: one futex word an actor, and one word for all that says who sleeps, a bit for each bell.

A doorbell is a hint that there is work, without payload; losing one costs a time-out. Who publishes looks at one word,
which changes only when somebody goes to sleep or is woken, however many may sleep.

Park protocol: the reader raises its bit in PARKED, passes a full fence, looks at its inputs once more, then waits on
the bell's word, which it had read before. The ringer publishes, passes a full fence, looks at PARKED, takes the bit
down, then changes the word and wakes. Whichever fence comes first, one of the two sees the other: no wake-up is lost
(Dekker). Who rings takes the bit down, so that a burst costs one system call and not one a record: the sleeper is on
its way. ``tests/stress/test_park_stress.py``.
"""

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.shm import layout
from hft_engine.shm.atomics import (
    fence_full,
    fetch_add,
    fetch_and,
    fetch_or,
    futex_wait,
    futex_wake,
    load_acquire,
    load_relaxed,
)
from hft_engine.words import trailing_zeros

_WORDS, _BELL_0, _SEQUENCE, _PARKED = layout.BELL_WORDS, layout.W_BELL_0, layout.B_SEQUENCE, layout.W_PARKED


@kernel(forceinline=True)
def ring_parked(bells: np.ndarray, listeners: int) -> None:
    """Wake those of ``listeners``, a bit for each bell, that sleep. Call after a full fence."""
    parked = load_relaxed(bells, _PARKED) & listeners
    while parked != 0:
        bit = parked & -parked
        if fetch_and(bells, _PARKED, ~bit) & bit != 0:
            word = _BELL_0 + trailing_zeros(bit) * _WORDS + _SEQUENCE
            fetch_add(bells, word, 1)
            futex_wake(bells, word)
        parked ^= bit


@kernel(forceinline=True)
def announce(bells: np.ndarray, bell: int) -> int:
    """Say that ``bell``'s actor is about to sleep. Returns what ``sleep`` takes. Look at the inputs between the two."""
    sequence = load_acquire(bells, _BELL_0 + bell * _WORDS + _SEQUENCE)
    fetch_or(bells, _PARKED, 1 << bell)
    fence_full()
    return sequence


@kernel(forceinline=True)
def sleep(bells: np.ndarray, bell: int, sequence: int, duration_ns: int) -> None:
    """Until the bell rings, or has rung since ``announce``; at most ``duration_ns``."""
    futex_wait(bells, _BELL_0 + bell * _WORDS + _SEQUENCE, sequence, duration_ns)


@kernel(forceinline=True)
def withdraw(bells: np.ndarray, bell: int) -> None:
    """The actor is awake."""
    if load_relaxed(bells, _PARKED) & (1 << bell) != 0:
        fetch_and(bells, _PARKED, ~(1 << bell))


def new_bells() -> np.ndarray:
    """Doorbells in this process's own memory, int64[BELLS_WORDS]."""
    return np.zeros(layout.BELLS_WORDS, np.int64)
