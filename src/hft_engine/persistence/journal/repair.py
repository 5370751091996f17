"""Cut a damaged segment; nothing is thrown away."""

import os
from pathlib import Path
from typing import BinaryIO

from hft_engine.persistence.journal.format import JournalError
from hft_engine.persistence.journal.segment import read_blocks, read_header
from hft_engine.persistence.journal.session import DRAFT_SUFFIX, index_path, plain_path
from hft_engine.persistence.journal.zstd_file import open_segment, size_of
from hft_engine.runtime.durable import sync_folder
from hft_engine.runtime.faultpoints import fault_point

COPY_BYTES = 1 << 20


def cut(path: Path | str, at: int) -> Path:
    """Cut a segment at byte ``at``, a block boundary of its valid part; what is cut goes to a file beside it.

    A compressed segment becomes a plain one, and the whole compressed file is kept beside it. Returns the file
    that was kept. Raises JournalError, changing nothing, if ``at`` is no boundary or the disk refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise JournalError(f"{path}: no such segment; name the segment file, not its folder")
    aside = path.with_name(f"{path.name}.cut-{at}")
    try:
        with open_segment(path) as file:
            _refuse_bad_offset(path, file, at)
            if plain_path(path) != path:
                _cut_compressed(path, file, at, aside)
                return aside
            _copy(file, at, size_of(file), aside)
        fault_point("journal.cut")
        os.truncate(path, at)
        index_path(path).unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(f"{path}: not cut: {error.strerror} ({error.filename or aside})") from error
    return aside


def _cut_compressed(path: Path, file: BinaryIO, at: int, aside: Path) -> None:
    plain = plain_path(path)
    draft = plain.with_name(plain.name + DRAFT_SUFFIX)
    draft.unlink(missing_ok=True)
    _copy(file, 0, at, draft)
    draft.replace(plain)  # from here on it is the plain one that counts
    fault_point("journal.cut")
    path.rename(aside)
    index_path(path).unlink(missing_ok=True)
    sync_folder(path.parent)


def _refuse_bad_offset(path: Path, file: BinaryIO, at: int) -> None:
    boundaries = _boundaries(path, file)
    if at not in boundaries or at >= size_of(file):
        near = max((b for b in boundaries if b <= at), default=0)
        raise JournalError(
            f"{path}: byte {at} is not where a block of its valid part ends; the nearest before is {near}. "
            f"`hft journal check {path}` says where it is damaged"
        )


def _boundaries(path: Path, file: BinaryIO) -> set[int]:
    header = read_header(path, file)
    if header is None:
        return {0}
    blocks = read_blocks(file, header.header_bytes, size_of(file))
    return {header.header_bytes, *(block.end for block in blocks)}


def _copy(source: BinaryIO, start: int, end: int, path: Path) -> None:
    """Bytes [start, end) into a new file, synced."""
    with path.open("xb") as target:
        source.seek(start)
        while data := source.read(min(COPY_BYTES, end - source.tell())):
            target.write(data)
        target.flush()
        os.fsync(target.fileno())
