"""Compress closed segments, in a helper process of the lowest priority: ``python -m`` this module, a segment.

    00000000.hftj ── compress ─▶ 00000000.hftj.zst.draft ── read back, compare, sync, rename ─▶ 00000000.hftj.zst
                  └───────────────────────────────────────── removed last ◀──────────────────────────┘

Killed at any moment, the segment is there: plain, or both (then the plain one counts and is compressed again).
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

from hft_engine.persistence.journal.format import JournalError
from hft_engine.persistence.journal.session import DRAFT_SUFFIX
from hft_engine.persistence.journal.zstd_file import FRAME_BYTES, SeekableZstd, compress
from hft_engine.runtime.durable import sync_folder
from hft_engine.runtime.faultpoints import fault_point

IDLE_NICE = 19


def compress_segment(path: Path) -> Path:
    """Replace a closed plain segment by its compressed form. Raises JournalError; then the plain one is untouched."""
    target = path.with_name(path.name + ".zst")
    draft = target.with_name(target.name + DRAFT_SUFFIX)
    try:
        _write_draft(path, draft)
        _compare(path, draft)
        fault_point("journal.zstd.rename")
        draft.replace(target)
        sync_folder(path.parent)
        fault_point("journal.zstd.unlink")
        path.unlink()
    except OSError as error:
        raise JournalError(f"{path}: not compressed: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return target


def _write_draft(path: Path, draft: Path) -> None:
    stat = path.stat()
    with path.open("rb") as source, draft.open("wb") as file:
        compress(source, file, lambda: fault_point("journal.zstd.frame"))
        file.flush()
        os.fsync(file.fileno())
    os.utime(draft, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # retention goes by it
    fault_point("journal.zstd.draft")


def _compare(path: Path, draft: Path) -> None:
    """Before the original goes, what replaces it is read back."""
    with path.open("rb") as plain, SeekableZstd(draft) as packed:
        while content := plain.read(FRAME_BYTES):
            if packed.read(len(content)) != content:
                raise JournalError(f"{path}: not compressed: what was written does not read back the same")
        if packed.read(1):
            raise JournalError(f"{path}: not compressed: what was written is longer than the segment")


def _give_way() -> None:
    """To everybody: processor and disk only when nobody else wants them."""
    os.nice(IDLE_NICE)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # the disk's priority follows: ioprio_set(2)


def main(arguments: list[str]) -> int:
    """``PARENT_PID SEGMENT``: compress it, and die with the parent."""
    from hft_engine.runtime.linux import die_with_parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal, meant for the supervisor
    parent, path = arguments
    die_with_parent(int(parent))
    _give_way()
    try:
        compress_segment(Path(path))
    except JournalError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
