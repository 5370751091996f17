"""What a session holds: all its segments together."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hft_engine.persistence.journal.format import JournalError, SegmentHeader
from hft_engine.persistence.journal.holes import HoleTracker
from hft_engine.persistence.journal.metadata import SegmentMetadata
from hft_engine.persistence.journal.segment import scan, survey
from hft_engine.persistence.journal.session import require_segments
from hft_engine.persistence.journal.tally import SegmentReport


@dataclass(frozen=True, slots=True)
class JournalReport:
    """All segments of a session (or the one asked for). ``holes``: [from, to) sequences missing, of ticks."""

    path: Path
    segments: tuple[SegmentReport, ...]
    holes: tuple[tuple[int, int], ...]
    signal_holes: tuple[tuple[int, int], ...]

    @property
    def ticks(self) -> int:
        return sum(s.ticks for s in self.segments)

    @property
    def signals(self) -> int:
        return sum(s.signals for s in self.segments)

    @property
    def bytes(self) -> int:
        """As if no segment were compressed."""
        return sum(s.bytes for s in self.segments)

    @property
    def disk_bytes(self) -> int:
        return sum(s.disk_bytes for s in self.segments)

    @property
    def header(self) -> SegmentHeader | None:
        """Of the first segment that has a whole one: what the session began with."""
        return next((s.header for s in self.segments if s.header), None)

    @property
    def metadata(self) -> SegmentMetadata | None:
        return self.header.metadata if self.header else None

    @property
    def first_sequence(self) -> int:
        """Of the first tick that it may hold: more than 0 where retention took the beginning."""
        return self.header.first_sequence if self.header else 0

    @property
    def next_sequence(self) -> int:
        return next((s.next_sequence for s in reversed(self.segments) if s.header), 0)

    @property
    def torn_bytes(self) -> int:
        return sum(s.torn_bytes for s in self.segments)

    @property
    def symbols(self) -> tuple[str, ...]:
        """In order of id: of the last segment that has any (the table only grows)."""
        return next((s.sums.symbols for s in reversed(self.segments) if s.sums.symbols), ())

    @property
    def run_id(self) -> str:
        """Empty where no segment has a whole header."""
        return self.metadata.run_id if self.metadata else ""

    @property
    def venue(self) -> str:
        return self.metadata.venue if self.metadata else ""

    @property
    def created_ns(self) -> int:
        """UTC; 0 where no segment has a whole header."""
        return self.header.created_ns if self.header else 0

    @property
    def first_ts_ns(self) -> int:
        return next((s.sums.first_ts_ns for s in self.segments if s.ticks), 0)

    @property
    def last_ts_ns(self) -> int:
        return next((s.sums.last_ts_ns for s in reversed(self.segments) if s.ticks), 0)

    @property
    def damaged(self) -> tuple[SegmentReport, ...]:
        """Segments with a bad block that valid ones follow; each one's ``remedy`` is the command to run."""
        return tuple(s for s in self.segments if s.damaged_at is not None)

    @property
    def ended(self) -> bool:
        """Whether the writer closed it in order; False while it is being written, or after a crash."""
        return bool(self.segments) and self.segments[-1].sums.ended

    def refuse_damage(self) -> None:
        """Raises JournalError for the first damaged segment."""
        for segment in self.damaged:
            segment.refuse_damage()


def check(
    path: Path | str, on_segment: Callable[[SegmentReport], None] = lambda report: None
) -> JournalReport:
    """Verify every block of a session folder or a segment. Damage and torn tails are reported, not raised.

    ``on_segment`` is told each as it is done. Raises JournalError if there is no journal, it cannot be read, or its
    records have another layout.
    """
    return _report(Path(path), scan, on_segment)


def survey_session(path: Path | str) -> JournalReport:
    """As ``check``, but closed segments by their indexes: what they say is not verified, and there at once."""
    return _report(Path(path), survey, lambda report: None)


def _report(
    path: Path, read: Callable[[Path], SegmentReport], on_segment: Callable[[SegmentReport], None]
) -> JournalReport:
    segments = []
    for file in require_segments(path):
        segments.append(read(file))
        on_segment(segments[-1])
    whole = [s for s in segments if s.header is not None]
    ticks, signals = HoleTracker(0), HoleTracker(0)
    for i, segment in enumerate(whole):
        _add_segment(segment, ticks, signals, i == 0)
    return JournalReport(path, tuple(segments), tuple(ticks.holes), tuple(signals.holes))


def _add_segment(segment: SegmentReport, ticks: HoleTracker, signals: HoleTracker, is_first: bool) -> None:
    assert segment.header is not None
    sums = segment.sums
    firsts = (segment.header.first_sequence, segment.header.metadata.first_signal)
    try:
        for tracker, first, holes, end in (
            (ticks, firsts[0], sums.holes, sums.next_sequence),
            (signals, firsts[1], sums.signal_holes, sums.next_signal),
        ):
            tracker.expected = first if is_first else tracker.expected
            tracker.join(first, holes, end)
    except JournalError as error:
        raise JournalError(f"{segment.path}: {error}") from None
