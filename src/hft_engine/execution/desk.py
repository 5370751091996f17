"""The trading desk: account, strategy and paper broker over ticks, bars and signals, in one order whatever runs it.

At each tick: the broker (fills), ``on_fill``, ``on_tick``, then the bars that it ended (``on_bar``) and the signal that
it caused (``on_signal``). A fill, and an order, is so a function of the sequences of ticks, bars and signals alone.
"""

from collections.abc import Callable, Sequence

import numpy as np

from hft_engine.config.schema import ExecutionConfig
from hft_engine.execution import kernels
from hft_engine.execution.context import Context
from hft_engine.execution.pending import Pending
from hft_engine.execution.state import (
    A_FILLS,
    A_FILLS_OUT,
    A_ORDERS_OUT,
    A_SAMPLES_OUT,
    new_account,
)
from hft_engine.execution.strategies import Follow
from hft_engine.execution.strategy import Bar, Fill, Signal, Strategy, Tick
from hft_engine.instruments import InstrumentTable
from hft_engine.records import BAR_DTYPE, SIGNAL_DTYPE, TICK_DTYPE, BarFlag, TickKind
from hft_engine.wiring import wire

TICKS_MAX = 4_096  # taken up at once: half a megabyte


def _fields(dtype: np.dtype, names: Sequence[str]) -> np.dtype:
    """``dtype`` cut to some fields: ``tolist`` then makes a tuple of just these."""
    assert dtype.fields is not None
    return np.dtype(
        {
            "names": list(names),
            "formats": [dtype.fields[name][0] for name in names],
            "offsets": [dtype.fields[name][1] for name in names],
            "itemsize": dtype.itemsize,
        }
    )


_TICK_VIEW = _fields(TICK_DTYPE, Tick._fields)
_BAR_VIEW = _fields(BAR_DTYPE, Bar._fields)
_SIGNAL_VIEW = _fields(SIGNAL_DTYPE, Signal._fields)
_REVISION = int(BarFlag.REVISION)
_CAUSES = (int(TickKind.TRADE), int(TickKind.QUOTE))


