"""Which journals there are."""

from pathlib import Path

from hft_engine.persistence.journal import JournalError, JournalReport, check
from hft_engine.persistence.journal.session import JOURNAL_DIR, segment_paths


def session_paths(data_dir: Path) -> list[Path]:
    """Session folders below ``data_dir``, by name; [] where there are none."""
    root = data_dir / JOURNAL_DIR
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if p.is_dir() and segment_paths(p))


def sessions(data_dir: Path) -> list[JournalReport | JournalError]:
    """A report for every session: times, counts, bytes, damage; for one that cannot be read, its error.

    Every block is verified, so this takes as long as reading all journals.
    """
    return [_report(path) for path in session_paths(data_dir)]


def _report(path: Path) -> JournalReport | JournalError:
    try:
        return check(path)
    except JournalError as error:
        return error
