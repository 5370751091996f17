"""The execution actor on rings of this process: order of arrival, full rings, the latch, a death."""

import logging
from pathlib import Path

import numpy as np
import pytest
from execution_bench import signal, trade

from hft_engine.config.schema import Config, EngineConfig, ExecutionConfig, RiskConfig
from hft_engine.execution.actor import ExecutionActor
from hft_engine.execution.ledger import read_ledger
from hft_engine.instruments import InstrumentTable
from hft_engine.records import (
    BAR_DTYPE,
    FEATURE_DTYPE,
    FILL_DTYPE,
    ORDER_DTYPE,
    PREDICTION_DTYPE,
    SIGNAL_DTYPE,
    TICK_DTYPE,
    OrderStatus,
    Refusal,
    join_ticks,
)
from hft_engine.runtime.actor import ActorContext, FatalError
from hft_engine.runtime.latch import TradingLatch
from hft_engine.runtime.rundir import LOCK
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring import Ring

FOLLOW = {
    "latency_ms": 0,
    "price_tick": 0.01,
    "fee_per_unit": 0.0,
    "parameters": {"quantity": 10, "short": 1},
}


class Bench:
    """``show`` puts ticks and the signals they caused on the rings, and lets the stages' cursors follow."""

    def __init__(self, folder: Path, capacity: int = 256, gating: bool = False, **settings: object) -> None:
        execution = ExecutionConfig(**{**FOLLOW, **settings})  # type: ignore[arg-type]
        self.config = Config(engine=EngineConfig(instruments_max=4), execution=execution)
        self.folder = folder
        (folder / LOCK).touch()
        self.table = InstrumentTable.private(4)
        self.table.id_of("AAA")
        self.rings = {
            "ticks": Ring.private("ticks", TICK_DTYPE, 1_024, ("indicators", "execution"), gating),
            "features": Ring.private("features", FEATURE_DTYPE, 64, ("inference",)),
            "predictions": Ring.private("predictions", PREDICTION_DTYPE, 64, ("signals",)),
            "bars": Ring.private("bars", BAR_DTYPE, 64, ("execution",), gating),
            "signals": Ring.private("signals", SIGNAL_DTYPE, 1_024, ("execution",), gating),
            "orders": Ring.private("orders", ORDER_DTYPE, capacity, ("persistence",), gating),
            "fills": Ring.private("fills", FILL_DTYPE, capacity, ("persistence",), gating),
        }
        self.stats = Stats.private()
        self.events: list[tuple[str, str]] = []
        self.begin()

    def begin(self, ledger: str = "") -> None:
        """A new life on the same rings and run directory."""
        self.actor = ExecutionActor(ledger)
        self.stats.declare(self.actor.counters, self.actor.histograms)
        self.actor.on_start(
            ActorContext(
                role="execution",
                config=self.config,
                log=logging.getLogger("test"),
                instruments=self.table,
                stats=self.stats,
                rings=self.rings,
                feature_schema=None,  # type: ignore[arg-type]
                run_id="test",
                run_dir=self.folder,
                data_dir=self.folder,
                log_dir=self.folder,
                emit=lambda kind, text: self.events.append((kind, text)),
            )
        )

    def put_ticks(self, ticks: np.ndarray) -> None:
        self.rings["ticks"].publish_rows(ticks.copy())

    def let_indicators_read(self, count: int) -> None:
        self.rings["ticks"].poll(0, np.zeros(count, TICK_DTYPE), count)

    def put_signals(self, signals: np.ndarray) -> None:
        if len(signals):
            self.rings["signals"].publish_rows(signals.copy())

    def show(self, ticks: np.ndarray, signals: np.ndarray) -> None:
        self.put_ticks(ticks)
        self.put_signals(signals)
        self.let_indicators_read(len(ticks))

    def work(self) -> int:
        total = 0
        while done := self.actor.do_work():
            total += done
        return total

    def out(self, name: str) -> np.ndarray:
        ring = self.rings[name]
        return ring.slots[: ring.published].copy()

    def counter(self, name: str) -> int:
        return self.stats.counter(name).value


