"""Checkpoints on disk: whole or not there, the parts belong together, and only what is durable is vouched for."""

import logging
from pathlib import Path

import numpy as np
import pytest

from hft_engine.config.schema import CheckpointsConfig, Config
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.actor import PersistenceActor
from hft_engine.persistence.checkpoints import KEEP_FROM, checkpoint_paths, newest_checkpoint, read_checkpoint
from hft_engine.persistence.sinks import checkpoints
from hft_engine.persistence.sinks.checkpoints import CheckpointSink
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.checkpoint import FACTS, CheckpointFile
from hft_engine.runtime.faultpoints import arm
from hft_engine.shm.counters import Stats

ROW_BYTES = 64
MS = 1_000_000


class Bench:
    """The two stages' files in a run directory, and the sink that copies them."""

    def __init__(self, directory: Path) -> None:
        self.run_dir, self.session = directory / "run", directory / "session"
        self.run_dir.mkdir()
        self.session.mkdir()
        self.stages = CheckpointFile.open(self.run_dir / "indicators.ckpt", 5, ROW_BYTES, 100)
        self.rules = CheckpointFile.open(self.run_dir / "signals.ckpt", 6, 8, 100)
        self.durable = True
        self.asked: list[tuple[int, int, int]] = []
        self.events: list[str] = []
        stats = Stats.private()
        stats.declare(PersistenceActor.counters, ())
        self.context = ActorContext(
            role="persistence",
            config=Config(checkpoints=CheckpointsConfig(disk_ms=10)),
            log=logging.getLogger("test.checkpoints"),
            instruments=InstrumentTable.private(4),
            stats=stats,
            rings={},
            feature_schema=None,  # type: ignore[arg-type]
            run_id="session",
            run_dir=self.run_dir,
            data_dir=directory,
            log_dir=directory,
            emit=lambda kind, text: self.events.append(kind),
        )
        self.now_ns = 1 << 62  # later than any due time of the real clock
        self.begin()

    def begin(self) -> None:
        self.sink = CheckpointSink(self.context, self.session, self.make_durable)

    def make_durable(self, bars: int, signals: int, ticks: int) -> bool:
        self.asked.append((bars, signals, ticks))
        return self.durable

    def stage(self, tick: int, source: int, value: int = 1) -> None:
        """The indicators' checkpoint before ``tick``; their last feature was of tick ``source``."""
        facts = np.zeros(FACTS, np.int64)
        facts[:4] = tick, 2 * tick, 3 * tick, source
        self.stages.put(facts, np.full((50, ROW_BYTES), value, np.uint8))

    def rule(self, done: int, value: int = 1) -> None:
        facts = np.zeros(FACTS, np.int64)
        facts[:2] = done, 4 * done
        self.rules.put(facts, np.full((50, 8), value, np.uint8))

    def run(self, steps: int = 20) -> None:
        for _ in range(steps):
            self.sink.tend(self.now_ns)
        self.now_ns += 11 * MS

    def count(self) -> int:
        return int(self.context.counter("checkpoints").value)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_both_parts_come_back_as_they_were(bench: Bench) -> None:
    bench.stage(100, 98, value=7)
    bench.rule(99, value=8)
    bench.run()
    found = newest_checkpoint(bench.session)
    assert found is not None and found.description.ticks == 100
    assert found.path.name == f"checkpoint-{100:020d}.hftc"
    assert (found.states["indicators"].rows == 7).all() and found.states["indicators"].rows.shape == (
        50,
        ROW_BYTES,
    )
    assert (found.states["signals"].rows == 8).all()
    assert found.states["signals"].facts[:2].tolist() == [99, 396]
    assert (found.key("indicators"), found.key("signals")) == (5, 6)
    assert bench.asked == [(300, 396, 100)]
    assert (bench.session / KEEP_FROM).read_text() == "100"


def test_rules_that_are_behind_the_indicators_are_waited_for(bench: Bench) -> None:
    bench.stage(100, 98)
    bench.rule(98)  # the prediction of tick 98 is not seen yet
    bench.run()
    assert not checkpoint_paths(bench.session)
    bench.rule(99)
    bench.run()
    assert bench.count() == 1


