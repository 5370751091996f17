"""An indicators actor that dies anywhere, and its successor: every record once, the same bytes."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from indicator_samples import market

from hft_engine.config.schema import CheckpointsConfig, Config, EngineConfig, IndicatorConfig
from hft_engine.indicators import resume, step
from hft_engine.indicators.actor import IndicatorsActor
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.market import MARKET
from hft_engine.indicators.offline import OfflineIndicators
from hft_engine.instruments import InstrumentTable
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, TICK_DTYPE
from hft_engine.runtime import checkpoint, history, snapshot
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.rundir import LOCK
from hft_engine.shm import layout
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring import Ring

INSTRUMENTS = 40
EXTENSION = """
from hft_engine.indicators.extension import indicator

@indicator(name="seen_before", state_size=1)
def seen_before(state, tick, features):
    state[0] += 1.0
    return state[0]
"""


class Death(BaseException):
    """The process is gone: nobody may catch this."""


class Log:
    """A journal that has every tick published so far, in blocks."""

    def __init__(self, run: "Run", sequence: int) -> None:
        self._run, self._at = run, sequence

    def read(self) -> np.ndarray | None:
        rows = self._run.ticks[self._at : min(self._at + 100, self._run.ring.published)]
        self._at += len(rows)
        return rows if len(rows) else None


class Run:
    """Rings and a run directory that outlive the actors. What is published is collected as a reader would."""

    def __init__(
        self, directory: Path, ticks: np.ndarray, ring: int = 8_192, config: IndicatorConfig | None = None
    ) -> None:
        self.ticks = ticks.copy()
        self.ticks["sequence"] = np.arange(len(ticks))
        self.ring = Ring.private("ticks", TICK_DTYPE, ring, ("indicators",))
        self.features = Ring.private("features", FEATURE_DTYPE, 8_192, ("inference",))
        self.bars = Ring.private("bars", BAR_DTYPE, 4_096, ("persistence",))
        self.stats = Stats.private()
        self.stats.declare(IndicatorsActor.counters, IndicatorsActor.histograms)
        (directory / LOCK).touch()
        self.recorded: list[tuple[str, int, dict[str, object]]] = []
        self.context = ActorContext(
            role="indicators",
            config=Config(
                engine=EngineConfig(instruments_max=INSTRUMENTS),
                indicators=config or IndicatorConfig(),
                checkpoints=CheckpointsConfig(memory_ms=1),
            ),
            log=logging.getLogger("test.resume"),
            instruments=InstrumentTable.private(INSTRUMENTS),
            stats=self.stats,
            rings={"ticks": self.ring, "features": self.features, "bars": self.bars},
            feature_schema=feature_schema(IndicatorConfig()),
            run_id="test",
            run_dir=directory,
            data_dir=directory,
            log_dir=directory,
            open_ticks=lambda sequence: Log(self, sequence),
        )
        self.got: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        self.begin()

    def begin(self) -> None:
        """A new life; what the writer of the rings does first, it does."""
        self.features.recover()
        self.bars.recover()
        self.actor = IndicatorsActor()
        self.actor.on_start(self.context)

    def give(self, count: int) -> None:
        """The feed publishes the next ticks."""
        first = self.ring.published
        self.ring.publish_rows(self.ticks[first : first + count].copy())

    def work(self) -> None:
        while self.actor.do_work():
            pass

    def step_of_a_checkpoint(self) -> None:
        self.actor._snapshots._due_ns = 0
        self.actor.tend()

    def drain(self) -> None:
        for ring, parts in zip((self.features, self.bars), self.got, strict=True):
            rows = np.zeros(ring.lag(0), ring.dtype)
            ring.poll(0, rows, len(rows))
            parts.append(rows)

    def die_in_a_batch(self, count: int, bars_visible: bool) -> None:
        """Take ``count`` ticks (one batch) and be killed before their features are visible."""
        position = self.ring.position(0)
        before = self.features.published, self.bars.published
        self.give(count)
        self.actor.do_work()
        take_back(self.features, before[0])
        if not bars_visible:
            take_back(self.bars, before[1])
        at = layout.W_READER_0 + layout.R_POSITION
        self.ring.head[at] = position

    def assert_undisturbed(self) -> None:
        self.drain()
        expected = OfflineIndicators(self.context.config.indicators, INSTRUMENTS).feed(self.ticks)
        for parts, wanted in zip(self.got, (expected.features, expected.bars), strict=True):
            rows = np.concatenate(parts)
            rows["ts_publish_ns"] = 0
            assert rows["sequence"].tolist() == list(range(len(wanted)))
            assert rows.tobytes() == wanted.tobytes()
        counters = {name: self.stats.counter(name).value for name in step.COUNTERS}
        assert counters == expected.counters


def take_back(ring: Ring, sequence: int) -> None:
    """As if the records from ``sequence`` on had been written, but not made visible."""
    words = ring.slots["sequence"]
    for made in range(sequence, ring.published):
        words[made & (ring.capacity - 1)] = ~made
    ring.head[layout.W_PUBLISHED] = sequence


@pytest.fixture
def ticks() -> np.ndarray:
    return market(6_000, INSTRUMENTS, seed=11)


def test_a_death_at_any_moment_of_a_checkpoint_leaves_no_trace(tmp_path: Path, ticks: np.ndarray) -> None:
    random = np.random.default_rng(5)
    run = Run(tmp_path, ticks)
    lives = 0
    while run.ring.published < len(ticks):
        run.give(int(random.integers(1, 200)))
        run.work()
        for _ in range(random.integers(0, 4)):
            run.step_of_a_checkpoint()
        run.drain()
        if random.random() < 0.3:
            run.begin()
            lives += 1
    assert lives > 5
    assert run.context.counter("checkpoints").value > 5
    run.assert_undisturbed()


def test_what_instruments_share_outlives_deaths_too(tmp_path: Path, ticks: np.ndarray) -> None:
    random = np.random.default_rng(8)
    run = Run(tmp_path, ticks[:2_000], config=IndicatorConfig(extensions=MARKET))
    lives = 0
    while run.ring.published < 2_000:
        run.give(int(random.integers(1, 200)))
        run.work()
        for _ in range(random.integers(0, 4)):
            run.step_of_a_checkpoint()
        run.drain()
        if random.random() < 0.4:
            run.begin()
            lives += 1
    assert lives > 3 and run.context.counter("checkpoints").value > 0
    run.assert_undisturbed()


@pytest.mark.parametrize("bars_visible", [True, False])
def test_a_death_in_the_middle_of_a_batch_doubles_nothing(
    tmp_path: Path, ticks: np.ndarray, bars_visible: bool
) -> None:
    random = np.random.default_rng(6)
    run = Run(tmp_path, ticks)
    cut_short = 0
    while run.ring.published < len(ticks) - 16:
        run.give(int(random.integers(1, 60)))
        run.work()
        run.step_of_a_checkpoint()
        bars = run.bars.published
        run.die_in_a_batch(int(random.integers(1, 17)), bars_visible)
        cut_short += run.bars.published > bars
        run.begin()
        run.work()
        run.drain()
    run.give(16)
    run.work()
    assert (cut_short > 5) == bars_visible
    run.assert_undisturbed()


POINTS = (
    "checkpoint.begun",
    "checkpoint.facts",
    "checkpoint.rows",
    "checkpoint.written",
    "checkpoint.committed",
)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("arrival", [1, 2, 3])
def test_a_death_at_any_store_of_a_checkpoint_leaves_a_complete_one(
    tmp_path: Path, ticks: np.ndarray, point: str, arrival: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "STEP_NS_MAX", 1)  # many steps a checkpoint
    run = Run(tmp_path, ticks)
    die = killer(point, arrival)
    for module in (snapshot, checkpoint):
        monkeypatch.setattr(module, "fault_point", die)
    deaths = 0
    while run.ring.published < len(ticks):
        run.give(150)
        try:
            run.work()  # on a slow machine a checkpoint falls due in it
            run.step_of_a_checkpoint()
        except Death:
            deaths += 1
            run.begin()
        run.drain()
    run.work()
    assert deaths == 1
    run.assert_undisturbed()


def killer(point: str, arrival: int) -> Callable[[str], None]:
    arrivals = 0

    def arrive(name: str) -> None:
        nonlocal arrivals
        if name == point:
            arrivals += 1
            if arrivals == arrival:
                raise Death

    return arrive


def test_what_the_ring_has_lost_since_the_checkpoint_comes_from_the_journal(
    tmp_path: Path, ticks: np.ndarray
) -> None:
    run = Run(tmp_path, ticks, ring=256)
    for _ in range(len(ticks) // 100):  # no checkpoint at all after the first hundred ticks
        run.give(100)
        run.work()
        run.drain()
        if run.ring.published == 100:
            run.actor._snapshots.complete()
            run.actor._snapshots._due_ns = 1 << 62
    run.begin()
    assert not run.recorded
    run.assert_undisturbed()


def test_ticks_that_came_while_nobody_read_are_published_from_the_journal(
    tmp_path: Path, ticks: np.ndarray
) -> None:
    run = Run(tmp_path, ticks, ring=256)
    run.give(200)
    run.work()
    while run.ring.published < len(ticks):  # the ring goes round many times without a reader
        run.give(100)
    run.features.head[layout.W_READERS] = 0  # nobody to wait for
    run.begin()
    run.work()
    run.features.head[layout.W_READERS] = 1
    assert run.ring.lapped(0) == 0
    run.assert_undisturbed()


def test_what_neither_ring_nor_journal_has_is_a_lap_written_down(
    tmp_path: Path, ticks: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "JOURNAL_WAIT_S", 0.0)
    run = Run(tmp_path, ticks, ring=256)
    run.give(200)
    run.work()
    while run.ring.published < 2_000:
        run.give(100)
    run.context.open_ticks = None
    recorded: list[tuple[str, int, dict[str, object]]] = []
    monkeypatch.setattr(
        run.context, "record", lambda kind, sequence, data: recorded.append((kind, sequence, data))
    )
    run.begin()
    run.work()
    run.actor.tend()
    # without a checkpoint the state knows nothing of the first 200, and the next were never seen

    forgotten, lap = (event for event in recorded if event[0] == "lap")
    assert forgotten == ("lap", 0, {"ring": "ticks", "from": 0, "to": 200, "out": True})
    assert lap[:2] == ("lap", 200) and lap[2]["from"] == 200
    assert run.ring.lapped(0) == int(str(lap[2]["to"])) - 200
    assert run.ring.seen(0) + run.ring.lapped(0) == 2_000


def test_an_extensions_state_is_part_of_it(tmp_path: Path, ticks: np.ndarray) -> None:
    (tmp_path / "own.py").write_text(EXTENSION)
    config = IndicatorConfig(extensions=(f"{tmp_path / 'own.py'}:seen_before",))
    run = Run(tmp_path, ticks, config=config)
    for _ in range(len(ticks) // 500):
        run.give(500)
        run.work()
        run.drain()
        run.actor._snapshots.complete()
        run.begin()
    run.assert_undisturbed()


def test_a_resumption_is_told(tmp_path: Path, ticks: np.ndarray) -> None:
    run = Run(tmp_path, ticks)
    run.give(1_000)
    run.work()
    told: list[tuple[str, str]] = []
    run.context.emit = lambda kind, text: told.append((kind, text))
    run.begin()
    assert told[0][0] == "resumed" and "1000 ticks once more" in told[0][1]
    assert resume.Resumed() == resume.Resumed(0, 0, 0, ())
