"""How many ticks are due: the recorded time axis, played at a speed."""

import numpy as np


class Pace:
    """``speed`` 0: everything is due at once; 1: as recorded; N: N times faster. The first tick is due at once."""

    def __init__(self, speed: float) -> None:
        if not speed >= 0:
            raise ValueError(f"replay speed {speed} must be 0 (as fast as possible) or more")
        self._speed = speed
        self._start: tuple[int, int] | None = None  # CLOCK_MONOTONIC and recorded stamp of the first tick
        self._field = ""
        self._latest_ns = 0
        self._stamps = np.zeros(0, np.int64)

    def load(self, chunk: np.ndarray) -> None:
        """Take the next chunk of ``TICK_DTYPE``; ``due`` then speaks of it."""
        if not self._speed:
            return
        if not self._field:
            self._field = "ts_recv_ns" if chunk["ts_recv_ns"].any() else "ts_venue_ns"
        # Stamps may step back; time does not: a tick is due when the latest stamp up to it is.
        self._stamps = np.maximum(np.maximum.accumulate(chunk[self._field]), self._latest_ns)
        self._latest_ns = int(self._stamps[-1])

    def due(self, offset: int, limit: int, now_ns: int) -> int:
        """How many ticks of the chunk from ``offset`` on, at most ``limit``, are due at ``now_ns``."""
        if not self._speed:
            return limit
        if self._start is None:
            self._start = now_ns, int(self._stamps[offset])
        reached_ns = self._start[1] + int((now_ns - self._start[0]) * self._speed)
        return int(np.searchsorted(self._stamps[offset : offset + limit], reached_ns, "right"))
