"""Which part of a journal is wanted: by sequence, by time, or both."""

from dataclasses import dataclass

import numpy as np

SEQUENCE_MAX = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Selection:
    """Records with ``first`` <= sequence < ``end`` and ``from_ns`` <= ts_recv_ns < ``to_ns`` (UTC).

    ``first`` and ``end`` count in the sequences of what is read: ticks, or signals.
    """

    first: int = 0
    end: int = int(SEQUENCE_MAX)
    from_ns: int = 0
    to_ns: int = int(SEQUENCE_MAX)

    @property
    def by_time(self) -> bool:
        return self.from_ns > 0 or self.to_ns < SEQUENCE_MAX

    def pick(self, rows: np.ndarray) -> np.ndarray:
        """Those of ``rows`` (sequences rising) that are wanted; ``rows`` itself where all are."""
        low, high = np.searchsorted(rows["sequence"], (self.first, self.end))
        if (low, high) != (0, len(rows)):
            rows = rows[low:high]
        if not self.by_time or not len(rows):
            return rows
        stamps = rows["ts_recv_ns"]
        wanted = (stamps >= self.from_ns) & (stamps < self.to_ns)
        # Slices where that does: indexing with a mask would repack records whose fields overlap.
        return rows if wanted.all() else rows.view(f"V{rows.itemsize}")[wanted].view(rows.dtype)

    def overlaps(self, first: int, end: int, ts_min_ns: int, ts_max_ns: int) -> bool:
        """Whether records of [first, end) with stamps of [ts_min_ns, ts_max_ns] may be wanted."""
        return first < self.end and end > self.first and ts_min_ns < self.to_ns and ts_max_ns >= self.from_ns


EVERYTHING = Selection()
