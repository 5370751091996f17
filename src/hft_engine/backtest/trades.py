"""Round trips: what happened to an instrument between two moments at which nothing of it was held."""

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np


class Trade(msgspec.Struct, frozen=True):
    """Prices are averages, in currency; ``profit`` is after fees; ``quantity`` the most that was held."""

    symbol: str
    side: str  # long or short
    opened_ns: int
    closed_ns: int
    quantity: float
    entry: float
    exit: float
    profit: float
    fees: float
    fills: int

    @property
    def held_s(self) -> float:
        return (self.closed_ns - self.opened_ns) / 1e9


class _Open:
    """A position that is not closed yet, in whole units."""

    def __init__(self, side: int, ts_ns: int) -> None:
        self.side, self.opened_ns = side, ts_ns
        self.position = self.peak = 0
        self.bought = self.bought_for = self.sold = self.sold_for = self.fees = self.fills = 0

    def add(self, side: int, quantity: int, price: int, fee: int) -> None:
        self.position += side * quantity
        self.peak = max(self.peak, abs(self.position))
        self.fees += fee
        self.fills += 1
        if side > 0:
            self.bought, self.bought_for = self.bought + quantity, self.bought_for + quantity * price
        else:
            self.sold, self.sold_for = self.sold + quantity, self.sold_for + quantity * price


def trades_of(
    fills: np.ndarray, symbols: Mapping[int, str], price_tick: float, size_tick: float
) -> list[Trade]:
    """The closed round trips of ``fills`` (FILL_DTYPE, in order), in the order in which they ended."""
    trades: list[Trade] = []
    open_trades: dict[int, _Open] = {}
    names = ("instrument_id", "side", "quantity", "price", "fee", "ts_venue_ns")
    for instrument, side, quantity, price, fee, ts_ns in _rows(fills, names):
        now = open_trades.get(instrument)
        if now is None:
            now = open_trades[instrument] = _Open(side, ts_ns)
        closing = min(quantity, abs(now.position)) if now.position * side < 0 else 0
        turns = 0 < closing < quantity  # one fill closes a position and opens the opposite one
        part = fee * closing // quantity if turns else fee
        now.add(side, closing if turns else quantity, price, part)
        if now.position == 0:
            trades.append(_closed(now, ts_ns, symbols[instrument], price_tick, size_tick))
            del open_trades[instrument]
        if turns:
            opened = open_trades[instrument] = _Open(side, ts_ns)
            opened.add(side, quantity - closing, price, fee - part)
    return trades


def _rows(fills: np.ndarray, names: tuple[str, ...]) -> Iterable[tuple[int, ...]]:
    return zip(*(fills[name].tolist() for name in names), strict=True)


def _closed(done: _Open, ts_ns: int, symbol: str, price_tick: float, size_tick: float) -> Trade:
    bought, sold = done.bought_for / done.bought * price_tick, done.sold_for / done.sold * price_tick
    money = price_tick * size_tick
    return Trade(
        symbol,
        "long" if done.side > 0 else "short",
        done.opened_ns,
        ts_ns,
        done.peak * size_tick,
        bought if done.side > 0 else sold,
        sold if done.side > 0 else bought,
        (done.sold_for - done.bought_for - done.fees) * money,
        done.fees * money,
        done.fills,
    )
