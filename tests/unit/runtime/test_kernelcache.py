"""When kernels have to be compiled first, and that other processes do it."""

import os
import re
from pathlib import Path

import pytest

from hft_engine.runtime import kernelcache
from hft_engine.runtime.forkserver import ForkServer

MODULE = "support.kernel"


def test_a_mark_goes_by_the_modules_and_lies_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    mark = kernelcache.mark(["a", "b"])
    assert mark == kernelcache.mark(["a", "b"])
    assert mark != kernelcache.mark(["a"])
    assert mark.parent == tmp_path
    assert kernelcache.wants_filling(mark)
    mark.touch()
    assert not kernelcache.wants_filling(mark)


def test_a_cache_that_cannot_be_written_is_not_filled(tmp_path: Path) -> None:
    assert not kernelcache.wants_filling(tmp_path / "missing" / "filled")


def test_the_first_warming_compiles_in_other_processes_and_the_next_only_loads(tmp_path: Path) -> None:
    tests = Path(__file__).resolve().parents[2]
    log = tmp_path / "log"
    env = {**os.environ, "PYTHONPATH": f"{tests}:{os.environ.get('PYTHONPATH', '')}"}
    env |= {"NUMBA_CACHE_DIR": str(tmp_path), "WARM_LOG": str(log)}
    server_pids = []
    for _ in range(2):
        server = ForkServer([MODULE], env)
        try:
            assert [step.module for step in server.warming()] == [MODULE]
            server_pids.append(str(server.pid))
        finally:
            server.close()
    assert re.fullmatch(rf"(\d+)\n{server_pids[0]}\n{server_pids[1]}\n", log.read_text())
    assert log.read_text().split()[0] not in server_pids
