import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import harness
from benchmarks.load import startup

MIB = 1 << 20


# Small and alone, so that nothing else of it comes and goes: maps 32 MB of its own, then 32 MB that are shared.
MAPPING = """
import mmap
held = []
for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
    print("before", flush=True)
    input()
    held.append(mmap.mmap(-1, 32 << 20, flags=flags | mmap.MAP_ANONYMOUS))
    for _ in range(32):
        held[-1].write(bytes(1 << 20))
    print("after", flush=True)
    input()
"""


@pytest.fixture(scope="module")
def footprints() -> list[startup.Footprint]:
    """Of a process before and after each of its mappings."""
    command = [sys.executable, "-S", "-c", MAPPING]
    found = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for _ in process.stdout:
            found.append(startup.footprint(process.pid))
            process.stdin.write("on\n")
            process.stdin.flush()
    return found


def test_a_process_own_pages_count_as_private(footprints: list[startup.Footprint]) -> None:
    before, after, *_ = footprints
    assert after.private - before.private == pytest.approx(32, abs=2.0)


def test_shared_memory_is_no_process_own(footprints: list[startup.Footprint]) -> None:
    *_, before, after = footprints
    assert after.private + after.share - before.private - before.share < 2.0


def test_a_segment_counts_what_it_holds_not_what_it_may_hold(tmp_path: Path) -> None:
    with (tmp_path / "a.ring").open("wb") as file:
        file.write(bytes(MIB))
        file.truncate(64 * MIB)
        file.flush()
        os.fsync(file.fileno())
    assert startup.segments_mb(tmp_path) == pytest.approx(1.0, abs=0.2)


def test_figures_stand_beside_their_targets(capsys: pytest.CaptureFixture[str]) -> None:
    report = harness.Report("startup", harness.options("A sample.", ["--runs", "1"]))
    found = startup.Results(
        plain_s=[0.4],
        cold=[startup.Started(20.0, 26.0)],
        warm=[startup.Started(1.8, 2.9)],
        restarts_ms={"feed": [110.0]},
        memory={"feed": startup.Footprint(20.0, 10.0)},
        segments=[60.0],
        totals=[90.0],
    )
    startup.tell(report, found, "dedicated")
    met = {row["name"]: row["met"] for row in report.results}
    assert met["cold_to_tick_s"] and not met["cold_to_signal_s"]
    assert met["warm_to_signal_s"] and met["restart_feed_ms"] and met["engine_memory_mb"]
    assert "| all " in capsys.readouterr().out
