"""A synthetic stock market: trades, quotes, price bands and fair values of many instruments, as ``TICK_DTYPE``.

Deterministic: the same seed, settings and start give the same ticks, however they are fetched. Time passes in
blocks of ``BLOCK_NS``, and each block is generated at once, in arrays over all instruments:

* arrivals are a self-exciting process in discrete time (each event raises the rate of the next blocks, the excess
  dies away in ``EXCITATION_S``), on top of a U-shaped day, and cluster within the block;
* the log price is a Brownian motion sampled at the events, with the drift and volatility of the regime and jumps;
* a quote stands around the price on the tick grid; a trade prints at the bid, at the ask or between the two of the
  quote that stands at its time, never outside.
"""

import numpy as np

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.conditions import flags_of, pack
from hft_engine.feed.simulator import regimes as rg
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.records import TICK_DTYPE, TickKind, join_ticks

BLOCK_NS = 100_000_000  # divides a second, so that no block straddles two bars
BLOCK_S = BLOCK_NS / 1e9
TICKS_PER_UNIT = 100  # tick_size 0.01
SESSION_S = 6.5 * 3600
SESSION_PHASE_START = (
    0.21  # where the U-shaped day passes its mean: the demo is as lively at once as it is told to be
)
EXCITATION_S = 2.0
BRANCHING = 0.6  # share of the events that earlier events caused
RATE_FACTOR_MAX = 20.0  # of an instrument's mean rate: a burst stays a burst
QUOTE_SHARE = 0.65
CLUSTERED_SHARE = 0.6  # of a block's events that come in one volley
VOLLEY_NS = 2_000_000
INSIDE_SHARE = 0.12  # of the trades, at the midpoint
ODD_LOT_SHARE = 0.3
PRICE_MIN_TICKS = 100  # 1.00
BAND_EVERY_S = 30
BAND_WIDTH = 0.05  # of a tier 1 stock, LULD plan
EXCHANGES = np.array([4, 12, 11, 19, 8, 10, 21, 18, 7, 15], np.uint16)
EXCHANGE_WEIGHTS = np.array([0.4, 0.17, 0.09, 0.08, 0.08, 0.07, 0.05, 0.02, 0.02, 0.02])
# Sale conditions with their shares; an odd lot carries 37 besides.
SALES: tuple[tuple[tuple[int, ...], float], ...] = (
    ((), 0.62), ((14,), 0.12), ((14, 41), 0.16), ((41,), 0.06), ((12,), 0.01), ((2,), 0.01),
    ((10,), 0.005), ((53,), 0.005), ((4,), 0.01),
)  # fmt: skip


def _sale_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes = [codes for codes, _ in SALES] + [(*codes, 37) for codes, _ in SALES]
    shares = np.array([share for _, share in SALES])
    packed = np.array([pack(c) for c in codes], np.uint64)
    return packed, np.array([flags_of(c) for c in codes], np.uint8), np.cumsum(shares / shares.sum())


SALE_CONDITIONS, SALE_FLAGS, SALE_CUMULATED = _sale_tables()


def day_intensity(phase: float) -> float:
    """The U-shaped day: factor on the mean rate at ``phase`` (0 = open, 1 = close); its mean over the day is 1."""
    return 0.6 + 1.2 * (2.0 * (phase % 1.0) - 1.0) ** 2


