"""A file system of a few megabytes, to fill it."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_file_system(megabytes: int, options: str = "rw") -> Iterator[Path]:
    """Its folder, with a short path; the test is skipped where mounting is not permitted."""
    shm = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="hft-s-", dir=shm if os.access(shm, os.W_OK) else None))
    mounted = _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,{options}", "tmpfs", str(place))
    try:
        if not mounted:
            pytest.skip("mounting a small file system is not permitted here")
        yield place
    finally:
        if mounted:
            _run("umount", str(place))
        place.rmdir()


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
