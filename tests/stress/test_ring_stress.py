"""The ring under processes that race and die. HFT_STRESS_RECORDS sets the number of records (default 10^8)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ring_processes import DTYPE, PAIR, STORES

from hft_engine.shm.ring_file import create_ring

RECORDS = int(os.environ.get("HFT_STRESS_RECORDS", "100000000"))
SCRIPT = Path(__file__).with_name("ring_processes.py")


def start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result_of(process: "subprocess.Popen[str]") -> dict[str, int]:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    answer: dict[str, int] = json.loads(output)
    return answer


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("capacity", [1 << 16, 1 << 9])
def test_three_readers_see_no_torn_and_no_reordered_record(tmp_path: Path, capacity: int) -> None:
    total = RECORDS if capacity == 1 << 16 else RECORDS // 10
    path = tmp_path / "stress.ring"
    create_ring(path, DTYPE, capacity, [("a", 0), ("b", 1), ("c", 2)], gating=False)
    readers = [start("read", str(path), role, str(total)) for role in "abc"]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    assert result_of(start("write", str(path), str(total))) == {"published": total}
    for reader in readers:
        result = result_of(reader)
        print(result)
        assert result["torn"] == 0
        assert result["reordered"] == 0
        assert result["seen"] + result["lapped"] == total
        assert result["seen"] > 0


@pytest.mark.stress
def test_writer_killed_at_every_store_leaves_no_half_record(tmp_path: Path) -> None:
    path = tmp_path / "die.ring"
    create_ring(path, DTYPE, 16, [("a", 0)], gating=False)
    outcomes = result_of(start("die", str(path)))
    assert [o["stores"] for o in outcomes] == list(range(STORES + 1))
    for outcome in outcomes:
        assert outcome["killed"]
        assert outcome["torn"] == 0
        assert outcome["published"] == (PAIR if outcome["stores"] >= STORES - 1 else 0)
        assert outcome["seen"] == outcome["published"]
        assert outcome["after"] == [1, 3]  # the next writer goes on, and its records are read
        assert outcome["lapped"] == 0
