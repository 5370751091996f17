"""What is closed is compressed, what is too old or too much is deleted, what is needed stays."""

import os
import time
from pathlib import Path

import pytest
from persistence_samples import METADATA, make_ticks

from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.actor import PersistenceActor
from hft_engine.persistence.journal import JournalReader, JournalWriter, retention, session_dir
from hft_engine.persistence.journal.session import segment_paths
from hft_engine.persistence.sinks import housekeeping
from hft_engine.persistence.sinks.housekeeping import DAY_NS, Housekeeper
from hft_engine.runtime.actor import FatalError
from support.waiting import wait_for


def make_session(data_dir: Path, run_id: str, ticks: int = 1_000, days_old: float = 0.0) -> Path:
    """A session of segments of about 64 KiB, the later ones a second younger each."""
    session = session_dir(data_dir, run_id)
    journal = JournalWriter(
        session, METADATA, InstrumentTable.private(4), segment_bytes=65_536, flush_ms=1_000
    )
    for first in range(0, ticks, 100):
        journal.append(make_ticks(first, 100))
    journal.close()
    for i, path in enumerate(segment_paths(session)):
        written_ns = time.time_ns() - int(days_old * DAY_NS) + i * 1_000_000_000
        os.utime(path, ns=(written_ns, written_ns))
    return session


@pytest.fixture
def housekeeper(make_ctx):
    made = []

    def make(**persistence) -> Housekeeper:
        ctx = make_ctx(**persistence)
        if not made:
            ctx.stats.declare(PersistenceActor.counters, ())
        made.append(Housekeeper(ctx))
        return made[-1]

    yield make
    for keeper in made:
        keeper.close()


def tend_until(keeper: Housekeeper, condition, what: str) -> None:
    def tended() -> bool:
        keeper._due_ns = 0
        keeper.tend(time.monotonic_ns())
        return bool(condition())

    wait_for(tended, what)


def test_closed_segments_are_compressed_one_after_the_other_and_counted(housekeeper, tmp_path):
    session = make_session(tmp_path, "run-1")
    count = len(segment_paths(session))
    assert count > 2
    keeper = housekeeper(journal_compress="zstd")
    tend_until(keeper, lambda: keeper._compressed.value == count, "all segments compressed")
    assert sorted(p.name for p in session.iterdir() if ".zst" in p.name) == [
        f"{i:08d}.hftj.zst" for i in range(count)
    ]
    assert not list(session.glob("*.hftj"))
    assert JournalReader(session).count == 1_000


def test_the_segment_that_is_being_written_is_left_alone(housekeeper, tmp_path, writer, ticks):
    journal = writer()
    journal.append(ticks(0, 10))
    journal.flush()
    keeper = housekeeper(journal_compress="zstd")
    assert keeper._closed() == []
    journal.close()
    assert [p.name for p in keeper._closed()] == ["00000000.hftj"]


def test_a_helper_that_fails_is_told_once_and_not_tried_again(housekeeper, tmp_path, events):
    session = make_session(tmp_path, "run-1", ticks=100)
    (session / "00000000.hftj.zst").mkdir()
    keeper = housekeeper(journal_compress="zstd")
    tend_until(keeper, lambda: keeper._errors.value, "the failure")
    for _ in range(3):
        tend_until(keeper, lambda: True, "a look")
    assert keeper._helper is None
    assert [kind for kind, _ in events] == ["journal_housekeeping"]
    assert "not compressed: Is a directory" in events[0][1]
    assert JournalReader(session / "00000000.hftj").count == 100


def test_a_helper_is_ended_with_the_actor_and_leaves_no_draft(housekeeper, tmp_path, monkeypatch):
    session = make_session(tmp_path, "run-1", ticks=100)
    monkeypatch.setenv("HFT_FAULT_POINTS", "journal.zstd.draft:stop")
    keeper = housekeeper(journal_compress="zstd")
    tend_until(keeper, lambda: list(session.glob("*.draft")), "a helper at work")
    keeper.close()
    assert sorted(p.name for p in session.iterdir()) == ["00000000.hftj", "00000000.hftx"]


def test_a_helper_that_does_not_go_at_once_keeps_nothing_from_being_closed(
    housekeeper, tmp_path, monkeypatch
):
    session = make_session(tmp_path, "run-1", ticks=100)
    monkeypatch.setenv("HFT_FAULT_POINTS", "journal.zstd.draft:stop")
    keeper = housekeeper(journal_compress="zstd")
    tend_until(keeper, lambda: list(session.glob("*.draft")), "a helper at work")
    helper = keeper._helper
    with monkeypatch.context() as patch:
        patch.setattr(helper, "kill", lambda: None)  # as a process inside the kernel, which hears no signal
        patch.setattr(housekeeping, "HELPER_STOP_S", 0.05)
        keeper.close()
    assert keeper._errors.value == 1
    helper.kill()
    helper.communicate()


