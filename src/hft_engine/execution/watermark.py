"""Up to which tick every bar and signal is out: what makes a fill independent of which ring is read first.

The stages say it already, by how far they have read; they publish what a record causes before they let it go. So, each
word read after the one before it:

    W   where indicators stands on ``ticks``         what ticks below W caused is on ``features`` and ``bars``
    F   what is published on ``features`` then       wait until inference stands there:
    P   what is published on ``predictions`` then    wait until signals stands there:
        every signal of a tick below W is on ``signals``

Only cursors are read, from time to time: nothing is added to what happens between a tick and its signal.
"""

from typing import Any

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.shm import layout
from hft_engine.shm.atomics import load_acquire
from hft_engine.shm.ring import Ring
from hft_engine.wiring import wire, wired

_WAITS_FOR, _TICKS_DONE, _TARGET, _CONFIRMED = range(4)
_FEATURES, _PREDICTIONS = 1, 2


@kernel(forceinline=True)
def _position(head: np.ndarray, reader: int) -> int:
    return load_acquire(head, layout.W_READER_0 + reader * layout.READER_WORDS + layout.R_POSITION)


@kernel(forceinline=True)
def _advance_round(
    ticks: np.ndarray,
    features: np.ndarray,
    predictions: np.ndarray,
    state: np.ndarray,
    indicators: int,
    inference: int,
    signals: int,
) -> None:
    if state[_WAITS_FOR] == 0:
        state[_TICKS_DONE] = _position(ticks, indicators)
        state[_TARGET] = load_acquire(features, layout.W_PUBLISHED)
        state[_WAITS_FOR] = _FEATURES
    if state[_WAITS_FOR] == _FEATURES and _position(features, inference) >= state[_TARGET]:
        state[_TARGET] = load_acquire(predictions, layout.W_PUBLISHED)
        state[_WAITS_FOR] = _PREDICTIONS
    if state[_WAITS_FOR] == _PREDICTIONS and _position(predictions, signals) >= state[_TARGET]:
        state[_CONFIRMED] = state[_TICKS_DONE]
        state[_WAITS_FOR] = 0


@kernel(cache=True)
def _look(wiring: np.ndarray, indicators: int, inference: int, signals: int) -> int:
    ticks, features = wired(wiring, 0, np.int64), wired(wiring, 1, np.int64)
    predictions, state = wired(wiring, 2, np.int64), wired(wiring, 3, np.int64)
    # A round that began earlier knows too little: where it ends now, a new one follows. So one look at stages that
    # have nothing left to do says it all.
    for _ in range(2):
        _advance_round(ticks, features, predictions, state, indicators, inference, signals)
    return state[_CONFIRMED]


class Watermark:
    """``look`` returns a tick sequence; all that the ticks below it caused can be read now."""

    def __init__(self, ticks: Ring, features: Ring, predictions: Ring) -> None:
        self._arrays = (ticks.head, features.head, predictions.head, np.zeros(4, np.int64))
        self._wiring: Any = wire(self._arrays)
        self._readers = (
            ticks.reader("indicators"),
            features.reader("inference"),
            predictions.reader("signals"),
        )

    def look(self) -> int:
        return int(_look(self._wiring, *self._readers))
