import time

import numpy as np
import pytest
from persistence_samples import make_ticks

from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.actor import PersistenceActor
from hft_engine.persistence.hashing import signal_hash
from hft_engine.persistence.journal import JournalReader
from hft_engine.persistence.listing import sessions
from hft_engine.persistence.pace import Pace
from hft_engine.persistence.replay import ReplayActor
from hft_engine.persistence.source import JournalSource
from hft_engine.records import SIGNAL_DTYPE, TICK_DTYPE, TickKind
from hft_engine.runtime.actor import FatalError
from hft_engine.runtime.runner import ActorRun, Runner
from hft_engine.shm.ring import Ring


class Chunks:
    def __init__(self, *chunks):
        self.chunks = chunks
        self.count = sum(len(c) for c in chunks)

    def __call__(self, table):
        return self

    def __iter__(self):
        return iter(self.chunks)


def started(make_ctx, source, rings=None, **options):
    ctx = make_ctx(role="replay", rings=rings, gating=True, ticks=256)
    actor = ReplayActor(source, **options)
    ctx.stats.declare(actor.counters, actor.histograms)
    actor.on_start(ctx)
    return actor, ctx


def play(actor, ring, limit=37):
    """Drive to the end with a reader that takes ``limit`` now and then; what the reader got."""
    got, scratch, cycle = [], np.zeros(limit, TICK_DTYPE), 0
    while not actor.finished or ring.lag(0):
        actor.do_work()
        cycle += 1
        if cycle % 3 == 0:
            count = ring.poll(0, scratch, limit)
            got.append(scratch[:count].tobytes())
    return np.frombuffer(b"".join(got), TICK_DTYPE)


def test_a_slow_reader_of_a_gating_ring_gets_every_tick_in_order(make_ctx):
    source = Chunks(make_ticks(0, 1000), make_ticks(1000, 0), make_ticks(1000, 1), make_ticks(1001, 499))
    actor, ctx = started(make_ctx, source)
    got = play(actor, ctx.ring("ticks"))
    expected = make_ticks(0, 1500)
    assert got["sequence"].tolist() == list(range(1500))
    assert np.array_equal(got["price"], expected["price"])
    assert np.array_equal(got["ts_recv_ns"], expected["ts_recv_ns"])
    assert np.array_equal(got["ts_venue_ns"], expected["ts_venue_ns"])
    assert ctx.ring("ticks").lapped(0) == 0
    assert (ctx.counter("ticks").value, ctx.counter("progress_permille").value) == (1500, 1000)


def test_latency_is_measured_from_the_publish(make_ctx):
    before_ns = time.monotonic_ns()
    actor, ctx = started(make_ctx, Chunks(make_ticks(0, 100)))
    stamps = play(actor, ctx.ring("ticks"))["ts_mono_ns"]
    assert before_ns <= stamps.min() <= stamps.max() <= time.monotonic_ns()


def test_when_it_began_is_known_after_the_first_tick_has_left_the_ring(make_ctx):
    actor, ctx = started(make_ctx, Chunks(make_ticks(0, 1000)))
    first_ns = play(actor, ctx.ring("ticks"))["ts_mono_ns"][0]
    assert ctx.ring("ticks").slots["ts_mono_ns"].min() > first_ns
    assert ctx.counter("began_mono_ns").value == first_ns


def test_a_full_ring_takes_nothing_and_loses_nothing(make_ctx):
    actor, ctx = started(make_ctx, Chunks(make_ticks(0, 1000)))
    while actor.do_work():
        pass
    assert ctx.ring("ticks").published == 256
    assert not actor.finished
    assert ctx.counter("progress_permille").value == 256


def test_an_empty_source_is_finished_at_once(make_ctx):
    actor, _ = started(make_ctx, Chunks())
    assert actor.do_work() == 0
    assert actor.finished


def test_a_restarted_replay_goes_on_behind_what_is_on_the_ring(make_ctx):
    source = Chunks(make_ticks(0, 100), make_ticks(100, 500))
    first, ctx = started(make_ctx, source)
    while first.do_work():
        pass
    second, _ = started(make_ctx, source, rings=ctx.rings)
    got = play(second, ctx.ring("ticks"))
    assert np.array_equal(got["price"], make_ticks(0, 600)["price"])


@pytest.mark.parametrize(("speed", "reached"), [(1.0, 5), (10.0, 50), (0.5, 2)])
def test_ticks_are_due_as_fast_as_asked(speed, reached):
    pace = Pace(speed)
    pace.load(make_ticks(0, 100))  # one a microsecond
    assert pace.due(0, 100, 1_000_000) == 1
    assert pace.due(1, 99, 1_005_000) == reached


def test_speed_zero_makes_everything_due():
    pace = Pace(0.0)
    pace.load(make_ticks(0, 100))
    assert pace.due(10, 90, 0) == 90