class Desk:
    """``ticks``: TICK_DTYPE[TICKS_MAX], where the caller puts ticks; ``bars`` and ``signals``: what waits for its tick.

    ``take`` may stop early: ``collect`` the records, then go on.
    """

    def __init__(
        self,
        config: ExecutionConfig,
        strategy: Strategy,
        instruments: InstrumentTable,
        rules: Sequence[str] = (),
    ) -> None:
        self.config = config
        self.state = new_account(config, instruments.capacity)
        self.strategy = strategy
        self.ticks = np.zeros(TICKS_MAX, TICK_DTYPE)
        self.bars, self.signals = Pending(BAR_DTYPE), Pending(SIGNAL_DTYPE)
        self.wiring = np.zeros(2 * (len(self.state.arrays()) + 2), np.int64)
        self._rewire()
        self.context = Context(config, self.state, self.wiring, instruments, rules)
        self._stop_on_fill = self._overrides("on_fill")
        self._on_tick = self._overrides("on_tick")
        self._on_bar = self._overrides("on_bar")
        self._on_signal = self._overrides("on_signal")
        self._compiled = type(strategy) is Follow
        self._told = 0  # fills of those that wait to be collected, told to the strategy

    def start(self) -> None:
        self.strategy.on_start(self.context)
        if self._compiled:
            assert isinstance(self.strategy, Follow)
            self._quantity = int(self.strategy.quantity / self.config.size_tick + 1e-6)
            self._short = self.strategy.short

    def adopt(self, strategy: Strategy) -> None:
        """Go on with a strategy of the same class that was started in an earlier life."""
        self.strategy = strategy

    def stop(self) -> None:
        self.strategy.on_stop(self.context)

    @property
    def takes(self) -> tuple[bool, bool]:
        """Whether bars and signals are wanted at all; those that are not need not be put in."""
        return self._on_bar, self._on_signal

    def take(self, count: int) -> int:
        """The first ``count`` of ``ticks``, with the bars and signals they caused. Returns how many were taken.

        Every bar and signal that these ticks caused must have been put in before.
        """
        return self._take_compiled(count) if self._compiled else self._take(count)

    def collect(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ORDER_DTYPE[n], FILL_DTYPE[m], SAMPLE_DTYPE[k]) since the last time; valid until the next ``take``."""
        account = self.state.account
        orders = self.state.orders[: account[A_ORDERS_OUT]]
        fills = self.state.fills[: account[A_FILLS_OUT]]
        samples = self.state.samples[: account[A_SAMPLES_OUT]]
        account[[A_ORDERS_OUT, A_FILLS_OUT, A_SAMPLES_OUT]] = 0
        self._told = 0
        return orders, fills, samples

    def cancel_all(self) -> None:
        """Every open order, at once."""
        kernels.call_off_all(self.wiring)

    def warm(self) -> None:
        """Compile what a strategy in Python calls."""
        kernels.advance(self.wiring, 0, 0, False)
        kernels.value(self.wiring)
        kernels.mark(self.wiring, 0)
        kernels.call_off(self.wiring, 0)
        kernels.call_off_all(self.wiring)
        kernels.send(self.wiring, -1, 1, 0, 0, 0, -1, 0)
        self.collect()

    # ---- within -----------------------------------------------------------------------------------------------

    def _overrides(self, name: str) -> bool:
        return getattr(type(self.strategy), name) is not getattr(Strategy, name)

    def _rewire(self) -> None:
        self._signal_rows = self.signals.rows
        self._wired = [*self.state.arrays(), self.ticks, self._signal_rows]
        self.wiring[:] = wire(self._wired)  # in place: the context holds it too

    def _take_compiled(self, count: int) -> int:
        if self.signals.rows is not self._signal_rows:
            self._rewire()
        first, last = self.signals.span
        done, next_signal = kernels.follow(self.wiring, 0, count, first, last, self._quantity, self._short)
        self.signals.drop(next_signal - first)
        return int(done)

    def _take(self, count: int) -> int:
        sequences = self.ticks["sequence"][:count]
        done = 0
        while done < count:
            self._tell_before(int(sequences[done]))
            stop = done + 1 if self._on_tick else self._next_stop(sequences, done)
            begin = done
            done = int(kernels.advance(self.wiring, begin, stop, self._stop_on_fill))
            if done == begin:
                break
            if self._stop_on_fill:
                self._tell_fills()
            if self._on_tick:
                self._tell_tick(done - 1)
            self._tell_before(int(sequences[done - 1]) + 1)
        return done

    def _next_stop(self, sequences: np.ndarray, begin: int) -> int:
        """One past the tick that the next bar or signal belongs to."""
        due = min(self.bars.next_source, self.signals.next_source)
        if due > int(sequences[-1]):
            return len(sequences)
        return max(begin + 1, int(np.searchsorted(sequences, due, "right")))

    def _tell_before(self, sequence: int) -> None:
        """The bars and signals whose tick's sequence is less than this."""
        while (bar_source := self.bars.next_source) < sequence:
            rows = self.bars.take_while_source(bar_source)
            self._each(rows, _BAR_VIEW, self._tell_bar)
        while (source := self.signals.next_source) < sequence:
            rows = self.signals.take_while_source(source)
            self._each(rows, _SIGNAL_VIEW, self._tell_signal)

    @staticmethod
    def _each(rows: np.ndarray, view: np.dtype, tell: Callable[[tuple], None]) -> None:
        for row in rows.view(view).tolist():
            tell(row)

    def _tell_bar(self, row: tuple) -> None:
        bar = Bar._make(row)
        if self._on_bar and not bar.flags & _REVISION:
            self.strategy.on_bar(self.context, bar)

    def _tell_signal(self, row: tuple) -> None:
        if self._on_signal:
            signal = Signal._make(row)
            self.context._cause = signal
            self.strategy.on_signal(self.context, signal)
            self.context._cause = None

    def _tell_tick(self, i: int) -> None:
        row = self.ticks[i : i + 1]
        if int(row["kind"][0]) in _CAUSES:
            self.strategy.on_tick(self.context, Tick._make(row.view(_TICK_VIEW).tolist()[0]))

    def _tell_fills(self) -> None:
        end = int(self.state.account[A_FILLS_OUT])
        price, size = self.config.price_tick, self.config.size_tick
        money = price * size
        for fill in self.state.fills[self._told : end]:
            told = Fill(
                int(fill["sequence"]),
                int(fill["ts_venue_ns"]),
                int(fill["order_id"]),
                int(fill["instrument_id"]),
                int(fill["side"]),
                int(fill["price"]) * price,
                int(fill["quantity"]) * size,
                int(fill["fee"]) * money,
                int(fill["realised"]) * money,
                int(fill["position"]) * size,
            )
            self.strategy.on_fill(self.context, told)
        self._told = end

    @property
    def fills(self) -> int:
        """Fills so far."""
        return int(self.state.account[A_FILLS])
