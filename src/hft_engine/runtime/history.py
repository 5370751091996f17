"""The ticks of a run from any sequence on: from the ring while it has them, before that from the journal."""

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from hft_engine.shm.ring import Ring

CHUNK = 4_096  # ticks at a time
JOURNAL_WAIT_S = 1.0  # for the journal to reach what the ring has lost already
_POLL_S = 0.001


class TickLog(Protocol):
    """A journal that is read on while it is written."""

    def read(self) -> np.ndarray | None:
        """The next ticks (TICK_DTYPE, at least one), None where there are no more yet."""
        ...


OpenTickLog = Callable[[int], TickLog]  # from the first tick of this sequence or a later one on


class TickHistory:
    """``open_log`` None: without a journal, what the ring has lost is lost."""

    def __init__(self, ring: Ring, open_log: OpenTickLog | None) -> None:
        self._ring = ring
        self._open_log = open_log
        self._log: TickLog | None = None
        self._pending: np.ndarray | None = None

    def read(self, position: int, end: int) -> np.ndarray:
        """Copies of the next ticks in [position, end), at most CHUNK; [] where there are none.

        The first has sequence ``position``, or a later one where neither ring nor journal has that.
        """
        end = min(end, self._ring.published)
        if position >= end:
            return self._ring.slots[:0]
        rows = self._of_ring(position, min(end, position + CHUNK))
        if rows is None:
            rows = self._of_log(position, end)
        return rows if rows is not None else self._rest_of_ring(end)

    def _of_ring(self, position: int, end: int) -> np.ndarray | None:
        if position < self._ring.oldest:
            return None
        rows = self._ring.slots[np.arange(position, end) & (self._ring.capacity - 1)]
        return rows if position >= self._ring.oldest else None  # else overwritten meanwhile

    def _of_log(self, position: int, end: int) -> np.ndarray | None:
        if self._open_log is None:
            return None
        if self._log is None:
            self._log = self._open_log(position)
        rows = self._next(self._log, position)
        if rows is None:
            return None
        self._pending = rows
        if rows["sequence"][0] > max(position, self._ring.oldest):
            return None  # a hole of the journal, and the ring has its other end
        rows = rows[rows["sequence"] < end][:CHUNK]
        return rows if len(rows) else None

    def _next(self, log: TickLog, position: int) -> np.ndarray | None:
        """The log's ticks from ``position`` on; waits for a log that is written behind the ring."""
        deadline_s = time.monotonic() + JOURNAL_WAIT_S
        while True:
            rows = self._pending if self._pending is not None else log.read()
            if rows is None:
                if time.monotonic() > deadline_s:
                    return None
                time.sleep(_POLL_S)
                continue
            rows = rows[np.searchsorted(rows["sequence"], position) :]
            if len(rows):
                return rows
            self._pending = None

    def _rest_of_ring(self, end: int) -> np.ndarray:
        """What is left: from the oldest tick with a head start over the writer on."""
        rows = None
        while rows is None:
            start = self._ring.oldest + (self._ring.capacity >> 3)
            rows = self._of_ring(start, max(start, min(end, start + CHUNK)))
        return rows
