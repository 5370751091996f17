"""The strategies that come with the engine, by the names that the configuration knows."""

from hft_engine.execution.context import Context
from hft_engine.execution.strategy import Bar, Signal, Strategy
from hft_engine.records import BarKind

QUANTITY = 100.0


class Follow(Strategy):
    """Follows the signals: a buy asks for a position of ``quantity``, a sell for none, or with ``short`` for -quantity.

    What is missing to it, open orders counted, is sent at the market and expires with the signal. Parameters: quantity
    (100), short (0 or 1, default 0). The engine runs this class as compiled code; a subclass runs as Python.
    """

    def on_start(self, ctx: Context) -> None:
        self.quantity = float(ctx.parameters.get("quantity", QUANTITY))
        self.short = bool(ctx.parameters.get("short", 0))

    def on_signal(self, ctx: Context, signal: Signal) -> None:
        wanted = self.quantity if signal.side > 0 else (-self.quantity if self.short else 0.0)
        missing = wanted - ctx.position(signal.instrument_id) - ctx.pending(signal.instrument_id)
        if missing > 0:
            ctx.buy(signal.instrument_id, missing)
        elif missing < 0:
            ctx.sell(signal.instrument_id, -missing)


class EmaCross(Strategy):
    """Holds ``quantity`` while the fast average of the closes is above the slow one, else nothing.

    On bars of one kind. Parameters: quantity (100), fast (12), slow (26), kind (1 second, 2 minute, 3 ticks; 2 is the
    default).
    """

    def on_start(self, ctx: Context) -> None:
        self.quantity = float(ctx.parameters.get("quantity", QUANTITY))
        self.kind = int(ctx.parameters.get("kind", BarKind.MINUTE))
        fast, slow = ctx.parameters.get("fast", 12), ctx.parameters.get("slow", 26)
        self._weights = 2.0 / (fast + 1.0), 2.0 / (slow + 1.0)
        self._slow = int(slow)
        self._averages: dict[int, tuple[int, float, float]] = {}  # by instrument: bars, fast, slow

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        if bar.kind != self.kind or not bar.close > 0.0:
            return
        count, fast, slow = self._averages.get(bar.instrument_id, (0, bar.close, bar.close))
        fast += self._weights[0] * (bar.close - fast)
        slow += self._weights[1] * (bar.close - slow)
        self._averages[bar.instrument_id] = count + 1, fast, slow
        if count + 1 >= self._slow:
            self._aim(ctx, bar.instrument_id, self.quantity if fast > slow else 0.0)

    def _aim(self, ctx: Context, instrument: int, wanted: float) -> None:
        missing = wanted - ctx.position(instrument) - ctx.pending(instrument)
        if missing > 0:
            ctx.buy(instrument, missing)
        elif missing < 0:
            ctx.sell(instrument, -missing)


SHIPPED: dict[str, type[Strategy]] = {"follow": Follow, "ema_cross": EmaCross}
