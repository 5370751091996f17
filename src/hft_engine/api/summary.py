"""What is the latest of a ticker, of all types of records together."""

from typing import Any, Protocol

from hft_engine.api.schema import Aggregate, FairMarketValue, Quote, Record, RecordType, Trade

# What has a price; the later ones' win.
_PRICED = (RecordType.QUOTE, RecordType.DAY, RecordType.AGGREGATE, RecordType.SECOND, RecordType.TRADE)


class Latest(Protocol):
    """Memory of this process, or of another."""

    def latest(self, ticker: str, kind: RecordType, /) -> Record | None: ...


def price_of(source: Latest, ticker: str) -> float | None:
    """The last trade's, else the last bar's close, else the mid; None before any came."""
    for kind in reversed(_PRICED):
        record = source.latest(ticker, kind)
        if record is not None:
            return float(_summed_up(record)["price"])
    return None


def summary_of(source: Latest, ticker: str) -> dict[str, Any] | None:
    """The latest of a ticker in one mapping, None before any came: ``price`` is the last trade's, else the last bar's
    close, else the mid; ``timestamp`` the newest of those, UTC milliseconds.
    """
    found = [record for kind in _PRICED if (record := source.latest(ticker, kind)) is not None]
    if not found:
        return None
    data: dict[str, Any] = {"ticker": ticker}
    for record in found:  # the later ones' prices win
        data |= _summed_up(record)
    return data | {"timestamp": max(record.timestamp for record in found)}


def _summed_up(record: Record) -> dict[str, Any]:
    match record:
        case Quote(bid=bid, ask=ask):
            sizes = {"bid_size": record.bid_size, "ask_size": record.ask_size}
            return {"price": (bid + ask) / 2, "bid": bid, "ask": ask, **sizes}
        case Aggregate():
            prices = {"open": record.open_price, "high": record.high_price, "low": record.low_price}
            close = record.close_price
            return {**prices, "close": close, "volume": record.volume, "price": close}
        case Trade():
            return {"price": record.price, "size": record.size}
        case FairMarketValue():
            return {"fmv": record.fmv}
