"""Which sequences a journal lacks, from its runs of records in order."""

from collections.abc import Sequence

from hft_engine.persistence.journal.format import JournalError


class HoleTracker:
    """Told every run of records in order. ``holes``: [from, to) pairs; ``expected``: the next sequence.

    A hole that the writer declared counts like one that shows only in the sequences (a torn tail, a cut).
    """

    def __init__(self, first_sequence: int) -> None:
        self.expected = first_sequence
        self.holes: list[tuple[int, int]] = []

    def run(self, first: int, count: int) -> None:
        """``count`` records from sequence ``first`` on. Raises JournalError as ``skip_to`` does."""
        self.skip_to(first)
        self.expected = first + count

    def skip_to(self, sequence: int) -> None:
        """Whatever lies between the expected sequence and this one is a hole.

        Raises JournalError where sequences go back: two writers, or files of two runs in one folder.
        """
        if sequence < self.expected:
            raise JournalError(
                f"sequence {sequence} follows {self.expected - 1}: segments of two runs are mixed; "
                "keep each run's segments in a folder of their own"
            )
        if sequence == self.expected:
            return
        if self.holes and self.holes[-1][1] == self.expected:
            self.holes[-1] = (self.holes[-1][0], sequence)
        else:
            self.holes.append((self.expected, sequence))
        self.expected = sequence

    def join(self, first: int, holes: Sequence[tuple[int, int]], end: int) -> None:
        """The records [first, end) without ``holes``. Raises JournalError as ``skip_to`` does."""
        self.skip_to(first)
        for start, stop in holes:
            self.expected = start
            self.skip_to(stop)
        self.expected = end
