"""The execution actor: ticks, bars and signals in, orders and fills out, all of it in the order of ``desk``.

Off the hot path: it naps, nobody rings for it, and it reads no cursor more often than it wakes. It takes a tick up
only when everything that the tick caused can be read (``watermark``), so a run live and a replay of it fill the same.
"""

import time
from pathlib import Path

import numpy as np

from hft_engine.config.schema import ExecutionConfig
from hft_engine.execution import kernels
from hft_engine.execution.checkpoint import EVERY_NS, Checkpoint, read_checkpoint, records_of
from hft_engine.execution.desk import TICKS_MAX, Desk
from hft_engine.execution.ledger import Closing, Holding, LedgerWriter
from hft_engine.execution.loading import load_strategy
from hft_engine.execution.pending import Pending
from hft_engine.execution.state import (
    A_CANCELLED,
    A_CASH,
    A_CLOCK,
    A_EXPIRED,
    A_FEES,
    A_FILLS,
    A_HELD,
    A_LATCHED,
    A_ORDERS,
    A_REALISED,
    A_REFUSED,
    A_START,
    A_TICKS,
    A_TRIPPED,
    A_WORKING,
)
from hft_engine.execution.strategy import StrategyError
from hft_engine.execution.watermark import Watermark
from hft_engine.instruments import InstrumentTable
from hft_engine.records import FILL_DTYPE, ORDER_DTYPE, SIGNAL_DTYPE
from hft_engine.runtime.actor import ActorContext, BaseActor, FatalError
from hft_engine.runtime.latch import TradingLatch
from hft_engine.runtime.rundir import LOCK
from hft_engine.shm.ring import Ring

LATCH_LOOK_NS = 100_000_000  # of the wall clock between two looks at the latch's file
RECORDS_AT_ONCE = 1_024
_COUNTED = {
    "orders": A_ORDERS,
    "refused": A_REFUSED,
    "cancelled": A_CANCELLED,
    "expired": A_EXPIRED,
    "fills": A_FILLS,
    "working": A_WORKING,
}


class _Inlet:
    """A ring read into what waits for its tick."""

    def __init__(self, ring: Ring, reader: int, pending: Pending, wanted: bool) -> None:
        self._ring, self._reader, self._pending = ring, reader, pending
        self._wanted = wanted
        self._scratch = np.zeros(RECORDS_AT_ONCE, ring.dtype)

    def read(self) -> None:
        """All that is there."""
        while count := self._ring.poll(self._reader, self._scratch, RECORDS_AT_ONCE):
            if self._wanted:
                self._pending.put(self._scratch[:count])

    def rewind(self, sequence: int) -> None:
        self._ring.rewind(self._reader, sequence)

    @property
    def position(self) -> int:
        return self._ring.position(self._reader)

    @property
    def lapped(self) -> int:
        return self._ring.lapped(self._reader)


