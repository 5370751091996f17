"""A synthetic options market: trades, quotes and fair values of contracts on the synthetic stock market.

Deterministic as that is. A contract is worth what Black and Scholes say (no rate, no dividend) of its underlying's
latest midpoint; quotes stand around that on the tick grid, trades print at the bid or the ask.
"""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec.structs import replace

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.contracts import CONTRACTS_PER_UNDERLYING, Contract, list_contracts
from hft_engine.feed.simulator.generator import BLOCK_NS, BLOCK_S, SyntheticMarket
from hft_engine.records import TICK_DTYPE, TickKind

YEAR_NS = 365 * 86_400 * 1_000_000_000
UNDERLYINGS_MAX = 60
UNDERLYING_TICKS_PER_S = 200.0
VOLATILITY = 0.3
QUOTE_SHARE, FAIR_VALUE_SHARE = 0.78, 0.02  # of the events; the rest are trades
EXCHANGES = np.array([300, 301, 302, 303, 304, 309, 312, 313, 316, 318, 322, 325], np.uint16)
CLOSE_HOUR_UTC = 21  # of the day on which a contract expires
_erf = np.vectorize(math.erf, otypes=[float])


def black_scholes(spot: np.ndarray, strike: np.ndarray, years: np.ndarray, is_call: np.ndarray) -> np.ndarray:
    """Value of European options without rate and dividend; all float[n]."""
    spread = VOLATILITY * np.sqrt(years)
    d1 = np.log(spot / strike) / spread + spread / 2
    call = spot * _normal(d1) - strike * _normal(d1 - spread)
    return np.where(is_call, call, call - spot + strike)


def _normal(x: np.ndarray) -> np.ndarray:
    values: np.ndarray = 0.5 * (1.0 + _erf(x / math.sqrt(2.0)))
    return values


class OptionsMarket:
    """``block()`` returns the next 0.1 s of ticks; instrument id i is ``contracts[i]``, its symbol ``symbols[i]``."""

    what = "option contracts"

    def __init__(self, config: SimulatorConfig, start_ns: int) -> None:
        count = config.instruments
        underlyings = min(max(1, count // CONTRACTS_PER_UNDERLYING), UNDERLYINGS_MAX)
        self._stocks = SyntheticMarket(
            replace(config, instruments=underlyings, ticks_per_s=UNDERLYING_TICKS_PER_S), start_ns
        )
        self._rng = np.random.default_rng((config.seed, 1))
        self._rate = config.ticks_per_s * BLOCK_S
        self._spot = np.zeros(underlyings)
        self._move_stocks()
        today = datetime.fromtimestamp(start_ns / 1e9, UTC).date()
        self.contracts = list_contracts(self._stocks.symbols, self._spot, today, count)
        self.symbols = tuple(contract.symbol for contract in self.contracts)
        self._underlying = np.array([contract.underlying_id for contract in self.contracts])
        self._strike = np.array([contract.strike for contract in self.contracts])
        self._is_call = np.array([contract.kind == "call" for contract in self.contracts])
        self._expires_ns = np.array([expiry_ns(contract) for contract in self.contracts])
        self._sequence = 0

    @property
    def next_ns(self) -> int:
        """Where the next block begins."""
        return self._stocks.next_ns - BLOCK_NS

    def spot(self, underlying: str) -> float:
        """Latest midpoint of an underlying."""
        return float(self._spot[self._stocks.symbols.index(underlying)])

    @property
    def underlyings(self) -> tuple[str, ...]:
        return self._stocks.symbols

    def _move_stocks(self) -> None:
        ticks = self._stocks.block()
        quotes = ticks[ticks["kind"] == TickKind.QUOTE]
        self._spot[quotes["instrument_id"]] = (quotes["bid"] + quotes["ask"]) / 2

    def block(self) -> np.ndarray:
        start = self.next_ns
        rng, count = self._rng, int(self._rng.poisson(self._rate))
        ticks = np.zeros(count, TICK_DTYPE)
        who = np.sort(rng.integers(0, len(self.contracts), count))
        drawn = rng.random(count)
        is_quote, is_value = drawn < QUOTE_SHARE, drawn > 1.0 - FAIR_VALUE_SHARE
        ticks["instrument_id"] = who
        ticks["ts_venue_ns"] = start + rng.integers(0, BLOCK_NS, count)
        ticks["kind"] = np.where(is_quote, TickKind.QUOTE, np.where(is_value, TickKind.FMV, TickKind.TRADE))
        value = self._value(who, start)
        self._fill(ticks, value, is_quote, is_value)
        ticks = ticks[np.argsort(ticks["ts_venue_ns"], kind="stable")]
        ticks["ts_recv_ns"] = ticks["ts_venue_ns"]
        numbered = np.flatnonzero(ticks["kind"] != TickKind.FMV)
        ticks["venue_sequence"][numbered] = self._sequence + 1 + np.arange(len(numbered))
        self._sequence += len(numbered)
        self._move_stocks()
        return ticks

    def _value(self, who: np.ndarray, now_ns: int) -> np.ndarray:
        years = np.maximum(self._expires_ns[who] - now_ns, BLOCK_NS) / YEAR_NS
        value = black_scholes(self._spot[self._underlying[who]], self._strike[who], years, self._is_call[who])
        return np.maximum(
            value, 0.0
        )  # rounding leaves less than nothing of a contract about to expire worthless

    def _fill(self, ticks: np.ndarray, value: np.ndarray, is_quote: np.ndarray, is_value: np.ndarray) -> None:
        rng, count = self._rng, len(ticks)
        half = np.maximum(1, np.round(value * 2))  # ticks of 0.01: some 2 % on each side
        bid = np.maximum(0, np.floor(value * 100) - half)
        ask = np.floor(value * 100) + half
        is_trade = ~(is_quote | is_value)
        ticks["bid"][is_quote], ticks["ask"][is_quote] = bid[is_quote] / 100, ask[is_quote] / 100
        for name in ("bid_size", "ask_size"):
            ticks[name][is_quote] = rng.integers(1, 500, count)[is_quote]
        buys = rng.random(count) < 0.5
        ticks["price"][is_trade] = (np.where(buys, ask, np.maximum(bid, 1)) / 100)[is_trade]
        ticks["size"][is_trade] = (1 + np.floor(rng.exponential(4.0, count)))[is_trade]
        ticks["price"][is_value] = np.round(value, 4)[is_value]
        shown = ~is_value
        ticks["exchange"][shown] = rng.choice(EXCHANGES, count)[shown]
        ticks["exchange_ask"][is_quote] = rng.choice(EXCHANGES, count)[is_quote]


def expiry_ns(contract: Contract) -> int:
    closes = datetime(*contract.expires.timetuple()[:3], tzinfo=UTC) + timedelta(hours=CLOSE_HOUR_UTC)
    return int(closes.timestamp()) * 1_000_000_000
