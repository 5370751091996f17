"""Write a small file so that after a crash at any moment it is whole or not there."""

import os
from pathlib import Path

from hft_engine.persistence.journal.session import DRAFT_SUFFIX
from hft_engine.runtime.durable import sync_folder
from hft_engine.runtime.faultpoints import fault_point


def write_whole(path: Path, data: bytes, point: str) -> None:
    """Draft, sync, rename, sync the folder; fault points ``<point>.draft`` and ``<point>.rename``. Raises OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}{DRAFT_SUFFIX}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            fault_point(f"{point}.draft")
            file.flush()
            os.fsync(file.fileno())
        fault_point(f"{point}.rename")
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
