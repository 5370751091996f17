"""Conflation: where features pile up, only each instrument's newest is worth a prediction.

The indicators have taken every tick by then, so what is left out costs no state, no bar and no later value. Which
records are left out depends on when we looked, so it is written into the session before it is done, and a replay leaves
out the same: the event ``conflation`` names the stretch [from, to) of the ring and the records ``kept`` of it.
"""

import numpy as np

from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.schedule import Schedule
from hft_engine.shm.ring import Ring

SHARE_KEPT_MAX = 0.5  # of a pile: where more would stay, leaving the rest out is not worth writing it down


def newest_of_each(instruments: np.ndarray) -> np.ndarray:
    """Places of the last record of each instrument, in order."""
    _, from_the_end = np.unique(instruments[::-1], return_index=True)
    return np.sort(len(instruments) - 1 - from_the_end)


class Conflation:
    """``tend`` between duty cycles: a pile of more than ``above`` records is thinned out; its reader stands still."""

    def __init__(self, ctx: ActorContext, ring: Ring, reader: int, schedule: Schedule, above: int) -> None:
        self._ctx, self._ring, self._reader, self._schedule = ctx, ring, reader, schedule
        self._above = above
        self._looked_to = 0
        if above > 0:
            schedule.look_at_pile(above, 0)

    def tend(self) -> int:
        """Returns how many records will be left out."""
        first, end = self._ring.position(self._reader), self._ring.published
        if self._above == 0 or end - first <= self._above or first < self._looked_to:
            return 0
        self._looked_to = end
        self._schedule.look_at_pile(self._above, end)
        first = max(
            first, end - self._ring.capacity
        )  # what lies before is gone: the ring has lapped its reader
        slots = np.arange(first, end) & (self._ring.capacity - 1)
        # A slot that is overwritten meanwhile gives another choice, no wrong one: what counts is what is written down.
        kept = first + newest_of_each(self._ring.slots["instrument_id"][slots])
        if len(kept) > SHARE_KEPT_MAX * (end - first):
            return 0
        data = {"ring": self._ring.name, "from": first, "to": end, "kept": kept.tolist()}
        if not self._ctx.record("conflation", end, data):
            return 0
        self._schedule.thin_out(first, end, data["kept"])
        return int(end - first - len(kept))