def test_what_is_not_durable_is_not_vouched_for(bench: Bench) -> None:
    bench.durable = False
    bench.stage(100, 98)
    bench.rule(99)
    bench.run()
    assert bench.asked and not checkpoint_paths(bench.session)


def test_the_newest_two_are_kept_and_the_journal_from_the_older_on(bench: Bench) -> None:
    for tick in (100, 200, 300):
        bench.stage(tick, tick - 2)
        bench.rule(tick)
        bench.run(40)
    assert bench.count() == 3
    assert [read_checkpoint(path).description.ticks for path in checkpoint_paths(bench.session)] == [200, 300]  # type: ignore[union-attr]
    assert (bench.session / KEEP_FROM).read_text() == "200"


def test_a_buffer_taken_back_while_it_is_copied_is_copied_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHUNK_BYTES", 640)  # five pieces
    bench.stage(100, 98, value=1)
    bench.rule(1_000)
    for _ in range(4):
        bench.sink.tend(bench.now_ns)
    bench.stage(200, 198, value=2)
    bench.stage(300, 298, value=3)  # now the first one's buffer is used again
    bench.run()
    found = newest_checkpoint(bench.session)
    assert found is not None and found.description.ticks == 300
    assert (found.states["indicators"].rows == 3).all()


POINTS = (
    "checkpoint.disk.chunk",
    "checkpoint.disk.headed",
    "checkpoint.disk.synced",
    "checkpoint.disk.renamed",
)


@pytest.mark.parametrize("point", POINTS)
def test_a_death_at_any_write_leaves_the_one_before_or_the_new_one(
    bench: Bench, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.stage(100, 98)
    bench.rule(99)
    bench.run()
    bench.stage(200, 198)
    bench.rule(199)
    monkeypatch.setattr(checkpoints, "fault_point", die_at(point))
    with pytest.raises(Death):
        bench.run()
    found = newest_checkpoint(bench.session)
    assert found is not None
    assert found.description.ticks == (200 if point == "checkpoint.disk.renamed" else 100)
    monkeypatch.undo()
    bench.begin()
    bench.run()
    found = newest_checkpoint(bench.session)
    assert found is not None and found.description.ticks == 200
    assert not list(bench.session.glob("*.draft"))


class Death(BaseException):
    """The process is gone."""


def die_at(point: str):  # type: ignore[no-untyped-def]
    def arrive(name: str) -> None:
        if name == point:
            raise Death

    return arrive


def test_a_full_disk_is_told_once_and_tried_again(bench: Bench) -> None:
    bench.stage(100, 98)
    bench.rule(99)
    arm("checkpoint.disk.headed:error")
    try:
        bench.run()
    finally:
        arm("")
    assert bench.events == ["checkpoint_failed"] and not checkpoint_paths(bench.session)
    bench.now_ns += 100 * MS
    bench.run()
    assert bench.count() == 1


@pytest.mark.parametrize("cut", [0, 10, 100, 5_000, -1])
def test_a_damaged_file_is_passed_over(bench: Bench, cut: int) -> None:
    for tick in (100, 200):
        bench.stage(tick, tick - 2)
        bench.rule(tick)
        bench.run()
    newest = checkpoint_paths(bench.session)[-1]
    newest.write_bytes(newest.read_bytes()[:cut])
    assert read_checkpoint(newest) is None
    found = newest_checkpoint(bench.session)
    assert found is not None and found.description.ticks == 100


def test_a_flipped_byte_is_seen_wherever_it_is(bench: Bench) -> None:
    bench.stage(100, 98)
    bench.rule(99)
    bench.run()
    (path,) = checkpoint_paths(bench.session)
    raw = path.read_bytes()
    for at in (0, 9, 13, 20, 4_096, 7_000, len(raw) - 1):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        assert read_checkpoint(path) is None
    path.write_bytes(raw)
    assert read_checkpoint(path) is not None


def test_at_an_ordered_stop_the_last_state_is_there_at_once(bench: Bench) -> None:
    bench.stage(100, 98)
    bench.rule(99)
    bench.sink.finish()
    assert bench.count() == 1
    bench.stage(200, 198)
    bench.rule(150)  # the rules died before they had seen all: what there is stays
    bench.sink.finish()
    found = newest_checkpoint(bench.session)
    assert found is not None and found.description.ticks == 100
