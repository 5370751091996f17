"""The monitor beside the feed's lines: what a lost line takes along, what people are told, what is kept."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hft_engine.config.schema import Config, FeedConfig, HealthConfig, RepairConfig
from hft_engine.feed.health.watch import COUNTED, PRESENT, HealthWatch
from hft_engine.feed.health.worst import read_worst
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE, HealthState, TickKind
from hft_engine.runtime import rundir
from hft_engine.runtime.actor import ActorContext, FatalError
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring import Ring
from support.aggregates import aggregates
from support.waiting import wait_for

SYMBOLS = ("AAA", "BBB", "CCC")


class Line:
    def __init__(self, *ids: int) -> None:
        self.venue_id, self.is_live, self.ids = 1, True, ids

    def instrument_ids(self) -> tuple[int, ...]:
        return self.ids


class Bench:
    def __init__(
        self, folder: Path, ring: Ring | None = None, session: str = "always", rest_url: str | None = None
    ) -> None:
        (folder / rundir.LOCK).touch()
        self.folder = folder
        table = InstrumentTable.private(8)
        for symbol in SYMBOLS:
            table.id_of(symbol)
        self.ring = ring or Ring.private("ticks", TICK_DTYPE, 256, ("test",))
        self.events: list[tuple[str, str]] = []
        feed = FeedConfig(
            url="ws://127.0.0.1:9", rest_url=rest_url, sequence="contiguous", health=HealthConfig(session=session),
            repair=RepairConfig(spans=("second",), settle_ms=0, calls_per_s=100.0, attempts=1),
        )  # fmt: skip
        config = Config(feed=feed)
        context = ActorContext(
            "feed", config, logging.getLogger("test-watch"), table, Stats.private(), {"ticks": self.ring},
            None, "run", folder, folder, folder, lambda kind, text: self.events.append((kind, text)),  # type: ignore[arg-type]
        )  # fmt: skip
        self.watch = HealthWatch(context, self.ring, [1])
        self.line = Line(*range(len(SYMBOLS)))

    def trade(self, *instruments: int) -> None:
        rows = np.zeros(len(instruments), TICK_DTYPE)
        rows["kind"], rows["instrument_id"], rows["venue_id"] = TickKind.TRADE, instruments, 1
        rows["price"], rows["size"] = 10.0, 1.0
        rows["ts_venue_ns"] = rows["ts_recv_ns"] = time.time_ns()
        rows["ts_mono_ns"] = time.monotonic_ns()
        self.ring.publish_rows(rows)

    def trades_numbered(self, *numbers: int) -> None:
        """Of each instrument."""
        for number in numbers:
            self.trade(*range(len(SYMBOLS)))
            self.ring.slots["venue_sequence"][self.ring.published - len(SYMBOLS) : self.ring.published] = (
                number
            )

    def told(self, kind: str) -> list[str]:
        return [text for each, text in self.events if each == kind]

    def tended_until(self, condition: Callable[[], object], what: str) -> None:
        def holds() -> object:
            self.watch.tend([self.line], time.monotonic_ns())
            return condition()

        wait_for(holds, what)

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


def test_what_a_line_left_out_is_a_gap_of_its_instruments(tmp_path: Path) -> None:
    bench, lines = Bench(tmp_path), [Line(0, 1), Line(2)]
    bench.trade(0, 1, 2)
    bench.watch.tend(lines, time.monotonic_ns())
    bench.watch.missed(lines, lines[0], time.monotonic_ns())
    bench.watch.tend(lines, time.monotonic_ns())
    assert bench.states() == [HealthState.GAPPED, HealthState.GAPPED, HealthState.LIVE]


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


def test_a_refusal_is_told_although_another_trouble_was_told_just_before(tmp_path: Path) -> None:
    refusal = (403, {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."})
    with aggregates(lambda *_: []) as server:
        server.answers = [(500, ""), refusal]
        bench = Bench(tmp_path, rest_url=server.url)
        bench.trades_numbered(1, 5)
        bench.tended_until(lambda: len(server.asked) >= 2 and len(bench.told("repair")) >= 2, "both told")
        bench.watch.stop()
    first, second = bench.told("repair")
    assert "could not be had" in first and "500" in first
    assert "cannot be asked for" in second and "not entitled" in second


def test_the_same_trouble_is_told_once_a_while(tmp_path: Path) -> None:
    with aggregates(lambda *_: []) as server:
        server.answers = [(500, "")] * 4
        bench = Bench(tmp_path, rest_url=server.url)
        bench.trades_numbered(1, 5)
        failed = COUNTED.index("repairs_failed")
        bench.tended_until(lambda: bench.watch.counted()[failed] == 4, "four failures")
        bench.watch.stop()
    assert len(bench.told("repair")) == 1


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
