"""Run directories: locks, sweeps, manifests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hft_engine.runtime import rundir
from hft_engine.runtime.rundir import DataLock, RunDirectory, RunError


def test_a_live_run_is_found_and_not_swept(run_root: Path) -> None:
    run = RunDirectory.create(str(run_root), "a")
    try:
        assert rundir.sweep(str(run_root)) == []
        assert rundir.live_runs(str(run_root)) == [run.path]
        assert run.path.stat().st_mode & 0o777 == 0o700
    finally:
        run.remove()
    assert rundir.live_runs(str(run_root)) == []
    assert not list(run_root.iterdir())


def test_what_a_killed_run_left_is_swept(run_root: Path) -> None:
    script = (
        "import os, signal\nfrom hft_engine.runtime.rundir import RunDirectory\n"
        f"RunDirectory.create({str(run_root)!r}, 'dead')\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode < 0
    live = RunDirectory.create(str(run_root), "live")
    (swept,) = rundir.sweep(str(run_root))
    assert swept.startswith("dead-")
    assert rundir.live_runs(str(run_root)) == [live.path]
    live.remove()


def test_find_run_names_the_runs_when_there_are_several(run_root: Path) -> None:
    runs = [RunDirectory.create(str(run_root), name) for name in ("one", "two")]
    try:
        with pytest.raises(RunError, match=r"several engines are running .*--run"):
            rundir.find_run(str(run_root))
        assert rundir.find_run(str(run_root), "two") == runs[1].path
    finally:
        for run in runs:
            run.remove()
    with pytest.raises(RunError, match="no engine is running"):
        rundir.find_run(str(run_root))


def test_second_engine_on_a_data_directory_is_refused_with_the_owner(tmp_path: Path) -> None:
    first = DataLock(tmp_path)
    first.describe("run x, pid 42")
    with pytest.raises(RunError, match=r"already running .*run x, pid 42.*hft stop"):
        DataLock(tmp_path)
    first.release()
    DataLock(tmp_path).release()


def test_root_too_long_for_unix_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="too long for Unix sockets"):
        RunDirectory.create(str(tmp_path / ("x" * 90)), "a")


def test_root_that_cannot_be_written_is_refused(run_root: Path) -> None:
    in_the_way = run_root / f"hft_engine-{os.getuid()}"
    in_the_way.write_text("not a directory")
    with pytest.raises(RunError, match=r"cannot make .*engine\.run_root"):
        RunDirectory.create(str(run_root), "a")
    in_the_way.unlink()


def test_manifest_that_cannot_be_written_is_told_with_the_remedy(run_root: Path) -> None:
    run = RunDirectory.create(str(run_root), "a")
    (run.path / f"{rundir.MANIFEST}.new").mkdir()  # in the way, as a full file system would be
    manifest = rundir.Manifest(
        run_id=run.run_id,
        name="a",
        pid=1,
        layout="dedicated",
        source="feed",
        venue="demo",
        started_utc_ns=0,
        started_mono_ns=0,
        data_dir="",
        log_dir="",
        processes={},
        rings=(),
        rules=(),
        config={},
    )
    with pytest.raises(RunError, match=r"cannot write .*engine\.run_root"):
        run.write_manifest(manifest)
    run.remove()
