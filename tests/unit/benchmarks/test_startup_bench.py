import gc
import mmap
import os
from pathlib import Path

import pytest
from benchmarks import harness
from benchmarks.load import startup

MIB = 1 << 20


def test_a_process_own_pages_count_as_private() -> None:
    piece = b"x" * MIB
    gc.collect()
    before = startup.footprint(os.getpid())
    # not from the heap, which may have kept pages of what was freed before
    with mmap.mmap(-1, 32 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        for _ in range(32):
            held.write(piece)
        after = startup.footprint(os.getpid())
    assert after.private - before.private == pytest.approx(32, abs=2.0)


def test_shared_memory_is_no_process_own() -> None:
    before = startup.footprint(os.getpid())
    with mmap.mmap(-1, 32 * MIB) as shared:  # anonymous and shared: pages of a segment
        shared.write(bytes(32 * MIB))
        after = startup.footprint(os.getpid())
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