def market(count: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ticks from ``first`` on, and a signal at every fourth, sides in turn."""
    numbers = range(first, first + count)
    ticks = [trade(10.0 + (i % 7) / 100, at_ms=i) for i in numbers]
    at = [i for i in numbers if i % 4 == 0]
    signals = [signal(i, 1 if i // 4 % 2 else -1, at_ms=i, sequence=i // 4) for i in at]
    return join_ticks(ticks), np.concatenate(signals)


PUBLISHED = ("ts_publish_ns",)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """But for when they were published."""
    one, other = one.copy(), other.copy()
    one["ts_publish_ns"] = other["ts_publish_ns"] = 0
    return one.tobytes() == other.tobytes()


@pytest.fixture
def expected(tmp_path: Path) -> Bench:
    """All at once, nothing disturbed."""
    folder = tmp_path / "expected"
    folder.mkdir()
    bench = Bench(folder)
    bench.show(*market(200))
    assert bench.work() == 200
    assert len(bench.out("fills")) == 50
    return bench


def test_a_tick_waits_until_what_it_caused_is_out(tmp_path: Path, expected: Bench) -> None:
    bench = Bench(tmp_path)
    ticks, signals = market(200)
    bench.put_ticks(ticks)
    assert bench.work() == 0, "the stages have read nothing"
    for i in range(0, 200, 4):
        bench.put_signals(signals[i // 4 : i // 4 + 1])
        bench.let_indicators_read(4)
        assert bench.work() == 4
    assert same(bench.out("fills"), expected.out("fills"))
    assert same(bench.out("orders"), expected.out("orders"))


def test_signals_that_come_long_before_their_ticks_wait_for_them(tmp_path: Path, expected: Bench) -> None:
    bench = Bench(tmp_path)
    ticks, signals = market(200)
    bench.put_signals(signals)
    bench.work()
    for i in range(0, 200, 50):
        bench.put_ticks(ticks[i : i + 50])
        bench.let_indicators_read(50)
        bench.work()
    assert same(bench.out("fills"), expected.out("fills"))


def test_a_full_ring_holds_the_ticks_back_and_loses_nothing(tmp_path: Path, expected: Bench) -> None:
    bench = Bench(tmp_path, capacity=8, gating=True)
    bench.show(*market(200))
    fills: list[np.ndarray] = []
    for _ in range(200):
        bench.actor.do_work()
        assert bench.rings["ticks"].position(1) <= 200
        for name, kept in (("orders", []), ("fills", fills)):
            ring = bench.rings[name]
            rows = np.zeros(3, ring.dtype)
            kept.append(rows[: ring.poll(0, rows, 3)])
    assert bench.rings["ticks"].position(1) == 200
    assert same(np.concatenate(fills), expected.out("fills"))


def test_a_ring_without_room_lets_no_tick_go(tmp_path: Path) -> None:
    bench = Bench(tmp_path, capacity=8, gating=True)
    bench.show(*market(200))
    for _ in range(5):
        bench.actor.do_work()
    assert bench.rings["ticks"].position(1) == 0


@pytest.mark.parametrize("kept_at", [0, 120])
def test_killed_at_any_tick_it_goes_on_without_a_fill_twice_or_missing(
    tmp_path: Path, expected: Bench, monkeypatch: pytest.MonkeyPatch, kept_at: int
) -> None:
    monkeypatch.setattr("hft_engine.execution.actor.EVERY_NS", 1 << 60)  # kept once, after the first turn
    bench = Bench(tmp_path)
    done = 0
    for end in sorted({kept_at, 157} - {0}):
        ticks, signals = market(end - done, done)
        bench.show(ticks, signals)
        bench.work()
        done = end
    if kept_at == 0:
        (tmp_path / "execution.state").unlink()
    bench.begin()
    assert bench.events[-1] == ("resumed", f"trading goes on from tick {kept_at}")
    bench.work()
    assert bench.rings["ticks"].position(1) == 157
    ticks, signals = market(43, 157)
    bench.show(ticks, signals)
    bench.work()
    assert same(bench.out("orders"), expected.out("orders"))
    assert same(bench.out("fills"), expected.out("fills"))
    assert not TradingLatch(tmp_path).reason()


def test_ticks_that_were_missed_while_it_was_dead_latch_trading(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.show(*market(100))
    bench.work()
    (tmp_path / "execution.state").unlink()
    ticks, signals = market(2_000, 100)
    for i in range(0, 2_000, 500):
        bench.show(ticks[i : i + 500], signals[i // 4 : (i + 500) // 4])
    bench.begin()
    assert "are lost to the account" in dict(bench.events)["resumed"]
    assert "missed ticks" in str(TradingLatch(tmp_path).reason())
    bench.work()
    assert bench.out("orders")[-1]["reason"] == Refusal.LATCHED


def test_the_latch_refuses_new_orders_and_cancels_open_ones_until_it_is_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hft_engine.execution.actor.LATCH_LOOK_NS", 0)
    bench = Bench(tmp_path, latency_ms=10_000, risk=RiskConfig(signal_age_max_ms=100_000))
    latch = TradingLatch(tmp_path)
    one = np.concatenate([signal(0, 1)])
    one["ts_expiry_ns"] = 0
    bench.show(market(2)[0], one)
    bench.work()
    assert bench.counter("working") == 1
    latch.latch("enough for today")
    bench.show(*market(4, 2))
    bench.work()
    assert [int(o["status"]) for o in bench.out("orders")] == [
        OrderStatus.ACCEPTED,
        OrderStatus.CANCELLED,
        OrderStatus.REFUSED,
    ]
    assert bench.out("orders")[-1]["reason"] == Refusal.LATCHED
    assert bench.counter("latched") == 1
    assert bench.events[-1] == ("latched", "new orders are refused, open ones cancelled: enough for today")
    latch.reset()
    late = signal(8, 1, at_ms=8, sequence=2)
    late["ts_expiry_ns"] = 0
    bench.show(market(4, 6)[0], late)
    bench.work()
    assert bench.out("orders")[-1]["status"] == OrderStatus.ACCEPTED


def test_the_loss_limit_latches_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hft_engine.execution.actor.LATCH_LOOK_NS", 0)
    bench = Bench(tmp_path, risk=RiskConfig(loss_max=5.0))
    ticks = join_ticks([trade(10.0, at_ms=0), trade(10.0, at_ms=1), trade(9.0, at_ms=2), trade(9.0, at_ms=3)])
    bench.show(ticks, np.concatenate([signal(0, 1), signal(2, -1, at_ms=2, sequence=1)]))
    bench.work()
    bench.actor.do_work()
    assert bench.out("orders")[-1]["reason"] == Refusal.LOSS
    assert TradingLatch(tmp_path).reason() == "the account lost more than execution.risk.loss_max"


def test_a_ledger_holds_the_whole_run(tmp_path: Path, expected: Bench) -> None:
    bench = Bench(tmp_path)
    bench.begin(str(tmp_path / "ledger.npz"))
    bench.show(*market(200))
    bench.work()
    bench.actor.on_stop()
    ledger = read_ledger(tmp_path / "ledger.npz")
    assert ledger.fills["chain_hash"].tolist() == expected.out("fills")["chain_hash"].tolist()
    assert len(ledger.orders) == len(expected.out("orders"))
    closing = ledger.closing
    assert (closing.ticks, closing.orders, len(ledger.samples)) == (200, 50, 1)
    assert closing.holdings[0].symbol == "AAA" and closing.holdings[0].fills == 50


def test_a_strategy_that_cannot_be_used_stops_the_engine_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"execution\.strategy: 'nobody'"):
        Bench(tmp_path, strategy="nobody")
