"""Records that have come but whose tick has not been dealt with yet, in order."""

import numpy as np

CAPACITY = 4_096
NEVER = np.iinfo(np.int64).max


class Pending:
    """``rows[first:last]`` wait, as ``span`` says. It grows; what is behind ``first`` is reused."""

    def __init__(self, dtype: np.dtype) -> None:
        self.rows: np.ndarray = np.zeros(CAPACITY, dtype)
        self._first = self._last = 0
        self._sources = self.rows["source_sequence"]

    def __len__(self) -> int:
        return self._last - self._first

    @property
    def span(self) -> tuple[int, int]:
        return self._first, self._last

    @property
    def next_source(self) -> int:
        """``source_sequence`` of the first one; NEVER without one."""
        return int(self._sources[self._first]) if self._first < self._last else NEVER

    @property
    def waiting(self) -> np.ndarray:
        """The records that wait, in order; valid until the next ``put``."""
        return self.rows[self._first : self._last]

    def put(self, rows: np.ndarray) -> None:
        """Copy ``rows`` to the end."""
        if self._last + len(rows) > len(self.rows):
            self._make_room(len(rows))
        self.rows[self._last : self._last + len(rows)] = rows
        self._last += len(rows)

    def drop(self, count: int) -> None:
        """The first ``count`` have been dealt with."""
        self._first += count
        if self._first == self._last:
            self._first = self._last = 0

    def take_while_source(self, source: int) -> np.ndarray:
        """The first ones that the tick ``source`` caused; valid until the next ``put``."""
        first, last = self._first, self._first
        while last < self._last and self._sources[last] == source:
            last += 1
        self.drop(last - first)
        return self.rows[first:last]

    def clear(self) -> None:
        self._first = self._last = 0

    def _make_room(self, count: int) -> None:
        waiting = self.rows[self._first : self._last].copy()
        if len(waiting) + count > len(self.rows):
            self.rows = np.zeros(2 * (len(waiting) + count), self.rows.dtype)
            self._sources = self.rows["source_sequence"]
        self.rows[: len(waiting)] = waiting
        self._first, self._last = 0, len(waiting)
