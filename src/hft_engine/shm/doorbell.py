"""Doorbells: one futex word an actor. A hint that there is work, without payload; losing one costs a time-out.

Park protocol: the reader raises PARKED, passes a full fence, looks at its inputs once more, then waits on the
word it read before. The ringer publishes, passes a full fence, looks at PARKED, then changes the word and wakes.
Whichever fence comes first, one of the two sees the other: no wake-up is lost (Dekker). Who rings takes PARKED down,
so that a burst costs one system call and not one a record: the sleeper is on its way.
"""

import numpy as np
from numba import njit

from hft_engine.shm import layout
from hft_engine.shm.atomics import exchange, fetch_add, futex_wake, load_relaxed

_WORDS, _SEQUENCE, _PARKED = layout.BELL_WORDS, layout.B_SEQUENCE, layout.B_PARKED


@njit(nogil=True, inline="always")
def ring_if_parked(bells: np.ndarray, bell: int) -> None:
    """Wake actor ``bell`` if it sleeps. Call after a full fence."""
    word = bell * _WORDS
    if load_relaxed(bells, word + _PARKED) != 0 and exchange(bells, word + _PARKED, 0) != 0:
        fetch_add(bells, word + _SEQUENCE, 1)
        futex_wake(bells, word + _SEQUENCE)


def new_bells(count: int = layout.BELLS_MAX) -> np.ndarray:
    """Doorbells in this process's own memory, int64[count * BELL_WORDS]."""
    return np.zeros(count * _WORDS, np.int64)