class SyntheticMarket:
    """``block()`` returns the next ``BLOCK_NS`` of ticks in time order, from ``start_ns`` (UTC, rounded down) on.

    Of config: ``seed``, ``instruments``, ``ticks_per_s``. Instrument id i is ``symbols[i]``. ``truths`` lists what
    the regimes did. ``next_ns`` is where the next block begins.
    """

    what = "instruments"

    def __init__(self, config: SimulatorConfig, start_ns: int) -> None:
        rng = np.random.default_rng(config.seed)
        count = config.instruments
        weights = 1.0 / np.arange(2, count + 2) ** 0.8
        self._rng = rng
        self.symbols = market_symbols(count)
        self.next_ns = start_ns - start_ns % BLOCK_NS
        self._start_ns = self.next_ns
        self._rate = config.ticks_per_s * weights / weights.sum()  # per second and instrument
        self._excited = BRANCHING * self._rate  # the self-excited part of the rate, at its mean
        self._log_price = np.log(np.clip(rng.lognormal(4.5, 0.8, count), 8.0, 900.0))
        self._sigma = rng.uniform(0.00008, 0.00025, count)  # per square root of a second
        self._spread = 1 + rng.poisson(np.exp(self._log_price) / 120.0)  # ticks
        self._tape = rng.integers(1, 4, count).astype(np.uint16)
        self._last_ns = np.full(count, self.next_ns)
        self._bid = np.zeros(count, np.int64)  # of the standing quote, in ticks
        self._ask = np.zeros(count, np.int64)
        self._sequence = 0
        self._trade_id = 0
        self._regimes = rg.Regimes(rng, self._log_price, self.next_ns)
        self.truths = self._regimes.truths

    def block(self) -> np.ndarray:
        start = self.next_ns
        jumped = self._regimes.advance(start, BLOCK_S, self._log_price)
        self._excited[jumped] += rg.JUMP_EXCITATION * self._rate[jumped]
        who, when = self._arrivals(start)
        opening = start == self._start_ns
        if opening:  # everybody quotes once, at the very start
            who = np.concatenate((np.arange(len(self.symbols)), who))
            when = np.concatenate((np.full(len(self.symbols), start), when))
            order = np.lexsort((when, who))
            who, when = who[order], when[order]
        ticks = self._events(who, when, opening)
        ticks = join_ticks((ticks, self._references(start)))
        ticks = ticks[np.argsort(ticks["ts_venue_ns"], kind="stable")]
        ticks["ts_recv_ns"] = ticks["ts_venue_ns"]
        self._number(ticks)
        self.next_ns = start + BLOCK_NS
        return ticks

    def _arrivals(self, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Instrument and time of each event of the block, sorted by instrument, then time."""
        rng = self._rng
        day = day_intensity(SESSION_PHASE_START + (start - self._start_ns) / 1e9 / SESSION_S)
        rate = np.minimum((1.0 - BRANCHING) * self._rate * day + self._excited, RATE_FACTOR_MAX * self._rate)
        counts = rng.poisson(rate * BLOCK_S)
        keep = np.exp(-BLOCK_S / EXCITATION_S)
        self._excited = keep * self._excited + (1.0 - keep) * BRANCHING * counts / BLOCK_S
        who = np.repeat(np.arange(len(counts)), counts)
        alone = rng.integers(0, BLOCK_NS, len(who))
        volley = rng.integers(0, BLOCK_NS, len(counts))[who] + rng.exponential(VOLLEY_NS, len(who)).astype(
            np.int64
        )
        offset = np.where(rng.random(len(who)) < CLUSTERED_SHARE, volley % BLOCK_NS, alone)
        order = np.lexsort((offset, who))
        return who, start + offset[order]

    def _events(self, who: np.ndarray, when: np.ndarray, opening: bool) -> np.ndarray:
        """Quotes and trades at the given instruments and times (sorted by both), and the state after them."""
        ticks = np.zeros(len(who), TICK_DTYPE)
        if not len(who):
            return ticks
        first = np.flatnonzero(np.diff(who, prepend=-1))  # of each instrument's run
        last = np.append(first[1:], len(who)) - 1
        path, step = self._prices(who, when, first)
        is_quote = self._rng.random(len(who)) < QUOTE_SHARE
        if opening:
            is_quote[first] = True
        bid, ask = self._quotes(who, path, is_quote, first)
        ticks["instrument_id"], ticks["ts_venue_ns"], ticks["tape"] = who, when, self._tape[who]
        ticks["kind"] = np.where(is_quote, TickKind.QUOTE, TickKind.TRADE)
        self._fill_quotes(ticks, np.flatnonzero(is_quote), bid, ask)
        self._fill_trades(ticks, np.flatnonzero(~is_quote), bid, ask, step)
        ids = who[last]
        self._log_price[ids], self._last_ns[ids] = path[last], when[last]
        self._bid[ids], self._ask[ids] = bid[last], ask[last]
        return ticks

    def _prices(self, who: np.ndarray, when: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The log price at each event and its step from the event before."""
        before = np.concatenate(([0], when[:-1]))
        before[first] = self._last_ns[who[first]]
        elapsed = (when - before) / 1e9
        regime = self._regimes.current
        pull = rg.REVERSION_PER_S[regime] * (self._regimes.anchor - self._log_price)
        drift = rg.DRIFT_PER_S[regime] + np.clip(pull, -1e-3, 1e-3)
        sigma = self._sigma * rg.VOLATILITY[regime]
        step = drift[who] * elapsed + sigma[who] * np.sqrt(elapsed) * self._rng.standard_normal(len(who))
        path = np.cumsum(step)
        path -= np.repeat(path[first] - step[first], np.diff(np.append(first, len(who))))
        return self._log_price[who] + path, step

    def _quotes(
        self, who: np.ndarray, path: np.ndarray, is_quote: np.ndarray, first: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bid and ask in ticks that stand at each event: its own of a quote, the latest quote's of a trade."""
        extra = self._rng.poisson(rg.EXTRA_SPREAD[self._regimes.current[who]])
        spread = self._spread[who] + extra
        bid = np.floor(np.exp(path) * TICKS_PER_UNIT - spread / 2 + 0.5).astype(np.int64)
        bid = np.maximum(bid, PRICE_MIN_TICKS)
        ask = bid + spread
        rows = np.arange(len(who))
        start_of = np.repeat(first, np.diff(np.append(first, len(who))))
        latest = np.maximum.accumulate(np.where(is_quote, rows, -1))
        inherited = latest < start_of
        bid, ask = bid[latest], ask[latest]
        bid[inherited], ask[inherited] = self._bid[who[inherited]], self._ask[who[inherited]]
        return bid, ask

    def _fill_quotes(self, ticks: np.ndarray, rows: np.ndarray, bid: np.ndarray, ask: np.ndarray) -> None:
        rng = self._rng
        lean = np.sign(rg.DRIFT_PER_S[self._regimes.current[ticks["instrument_id"][rows]]])
        for name, sign in (("bid_size", 0.4), ("ask_size", -0.4)):
            lots = 1 + np.floor(rng.lognormal(0.8 + sign * lean, 0.9)).astype(np.int64)
            ticks[name][rows] = 100 * np.minimum(lots, 500)
        ticks["bid"][rows] = bid[rows] / TICKS_PER_UNIT
        ticks["ask"][rows] = ask[rows] / TICKS_PER_UNIT
        ticks["exchange"][rows] = rng.choice(EXCHANGES[1:], len(rows))
        ticks["exchange_ask"][rows] = rng.choice(EXCHANGES[1:], len(rows))
        ticks["conditions"][rows] = 1 + 1  # condition 1: regular, two-sided open

    def _fill_trades(
        self, ticks: np.ndarray, rows: np.ndarray, bid: np.ndarray, ask: np.ndarray, step: np.ndarray
    ) -> None:
        rng, count = self._rng, len(rows)
        buy = rng.random(count) < 0.5 + 0.25 * np.sign(step[rows])
        twice = 2 * np.where(buy, ask[rows], bid[rows])
        twice = np.where(rng.random(count) < INSIDE_SHARE, bid[rows] + ask[rows], twice)
        odd = rng.random(count) < ODD_LOT_SHARE
        lots = np.minimum(1 + np.floor(rng.lognormal(0.2, 1.1, count)), 5_000)
        sale = np.searchsorted(SALE_CUMULATED, rng.random(count), side="right")
        sale = np.minimum(sale, len(SALES) - 1) + odd * len(SALES)
        ticks["price"][rows] = twice / (2 * TICKS_PER_UNIT)
        ticks["size"][rows] = np.where(odd, rng.integers(1, 100, count), 100 * lots)
        ticks["conditions"][rows] = SALE_CONDITIONS[sale]
        ticks["flags"][rows] = SALE_FLAGS[sale]
        ticks["exchange"][rows] = rng.choice(EXCHANGES, count, p=EXCHANGE_WEIGHTS)

    def _references(self, start: int) -> np.ndarray:
        """Price bands every ``BAND_EVERY_S`` and fair values every second, instruments taking turns."""
        block = start // BLOCK_NS
        ids = np.arange(len(self.symbols))
        bands = ids[(ids + block) % round(BAND_EVERY_S / BLOCK_S) == 0]
        values = ids[(ids + block) % round(1 / BLOCK_S) == 0]
        ticks = np.zeros(len(bands) + len(values), TICK_DTYPE)
        ticks["ts_venue_ns"] = start + BLOCK_NS - 1  # after the block's last price
        ticks["instrument_id"] = np.concatenate((bands, values))
        price = np.exp(self._log_price)
        upper, lower = ticks["upper"], ticks["lower"]
        upper[: len(bands)] = np.round(price[bands] * (1 + BAND_WIDTH), 2)
        lower[: len(bands)] = np.round(price[bands] * (1 - BAND_WIDTH), 2)
        ticks["tape"][: len(bands)] = self._tape[bands]
        ticks["kind"][: len(bands)] = TickKind.LULD
        ticks["price"][len(bands) :] = np.round(price[values], 3)
        ticks["kind"][len(bands) :] = TickKind.FMV
        return ticks

    def _number(self, ticks: np.ndarray) -> None:
        numbered = np.flatnonzero(ticks["kind"] != TickKind.FMV)
        ticks["venue_sequence"][numbered] = self._sequence + 1 + np.arange(len(numbered))
        self._sequence += len(numbered)
        trades = np.flatnonzero(ticks["kind"] == TickKind.TRADE)
        ticks["trade_id"][trades] = self._trade_id + 1 + np.arange(len(trades))
        self._trade_id += len(trades)
