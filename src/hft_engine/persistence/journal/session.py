"""A session: the folder of one run's segments, 00000000.hftj, 00000001.hftj, ... and what lies beside them.

00000000.hftj          a segment
00000000.hftj.zst      the same, compressed once it was closed
00000000.hftx          its index; made again where it is missing
"""

from pathlib import Path

from hft_engine.persistence.journal.format import SEGMENT_SUFFIX, JournalError

JOURNAL_DIR = "journal"  # inside engine.data_dir; one folder a run in it
ZSTD_SUFFIX = SEGMENT_SUFFIX + ".zst"
INDEX_SUFFIX = ".hftx"
DRAFT_SUFFIX = ".draft"  # being written: never read, removed by the next writer


def session_dir(data_dir: Path, run_id: str) -> Path:
    """Where the journal of a run lies."""
    return data_dir / JOURNAL_DIR / run_id


def session_paths(data_dir: Path) -> list[Path]:
    """Session folders below ``data_dir``, by name; [] where there are none."""
    root = data_dir / JOURNAL_DIR
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if p.is_dir() and segment_paths(p))


def segment_path(session: Path, number: int) -> Path:
    return session / f"{number:08d}{SEGMENT_SUFFIX}"


def segment_number(path: Path) -> int:
    return int(path.name.partition(".")[0])


def plain_path(path: Path) -> Path:
    """Where the segment lies while it is not compressed."""
    return path.with_name(path.name.removesuffix(".zst"))


def index_path(path: Path) -> Path:
    """The index of a segment, compressed or not."""
    return path.with_name(path.name.partition(".")[0] + INDEX_SUFFIX)


def segment_paths(path: Path) -> list[Path]:
    """The segments of a session folder in order, or the one that ``path`` is; [] where there is nothing.

    Of a segment that is there plain and compressed (a crash in between) the plain one.
    """
    if path.is_file():
        return [path]
    found: dict[int, Path] = {}
    for suffix in (ZSTD_SUFFIX, SEGMENT_SUFFIX):
        for file in path.glob(f"*{suffix}"):
            if file.name.removesuffix(suffix).isdecimal():
                found[segment_number(file)] = file
    return [found[number] for number in sorted(found)]


def is_journal(path: Path) -> bool:
    """Whether it is a segment by its name, or a folder with segments."""
    if path.is_dir():
        return bool(segment_paths(path))
    return path.name.endswith((SEGMENT_SUFFIX, ZSTD_SUFFIX))


def require_segments(path: Path) -> list[Path]:
    """As ``segment_paths``; raises JournalError where there is none."""
    if not path.exists():
        raise JournalError(f"{path}: no such journal; `hft journal ls` lists what there is")
    paths = segment_paths(path)
    if not paths:
        raise JournalError(f"{path}: holds no journal segments (*{SEGMENT_SUFFIX})")
    return paths