def test_a_stamp_that_steps_back_does_not_hold_up_or_reorder():
    rows = make_ticks(0, 4)
    rows["ts_recv_ns"] = [1_000, 9_000, 2_000, 10_000]
    pace = Pace(1.0)
    pace.load(rows)
    assert pace.due(0, 4, 0) == 1
    assert pace.due(1, 3, 7_000) == 0
    assert pace.due(1, 3, 8_000) == 2


def test_without_receive_stamps_the_venue_s_count():
    rows = make_ticks(0, 10)
    rows["ts_recv_ns"] = 0
    pace = Pace(1.0)
    pace.load(rows)
    pace.due(0, 10, 0)
    assert pace.due(0, 10, 3_000) == 4


def test_a_negative_speed_is_refused():
    with pytest.raises(ValueError, match="must be 0"):
        ReplayActor(Chunks(), speed=-1)


def test_a_journal_plays_back_with_the_ids_of_this_run(make_ctx, writer, session, table):
    journal = writer()
    table.id_of("MSFT")
    journal.append(make_ticks(0, 3, instrument_id=1))
    journal.append(make_ticks(5, 3, instrument_id=0))
    journal.close()
    other = InstrumentTable.private(8)
    other.id_of("TSLA")
    other.id_of("MSFT")
    source = JournalSource(session)(other)
    rows = [row for chunk in source for row in chunk]
    # every tick has the place of its sequence; those that the journal lacks are void
    assert [row["sequence"] for row in rows] == list(range(8)) and source.count == 8
    assert [row["sequence"] for row in rows if row["kind"] == TickKind.VOID] == [3, 4]
    real = [other.symbol_of(row["instrument_id"]) for row in rows if row["kind"] != TickKind.VOID]
    assert real == ["MSFT"] * 3 + ["AAPL"] * 3
    actor, ctx = started(make_ctx, JournalSource(session))
    got = play(actor, ctx.ring("ticks"))
    got = got.view(f"V{got.itemsize}")[got["kind"] != TickKind.VOID].view(got.dtype)
    assert ctx.counter("ticks").value == 6
    assert got["instrument_id"].tolist() == [1, 1, 1, 0, 0, 0]
    assert got["ts_recv_ns"].tolist() == [make_ticks(i, 1)["ts_recv_ns"][0] for i in (0, 1, 2, 5, 6, 7)]


def test_a_source_that_cannot_be_used_refuses_the_start(make_ctx, tmp_path):
    with pytest.raises(FatalError, match="no such journal"):
        started(make_ctx, JournalSource(tmp_path / "nowhere"))

    def refuse(table):
        raise ZeroDivisionError("of the source's own kind")

    with pytest.raises(FatalError, match="of the source's own kind"):
        started(make_ctx, refuse, refusals=(ZeroDivisionError,))


def test_the_listing_names_every_session_and_what_is_wrong_with_it(tmp_path, writer):
    assert sessions(tmp_path) == []
    journal = writer()
    journal.append(make_ticks(0, 10))
    journal.close()
    foreign = tmp_path / "journal" / "run-2"
    foreign.mkdir()
    (foreign / "00000000.hftj").write_bytes(b"PAR1" * 100)
    good, bad = sessions(tmp_path)
    assert (good.run_id, good.ticks, good.ended) == ("run-1", 10, True)
    assert (good.first_ts_ns, good.last_ts_ns) == tuple(make_ticks(0, 10)["ts_recv_ns"][[0, 9]])
    assert "not a journal segment" in str(bad)


def test_the_signal_hash_is_that_of_the_last_signal():
    ring = Ring.private("signals", SIGNAL_DTYPE, 8)
    assert signal_hash(ring) == "0" * 16
    rows = np.zeros(11, SIGNAL_DTYPE)
    rows["chain_hash"] = np.arange(11) + 0xABC0
    for start in range(0, 11, 4):
        ring.publish_rows(rows[start : start + 4])
    assert signal_hash(ring) == f"{0xABC0 + 10:016x}"


def test_a_journal_replayed_under_the_runner_and_journalled_again_is_the_same(make_ctx, writer, session):
    journal = writer(segment_bytes=1 << 16)
    for start in range(0, 3000, 100):
        journal.append(make_ticks(start, 100))
    journal.close()
    replay_ctx = make_ctx(role="replay", gating=True, ticks=256)
    ctx = make_ctx(rings=replay_ctx.rings, sqlite=False)
    ctx.run_id = "run-2"
    actor = ReplayActor(JournalSource(session))
    runner = Runner([ActorRun(actor, replay_ctx), ActorRun(PersistenceActor(), ctx)])
    runner.start()
    while runner.step() or not actor.finished:
        pass
    runner.stop()
    again = JournalReader(session.parent / "run-2")
    assert again.count == 3000
    for mine, theirs in zip(again, JournalReader(session), strict=True):
        for name in ("sequence", "ts_recv_ns", "ts_venue_ns", "price", "instrument_id"):
            assert np.array_equal(mine[name], theirs[name])
