"""Your own strategy: a plain class that runs unchanged in a backtest, on paper beside a live feed, and in a replay.

    class Mine(Strategy):
        def on_start(self, ctx):            # once; ctx.parameters holds the numbers of the configuration
            self.quantity = ctx.parameters.get("quantity", 100)

        def on_signal(self, ctx, signal):   # after the tick that caused it
            if signal.side > 0 and ctx.position(signal.instrument_id) == 0:
                ctx.buy(signal.instrument_id, self.quantity)

and in the configuration ``execution: {strategy: "mine.py:Mine", parameters: {quantity: 200}}``.

Only the methods that a class overrides are called. ``on_tick`` is dear: some 5 us for each tick, where all the rest of
the engine needs one. What is decided at a tick is sent after the latency and can never be filled by that tick.

A strategy must be a function of what it is told: no clock, no file, no unseeded randomness. ``hft bias`` finds those
that know the future.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hft_engine.execution.context import Context


class StrategyError(ValueError):
    """A strategy cannot be used, or asks for what cannot be; the text says what to do."""


class Tick(NamedTuple):
    """A trade or a quote. Prices and sizes as they came; NaN or 0 where the kind has none."""

    sequence: int
    ts_venue_ns: int
    instrument_id: int
    kind: int  # records.TickKind
    flags: int  # records.TickFlag
    price: float  # of a trade; a quote's bid
    size: float  # of a trade; a quote's ask
    bid_size: float
    ask_size: float


class Bar(NamedTuple):
    """A bar that is over (``records.BAR_DTYPE``)."""

    sequence: int
    source_sequence: int
    ts_start_ns: int
    ts_end_ns: int
    instrument_id: int
    kind: int  # records.BarKind
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    trade_count: int
    flags: int  # records.BarFlag: GAPPED where data are missing in it


class Signal(NamedTuple):
    """A signal (``records.SIGNAL_DTYPE``)."""

    sequence: int
    source_sequence: int
    ts_venue_ns: int
    ts_expiry_ns: int
    instrument_id: int
    side: int  # records.Side: 1 buy, -1 sell
    reason: int  # index of the rule in the configuration
    price: float
    strength: float
    probability: float
    value: float


class Fill(NamedTuple):
    """A fill, in currency and units."""

    sequence: int
    ts_venue_ns: int
    order_id: int
    instrument_id: int
    side: int
    price: float
    quantity: float
    fee: float
    realised: float
    position: float  # after it


class Strategy:
    """Override what you need. ``ctx``: see ``context.Context``."""

    def on_start(self, ctx: "Context") -> None:
        """Before the first tick."""

    def on_tick(self, ctx: "Context", tick: Tick) -> None:
        """After each trade and quote. Dear."""

    def on_bar(self, ctx: "Context", bar: Bar) -> None:
        """After the tick that ended the bar. What revises it later is not told: it was acted on."""

    def on_signal(self, ctx: "Context", signal: Signal) -> None:
        """After the tick that caused it, and the bars it ended."""

    def on_fill(self, ctx: "Context", fill: Fill) -> None:
        """After the tick that filled an order."""

    def on_stop(self, ctx: "Context") -> None:
        """After the last tick. What is sent here is never filled."""
