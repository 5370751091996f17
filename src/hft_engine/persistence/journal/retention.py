"""Which old segments to delete: by age and by size of all sessions together, oldest first.

Of the running session everything from the oldest tick that somebody may still ask for is kept, whatever the limits
say: what the tick ring holds, and what a checkpoint needs (``keep-from-*`` in its folder, a tick sequence).
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hft_engine.persistence.journal.format import JournalError
from hft_engine.persistence.journal.segment import read_header
from hft_engine.persistence.journal.session import (
    DRAFT_SUFFIX,
    INDEX_SUFFIX,
    index_path,
    plain_path,
    segment_number,
    segment_paths,
    session_paths,
)
from hft_engine.persistence.journal.zstd_file import open_segment
from hft_engine.runtime.durable import sync_folder
from hft_engine.runtime.faultpoints import fault_point

KEEP_FROM = "keep-from-*"
OF_A_SESSION = (
    "events-*.jsonl",
    KEEP_FROM,
    f"*{INDEX_SUFFIX}",
    f"*{DRAFT_SUFFIX}",
)  # what goes with its last segment


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """``modified_ns``: UTC, the last write. ``needed``: must stay."""

    path: Path
    bytes: int
    modified_ns: int
    needed: bool

    @property
    def session(self) -> Path:
        return self.path.parent


def excess(files: Iterable[SegmentFile], keep_bytes: int, oldest_ns: int) -> list[SegmentFile]:
    """Those to delete, oldest first: last written before ``oldest_ns``, or too much. 0: no such limit."""
    ordered = sorted(files, key=lambda file: (file.modified_ns, file.path.name))
    total = sum(file.bytes for file in ordered)
    gone = []
    for file in ordered:
        too_old = file.modified_ns < oldest_ns
        too_much = keep_bytes > 0 and total > keep_bytes
        if not file.needed and (too_old or too_much):
            gone.append(file)
            total -= file.bytes
    return gone


def segment_files(data_dir: Path, running: Path, keep_from: int) -> list[SegmentFile]:
    """Of all sessions. ``running``: the running one's folder; ticks from ``keep_from`` on are needed there."""
    files = []
    for session in session_paths(data_dir):
        paths = segment_paths(session)
        first_needed = _first_needed(paths, keep_from) if session == running else len(paths)
        for i, path in enumerate(paths):
            stat = path.stat()
            files.append(SegmentFile(path, stat.st_size, stat.st_mtime_ns, needed=i >= first_needed))
    return files


def floor_of(session: Path) -> int | None:
    """The oldest tick that a checkpoint of the session asks for; 0 where that cannot be read; None: nobody asks."""
    floors = []
    for path in session.glob(KEEP_FROM):
        try:
            floors.append(int(path.read_text()))
        except (OSError, ValueError):
            return 0
    return min(floors, default=None)


def delete(file: SegmentFile) -> None:
    """The segment, then its index, and with its session's last segment all of ours in that folder. Raises OSError."""
    for path in (file.path, plain_path(file.path)):  # both, where a crash left both
        path.unlink(missing_ok=True)
    fault_point("journal.delete")
    index_path(file.path).unlink(missing_ok=True)
    sync_folder(file.session)
    if not segment_paths(file.session):
        fault_point("journal.delete.session")
        _remove_session(file.session)


def sweep(data_dir: Path) -> None:
    """What a crash left in the middle of something: drafts, indexes without their segment. Raises OSError."""
    for session in session_paths(data_dir):
        for draft in session.glob(f"*{DRAFT_SUFFIX}"):
            draft.unlink(missing_ok=True)
        numbers = {segment_number(path) for path in segment_paths(session)}
        for index in session.glob(f"*{INDEX_SUFFIX}"):
            if index.stem.isdecimal() and int(index.stem) not in numbers:
                index.unlink(missing_ok=True)


def _first_needed(paths: Sequence[Path], keep_from: int) -> int:
    """Index of the first segment that may hold a tick from ``keep_from`` on; the last one is always needed."""
    for i in range(len(paths) - 1, 0, -1):
        first = _first_sequence(paths[i])
        if first is not None and first <= keep_from:
            return i
    return 0


def _first_sequence(path: Path) -> int | None:
    with contextlib.suppress(OSError, JournalError), open_segment(path) as file:
        header = read_header(path, file)
        return header.first_sequence if header else None
    return None


def _remove_session(session: Path) -> None:
    # Only what is ours: a segment's cut-off tail, or a note that somebody left there, stays, and the folder with it.
    for pattern in OF_A_SESSION:
        for path in session.glob(pattern):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        session.rmdir()
