"""The proofs of the trials can fail: what is planted is found, and counted as what it is."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from chaos import proof, soak
from chaos.recovery import Kill, percentile
from hft_engine.records import TICK_DTYPE, TickKind
from hft_engine.runtime.run_record import ReaderAccount, RoleFault, RunRecord
from support import watcher

KILL = Kill("feed", 1, ns=5_000_000_000, utc_ns=5_000_000_000, ticks=0)


def ticks(count: int = 10) -> np.ndarray:
    """A tick a second, numbered by the venue and by the ring."""
    rows = np.zeros(count, TICK_DTYPE)
    rows["sequence"] = np.arange(count)
    rows["venue_sequence"] = np.arange(count) + 100
    rows["ts_recv_ns"] = rows["ts_mono_ns"] = np.arange(count) * 1_000_000_000
    rows["kind"] = TickKind.TRADE
    return rows


def test_a_journal_that_is_whole_is_and_one_that_lacks_or_repeats_a_tick_is_not() -> None:
    rows = ticks()
    assert proof.whole(rows, 10) == []
    assert "holds 9 ticks, the ring published 10" in proof.whole(rows[1:], 10)[0]
    rows["sequence"][5] = 4
    assert "first break after 4" in proof.whole(rows, 10)[0]


def test_what_the_venue_sent_and_is_not_there_must_lie_where_the_feed_was_killed() -> None:
    rows = ticks()
    assert proof.lost(rows, []) == proof.Lost(0, 0, 0, 0)
    rows["venue_sequence"][5:] += 7  # between second 4 and second 5
    assert proof.lost(rows, [KILL]) == proof.Lost(7, 1, 0, 0)
    assert proof.lost(rows, []) == proof.Lost(7, 1, 1, 0)
    rows["venue_sequence"][8] = rows["venue_sequence"][7]
    assert proof.lost(rows, [KILL]).repeated == 1


def test_a_pause_counts_unless_the_feed_was_killed_in_it() -> None:
    rows = ticks()
    rows["ts_mono_ns"][5:] += 2_000_000_000
    assert proof.longest_pause_ms(rows, []) == 3_000
    assert proof.longest_pause_ms(rows, [KILL]) == 1_000


def database(path: Path, rows: list[tuple[int, str, float]]) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE signals (run_id TEXT, sequence INTEGER, symbol TEXT, price REAL, latency_ns INTEGER)"
        )
        connection.executemany(
            "INSERT INTO signals VALUES (?, ?, ?, ?, ?)", [(str(path), *row, len(rows)) for row in rows]
        )
    return path


@pytest.mark.parametrize(
    ("live", "outcome"),
    [
        ([(0, "A", 1.0), (1, "B", 2.0), (2, "C", 3.0)], (0, 0, 0)),
        ([(0, "A", 1.0), (2, "C", 3.0)], (1, 0, 0)),
        ([(0, "A", 1.0), (1, "B", 2.0), (2, "C", 3.0), (3, "C", 3.0)], (0, 1, 0)),
        ([(0, "A", 1.0), (1, "B", 2.5), (2, "C", 3.0)], (0, 0, 1)),
    ],
)
def test_missing_duplicate_and_wrong_rows_are_told_apart(tmp_path: Path, live, outcome) -> None:
    expected = database(tmp_path / "expected.db", [(0, "A", 1.0), (1, "B", 2.0), (2, "C", 3.0)])
    (found,) = proof.compare(database(tmp_path / "live.db", live), expected, ("signals",))
    assert (found.missing, found.duplicate, found.wrong) == outcome
    assert found.none == (outcome == (0, 0, 0))


def test_percentiles_are_nearest_ranks() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([float(i) for i in range(100)], 99) == 99.0
    assert percentile([], 99) == 0.0


def watched(rss: np.ndarray, descriptors: list[int] | None = None) -> soak.Watched:
    found = soak.Watched("feed", psutil.Process())
    found.times = list(np.arange(len(rss), dtype=float))
    found.rss = found.anonymous = list(rss)
    found.descriptors = descriptors or [10] * len(rss)
    found.threads = [1] * len(rss)
    return found


def test_a_leak_is_found_and_a_warm_up_is_none() -> None:
    seconds = np.arange(1_800)
    level = 50 + 20 * np.minimum(seconds / 500, 1.0)
    assert soak.finding(watched(level), 600).problems == ()
    leak = soak.finding(watched(level + seconds * 1.2 / 3600), 600)
    assert leak.slope_mb_h == pytest.approx(1.2)
    assert "grows by 1.20 MB/h" in leak.problems[0]


def test_a_descriptor_that_is_left_over_is_found() -> None:
    found = soak.finding(watched(np.full(100, 50.0), [10] * 70 + [11] * 30), 30)
    assert "descriptors 10 -> 11" in found.problems[0]


def test_a_process_that_ended_is_told_of() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as ended:
        found = soak.Watched("feed", psutil.Process(ended.pid))
        found.sample(0.0)
        ended.kill()
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # a zombie, as long as nobody asks
        found.sample(90.0)
    assert soak.finding(found, 600).problems == ("was gone after 1.5 min",)


def test_a_file_that_is_open_for_a_moment_is_not_left_over() -> None:
    moments = ([10] * 4 + [14]) * 20  # the last of which ends with the run, and there are more at its end
    assert soak.finding(watched(np.full(100, 50.0), moments[:60] + [10, 14] * 20), 30).problems == ()


def record(*faults: RoleFault, readers: tuple[ReaderAccount, ...] = ()) -> RunRecord:
    return RunRecord("r", 0, 0, "stopped", 0, "", faults, 0, readers)


def test_the_watcher_finds_errors_that_were_not_declared_and_records_unaccounted_for() -> None:
    fault = RoleFault("feed", 30, 2, 0, 0, "feed: connection lost: refused")
    assert watcher.unexpected(record(fault), []) == [
        "r, error log of feed: feed: connection lost: refused (2 times)"
    ]
    assert watcher.unexpected(record(fault), ["connection lost"]) == []
    good = ReaderAccount("ticks", "indicators", published=10, seen=7, lapped=2, lag=1)
    bad = ReaderAccount("ticks", "persistence", published=10, seen=7, lapped=1, lag=1)
    assert watcher.unexpected(record(readers=(good,)), []) == []
    assert (
        "published 10 is not seen 7 + lapped 1 + lag 1" in watcher.unexpected(record(readers=(bad,)), [])[0]
    )
