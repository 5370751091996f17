import os
import sqlite3
import time
from contextlib import closing

import numpy as np
import pytest
from persistence_samples import make_bars, make_signals, make_ticks

from hft_engine.config.schema import Config, FeedConfig
from hft_engine.persistence.actor import PersistenceActor
from hft_engine.persistence.journal import JournalReader
from hft_engine.persistence.sinks.journal import config_hash
from hft_engine.runtime.actor import FatalError
from hft_engine.runtime.latch import TradingLatch
from hft_engine.shm.counters import Stats


class Driven:
    """An actor driven by hand, as the runner drives it."""

    def __init__(self, ctx):
        self.ctx = ctx
        self.actor = PersistenceActor()
        ctx.stats.declare(self.actor.counters, self.actor.histograms)
        self.actor.on_start(ctx)

    def drain(self):
        while self.actor.do_work():
            pass

    def stop(self):
        self.actor.on_stop()

    def die(self):
        """What SIGKILL leaves: descriptors closed, nothing flushed, nothing committed."""
        if self.actor._journal and self.actor._journal._writer:
            os.close(self.actor._journal._writer._segment._fd)
        if self.actor._store and self.actor._store.store:
            self.actor._store.store.abandon()

    def counter(self, name):
        return self.ctx.counter(name).value


def rows_in(ctx, table):
    with closing(sqlite3.connect(ctx.data_dir / "market_data.db")) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY sequence").fetchall()


def journal_of(ctx):
    return JournalReader(ctx.data_dir / "journal" / ctx.run_id)


def test_what_was_on_the_rings_is_in_journal_and_database_after_the_stop(make_ctx):
    driven = Driven(make_ctx())
    driven.ctx.ring("ticks").publish_rows(make_ticks(0, 1000))
    driven.ctx.ring("bars").publish_rows(make_bars(100))
    driven.ctx.ring("signals").publish_rows(make_signals(50))
    driven.stop()
    journal = journal_of(driven.ctx)
    assert (journal.count, journal.holes, journal.report.ended) == (1000, (), True)
    assert journal.report.venue == "polygon"
    assert (
        b"".join(part.tobytes() for part in journal.signals())
        == driven.ctx.ring("signals").slots[:50].tobytes()
    )
    assert (len(rows_in(driven.ctx, "bars")), len(rows_in(driven.ctx, "signals"))) == (100, 50)
    assert (driven.counter("ticks"), driven.counter("bars"), driven.counter("signals")) == (1000, 100, 50)
    assert driven.counter("journal_bytes") == journal.report.bytes
    assert driven.counter("commits") >= 1


def test_a_cycle_without_input_does_nothing_and_says_so(make_ctx):
    driven = Driven(make_ctx())
    assert driven.actor.do_work() == 0
    driven.stop()


def test_the_bars_of_the_venue_are_stored_beside_ours(make_ctx):
    driven = Driven(make_ctx())
    ticks = make_ticks(0, 10)
    ticks["kind"][[3, 7]] = 4, 3
    driven.ctx.ring("ticks").publish_rows(ticks)
    driven.stop()
    assert [(row[1], row[3]) for row in rows_in(driven.ctx, "venue_bars")] == [(3, "minute"), (7, "second")]


def test_a_lap_is_a_hole_in_the_journal_a_counter_and_an_event(make_ctx, events):
    driven = Driven(make_ctx(ticks=64))
    ring = driven.ctx.ring("ticks")
    ring.publish_rows(make_ticks(0, 10))
    driven.drain()
    for _ in range(10):
        ring.publish_rows(make_ticks(0, 30))
    driven.stop()
    lapped = ring.lapped(0)
    assert lapped > 0
    assert journal_of(driven.ctx).holes == ((10, 10 + lapped),)
    assert (driven.counter("holes"), driven.counter("lapped_ticks")) == (1, lapped)
    assert driven.counter("ticks") + lapped == ring.published
    assert [kind for kind, _ in events] == ["journal_hole"]


def test_killed_after_its_commit_it_does_not_read_again_what_is_neither_bar_nor_health(make_ctx):
    """A venue's bar comes once a minute: 300,000 ticks lie behind the last one at 5,000 a second."""
    first = Driven(make_ctx())
    ticks = make_ticks(0, 1_000)
    ticks["kind"][3] = 4
    first.ctx.ring("ticks").publish_rows(ticks)
    first.ctx.ring("bars").publish_rows(make_bars(10))
    first.drain()
    first.actor._journal._writer.flush()
    first.die()
    second = Driven(make_ctx(rings=first.ctx.rings, stats=first.ctx.stats))
    assert second.ctx.ring("ticks").lag(0) == 0
    second.stop()
    assert len(rows_in(second.ctx, "venue_bars")) == 1


def test_killed_before_its_commit_it_resumes_and_stores_each_record_once(make_ctx):
    first = Driven(make_ctx(sqlite_commit_ms=3_600_000))
    rings, stats = first.ctx.rings, first.ctx.stats
    first.actor._store._due_ns = 1 << 62
    minute = make_ticks(0, 100)
    minute["kind"][60] = 4
    rings["ticks"].publish_rows(minute)
    rings["bars"].publish_rows(make_bars(20))
    rings["signals"].publish_rows(make_signals(10))
    first.drain()
    first.die()
    second = Driven(make_ctx(rings=rings, stats=stats))
    rings["ticks"].publish_rows(make_ticks(100, 50))
    rings["signals"].publish_rows(make_signals(5))
    second.stop()
    journal = journal_of(second.ctx)
    assert [s for chunk in journal for s in chunk["sequence"].tolist()] == list(range(150))
    assert [row[1] for row in rows_in(second.ctx, "bars")] == list(range(20))
    assert [row[1] for row in rows_in(second.ctx, "signals")] == list(range(15))
    assert [s for chunk in journal.signals() for s in chunk["sequence"].tolist()] == list(range(15))
    assert [row[1] for row in rows_in(second.ctx, "venue_bars")] == [60]
    assert (second.counter("ticks"), second.counter("signals")) == (150, 15)
    for ring in rings.values():
        assert ring.published == ring.seen(0) + ring.lapped(0)


