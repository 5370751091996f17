"""The trainer and its real worker on a journal: it learns what came since; no fault of a training is more than that."""

import errno
import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from msgspec.structs import replace

from hft_engine.config.load import load_config
from hft_engine.config.schema import Config
from hft_engine.indicators.features import feature_schema
from hft_engine.instruments import INSTRUMENT_DTYPE, InstrumentTable
from hft_engine.learn.demo import DemoMarket
from hft_engine.learn.trainer import TrainerActor
from hft_engine.learn.worker import is_out_of_memory
from hft_engine.models.registry import Entry, Registry
from hft_engine.persistence.journal import JournalWriter, SegmentMetadata, session_dir
from hft_engine.persistence.sinks.schema import TABLES
from hft_engine.records import join_ticks
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.faultpoints import ENVIRONMENT, WHILE
from hft_engine.runtime.instruments_file import open_instruments
from hft_engine.runtime.plan import INSTRUMENTS_FILE
from hft_engine.shm import layout
from hft_engine.shm.counters import Stats
from hft_engine.shm.segment import Segment
from support.engine import ROOT
from support.waiting import wait_for

TASK, SECONDS = "entry_timing", 60
FAST = (
    "learning.cycle_limit_s=200",
    "learning.tasks=entry_timing",
    "learning.interval_s=5",
    "learning.trees_max=20",
    "engine.instruments_max=64",
)

pytestmark = pytest.mark.timeout(480)


@pytest.fixture(scope="module")
def ticks() -> np.ndarray:
    config = load_config(ROOT / "config/demo.yaml", (), env={}, dotenv_path=None)
    assert config.simulator is not None
    rows = join_ticks(list(DemoMarket(config.simulator, SECONDS)))
    rows["sequence"] = np.arange(len(rows))
    return rows


class Bench:
    """A trainer over a session's journal; its cycles begin when they are asked for."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.config: Config = load_config(
            ROOT / "config/demo.yaml",
            (*FAST, f"engine.data_dir={folder / 'data'}", *overrides),
            env={},
            dotenv_path=None,
        )
        assert self.config.simulator is not None
        self.data_dir = folder / "data"
        self.session = session_dir(self.data_dir, "run")
        bytes_needed = layout.PAGE_BYTES + 64 * INSTRUMENT_DTYPE.itemsize
        with Segment.create(folder / INSTRUMENTS_FILE, bytes_needed) as segment:
            segment.words[layout.W_CAPACITY] = 64
        self.table: InstrumentTable = open_instruments(folder / INSTRUMENTS_FILE, writable=True)
        for symbol in DemoMarket(self.config.simulator, 1).symbols:
            self.table.id_of(symbol)
        about = SegmentMetadata(run_id="run", venue="demo", config_hash="", code_version="test")
        self.writer = JournalWriter(self.session, about, self.table, segment_bytes=1 << 28, flush_ms=1)
        self.events: list[tuple[str, str]] = []
        self.stats = Stats.private()
        self.stats.declare(TrainerActor.counters, ())
        self.actor = TrainerActor()
        self.actor.on_start(
            ActorContext(
                role="trainer",
                config=self.config,
                log=logging.getLogger("test.trainer"),
                instruments=self.table,
                stats=self.stats,
                rings={},
                feature_schema=feature_schema(self.config.indicators),
                run_id="run",
                run_dir=folder,
                data_dir=self.data_dir,
                log_dir=folder,
                emit=lambda kind, text: self.events.append((kind, text)),
                session_dir=self.session,
            )
        )

    def append(self, ticks: np.ndarray) -> "Bench":
        for start in range(0, len(ticks), 1_000):
            self.writer.append(ticks[start : start + 1_000])
        self.writer.flush()
        return self

    def cycle(self) -> None:
        """The next one, from its beginning to its end."""
        before = self.count("cycles") + self.count("cycles_failed")

        def ended() -> bool:
            self.actor.do_work()
            return self.count("cycles") + self.count("cycles_failed") > before

        wait_for(ended, "a training cycle", 220)

    def count(self, name: str) -> int:
        return int(self.stats.counter(name).value)

    def entries(self) -> list[Entry]:
        return Registry(self.data_dir / "models").entries()

    def told(self, kind: str) -> list[str]:
        return [text for one, text in self.events if one == kind]

    def close(self) -> None:
        self.actor.on_stop()
        self.writer.close()


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    def bench(*overrides: str) -> Bench:
        made = Bench(tmp_path, *overrides)
        request.addfinalizer(made.close)
        return made

    return bench


def arm(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> Path:
    """For the worker's process; disarmed when the file is removed."""
    switch = folder / "armed"
    switch.touch()
    monkeypatch.setenv(ENVIRONMENT, text)
    monkeypatch.setenv(WHILE, str(switch))
    return switch


def nothing_half_done(bench: Bench) -> None:
    """Every version in the registry is whole, and what is not in it is not there under its name."""
    home, known = bench.data_dir / "models" / TASK, {entry.version for entry in bench.entries()}
    folders = {path.name for path in home.iterdir()} if home.exists() else set()
    assert known <= folders
    for entry in bench.entries():
        assert Registry(bench.data_dir / "models").metadata(entry).version == entry.version