class _Outlet:
    """Records on their way to a ring that may have no room for them yet."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._rows = np.zeros(0, ring.dtype)
        self._skip = 0  # of those to come, how many an earlier life has put out

    def skip_to(self, sequence: int) -> None:
        """The next record put in will be that of ``sequence``; those that the ring has are dropped."""
        self._skip = self._ring.published - sequence

    def put(self, rows: np.ndarray) -> None:
        """Only when ``flush`` has said that nothing waits."""
        known = min(self._skip, len(rows))
        self._skip -= known
        self._rows = rows[known:].copy()

    def flush(self) -> bool:
        """Publish what there is room for. True: nothing waits any more."""
        count = min(len(self._rows), self._ring.room())
        if count:
            self._rows["ts_publish_ns"][:count] = time.monotonic_ns()
            self._ring.publish_rows(self._rows[:count])
            self._rows = self._rows[count:]
        return not len(self._rows)


class ExecutionActor(BaseActor):
    """``ledger``: a file that all orders, fills and equity samples are written to at the end, for a backtest."""

    role = "execution"
    counters = (
        "ticks",
        "orders",
        "refused",
        "cancelled",
        "expired",
        "fills",
        "working",
        "latched",
        "lapped_ticks",
        "lapped_signals",
    )

    def __init__(self, ledger: str = "") -> None:
        self._ledger = LedgerWriter(Path(ledger)) if ledger else None
        self._latch_due_ns = 0

    def on_start(self, ctx: ActorContext) -> None:
        """Raises FatalError for a strategy that cannot be used."""
        config = ctx.config.execution
        assert config is not None
        self._ctx, self._config = ctx, config
        self._latch = TradingLatch(ctx.data_dir)
        self._waiting = 0  # ticks that are done but not let go, because their records wait for room
        self._ticks, self._reader = ctx.ring("ticks"), ctx.reader("ticks")
        self._watermark = Watermark(self._ticks, ctx.ring("features"), ctx.ring("predictions"))
        self._desk = self._make_desk(ctx, config)
        on_bar, on_signal = self._desk.takes
        self._bars = _Inlet(ctx.ring("bars"), ctx.reader("bars"), self._desk.bars, on_bar)
        self._signals = _Inlet(ctx.ring("signals"), ctx.reader("signals"), self._desk.signals, on_signal)
        self._orders, self._fills = _Outlet(ctx.ring("orders")), _Outlet(ctx.ring("fills"))
        self._first_ns = 0
        self._keeps = (ctx.run_dir / LOCK).exists()  # without a run directory a dead actor has no successor
        self._keep_due_ns = 0
        self._resume()
        self._counters = {name: ctx.counter(name) for name in self.counters}
        ctx.log.info("strategy %s trades on paper", config.strategy)

    def do_work(self) -> int:
        if self._waiting and not self._let_go():
            return 0
        end = self._watermark.look()  # first: then all that is below it is on the rings
        self._bars.read()
        self._signals.read()
        self._look_at_latch()
        wanted = min(TICKS_MAX, end - self._ticks.position(self._reader))
        count = self._ticks.peek(self._reader, self._desk.ticks, wanted) if wanted > 0 else 0
        if count and self._desk.ticks["sequence"][count - 1] >= end:  # lapped meanwhile, and moved forward
            count = int(np.searchsorted(self._desk.ticks["sequence"][:count], end))
        return self._take(count) if count else 0

    def on_stop(self) -> None:
        self._desk.stop()
        self._collect()
        self._flush()
        if self._ledger is not None:
            self._ledger.write(self.closing())

    def closing(self) -> Closing:
        """The account as it stands."""
        account, state = self._desk.state.account, self._desk.state
        equity = int(kernels.value(self._desk.wiring)[0])
        held = [int(i) for i in state.holdings[: int(account[A_HELD])]]
        return Closing(
            price_tick=self._config.price_tick,
            size_tick=self._config.size_tick,
            start_cash=int(account[A_START]),
            cash=int(account[A_CASH]),
            fees=int(account[A_FEES]),
            realised=int(account[A_REALISED]),
            equity=equity,
            orders=int(account[A_ORDERS]),
            refused=int(account[A_REFUSED]),
            cancelled=int(account[A_CANCELLED]),
            expired=int(account[A_EXPIRED]),
            ticks=int(account[A_TICKS]),
            first_ns=self._first_ns,
            last_ns=int(account[A_CLOCK]),
            latched=bool(account[A_LATCHED]),
            holdings=tuple(self._holding(i) for i in held),
        )

    # ---- within -----------------------------------------------------------------------------------------------

    def _make_desk(self, ctx: ActorContext, config: ExecutionConfig) -> Desk:
        rules = [rule.name for rule in ctx.config.signals.rules]
        try:
            desk = Desk(config, load_strategy(config.strategy), ctx.instruments, rules)
            desk.start()
        except StrategyError as error:
            raise FatalError(str(error)) from error
        return desk

    def _take(self, count: int) -> int:
        if not self._first_ns:
            self._first_ns = int(self._desk.ticks[0]["ts_venue_ns"])
        done = self._desk.take(count)
        self._collect()
        self._waiting = done
        self._let_go()
        self._count()
        self._keep_if_due()
        return done

    def _resume(self) -> None:
        """Go on where an earlier life of this run was last kept; without one, from the first record on."""
        first_life = self._ticks.position(self._reader) == 0
        found = None if first_life else read_checkpoint(self._ctx.run_dir)
        if found is not None:
            found.restore(self._desk)
            self._adopt(found)
        positions = found.positions if found is not None else {"ticks": 0, "bars": 0, "signals": 0}
        self._ticks.rewind(self._reader, positions["ticks"])
        self._bars.rewind(positions["bars"])
        self._signals.rewind(positions["signals"])
        out = records_of(self._desk)
        self._orders.skip_to(out["orders"])
        self._fills.skip_to(out["fills"])
        if not first_life:
            self._tell_resumed(positions["ticks"])

    def _adopt(self, found: Checkpoint) -> None:
        if found.has_strategy:
            self._desk.adopt(found.load_strategy())
        else:
            self._ctx.event(
                "strategy_restarted", "the strategy cannot be pickled: it begins afresh, its positions stay"
            )

    def _tell_resumed(self, wanted: int) -> None:
        begin = self._ticks.position(self._reader)
        missed = f"; {begin - wanted} ticks before it are lost to the account" if begin > wanted else ""
        self._ctx.event("resumed", f"trading goes on from tick {begin}{missed}")
        if missed:
            self._stop_trading(
                "execution was restarted and has missed ticks: check the account", durable=True
            )

    def _keep_if_due(self) -> None:
        now_ns = time.monotonic_ns()
        if not self._keeps or self._waiting or now_ns < self._keep_due_ns:
            return
        self._keep_due_ns = now_ns + EVERY_NS
        positions = {
            "ticks": self._ticks.position(self._reader),
            "bars": self._bars.position,
            "signals": self._signals.position,
        }
        Checkpoint.of(self._desk, positions).write(self._ctx.run_dir)

    def _collect(self) -> None:
        orders, fills, samples = self._desk.collect()
        if self._ledger is not None:
            self._ledger.add(orders, fills, samples)
        self._orders.put(orders)
        self._fills.put(fills)

    def _let_go(self) -> bool:
        """Let the ticks go whose records are out: who reads that far has all that they caused."""
        if not self._flush():
            return False
        self._ticks.advance(self._reader, self._waiting)
        self._waiting = 0
        return True

    def _flush(self) -> bool:
        orders, fills = self._orders.flush(), self._fills.flush()
        return orders and fills

    def _look_at_latch(self) -> None:
        account = self._desk.state.account
        if account[A_TRIPPED] == 1:
            account[A_TRIPPED] = 2
            self._stop_trading("the account lost more than execution.risk.loss_max", durable=True)
        now_ns = time.monotonic_ns()
        if now_ns < self._latch_due_ns:
            return
        self._latch_due_ns = now_ns + LATCH_LOOK_NS
        reason = self._latch.reason()
        if reason is not None and account[A_LATCHED] == 0:
            account[A_LATCHED] = 1
            self._stop_trading(reason, durable=False)
        elif reason is None and account[A_LATCHED] and account[A_TRIPPED] == 0:
            account[A_LATCHED] = 0
            self._ctx.record("latch_reset", self._ticks.position(self._reader), {})
            self._ctx.event("latch_reset", "new orders are let through again")

    def _stop_trading(self, reason: str, durable: bool) -> None:
        self._ctx.record("latch", self._ticks.position(self._reader), {"reason": reason})
        self._desk.cancel_all()
        self._ctx.event("latched", f"new orders are refused, open ones cancelled: {reason}")
        if durable:
            self._latch.latch(reason)

    def _count(self) -> None:
        account = self._desk.state.account
        self._counters["ticks"].set(int(account[A_TICKS]))
        self._counters["latched"].set(int(account[A_LATCHED]))
        self._counters["lapped_ticks"].set(self._ticks.lapped(self._reader))
        self._counters["lapped_signals"].set(self._signals.lapped)
        for name, word in _COUNTED.items():
            self._counters[name].set(int(account[word]))

    def _holding(self, instrument: int) -> Holding:
        row = self._desk.state.rows[instrument]
        mark = kernels.mark(self._desk.wiring, instrument)
        return Holding(
            instrument,
            self._ctx.instruments.symbol_of(instrument),
            int(row["position"]),
            int(row["cost"]),
            int(mark),
            int(row["realised"]),
            int(row["fees"]),
            int(row["traded"]),
            int(row["fills"]),
        )


def warm() -> None:
    """Compile (or load from the cache) the kernels."""
    table = InstrumentTable.private(1)
    desk = Desk(ExecutionConfig(), load_strategy("follow"), table)
    desk.start()
    desk.take(0)
    python = Desk(ExecutionConfig(), load_strategy("ema_cross"), table)
    python.warm()
    rings = [
        Ring.private("ticks", ORDER_DTYPE, 8, ("indicators",)),
        Ring.private("features", FILL_DTYPE, 8, ("inference",)),
        Ring.private("predictions", SIGNAL_DTYPE, 8, ("signals",)),
    ]
    Watermark(*rings).look()
    rings[0].peek(0, np.zeros(1, ORDER_DTYPE), 0)
    rings[0].advance(0, 0)
