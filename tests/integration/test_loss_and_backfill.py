"""A venue's ticks lost, doubled and out of order at random: what the database has in the end, with and without REST.

Real parts from the tick ring on: monitor and repairer of the feed, the indicators' stage, the database. The REST side
serves the bars of what was sent.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from hft_engine.config.schema import Config, FeedConfig, HealthConfig, IndicatorConfig, RepairConfig
from hft_engine.feed.health.watch import COUNTED as HEALTH_COUNTED
from hft_engine.feed.health.watch import PRESENT as HEALTH_PRESENT
from hft_engine.feed.health.watch import HealthWatch
from hft_engine.indicators import step
from hft_engine.indicators.offline import OfflineIndicators
from hft_engine.indicators.stage import IndicatorStage
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import SegmentMetadata
from hft_engine.persistence.sinks.sqlite import SqliteStore
from hft_engine.records import (
    BAR_DTYPE,
    FEATURE_DTYPE,
    TICK_DTYPE,
    BarFlag,
    BarKind,
    TickFlag,
    TickKind,
    join_ticks,
)
from hft_engine.runtime.actor import ActorContext
from hft_engine.shm import histogram
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring import Ring
from support.aggregates import aggregates

SYMBOLS = ("AAA", "BBB")
INDICATORS = IndicatorConfig(ticks_per_bar=1_000_000, late_after_ms=0)
SECONDS = 150
A_SECOND = 40  # trades of an instrument
SEED = 20_260_826
VENUE = 1
KINDS = {"second": BarKind.SECOND, "minute": BarKind.MINUTE}
FIELDS = ("open", "high", "low", "close", "volume", "vwap", "trade_count")


class Line:
    venue_id, is_live = VENUE, True

    def instrument_ids(self) -> range:
        return range(len(SYMBOLS))


def sent(random: np.random.Generator) -> np.ndarray:
    """What the venue publishes: trades of both instruments, numbered without gaps, ending a minute ago."""
    count = SECONDS * A_SECOND
    start_ns = (time.time_ns() // 60_000_000_000 - 5) * 60_000_000_000
    parts = []
    for instrument in range(len(SYMBOLS)):
        ticks = np.zeros(count, TICK_DTYPE)
        ticks["kind"], ticks["instrument_id"], ticks["venue_id"] = TickKind.TRADE, instrument, VENUE
        ticks["ts_venue_ns"] = start_ns + np.sort(random.integers(0, SECONDS * 1_000, count)) * 1_000_000
        ticks["venue_sequence"] = 1 + np.arange(count)
        ticks["price"] = np.round(100 + np.cumsum(random.normal(0, 0.02, count)), 2)
        ticks["size"] = random.integers(1, 500, count)
        parts.append(ticks)
    whole = join_ticks(parts)
    return whole[np.argsort(whole["ts_venue_ns"], kind="stable")]


def spoilt(ticks: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """20 % lost, 5 % twice, 5 % up to eight places later; the first and the last 50 are whole."""
    n = len(ticks)
    inner = (np.arange(n) >= 50) & (np.arange(n) < n - 50)
    kept = np.flatnonzero(~((random.random(n) < 0.2) & inner))
    kept = np.repeat(kept, np.where((random.random(len(kept)) < 0.05) & inner[kept], 2, 1))
    moved = (random.random(len(kept)) < 0.05) & inner[kept]
    places = np.arange(len(kept)) + np.where(moved, random.integers(1, 9, len(kept)) + 0.5, 0)
    return ticks[kept[np.argsort(places, kind="stable")]]


class Engine:
    """The parts, driven by hand."""

    def __init__(self, folder: Path, rest_url: str | None) -> None:
        feed = FeedConfig(
            url="ws://127.0.0.1:9",
            sequence="contiguous",
            rest_url=rest_url,
            health=HealthConfig(session="always"),
            repair=RepairConfig(settle_ms=0, calls_per_s=100.0),
        )
        table = InstrumentTable.private(4)
        for symbol in SYMBOLS:
            table.id_of(symbol)
        self.ticks = Ring.private("ticks", TICK_DTYPE, 1 << 16, ("indicators", "persistence"))
        self.features = Ring.private("features", FEATURE_DTYPE, 1 << 12, ("test",))
        self.bars = Ring.private("bars", BAR_DTYPE, 1 << 14, ("persistence",))
        stats = Stats.private()
        self.events: list[str] = []
        self.context = ActorContext(
            "feed", Config(feed=feed), logging.getLogger("test-repair"), table, stats, {"ticks": self.ticks},
            None, "run", folder, folder, folder, lambda kind, text: self.events.append(text),  # type: ignore[arg-type]
        )  # fmt: skip
        self.line = Line()
        self.watch = HealthWatch(self.context, self.ticks, [VENUE])
        counts = np.zeros(len(step.COUNTERS), np.int64)
        self.stage = IndicatorStage(
            INDICATORS, self.ticks, 0, self.features, self.bars, 4, counts, histogram.new_counts()
        )
        self.path = folder / "bars.db"
        self.store = SqliteStore(
            self.path,
            SegmentMetadata(run_id="run", venue="polygon", config_hash="c", code_version="v"),
            table,
            (),
        )

    def count(self, name: str) -> int:
        return [*self.watch.present(), *self.watch.counted()][[*HEALTH_PRESENT, *HEALTH_COUNTED].index(name)]

    def close(self) -> None:
        self.watch.stop()
        self.store.abandon()

    def turn(self) -> None:
        self.watch.tend([self.line], time.monotonic_ns())
        while self.ticks.lag(0):
            self.stage.run()
        rows = np.zeros(1 << 14, TICK_DTYPE)
        rows = rows[: self.ticks.poll(1, rows, len(rows))]
        if len(told := rows[rows["kind"] == TickKind.HEALTH]):
            self.store.add_health(told)
        bars = np.zeros(1 << 14, BAR_DTYPE)
        self.store.add_bars(bars[: self.bars.poll(0, bars, len(bars))])

    def take(self, ticks: np.ndarray) -> None:
        for begin in range(0, len(ticks), 97):
            part = ticks[begin : begin + 97].copy()
            part["ts_recv_ns"], part["ts_mono_ns"] = part["ts_venue_ns"], time.monotonic_ns()
            self.ticks.publish_rows(part)
            self.turn()

    def bars_of(self, kind: BarKind) -> dict[tuple[str, int], tuple]:
        """(symbol, start) -> (flags, *FIELDS)."""
        self.store.commit()
        with closing(sqlite3.connect(self.path)) as connection:
            query = f"SELECT symbol, ts_start_ns, flags, {', '.join(FIELDS)} FROM bars WHERE kind = ?"
            rows = connection.execute(query, (kind.name.lower(),)).fetchall()
        found = {row[:2]: row[2:] for row in rows}
        assert len(found) == len(rows), "one bar a window"
        return found


def truth_of(ticks: np.ndarray) -> dict[BarKind, dict[tuple[str, int], tuple]]:
    bars = OfflineIndicators(INDICATORS, 4).feed(ticks.copy()).bars
    return {
        kind: {
            (SYMBOLS[int(bar["instrument_id"])], int(bar["ts_start_ns"])): tuple(bar[list(FIELDS)].tolist())
            for bar in bars[bars["kind"] == kind]
        }
        for kind in KINDS.values()
    }


def served(
    truth: dict[BarKind, dict[tuple[str, int], tuple]], symbol: str, span: str, start: int, end: int
) -> list:
    names = ("o", "h", "l", "c", "v", "vw", "n")
    return [
        {"t": key[1] // 1_000_000, **dict(zip(names, fields, strict=True))}
        for key, fields in sorted(truth[KINDS[span]].items())
        if key[0] == symbol and start <= key[1] // 1_000_000 <= end
    ]


@pytest.fixture
def make_engine(tmp_path: Path) -> Iterator[Callable[[str | None], Engine]]:
    made: list[Engine] = []

    def make(rest_url: str | None) -> Engine:
        made.append(Engine(tmp_path, rest_url))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def market() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    print(f"seed {SEED}")
    random = np.random.default_rng(SEED)
    whole = sent(random)
    yield whole, spoilt(whole, random)


def test_with_backfill_the_bars_in_the_end_are_those_of_what_was_sent(
    market: tuple[np.ndarray, np.ndarray], make_engine: Callable[[str | None], Engine]
) -> None:
    whole, came = market
    truth = truth_of(whole)
    with aggregates(lambda *asked: served(truth, *asked), page=70) as server:
        engine = make_engine(server.url)
        engine.take(came)
        deadline = time.monotonic() + 30.0
        while engine.count("health_repaired") < len(SYMBOLS) and time.monotonic() < deadline:
            engine.turn()
            time.sleep(0.005)
        engine.turn()
    assert engine.count("missing") == len(whole) - len(
        np.unique(came["venue_sequence"] * 10 + came["instrument_id"])
    )
    for kind, bars in truth.items():
        found = engine.bars_of(kind)
        assert {key: fields[1:] for key, fields in found.items()} == bars
        repaired = [fields[0] for fields in found.values() if fields[0]]
        assert set(repaired) <= {int(BarFlag.REPAIRED | BarFlag.REVISION)}
        assert len(repaired) > len(bars) / 2


@pytest.mark.parametrize("refused", [True, False])
def test_without_backfill_every_bar_that_is_wrong_says_so(
    market: tuple[np.ndarray, np.ndarray], make_engine: Callable[[str | None], Engine], refused: bool
) -> None:
    whole, came = market
    truth = truth_of(whole)
    with aggregates(lambda *asked: []) as server:
        server.answers = [
            (403, {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."})
        ] * 9
        engine = make_engine(server.url if refused else None)
        engine.take(came)
        for _ in range(50):
            engine.turn()
            time.sleep(0.002)
    wrong = 0
    for kind, bars in truth.items():
        for key, fields in engine.bars_of(kind).items():
            if fields[1:] != bars[key]:
                wrong += 1
                assert fields[0] & BarFlag.GAPPED, (key, fields, bars[key])
    assert wrong > SECONDS / 2
    assert sum("not entitled" in text for text in engine.events) == (1 if refused else 0)


def test_no_feature_of_a_gapped_instrument_is_fit(
    market: tuple[np.ndarray, np.ndarray], make_engine: Callable[[str | None], Engine]
) -> None:
    engine = make_engine(None)
    _, came = market
    unfit = {0: False, 1: False}
    engine.take(came[:2_000])
    features = engine.features
    rows = np.zeros(1 << 12, FEATURE_DTYPE)
    rows = rows[: features.poll(0, rows, len(rows))]
    ticks = engine.ticks.slots[: engine.ticks.published]
    at = 0
    for tick in ticks:
        if tick["kind"] == TickKind.HEALTH:
            unfit[int(tick["instrument_id"])] = bool(tick["flags"] & TickFlag.UNFIT)
            continue
        assert bool(rows[at]["flags"] & TickFlag.UNFIT) == unfit[int(tick["instrument_id"])]
        at += 1
    assert at == len(rows) and any(unfit.values())