def test_the_oldest_segments_go_first_until_the_rest_fits(housekeeper, tmp_path, events):
    old, new = make_session(tmp_path, "old", days_old=3), make_session(tmp_path, "new", days_old=1)
    sizes = [p.stat().st_size for p in (*segment_paths(old), *segment_paths(new))]
    keeper = housekeeper()
    keeper._keep_bytes = sum(sizes[2:])
    keeper.retain(time.time_ns())
    assert keeper._deleted.value == 2
    assert [segment_paths(old)[0].name, len(segment_paths(new))] == ["00000002.hftj", 3]
    assert [kind for kind, _ in events] == ["journal_deleted"] * 2
    assert "00000000.hftj" in events[0][1] and "over journal_keep_mb" in events[0][1]
    reader = JournalReader(old)
    assert reader.report.first_sequence > 0
    assert reader.holes == ()
    keeper.retain(time.time_ns())
    assert keeper._deleted.value == 2


def test_what_is_too_old_goes_and_its_folder_with_the_last_of_it(housekeeper, tmp_path, events):
    old, new = make_session(tmp_path, "old", days_old=8), make_session(tmp_path, "new", days_old=6)
    (old / "events-feed.jsonl").write_text("")
    keeper = housekeeper(journal_keep_days=7)
    keeper.retain(time.time_ns())
    assert not old.exists()
    assert JournalReader(new).count == 1_000
    assert "older than journal_keep_days" in events[0][1]


def test_a_folder_with_something_that_is_not_ours_stays(housekeeper, tmp_path):
    old = make_session(tmp_path, "old", days_old=8)
    (old / "00000000.hftj.cut-4096").write_text("a tail that somebody wanted kept")
    housekeeper(journal_keep_days=7).retain(time.time_ns())
    assert [p.name for p in old.iterdir()] == ["00000000.hftj.cut-4096"]


@pytest.mark.parametrize(("keep_from", "left"), [("0", 3), ("420", 2), ("930", 1), ("nonsense", 3)])
def test_what_a_checkpoint_of_the_running_session_needs_stays(housekeeper, tmp_path, keep_from, left):
    session = make_session(tmp_path, "run-1", days_old=100)
    firsts = [JournalReader(p).report.first_sequence for p in segment_paths(session)]
    assert firsts == [0, 400, 800]
    (session / "keep-from-checkpoint").write_text(keep_from)
    keeper = housekeeper(journal_keep_days=1)
    keeper._ctx.ring("ticks").publish_rows(make_ticks(0, 1_000))
    for _ in range(1_000):  # the ring's tail is far beyond the journal's end
        keeper._ctx.ring("ticks").publish_rows(make_ticks(0, 100))
    keeper.retain(time.time_ns())
    assert len(segment_paths(session)) == left


def test_what_the_ring_of_the_running_session_holds_stays(housekeeper, tmp_path):
    session = make_session(tmp_path, "run-1", days_old=100)
    keeper = housekeeper(journal_keep_days=1, ticks=512)
    keeper._ctx.ring("ticks").publish_rows(make_ticks(0, 1_000))
    keeper.retain(time.time_ns())
    assert [p.name for p in segment_paths(session)] == ["00000001.hftj", "00000002.hftj"]


def test_no_limits_delete_nothing(housekeeper, tmp_path):
    session = make_session(tmp_path, "old", days_old=10_000)
    housekeeper().retain(time.time_ns())
    assert len(segment_paths(session)) == 3


def test_what_a_crash_left_in_the_middle_is_swept(tmp_path):
    session = make_session(tmp_path, "old")
    (session / "00000009.hftx").write_text("its segment is deleted")
    (session / "00000001.hftj.zst.draft").write_text("half")
    retention.sweep(tmp_path)
    assert len(list(session.iterdir())) == 2 * 3


def test_a_missing_library_refuses_the_start(make_ctx, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    ctx = make_ctx(journal_compress="zstd")
    actor = PersistenceActor()
    ctx.stats.declare(actor.counters, actor.histograms)
    with pytest.raises(FatalError, match=r"journal_compress: zstd needs zstandard: pip install"):
        actor.on_start(ctx)
    actor._journal.close()
    actor._store.close()
