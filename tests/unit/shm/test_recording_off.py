"""Latency compiled out: nothing is recorded, and its kernels never meet those of a normal build."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hft_engine.runtime import kernelcache

PROGRAM = """
from numba import njit
from hft_engine.shm.clock import stamp_ns
from hft_engine.shm.histogram import new_counts, record_one
now = njit(lambda: stamp_ns())
counts = new_counts()
record_one(counts, 5)
print(counts.sum(), now())
"""


@pytest.mark.parametrize(("setting", "recorded"), [("off", False), ("", True)])
def test_recording_is_compiled_in_unless_it_is_switched_off(
    setting: str, recorded: bool, tmp_path: Path
) -> None:
    environment = {**os.environ, "HFT_LATENCY": setting, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    total, now_ns = (int(part) for part in answer.stdout.split())
    assert (total > 0, now_ns > 0) == (recorded, recorded)


def test_kernels_without_latency_have_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HFT_LATENCY", raising=False)
    normal = kernelcache.key()
    monkeypatch.setenv("HFT_LATENCY", "")
    assert kernelcache.key() == normal
    monkeypatch.setenv("HFT_LATENCY", "off")
    assert kernelcache.key() != normal
