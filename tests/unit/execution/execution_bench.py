"""A desk of its own, fed by hand: trades, quotes and signals in, orders and fills out."""

import msgspec
import numpy as np

from hft_engine.config.schema import ExecutionConfig, RiskConfig
from hft_engine.execution.desk import Desk
from hft_engine.execution.strategy import Strategy
from hft_engine.instruments import InstrumentTable
from hft_engine.records import BAR_DTYPE, SIGNAL_DTYPE, TICK_DTYPE, OrderStatus, Refusal, TickKind

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
FREE = {"fee_per_unit": 0.0, "half_spread_bps": 0.0, "price_tick": 0.01}


class Manual(Strategy):
    """Does nothing by itself."""


def trade(
    price: float, size: float = 100.0, at_ms: int = 0, instrument: int = 0, flags: int = 0
) -> np.ndarray:
    row = np.zeros(1, TICK_DTYPE)
    row["kind"], row["price"], row["size"], row["flags"] = TickKind.TRADE, price, size, flags
    row["ts_venue_ns"], row["instrument_id"] = START_NS + at_ms * MS, instrument
    return row


def quote(bid: float, ask: float, at_ms: int = 0, sizes: tuple[float, float] = (500.0, 500.0)) -> np.ndarray:
    row = np.zeros(1, TICK_DTYPE)
    row["kind"], row["bid"], row["ask"] = TickKind.QUOTE, bid, ask
    row["bid_size"], row["ask_size"] = sizes
    row["ts_venue_ns"] = START_NS + at_ms * MS
    return row


def health(flags: int) -> np.ndarray:
    row = np.zeros(1, TICK_DTYPE)
    row["kind"], row["flags"] = TickKind.HEALTH, flags
    return row


def signal(source: int, side: int, at_ms: int = 0, sequence: int = 0, instrument: int = 0) -> np.ndarray:
    row = np.zeros(1, SIGNAL_DTYPE)
    row["sequence"], row["source_sequence"], row["side"] = sequence, source, side
    row["instrument_id"], row["ts_venue_ns"] = instrument, START_NS + at_ms * MS
    row["ts_expiry_ns"] = row["ts_venue_ns"] + 5_000 * MS
    return row


def bar(source: int, close: float, kind: int = 2) -> np.ndarray:
    row = np.zeros(1, BAR_DTYPE)
    row["source_sequence"], row["close"], row["kind"] = source, close, kind
    return row


class Bench:
    """``orders`` and ``fills`` grow with every ``feed``; prices in ticks of 0.01, quantities whole."""

    def __init__(
        self, strategy: Strategy | None = None, risk: dict | None = None, **settings: object
    ) -> None:
        config = msgspec.convert({**FREE, **settings, "risk": risk or {}}, ExecutionConfig)
        assert isinstance(config.risk, RiskConfig)
        self.table = InstrumentTable.private(4)
        for symbol in ("AAA", "BBB"):
            self.table.id_of(symbol)
        self.desk = Desk(config, strategy or Manual(), self.table, ("up", "down"))
        self.desk.start()
        self.ctx = self.desk.context
        self.sequence = 0
        self.orders: list[np.void] = []
        self.fills: list[np.void] = []

    def feed(self, *ticks: np.ndarray) -> None:
        """Each tick gets the next sequence."""
        for row in ticks:
            row["sequence"] = self.sequence
            self.sequence += 1
            self.desk.ticks[0] = row[0]
            assert self.desk.take(1) == 1
            self.collect()

    def feed_all(self, rows: np.ndarray, chunk: int) -> None:
        """Many at once, ``chunk`` ticks a turn; their sequences are set."""
        rows["sequence"] = np.arange(self.sequence, self.sequence + len(rows))
        self.sequence += len(rows)
        done = 0
        while done < len(rows):
            count = min(chunk, len(rows) - done)
            self.desk.ticks[:count] = rows[done : done + count]
            done += self.desk.take(count)
            self.collect()

    def collect(self) -> None:
        orders, fills, _ = self.desk.collect()
        self.orders += list(orders.copy())
        self.fills += list(fills.copy())

    def status(self, order_id: int) -> OrderStatus:
        """The last one that was recorded."""
        self.collect()
        return OrderStatus(int([o for o in self.orders if int(o["order_id"]) == abs(order_id)][-1]["status"]))

    def refusal(self, order_id: int) -> Refusal:
        self.collect()
        assert order_id < 0
        return Refusal(int([o for o in self.orders if int(o["order_id"]) == -order_id][-1]["reason"]))

    def prices(self) -> list[int]:
        return [int(fill["price"]) for fill in self.fills]
