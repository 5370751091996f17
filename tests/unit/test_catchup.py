"""A session that goes on from disk, cut anywhere: what is stored is what one run over the same ticks stores."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft_engine.catchup import Session
from hft_engine.config.schema import Config, EngineConfig, IndicatorConfig, RuleConfig, SignalsConfig
from hft_engine.feed.recorded import join_ticks, open_recording
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.checkpoints import checkpoint_paths, newest_checkpoint
from hft_engine.persistence.journal import JournalReader, JournalWriter, SegmentMetadata, session_dir
from hft_engine.runtime.rundir import LOCK
from hft_engine.sessions import Continuation
from support.journals import RECORDED

RUN_ID = "hft-session"
TICKS = 4_000
RULES = tuple(
    RuleConfig(name=name, feature=feature, side=side, when=when, enter=enter, release=release, full=full)
    for name, feature, side, when, enter, release, full in (
        ("high", "tick_rsi", "sell", "above", 55.0, 50.0, 95.0),
        ("low", "tick_rsi", "buy", "below", 45.0, 50.0, 5.0),
        ("bids", "quote_imbalance", "buy", "above", 0.2, 0.0, 1.0),
        ("asks", "quote_imbalance", "sell", "below", -0.2, 0.0, -1.0),
    )
)


def config_of(directory: Path) -> Config:
    return Config(
        engine=EngineConfig(
            data_dir=str(directory / "data"), log_dir=str(directory / "logs"), instruments_max=8
        ),
        indicators=IndicatorConfig(rsi=7),
        signals=SignalsConfig(rules=RULES, strength_min=0.0, cooldown_ms=0),
    )


@pytest.fixture(scope="module")
def recorded() -> tuple[np.ndarray, list[str]]:
    table = InstrumentTable.private(8)
    ticks = join_ticks(list(open_recording(RECORDED, table)))[:TICKS]
    ticks["sequence"] = np.arange(len(ticks))
    return ticks, table.symbols()


class Story:
    """A session's folder; each ``life`` journals some more ticks and then goes on from disk, in a new run directory."""

    def __init__(self, directory: Path, symbols: list[str]) -> None:
        self.directory, self.config = directory, config_of(directory)
        self.session = session_dir(directory / "data", RUN_ID)
        self._table = InstrumentTable.private(8)
        for symbol in symbols:
            self._table.id_of(symbol)
        self._lives = 0

    def journal(self, ticks: np.ndarray) -> None:
        about = SegmentMetadata(run_id=RUN_ID, venue="recorded", config_hash="", code_version="test")
        writer = JournalWriter(self.session, about, self._table, segment_bytes=1 << 28, flush_ms=1_000)
        for start in range(0, len(ticks), 250):
            writer.append(ticks[start : start + 250])
        writer.close()

    def go_on(self) -> Continuation:
        self._lives += 1
        run_dir = self.directory / f"run-{self._lives}"
        run_dir.mkdir()
        (run_dir / LOCK).touch()
        return Session(self.config, RUN_ID, run_dir).catch_up()

    def stored(self, table: str) -> list[tuple[Any, ...]]:
        columns = {
            "signals": "sequence, source_sequence, symbol, rule, strength, price, value, ts_venue_ns, chain_hash",
            "bars": "sequence, source_sequence, symbol, kind, ts_start_ns, open, high, low, close, volume, vwap",
        }[table]
        connection = sqlite3.connect(self.directory / "data" / "market_data.db")
        try:
            return connection.execute(f"SELECT {columns} FROM {table} ORDER BY sequence").fetchall()
        finally:
            connection.close()

    def journalled_signals(self) -> bytes:
        parts = [chunk.tobytes() for chunk in JournalReader(self.session).signals()]
        rows = np.frombuffer(b"".join(parts), JournalReader(self.session).signals().__next__().dtype)
        return rows["chain_hash"].tobytes() + rows["sequence"].tobytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, recorded: tuple[np.ndarray, list[str]]) -> Story:
    ticks, symbols = recorded
    story = Story(tmp_path_factory.mktemp("undisturbed"), symbols)
    story.journal(ticks)
    continuation = story.go_on()
    assert continuation.ticks_again == len(ticks)
    assert len(story.stored("signals")) > 30 and len(story.stored("bars")) > 3
    return story


def assert_same(story: Story, wanted: Story) -> None:
    for table in ("signals", "bars"):
        assert story.stored(table) == wanted.stored(table)
    assert story.journalled_signals() == wanted.journalled_signals()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_session_cut_anywhere_ends_like_one_that_was_not(
    tmp_path: Path, recorded: tuple[np.ndarray, list[str]], undisturbed: Story, seed: int
) -> None:
    ticks, symbols = recorded
    story = Story(tmp_path, symbols)
    cuts = sorted(np.random.default_rng(seed).integers(1, len(ticks), 4).tolist())
    taken = 0
    for part in np.split(ticks, cuts):
        story.journal(part)
        continuation = story.go_on()
        assert continuation.ticks_again == len(part)
        taken += len(part)
        assert continuation.rings["ticks"].start == continuation.rings["features"].start == taken
        assert continuation.symbols == tuple(symbols)
    assert_same(story, undisturbed)


def test_nothing_new_changes_nothing(
    tmp_path: Path, recorded: tuple[np.ndarray, list[str]], undisturbed: Story
) -> None:
    ticks, symbols = recorded
    story = Story(tmp_path, symbols)
    story.journal(ticks)
    first = story.go_on()
    for _ in range(2):
        again = story.go_on()
        assert again.ticks_again == again.signals_again == 0
        assert {name: ring.start for name, ring in again.rings.items()} == {
            name: ring.start for name, ring in first.rings.items()
        }
    assert_same(story, undisturbed)


def test_a_damaged_checkpoint_costs_time_and_nothing_else(
    tmp_path: Path, recorded: tuple[np.ndarray, list[str]], undisturbed: Story
) -> None:
    ticks, symbols = recorded
    story = Story(tmp_path, symbols)
    for part in np.split(ticks, [1_000, 2_000]):
        story.journal(part)
        story.go_on()
    for path in checkpoint_paths(story.session):
        path.write_bytes(path.read_bytes()[:-1])
    assert newest_checkpoint(story.session) is None
    assert story.go_on().ticks_again == len(ticks)
    assert_same(story, undisturbed)


def test_what_was_not_stored_yet_is_stored(
    tmp_path: Path, recorded: tuple[np.ndarray, list[str]], undisturbed: Story
) -> None:
    """The engine died after the checkpoint: ticks are journalled, but what came of them is not in the database."""
    ticks, symbols = recorded
    story = Story(tmp_path, symbols)
    story.journal(ticks[:1_500])
    story.go_on()
    story.journal(ticks[1_500:])
    continuation = story.go_on()
    assert continuation.signals_again == len(undisturbed.stored("signals")) - sum(
        row[1] < 1_500 for row in undisturbed.stored("signals")
    )
    assert_same(story, undisturbed)


def test_a_hole_of_the_journal_stays_one(tmp_path: Path, recorded: tuple[np.ndarray, list[str]]) -> None:
    ticks, symbols = recorded
    story = Story(tmp_path, symbols)
    story.journal(join_ticks([ticks[:1_000], ticks[1_200:2_000]]))
    continuation = story.go_on()
    assert continuation.ticks_again == 1_800
    assert continuation.rings["ticks"].start == 2_000
    assert continuation.rings["features"].start == 1_800
    sources = [row[1] for row in story.stored("signals")]
    assert not [source for source in sources if 1_000 <= source < 1_200]
