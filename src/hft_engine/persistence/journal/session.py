"""A session: the folder of one run's segments, 00000000.hftj, 00000001.hftj, ..."""

from pathlib import Path

from hft_engine.persistence.journal.format import SEGMENT_SUFFIX, JournalError

JOURNAL_DIR = "journal"  # inside engine.data_dir; one folder a run in it


def session_dir(data_dir: Path, run_id: str) -> Path:
    """Where the journal of a run lies."""
    return data_dir / JOURNAL_DIR / run_id


def segment_path(session: Path, number: int) -> Path:
    return session / f"{number:08d}{SEGMENT_SUFFIX}"


def segment_paths(path: Path) -> list[Path]:
    """The segments of a session folder in order, or the one that ``path`` is; [] where there is nothing."""
    if path.is_file():
        return [path]
    return sorted(p for p in path.glob(f"*{SEGMENT_SUFFIX}") if p.stem.isdecimal())


def require_segments(path: Path) -> list[Path]:
    """As ``segment_paths``; raises JournalError where there is none."""
    if not path.exists():
        raise JournalError(f"{path}: no such journal; `hft journal ls` lists what there is")
    paths = segment_paths(path)
    if not paths:
        raise JournalError(f"{path}: holds no journal segments (*{SEGMENT_SUFFIX})")
    return paths
