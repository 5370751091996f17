"""Check a journal, and cut a damaged segment."""

import os
from dataclasses import dataclass
from pathlib import Path

from hft_engine.persistence.journal.format import JournalError
from hft_engine.persistence.journal.holes import HoleTracker
from hft_engine.persistence.journal.segment import SegmentReport, read_blocks, read_header, scan
from hft_engine.persistence.journal.session import require_segments

COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class JournalReport:
    """All segments of a session (or the one asked for), verified. ``holes``: [from, to) sequences missing."""

    path: Path
    segments: tuple[SegmentReport, ...]
    holes: tuple[tuple[int, int], ...]

    @property
    def ticks(self) -> int:
        return sum(s.ticks for s in self.segments)

    @property
    def bytes(self) -> int:
        return sum(s.bytes for s in self.segments)

    @property
    def torn_bytes(self) -> int:
        return sum(s.torn_bytes for s in self.segments)

    @property
    def symbols(self) -> tuple[str, ...]:
        """In order of id: of the last segment that has any (the table only grows)."""
        return next((s.symbols for s in reversed(self.segments) if s.symbols), ())

    @property
    def run_id(self) -> str:
        """Empty where no segment has a whole header."""
        return next((s.header.metadata.run_id for s in self.segments if s.header), "")

    @property
    def venue(self) -> str:
        return next((s.header.metadata.venue for s in self.segments if s.header), "")

    @property
    def created_ns(self) -> int:
        """UTC; 0 where no segment has a whole header."""
        return next((s.header.created_ns for s in self.segments if s.header), 0)

    @property
    def first_ts_ns(self) -> int:
        return next((s.first_ts_ns for s in self.segments if s.ticks), 0)

    @property
    def last_ts_ns(self) -> int:
        return next((s.last_ts_ns for s in reversed(self.segments) if s.ticks), 0)

    @property
    def damaged(self) -> tuple[SegmentReport, ...]:
        """Segments with a bad block that valid ones follow; each one's ``remedy`` is the command to run."""
        return tuple(s for s in self.segments if s.damaged_at is not None)

    @property
    def ended(self) -> bool:
        """Whether the writer closed it in order; False while it is being written, or after a crash."""
        return bool(self.segments) and self.segments[-1].ended

    def refuse_damage(self) -> None:
        """Raises JournalError for the first damaged segment."""
        for segment in self.damaged:
            segment.refuse_damage()


def check(path: Path | str) -> JournalReport:
    """Verify every block of a session folder or a segment. Damage and torn tails are reported, not raised.

    Raises JournalError if there is no journal, it cannot be read, or its records have another layout.
    """
    path = Path(path)
    segments = tuple(scan(p) for p in require_segments(path))
    return JournalReport(path, segments, _session_holes(segments))


def _session_holes(segments: tuple[SegmentReport, ...]) -> tuple[tuple[int, int], ...]:
    whole = [s for s in segments if s.header is not None]
    if not whole or whole[0].header is None:
        return ()
    tracker = HoleTracker(whole[0].header.first_sequence)
    for segment in whole:
        _add_segment(tracker, segment)
    return tuple(tracker.holes)


def _add_segment(tracker: HoleTracker, segment: SegmentReport) -> None:
    assert segment.header is not None
    try:
        tracker.skip_to(segment.header.first_sequence)
    except JournalError as error:
        raise JournalError(f"{segment.path}: {error}") from None
    for first, end in segment.holes:
        tracker.expected = first
        tracker.skip_to(end)
    tracker.expected = segment.next_sequence


def cut(path: Path | str, at: int) -> Path:
    """Cut a segment at byte ``at``, a block boundary of its valid part; what is cut goes to a file beside it.

    Returns that file. Raises JournalError, changing nothing, if ``at`` is no boundary or the disk refuses.
    """
    path = Path(path)
    _refuse_bad_offset(path, at)
    aside = path.with_name(f"{path.name}.cut-{at}")
    try:
        _copy_tail(path, at, aside)
        os.truncate(path, at)
    except OSError as error:
        raise JournalError(f"{path}: not cut: {error.strerror} ({error.filename or aside})") from error
    return aside


def _refuse_bad_offset(path: Path, at: int) -> None:
    if not path.is_file():
        raise JournalError(f"{path}: no such segment; name the segment file, not its folder")
    boundaries = _boundaries(path)
    if at not in boundaries or at >= path.stat().st_size:
        near = max((b for b in boundaries if b <= at), default=0)
        raise JournalError(
            f"{path}: byte {at} is not where a block of its valid part ends; the nearest before is {near}. "
            f"`hft journal check {path}` says where it is damaged"
        )


def _boundaries(path: Path) -> set[int]:
    with path.open("rb") as file:
        header = read_header(path, file)
        if header is None:
            return {0}
        blocks = read_blocks(file, header.header_bytes, path.stat().st_size)
        return {header.header_bytes, *(block.end for block in blocks)}


def _copy_tail(path: Path, at: int, aside: Path) -> None:
    with path.open("rb") as source, aside.open("xb") as target:
        source.seek(at)
        while data := source.read(COPY_BYTES):
            target.write(data)
        target.flush()
        os.fsync(target.fileno())
