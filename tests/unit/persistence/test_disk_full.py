"""A disk that is really full: a file system of its own, of half a megabyte."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from persistence_samples import make_signals, make_ticks

from hft_engine.persistence.actor import PersistenceActor
from hft_engine.persistence.journal import JournalReader, session_dir
from hft_engine.runtime.latch import RESERVE_FILE, TradingLatch

DISK_BYTES = 512 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mounted where the test may; else the test is skipped, and those with RLIMIT_FSIZE and fault points stand."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def ctx(make_ctx, small_disk):
    made = make_ctx(ticks=8192, sqlite=False)
    made.data_dir = small_disk
    made.stats.declare(PersistenceActor.counters, ())
    return made


def feed(actor: PersistenceActor, ctx, count: int) -> None:
    for _ in range(0, count, 100):
        ctx.ring("ticks").publish_rows(make_ticks(0, 100))
        actor.do_work()


def test_a_full_disk_stops_the_journal_latches_orders_and_loses_nothing_else(ctx, small_disk, events):
    actor = PersistenceActor()
    actor.on_start(ctx)
    feed(actor, ctx, 6_000)  # 768 kB
    ctx.ring("signals").publish_rows(make_signals(7))
    actor.do_work()
    actor.on_stop()
    counted = {name: ctx.counter(name).value for name in PersistenceActor.counters}
    reader = JournalReader(session_dir(small_disk, "run-1"))
    assert counted["journal_failed"] == 1
    assert 3_000 < reader.count < 4_096
    assert reader.count + counted["unjournaled_ticks"] == counted["ticks"] == 6_000
    assert counted["unjournaled_signals"] == counted["signals"] == 7
    assert [kind for kind, _ in events] == ["journal_failed"]
    assert "No space left on device" in events[0][1]
    reason = TradingLatch(small_disk).reason()
    assert reason is not None and "the journal failed" in reason and "No space left on device" in reason


def test_without_the_reserve_a_full_disk_latches_all_the_same(ctx, small_disk):
    actor = PersistenceActor()
    actor.on_start(ctx)
    (small_disk / RESERVE_FILE).unlink()
    feed(actor, ctx, 6_000)
    actor.on_stop()
    assert TradingLatch(small_disk).reason() is not None


def test_a_disk_that_was_full_and_has_room_again_is_written_after_a_restart(ctx, small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (300 * 1024))
    actor = PersistenceActor()
    actor.on_start(ctx)
    feed(actor, ctx, 3_000)
    actor.on_stop()
    assert ctx.counter("journal_failed").value == 1
    ballast.unlink()
    TradingLatch(small_disk).reset()
    again = PersistenceActor()
    again.on_start(ctx)
    feed(again, ctx, 100)
    again.on_stop()
    reader = JournalReader(session_dir(small_disk, "run-1"))
    assert (ctx.counter("journal_failed").value, reader.holes, reader.count) == (0, (), 3_100)
    assert TradingLatch(small_disk).reason() is None