def test_each_cycle_learns_what_came_since_and_waits_for_the_gate(make, ticks: np.ndarray) -> None:
    bench = make().append(ticks[: len(ticks) * 3 // 4])
    bench.cycle()
    (first,) = bench.entries()
    assert bench.count("registered") == 1
    assert first.status in ("candidate", "shadow")
    assert first.feature_hash == feature_schema(bench.config.indicators).hash
    assert bench.told("model_trained")[0].startswith(f"{TASK} {first.version}: ")
    registry = Registry(bench.data_dir / "models")
    registry.set_status(TASK, first.version, "shadow", "test")
    bench.append(ticks[len(ticks) * 3 // 4 :])
    bench.cycle()
    assert len(bench.entries()) == 1, "while a candidate is in shadow there is no other"
    registry.set_status(TASK, first.version, "refused", "test")
    bench.cycle()
    second = bench.entries()[-1]
    assert second.begin_ns == first.begin_ns
    assert second.end_ns > first.end_ns
    assert second.data_hash != first.data_hash


def test_too_few_rows_are_said_and_are_no_fault(make, ticks: np.ndarray) -> None:
    bench = make().append(ticks[:6_000])
    bench.cycle()
    assert bench.entries() == []
    assert (bench.count("not_trained"), bench.count("trainings_failed")) == (1, 0)
    assert "MIN_TRAINING_SAMPLES" in bench.told("not_trained")[0]


@pytest.mark.parametrize("point", ["trainer.collected", "registry.rename", "registry.row"])
def test_a_training_that_is_killed_leaves_no_half_of_a_model(
    make, ticks: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    switch = arm(monkeypatch, tmp_path, f"{point}:kill")
    bench = make().append(ticks)
    bench.cycle()
    assert bench.count("cycles_failed") == 1
    assert "signal 9" in bench.told("training_failed")[0]
    assert bench.entries() == []
    switch.unlink()
    bench.cycle()
    assert len(bench.entries()) == 1
    assert not list((bench.data_dir / "models" / TASK).glob(".new-*"))
    nothing_half_done(bench)


def test_a_full_disk_is_told_and_nothing_is_registered(
    make, ticks: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm(monkeypatch, tmp_path, "registry.rename:error")
    bench = make().append(ticks)
    bench.cycle()
    assert "free some space" in bench.told("training_failed")[0]
    assert bench.entries() == []
    bench.cycle()
    assert len(bench.entries()) == 1
    nothing_half_done(bench)


def test_a_training_that_hangs_is_killed_after_its_time(
    make, ticks: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = arm(monkeypatch, tmp_path, "trainer.collected:stop")
    bench = make("learning.cycle_limit_s=40").append(ticks)
    bench.cycle()
    assert "learning.cycle_limit_s" in bench.told("training_failed")[0]
    switch.unlink()
    bench.cycle()
    assert len(bench.entries()) == 1


def test_a_training_that_wants_more_memory_than_it_may_have_fails_alone(make, ticks: np.ndarray) -> None:
    bench = make("learning.memory_mb=256").append(ticks)
    bench.cycle()
    assert bench.entries() == []
    assert bench.count("trainings_failed") == 1
    assert bench.count("cycles_failed") == 1
    assert len(bench.told("training_failed")) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory", "scipy/optimize/_trlib"), True),
        (lightgbm.basic.LightGBMError("std::bad_alloc"), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ValueError("a fault of ours"), False),
    ],
)
def test_memory_that_ran_out_is_known_by_each_of_its_names(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_actor_never_waits_for_its_worker(make, ticks: np.ndarray) -> None:
    bench = make().append(ticks)
    longest_s, begun = 0.0, time.monotonic()
    while not bench.count("cycles") and time.monotonic() - begun < 120:
        before = time.monotonic()
        bench.actor.do_work()
        longest_s = max(longest_s, time.monotonic() - before)
        time.sleep(0.002)
    assert bench.count("cycles") == 1
    limit_s = replace(bench.config.supervisor).hang_kill_ms / 1e3
    assert longest_s < limit_s, "the supervisor would take it for hung"


def test_without_a_journal_it_learns_from_the_stored_bars_of_a_minute(make, tmp_path: Path) -> None:
    bench = make("persistence.journal=false", "indicators.bar=minute", "inference.model=")
    bench.cycle()
    assert "market_data.db" in bench.told("training_failed")[0]
    close = 100.0 * np.exp(0.01 * np.sin(np.arange(1_500) / 6.0))
    minute = 60_000_000_000
    rows = [(i, minute * (i + 1), *([price] * 4)) for i, price in enumerate(close.tolist())]
    with (
        closing(sqlite3.connect(tmp_path / "data" / bench.config.persistence.sqlite_file)) as database,
        database,
    ):
        database.executescript(TABLES)
        database.executemany(
            "INSERT INTO bars VALUES ('run', ?, 'MINE', 'minute', ?, 0, ?, ?, ?, ?, 10.0, NULL, 4, 0, 0, 0)",
            rows,
        )
    bench.cycle()
    (entry,) = bench.entries()
    assert entry.feature_hash == feature_schema(bench.config.indicators).hash


def test_without_a_journal_bars_of_another_kind_are_not_learned_from(make) -> None:
    bench = make("persistence.journal=false")
    bench.cycle()
    assert "persistence.journal: true" in bench.told("not_trained")[0]