def test_a_full_disk_stops_the_journal_and_nothing_else(make_ctx, events):
    driven = Driven(make_ctx())
    rings = driven.ctx.rings
    rings["ticks"].publish_rows(make_ticks(0, 10))
    driven.drain()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, driven.actor._journal._writer._segment._fd)
    os.close(full)
    rings["ticks"].publish_rows(make_ticks(10, 10))
    driven.drain()
    rings["ticks"].publish_rows(make_ticks(20, 5))
    rings["signals"].publish_rows(make_signals(5))
    driven.stop()
    assert driven.counter("journal_failed") == 1
    assert (driven.counter("ticks"), driven.counter("unjournaled_ticks")) == (25, 15)
    assert driven.counter("unjournaled_signals") == 5
    assert "journalling stopped at sequence 10" in TradingLatch(driven.ctx.data_dir).reason()
    assert len(rows_in(driven.ctx, "signals")) == 5
    assert journal_of(driven.ctx).count == 10
    assert [kind for kind, _ in events] == ["journal_failed"]
    assert "No space left on device" in events[0][1]


def test_a_database_that_refuses_is_given_up_after_enough_tries_and_what_is_dropped_is_counted(
    make_ctx, events
):
    driven = Driven(make_ctx(sqlite_commit_ms=1))
    store = driven.actor._store.store
    store._connection.execute("PRAGMA max_page_count = 1")
    driven.ctx.ring("bars").publish_rows(make_bars(100))
    driven.ctx.ring("signals").publish_rows(make_signals(200))
    deadline = time.monotonic() + 20
    while not driven.counter("sqlite_failed") and time.monotonic() < deadline:
        driven.actor.do_work()
    driven.ctx.ring("signals").publish_rows(make_signals(7))
    driven.ctx.ring("ticks").publish_rows(make_ticks(0, 9))
    driven.stop()
    assert (driven.counter("sqlite_failed"), driven.counter("sqlite_errors")) == (1, 10)
    assert driven.counter("rows_dropped") == 307
    assert journal_of(driven.ctx).count == 9
    assert [kind for kind, _ in events] == ["sqlite_error", "sqlite_failed"]


def test_a_database_held_by_another_program_at_the_start_does_not_stop_the_engine(make_ctx, events):
    Driven(make_ctx()).stop()
    ctx = make_ctx()
    with closing(sqlite3.connect(ctx.data_dir / "market_data.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        driven = Driven(ctx)
    ctx.ring("ticks").publish_rows(make_ticks(0, 10))
    ctx.ring("signals").publish_rows(make_signals(3))
    driven.stop()
    assert (driven.counter("sqlite_failed"), driven.counter("rows_dropped")) == (1, 3)
    assert journal_of(ctx).count == 10
    assert [kind for kind, _ in events] == ["sqlite_error"]


@pytest.mark.parametrize("off", ["journal", "sqlite"])
def test_either_half_can_be_switched_off(make_ctx, off):
    driven = Driven(make_ctx(**{off: False}))
    driven.ctx.ring("ticks").publish_rows(make_ticks(0, 10))
    driven.ctx.ring("signals").publish_rows(make_signals(5))
    driven.stop()
    assert (driven.counter("ticks"), driven.counter("signals")) == (10, 5)
    assert (driven.ctx.data_dir / "journal").exists() == (off != "journal")
    assert (driven.ctx.data_dir / "market_data.db").exists() == (off != "sqlite")


def test_a_data_folder_that_cannot_be_used_refuses_the_start(make_ctx, tmp_path):
    (tmp_path / "journal").write_text("")
    ctx = make_ctx(sqlite=False)
    with pytest.raises(FatalError, match=r"journal/run-1/00000000\.hftj: .*Free the disk"):
        Driven(ctx)
    (tmp_path / "market_data.db").write_text("no database" * 100)
    with pytest.raises(FatalError, match="not an SQLite database"):
        Driven(make_ctx())


def test_a_stop_drains_for_a_bounded_time_and_tells_what_is_left(make_ctx, monkeypatch, events):
    monkeypatch.setattr("hft_engine.persistence.actor.STOP_DRAIN_S", 0.0)
    driven = Driven(make_ctx())
    driven.ctx.ring("ticks").publish_rows(make_ticks(0, 10))
    driven.stop()
    assert events == [("persistence_undrained", "stopped with 10 records unread in the rings")]


def test_the_configuration_hash_covers_settings_and_no_secret():
    base = config_hash(Config())
    assert config_hash(Config(feed=FeedConfig(api_key="secret"))) == base
    assert config_hash(Config(feed=FeedConfig(symbols=("TSLA",)))) != base


def test_counters_survive_a_restart(make_ctx):
    stats = Stats.private()
    for _ in range(2):
        ctx = make_ctx(stats=stats)
        driven = Driven(ctx)
        driven.stop()
    assert driven.counter("journal_segments") == 2
    assert np.all(ctx.counter_array() >= 0)
