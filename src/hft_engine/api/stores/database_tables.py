"""The tables of history, and a record as a row of one. Times are timestamptz: ``ts`` the venue's (of a bar its begin),
``received`` the record's id, which is UTC microseconds.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from hft_engine.api.schema import Aggregate, FairMarketValue, Quote, Record, Trade
from hft_engine.api.stores.store import Arrival

COMMENT = "hft_engine, layout 1"  # of the table of writers: whose schema it is
WRITERS = "writers"
HEAD = {"ts": "timestamptz", "received": "timestamptz", "symbol": "text"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Table(NamedTuple):
    """``columns``: name -> type, in order. ``row``: of a record, the columns behind the first three."""

    name: str
    columns: dict[str, str]
    row: Callable[[Arrival], tuple[Any, ...]]


def _floats(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "float8")


def _trade(arrival: Arrival) -> tuple[Any, ...]:
    record: Any = arrival.record
    return record.price, record.size, record.exchange, record.conditions


def _quote(arrival: Arrival) -> tuple[Any, ...]:
    record: Any = arrival.record
    return record.bid, record.ask, record.bid_size, record.ask_size, record.exchange


def _bar(arrival: Arrival) -> tuple[Any, ...]:
    record: Any = arrival.record
    prices = record.open_price, record.high_price, record.low_price, record.close_price
    return arrival.kind.value, *prices, record.volume, record.vwap


def _fair_value(arrival: Arrival) -> tuple[Any, ...]:
    record: Any = arrival.record
    return (record.fmv,)


TABLES: dict[type[Record], Table] = {
    Trade: Table(
        "trades", HEAD | _floats("price", "size") | {"exchange": "text", "conditions": "text[]"}, _trade
    ),
    Quote: Table(
        "quotes", HEAD | _floats("bid", "ask", "bid_size", "ask_size") | {"exchange": "text"}, _quote
    ),
    Aggregate: Table(
        "bars", HEAD | {"type": "text"} | _floats("open", "high", "low", "close", "volume", "vwap"), _bar
    ),
    FairMarketValue: Table("fair_values", HEAD | _floats("fmv"), _fair_value),
}


def row_of(table: Table, arrival: Arrival) -> tuple[Any, ...]:
    """In the order of ``table.columns``; whole milliseconds and microseconds stay exact."""
    ts = _EPOCH + timedelta(milliseconds=arrival.record.timestamp)
    received = _EPOCH + timedelta(microseconds=arrival.id)
    return ts, received, arrival.record.ticker, *table.row(arrival)
