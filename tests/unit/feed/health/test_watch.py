"""The monitor beside the feed's lines: what a lost line takes along, what people are told, what is kept."""

import json
import logging
import time
from pathlib import Path

import numpy as np
import pytest

from hft_engine.config.schema import Config, FeedConfig, HealthConfig
from hft_engine.feed.health.watch import PRESENT, HealthWatch
from hft_engine.feed.health.worst import read_worst
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE, HealthState, TickKind
from hft_engine.runtime import rundir
from hft_engine.runtime.actor import ActorContext, FatalError
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring import Ring

SYMBOLS = ("AAA", "BBB", "CCC")


class Line:
    def __init__(self, *ids: int) -> None:
        self.venue_id, self.is_live, self.ids = 1, True, ids

    def instrument_ids(self) -> tuple[int, ...]:
        return self.ids


class Bench:
    def __init__(self, folder: Path, ring: Ring | None = None, session: str = "always") -> None:
        (folder / rundir.LOCK).touch()
        self.folder = folder
        table = InstrumentTable.private(8)
        for symbol in SYMBOLS:
            table.id_of(symbol)
        self.ring = ring or Ring.private("ticks", TICK_DTYPE, 256, ("test",))
        self.events: list[tuple[str, str]] = []
        config = Config(feed=FeedConfig(url="ws://127.0.0.1:9", health=HealthConfig(session=session)))
        context = ActorContext(
            "feed", config, logging.getLogger("test-watch"), table, Stats.private(), {"ticks": self.ring},
            None, "run", folder, folder, folder, lambda kind, text: self.events.append((kind, text)),  # type: ignore[arg-type]
        )  # fmt: skip
        self.watch = HealthWatch(context, self.ring, [1])

    def trade(self, *instruments: int) -> None:
        rows = np.zeros(len(instruments), TICK_DTYPE)
        rows["kind"], rows["instrument_id"], rows["venue_id"] = TickKind.TRADE, instruments, 1
        rows["price"], rows["size"] = 10.0, 1.0
        rows["ts_venue_ns"] = rows["ts_recv_ns"] = time.time_ns()
        rows["ts_mono_ns"] = time.monotonic_ns()
        self.ring.publish_rows(rows)

    def states(self) -> list[HealthState]:
        return [HealthState(int(self.watch.monitor.cells["state"][3 * i])) for i in range(len(SYMBOLS))]


def test_a_lost_line_takes_along_what_no_other_brings(tmp_path: Path) -> None:
    bench, lines = Bench(tmp_path), [Line(0, 1), Line(1, 2)]
    bench.trade(0, 1, 2)
    bench.watch.tend(lines, time.monotonic_ns())
    assert bench.states() == [HealthState.LIVE] * 3
    lines[0].is_live = False
    bench.watch.tend(lines, time.monotonic_ns())
    assert bench.states() == [HealthState.STALE, HealthState.LIVE, HealthState.LIVE]
    bench.watch.tend(lines[:1], time.monotonic_ns())
    assert bench.states() == [HealthState.STALE] * 3, "a line that is gone is lost"
    assert bench.watch.present()[PRESENT.index("health_stale")] == 3


def test_health_ticks_are_on_the_ring_and_what_is_worst_is_told_and_kept(tmp_path: Path) -> None:
    bench, line = Bench(tmp_path), Line()
    bench.trade(0, 1)
    bench.watch.tend([line], time.monotonic_ns())
    line.is_live = False
    bench.watch.tend([line], time.monotonic_ns() + 2_000_000_000)
    rows = np.zeros(16, TICK_DTYPE)
    rows = rows[: bench.ring.poll(0, rows, 16)]
    assert rows["kind"].tolist() == [TickKind.TRADE] * 2 + [TickKind.HEALTH] * 4
    assert [(worst.symbol, worst.state, worst.cause) for worst in read_worst(tmp_path)] == [
        ("AAA", "stale", "connection"),
        ("BBB", "stale", "connection"),
    ]
    assert json.loads((tmp_path / "health.json").read_text())[0]["channel"] == "trade"
    (event,) = bench.events
    assert event == (
        "health",
        "2 instruments give no signals: AAA stale (connection), BBB stale (connection)",
    )


def test_what_is_not_subscribed_to_any_more_has_no_health_whatever_still_comes(tmp_path: Path) -> None:
    bench, line = Bench(tmp_path), Line()
    bench.trade(0, 1)
    bench.watch.tend([line], time.monotonic_ns())
    bench.watch.subscribed(SYMBOLS, SYMBOLS[1:])
    bench.trade(0, 1)
    bench.watch.tend([line], time.monotonic_ns())
    assert bench.states() == [HealthState.WAITING, HealthState.LIVE, HealthState.WAITING]
    assert bench.watch.present()[PRESENT.index("health_live")] == 1
    bench.watch.subscribed(SYMBOLS[1:], SYMBOLS)
    bench.trade(0)
    bench.watch.tend([line], time.monotonic_ns())
    assert bench.states()[0] is HealthState.LIVE


def test_a_new_life_finds_every_instrument_lost_until_its_line_is_live(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    first.trade(0, 1)
    first.watch.tend([Line()], time.monotonic_ns())
    again, line = Bench(tmp_path, first.ring), Line()
    line.is_live = False
    again.watch.tend([line], time.monotonic_ns())
    assert again.states()[:2] == [HealthState.STALE] * 2
    line.is_live = True
    again.watch.tend([line], time.monotonic_ns())
    again.watch.tend([line], time.monotonic_ns() + 1_500_000_000)
    assert again.states()[:2] == [HealthState.GAPPED] * 2


def test_a_session_that_cannot_be_used_stops_the_engine_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"feed\.health\.session"):
        Bench(tmp_path, session="16:00-09:30 America/New_York")
