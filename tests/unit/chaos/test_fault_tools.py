"""Faults of disks do what they are called, and heal."""

from pathlib import Path

import pytest

from support.faults import flip, full, slow_disk
from support.memory import small_file_system


def test_a_full_file_system_takes_no_byte_more_and_then_does_again() -> None:
    with small_file_system(1) as folder:
        with full(folder), pytest.raises(OSError, match="No space left"):
            (folder / "more").write_bytes(b"x" * 1_000_000)
        (folder / "more").write_bytes(b"x" * 500_000)


def test_a_large_file_system_is_not_filled(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no small file system"), full(tmp_path):
        pass


def test_flip_changes_one_byte_and_back(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    flip(path, 1, 0x01)
    assert path.read_bytes() == b"acc"
    flip(path, 1, 0x01)
    assert path.read_bytes() == b"abc"


def test_a_slow_disk_is_made_of_fault_points() -> None:
    assert slow_disk("a,b", 20) == {"HFT_FAULT_POINTS": "a:slow@20,b:slow@20"}
