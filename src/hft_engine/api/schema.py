"""What the feed brings, as plain objects. Times are UTC milliseconds, as the vendors send them; prices in the
instrument's currency. A number that the venue did not send is None where its type says so, else 0.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from hft_engine.feed.conditions import unpack
from hft_engine.records import TickKind

NS_PER_MS = 1_000_000


class RecordType(StrEnum):
    """What a record is; the value is its channel in ``feed.channels``."""

    TRADE = "T"
    QUOTE = "Q"
    AGGREGATE = "AM"
    MINUTE = "AM"  # the same
    SECOND = "A"
    DAY = "D"
    FMV = "FMV"


@dataclass(frozen=True, slots=True)
class Trade:
    ticker: str
    price: float
    size: float  # crypto and new prints of stocks have fractions
    exchange: str  # the venue's number of it, "" where it names none
    timestamp: int
    conditions: list[str]


@dataclass(frozen=True, slots=True)
class Quote:
    ticker: str
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    exchange: str  # of the bid
    timestamp: int


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A bar that the venue made. ``timestamp`` is its begin."""

    ticker: str
    open_price: float
    high_price: float
    low_price: float
    close_price: float
    volume: float
    vwap: float | None
    timestamp: int


@dataclass(frozen=True, slots=True)
class FairMarketValue:
    ticker: str
    fmv: float
    timestamp: int


Record = Trade | Quote | Aggregate | FairMarketValue

_TYPES = {
    int(TickKind.TRADE): RecordType.TRADE,
    int(TickKind.QUOTE): RecordType.QUOTE,
    int(TickKind.BAR_SECOND): RecordType.SECOND,
    int(TickKind.BAR_MINUTE): RecordType.AGGREGATE,
    int(TickKind.BAR_DAY): RecordType.DAY,
    int(TickKind.FMV): RecordType.FMV,
}


def records_of(rows: np.ndarray, symbol_of: Callable[[int], str]) -> Iterator[tuple[RecordType, Record]]:
    """The records in TICK_DTYPE rows, in order; ticks of other kinds (health, price bands) are none."""
    for row in rows:
        kind = _TYPES.get(int(row["kind"]))
        if kind is not None:
            yield kind, _record(kind, row, symbol_of(int(row["instrument_id"])))


def _record(kind: RecordType, row: np.void, ticker: str) -> Record:
    milliseconds = int(row["ts_venue_ns"]) // NS_PER_MS
    if kind is RecordType.TRADE:
        conditions = [str(code) for code in unpack(int(row["conditions"]))]
        exchange = _exchange(row["exchange"])
        return Trade(ticker, float(row["price"]), float(row["size"]), exchange, milliseconds, conditions)
    if kind is RecordType.QUOTE:
        prices = float(row["bid"]), float(row["ask"]), float(row["bid_size"]), float(row["ask_size"])
        return Quote(ticker, *prices, _exchange(row["exchange"]), milliseconds)
    if kind is RecordType.FMV:
        return FairMarketValue(ticker, float(row["price"]), milliseconds)
    opened, high, low, close, volume, vwap = (
        float(row[name]) for name in ("open", "high", "low", "close", "volume", "vwap")
    )
    begin = int(row["ts_start_ns"]) // NS_PER_MS
    return Aggregate(ticker, opened, high, low, close, volume, None if math.isnan(vwap) else vwap, begin)


def _exchange(number: int) -> str:
    return str(int(number)) if number else ""
