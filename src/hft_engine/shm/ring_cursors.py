"""A ring's cursors as Python reads and moves them, between two duty cycles. No numba here."""

import numpy as np

from hft_engine.shm import layout
from hft_engine.shm.ring_file import reader_names
from hft_engine.shm.segment import SegmentError

_INTENT, _PUBLISHED, _FREE_END = layout.W_INTENT, layout.W_PUBLISHED, layout.W_FREE_END
_START = layout.W_START
_READER_0, _READER_WORDS = layout.W_READER_0, layout.READER_WORDS
_POSITION, _LAPPED, _SEEN = layout.R_POSITION, layout.R_LAPPED, layout.R_SEEN
_LAPS, _LAPS_TOLD = layout.R_LAPS, layout.R_LAPS_TOLD
_LAP_0, _LAPS_KEPT = layout.R_LAP_0, layout.LAPS_KEPT


class RingCursors:
    """``head``: the ring's header words; ``name`` and ``capacity`` of the ring."""

    name: str
    head: np.ndarray
    capacity: int

    @property
    def published(self) -> int:
        return int(self.head[_PUBLISHED])

    @property
    def start(self) -> int:
        """The ring's first sequence: 0, or where a resumed session went on."""
        return int(self.head[_START])

    @property
    def oldest(self) -> int:
        """The oldest sequence whose slot is not about to be overwritten."""
        return max(self.start, int(self.head[_INTENT]) - self.capacity)

    @property
    def reader_roles(self) -> list[str]:
        return reader_names(self.head)

    def reader(self, role: str) -> int:
        """The index of a reader. Raises SegmentError for a role that the topology gave no entry."""
        try:
            return self.reader_roles.index(role)
        except ValueError:
            raise SegmentError(f"{role!r} is no reader of ring {self.name!r}: {self.reader_roles}") from None

    def position(self, reader: int) -> int:
        return int(self.head[_READER_0 + reader * _READER_WORDS + _POSITION])

    def lapped(self, reader: int) -> int:
        return int(self.head[_READER_0 + reader * _READER_WORDS + _LAPPED])

    def untold_laps(self, reader: int) -> tuple[int, list[tuple[int, int]]]:
        """Laps since the reader last asked, in this life or an earlier one: (how many, [from, to) that each missed).

        Of more than LAPS_KEPT only the latest are known one by one.
        """
        base = _READER_0 + reader * _READER_WORDS
        count, told = int(self.head[base + _LAPS]), int(self.head[base + _LAPS_TOLD])
        places = [
            base + _LAP_0 + 2 * (lap % _LAPS_KEPT) for lap in range(max(told, count - _LAPS_KEPT), count)
        ]
        return count - told, [(int(self.head[at]), int(self.head[at + 1])) for at in places]

    def tell_laps(self, reader: int, count: int) -> None:
        """``count`` more laps need not be told again."""
        self.head[_READER_0 + reader * _READER_WORDS + _LAPS_TOLD] += count

    def seen(self, reader: int) -> int:
        return int(self.head[_READER_0 + reader * _READER_WORDS + _SEEN])

    def lag(self, reader: int) -> int:
        """Records that wait for a reader."""
        return max(0, self.published - self.position(reader))

    def rewind(self, reader: int, sequence: int) -> int:
        """Move a reader back to ``sequence``, or to the oldest record that is not about to be overwritten.

        For a reader that restarts and had not yet made durable all that its dead self polled. Returns how many
        records it will see again; never moves forward.
        """
        base = _READER_0 + reader * _READER_WORDS
        oldest = int(self.head[_INTENT]) - self.capacity + (self.capacity >> 3)
        back = self.position(reader) - max(sequence, oldest, self.start)
        if back <= 0:
            return 0
        self.head[base + _SEEN] -= back
        self.head[base + _POSITION] -= back
        self.head[_FREE_END] = 0  # on a gating ring the writer looks again before it goes on
        return back

    def pass_to(self, reader: int, sequence: int) -> None:
        """Move a reader forward to ``sequence``: it had the records between from elsewhere. Never moves back."""
        base = _READER_0 + reader * _READER_WORDS
        passed = max(0, sequence - self.position(reader))
        self.head[base + _SEEN] += passed
        self.head[base + _POSITION] += passed
