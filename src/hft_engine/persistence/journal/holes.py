"""Which sequences a journal lacks, from its blocks in order."""

from hft_engine.persistence.journal.format import Block, BlockKind, JournalError


class HoleTracker:
    """Feed it every block in order. ``holes``: [from, to) pairs; ``expected``: the next sequence.

    A hole that the writer declared counts like one that shows only in the sequences (a torn tail, a cut).
    """

    def __init__(self, first_sequence: int) -> None:
        self.expected = first_sequence
        self.holes: list[tuple[int, int]] = []

    def see(self, block: Block) -> None:
        """Raises JournalError where sequences go back: two writers, or files of two runs in one folder."""
        if block.kind == BlockKind.TICKS:
            self.skip_to(block.first_sequence)
            self.expected = block.first_sequence + block.count
        elif block.kind == BlockKind.HOLE:
            self.skip_to(block.hole()[1])

    def skip_to(self, sequence: int) -> None:
        """Whatever lies between the expected sequence and this one is a hole."""
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
