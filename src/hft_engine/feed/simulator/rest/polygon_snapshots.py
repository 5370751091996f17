"""``/v2/snapshot`` of stocks and ``/v3/snapshot/options``: where every symbol stands."""

import math
from datetime import date
from statistics import NormalDist
from typing import Any

from hft_engine.feed.conditions import unpack
from hft_engine.feed.simulator.conduct import Conduct
from hft_engine.feed.simulator.contracts import SHARES, Contract
from hft_engine.feed.simulator.history import History
from hft_engine.feed.simulator.options_market import VOLATILITY, YEAR_NS, expiry_ns
from hft_engine.feed.simulator.rest.aggregates import Bar
from hft_engine.feed.simulator.rest.front import Asked
from hft_engine.feed.simulator.rest.polygon_bars import Bars
from hft_engine.feed.simulator.rest.polygon_reference import market_of
from hft_engine.feed.simulator.rest.queries import (
    MS,
    NoDataError,
    choice,
    number,
    opened,
    page,
    values_allowed,
)
from hft_engine.feed.simulator.source import Paced
from hft_engine.records import TickKind

LIMIT, LIMIT_MAX = 10, 250
NO_BAR = Bar(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
TIMEFRAMES = {True: "REAL-TIME", False: "DELAYED"}
_NORMAL = NormalDist()


class Snapshots:
    def __init__(self, source: Paced, history: History, bars: Bars, conduct: Conduct) -> None:
        self._market = market_of(source)
        self._history, self._bars, self._conduct = history, bars, conduct
        contracts = self._market.contracts if self._market else ()
        self._contracts = sorted(contracts, key=lambda contract: contract.symbol)

    # ---- stocks

    def stocks(self, asked: Asked) -> dict[str, Any]:
        wanted = [name for name in asked.query.get("tickers", "").split(",") if name]
        symbols = wanted or list(self._history.symbols)
        known = [symbol for symbol in symbols if symbol in self._history]  # others are left out in silence
        return {"count": len(known), "tickers": [self._stock(symbol) for symbol in known]}

    def stock(self, asked: Asked) -> dict[str, Any]:
        if asked.names["ticker"] not in self._history:
            raise NoDataError
        return {"ticker": self._stock(asked.names["ticker"])}

    def _stock(self, symbol: str) -> dict[str, Any]:
        today, before = self._bars.today(symbol) or NO_BAR, self._bars.yesterday(symbol) or NO_BAR
        minutes = self._bars.of(symbol, "minute")
        minute = minutes[-1] if minutes else NO_BAR
        change = today.close - before.close if today.prints and before.prints else 0.0
        found = {
            "ticker": symbol,
            "todaysChange": round(change, 6),
            "todaysChangePerc": round(100 * change / before.close, 6) if before.close else 0.0,
            "updated": self._history.now_ns,
            "day": _ohlc(today),
            "min": {**_ohlc(minute), "av": today.volume, "n": minute.prints, "t": minute.start_ns // MS},
            "prevDay": _ohlc(before),
        }
        return {**found, **self._last(symbol)} if self._conduct.options.quotes_in_plan else found

    def _last(self, symbol: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        trade, quote = self._history.last(symbol, TickKind.TRADE), self._history.last(symbol, TickKind.QUOTE)
        if trade is not None:
            found["lastTrade"] = {
                "p": float(trade["price"]), "s": float(trade["size"]), "t": int(trade["ts_venue_ns"]),
                "x": int(trade["exchange"]), "i": str(trade["trade_id"]), "c": unpack(int(trade["conditions"])),
            }  # fmt: skip
        if quote is not None:
            found["lastQuote"] = {
                "p": float(quote["bid"]), "s": float(quote["bid_size"]), "P": float(quote["ask"]),
                "S": float(quote["ask_size"]), "t": int(quote["ts_venue_ns"]),
            }  # fmt: skip
        return found

    # ---- options

    def chain(self, asked: Asked) -> dict[str, Any]:
        query = opened(asked.query)
        strike, expires = (
            values_allowed(query, "strike_price", float),
            values_allowed(query, "expiration_date", date.fromisoformat),
        )
        found = [
            contract
            for contract in self._contracts
            if contract.underlying == asked.names["underlying"]
            and query.get("contract_type", contract.kind) == contract.kind
            and strike(contract.strike)
            and expires(contract.expires)
        ]
        if choice(query, "order", "asc", ("asc", "desc")) == "desc":
            found.reverse()
        limit = number(query, "limit", LIMIT, LIMIT_MAX)
        shown, more = page(found, asked.path, query, limit, lambda contract: contract.symbol)
        return {"results": [self._option(contract) for contract in shown], **more}

    def contract(self, asked: Asked) -> dict[str, Any]:
        for contract in self._contracts:
            if (
                contract.symbol == asked.names["contract"]
                and contract.underlying == asked.names["underlying"]
            ):
                return {"results": self._option(contract)}
        raise NoDataError

    def _option(self, contract: Contract) -> dict[str, Any]:
        assert self._market is not None
        timeframe = TIMEFRAMES[self._conduct.options.realtime_in_plan]
        spot = self._market.spot(contract.underlying)
        years = max(expiry_ns(contract) - self._history.now_ns, 1) / YEAR_NS
        day = self._bars.today(contract.symbol)
        paid = day.close if day else 0.0
        even = contract.strike + paid if contract.kind == "call" else contract.strike - paid
        return {
            "break_even_price": round(even, 4),
            "day": _ohlc(day) if day else {},
            "details": {
                "contract_type": contract.kind, "exercise_style": "american", "shares_per_contract": SHARES,
                "expiration_date": contract.expires.isoformat(), "strike_price": contract.strike,
                "ticker": contract.symbol,
            },
            "greeks": greeks(spot, contract, years),
            "implied_volatility": VOLATILITY,
            "open_interest": 100 + contract.underlying_id,
            "underlying_asset": {
                "ticker": contract.underlying, "price": spot, "timeframe": timeframe,
                "change_to_break_even": round(even - spot, 4), "last_updated": self._history.now_ns,
            },
            **self._last_of_option(contract.symbol, timeframe),
        }  # fmt: skip

    def _last_of_option(self, symbol: str, timeframe: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        trade, quote = self._history.last(symbol, TickKind.TRADE), self._history.last(symbol, TickKind.QUOTE)
        value = self._history.last(symbol, TickKind.FMV)
        if trade is not None:
            found["last_trade"] = {
                "price": float(trade["price"]), "size": int(trade["size"]), "exchange": int(trade["exchange"]),
                "conditions": unpack(int(trade["conditions"])), "sip_timestamp": int(trade["ts_venue_ns"]),
                "timeframe": timeframe,
            }  # fmt: skip
        if quote is not None and self._conduct.options.quotes_in_plan:
            bid, ask = float(quote["bid"]), float(quote["ask"])
            found["last_quote"] = {
                "bid": bid, "bid_size": float(quote["bid_size"]), "ask": ask, "ask_size": float(quote["ask_size"]),
                "midpoint": (bid + ask) / 2, "last_updated": int(quote["ts_venue_ns"]), "timeframe": timeframe,
            }  # fmt: skip
        if value is not None:
            found["fmv"] = float(value["price"])
        return found


def _ohlc(bar: Bar) -> dict[str, float]:
    return {"o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": bar.volume, "vw": bar.vwap}


def greeks(spot: float, contract: Contract, years: float) -> dict[str, float]:
    """Of Black and Scholes without rate and dividend; theta a day, vega a point of volatility."""
    spread = VOLATILITY * math.sqrt(years)
    d1 = math.log(spot / contract.strike) / spread + spread / 2
    density = _NORMAL.pdf(d1)
    return {
        "delta": _NORMAL.cdf(d1) - (contract.kind == "put"),
        "gamma": density / (spot * spread),
        "theta": -spot * density * VOLATILITY / (2 * math.sqrt(years)) / 365,
        "vega": spot * density * math.sqrt(years) / 100,
    }
