"""What a strategy may know and do: ``ctx`` of every callback. Prices in currency, quantities in units."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hft_engine.config.schema import ExecutionConfig
from hft_engine.execution import kernels
from hft_engine.execution.state import (
    A_CASH,
    A_FEES,
    A_NOW,
    A_REALISED,
    A_WORKING,
    AccountState,
)
from hft_engine.execution.strategy import Signal, StrategyError
from hft_engine.instruments import InstrumentTable
from hft_engine.records import Side

INVALID = -1  # a limit or quantity that the gate refuses


class Context:
    """``parameters``: of the configuration. ``rules``: names of the signal rules, which ``signal.reason`` indexes."""

    def __init__(
        self,
        config: ExecutionConfig,
        state: AccountState,
        wiring: np.ndarray,
        instruments: InstrumentTable,
        rules: Sequence[str] = (),
    ) -> None:
        self.parameters: Mapping[str, float] = dict(config.parameters)
        self.rules = tuple(rules)
        self._price_tick, self._size_tick = config.price_tick, config.size_tick
        self._money = config.price_tick * config.size_tick
        self._rows, self._account = state.rows, state.account
        self._wiring = wiring
        self._instruments = instruments
        self._cause: Signal | None = None  # the signal that is being dealt with

    # ---- what is ----------------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """Event time: UTC ns of the tick that is being dealt with."""
        return int(self._account[A_NOW])

    @property
    def cash(self) -> float:
        return int(self._account[A_CASH]) * self._money

    @property
    def fees(self) -> float:
        return int(self._account[A_FEES]) * self._money

    @property
    def realised(self) -> float:
        """Profit and loss that was closed, before fees."""
        return int(self._account[A_REALISED]) * self._money

    @property
    def equity(self) -> float:
        """Cash and positions at their last prices."""
        return int(kernels.value(self._wiring)[0]) * self._money

    @property
    def open_orders(self) -> int:
        return int(self._account[A_WORKING])

    def position(self, instrument: int | str) -> float:
        """Units held, negative when short."""
        return int(self._rows["position"][self._id(instrument)]) * self._size_tick

    def pending(self, instrument: int | str) -> float:
        """What open orders would still add to the position."""
        row = self._rows[self._id(instrument)]
        return (int(row["open_buy"]) - int(row["open_sell"])) * self._size_tick

    def average_price(self, instrument: int | str) -> float:
        """What a unit held cost; NaN without a position."""
        row = self._rows[self._id(instrument)]
        held = int(row["position"])
        return int(row["cost"]) / held * self._price_tick if held else math.nan

    def last(self, instrument: int | str) -> float:
        """The last trade's price; NaN before the first."""
        return self._price("last", instrument)

    def bid(self, instrument: int | str) -> float:
        return self._price("bid", instrument)

    def ask(self, instrument: int | str) -> float:
        return self._price("ask", instrument)

    def symbol(self, instrument_id: int) -> str:
        return self._instruments.symbol_of(instrument_id)

    # ---- what is to be ----------------------------------------------------------------------------------------

    def buy(
        self, instrument: int | str, quantity: float, limit: float | None = None, expiry_ms: int | None = None
    ) -> int:
        """Send an order, at the market without ``limit``. ``expiry_ms``: event time it is good for, None = until
        cancelled; of a market order that a signal causes, the signal's own expiry.

        Returns the order's id, negative where the risk gate refused it. A limit is rounded down to a whole price tick
        (of a sale up), a quantity down to a whole size tick. Raises StrategyError for an unknown symbol.
        """
        return self._send(instrument, Side.BUY, quantity, limit, expiry_ms)

    def sell(
        self, instrument: int | str, quantity: float, limit: float | None = None, expiry_ms: int | None = None
    ) -> int:
        """See ``buy``. Selling more than is held goes short."""
        return self._send(instrument, Side.SELL, quantity, limit, expiry_ms)

    def cancel(self, order_id: int) -> bool:
        """Ask for an order to be cancelled; it may be filled on the way. False where it is not open."""
        return bool(kernels.call_off(self._wiring, order_id))

    # ---- within -----------------------------------------------------------------------------------------------

    def _send(
        self, instrument: int | str, side: Side, quantity: float, limit: float | None, expiry_ms: int | None
    ) -> int:
        cause = self._cause
        expiry_ns = 0
        if expiry_ms is not None:
            expiry_ns = self.now_ns + expiry_ms * 1_000_000
        elif cause is not None and limit is None:
            expiry_ns = cause.ts_expiry_ns
        order_id = kernels.send(
            self._wiring,
            self._id(instrument),
            int(side),
            _whole(quantity, self._size_tick, down=True),
            0 if limit is None else _whole(limit, self._price_tick, down=side is Side.BUY) or INVALID,
            expiry_ns,
            -1 if cause is None else cause.sequence,
            0 if cause is None else cause.ts_venue_ns,
        )
        if order_id == 0:
            raise StrategyError(
                "a strategy sent thousands of orders in one callback; send fewer, and be patient"
            )
        return int(order_id)

    def _price(self, name: str, instrument: int | str) -> float:
        ticks = int(self._rows[name][self._id(instrument)])
        return ticks * self._price_tick if ticks else math.nan

    def _id(self, instrument: int | str) -> int:
        if isinstance(instrument, str):
            found = self._instruments.find(instrument)
            if found is None:
                raise StrategyError(f"no instrument {instrument!r} has been seen; known: {self._known()}")
            return found
        return instrument

    def _known(self) -> str:
        return ", ".join(self._instruments.symbols()[:20]) or "none"


def _whole(amount: float, tick: float, down: bool) -> int:
    """Whole ticks; INVALID for what is no positive finite number."""
    if not 0.0 < amount < math.inf:
        return INVALID
    ticks = amount / tick
    nearest = round(ticks)
    if abs(ticks - nearest) < 1e-6:  # 0.29 / 0.01 is 28.999…
        return nearest
    return math.floor(ticks) if down else math.ceil(ticks)
