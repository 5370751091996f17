"""A restarted indicators actor takes up where its predecessor died, with what the tick ring still remembers.

The ticks between the oldest in the ring and the last one whose features were published go through the stage once
more, onto rings that nobody reads. Where the ring still holds the whole run, the state is then exactly that of an
undisturbed run; else windows, session VWAP and open bars know the ring's part of the past. If the predecessor died
between making a batch's bars visible and its features, the bars of that one batch come twice.
"""

import numpy as np

from hft_engine.indicators.stage import IndicatorStage
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, TICK_DTYPE
from hft_engine.shm import layout
from hft_engine.shm.ring import Ring

_CHUNK = 4096
_OUT = 64  # records; these rings are overwritten unread


def resume(stage: IndicatorStage, ticks: Ring, reader: int, features: Ring) -> int:
    """Rebuild the state of ``stage`` and move ``reader`` past the ticks that are done.

    Returns how many ticks were taken up again: none in a first life.
    """
    newest = features.slots[(features.published - 1) & (features.capacity - 1)]
    done = int(newest["source_sequence"]) + 1 if features.published else 0
    end = max(done, ticks.position(reader))
    rebuilt = _take_again(stage, ticks, end)
    _pass_by(ticks, reader, end)
    return rebuilt


def _take_again(stage: IndicatorStage, ticks: Ring, end: int) -> int:
    again = Ring.private("ticks", TICK_DTYPE, 2 * _CHUNK, ("indicators",))
    unread = Ring.private("features", FEATURE_DTYPE, _OUT), Ring.private("bars", BAR_DTYPE, _OUT)
    shadow = stage.on_rings(again, *unread)
    done = 0
    position = _oldest(ticks)
    while position < end:
        sequences = np.arange(position, min(position + _CHUNK, end))
        rows = ticks.slots[sequences & (ticks.capacity - 1)]
        kept = rows[
            max(0, _oldest(ticks) - position) :
        ]  # the writer goes on: what it has overwritten is dropped
        again.publish_rows(kept)
        while again.lag(0):
            shadow.run()
        done += len(kept)
        position += len(rows)
    return done


def _oldest(ticks: Ring) -> int:
    return max(0, int(ticks.head[layout.W_INTENT]) - ticks.capacity)


def _pass_by(ticks: Ring, reader: int, end: int) -> None:
    scratch = np.zeros(_CHUNK, TICK_DTYPE)
    while ticks.position(reader) < end:
        ticks.poll(reader, scratch, min(_CHUNK, end - ticks.position(reader)))
