"""hftbacktest: its compiled simulator over an event array, the strategy a numba function.

Trades only, no latency, no order. Variant ``feed``: the strategy is called after each event, as the others are.
Variant ``100ms``: it wakes every 100 ms of event time and takes all trades since, the usual loop of its tutorials.
"""

import importlib
import time

import numpy as np
from numba import njit

_hft = importlib.import_module("hftbacktest")
WAIT_NS = 100_000_000
FOREVER_NS = 1 << 62
MORE_FEED = 2  # ``wait_next_feed``: an event came


@njit
def _take(trades, state, fast_period, slow_period, band):  # type: ignore[no-untyped-def]
    """``state``: (prices, fast EMA, slow EMA, side, crosses). The EMAs start as the mean of their first window."""
    count, fast, slow, side, crosses = state
    fast_weight, slow_weight = 2.0 / (fast_period + 1.0), 2.0 / (slow_period + 1.0)
    for i in range(len(trades)):
        price = trades[i].px
        count += 1
        fast += (price - fast) * (fast_weight if count > fast_period else 1.0 / count)
        slow += (price - slow) * (slow_weight if count > slow_period else 1.0 / count)
        if count >= slow_period:
            spread = fast / slow - 1.0
            now = 1 if spread >= band else (-1 if spread <= -band else side)
            if now != side:
                side = now
                crosses += 1
    return count, fast, slow, side, crosses


@njit
def _on_each_event(hbt, fast, slow, band):  # type: ignore[no-untyped-def]
    state = (0, 0.0, 0.0, 0, 0)
    while hbt.wait_next_feed(False, FOREVER_NS) == MORE_FEED:
        state = _take(hbt.last_trades(0), state, fast, slow, band)
        hbt.clear_last_trades(0)
    state = _take(hbt.last_trades(0), state, fast, slow, band)  # what came with the end of the data
    return state[0], state[4]


@njit
def _every_100ms(hbt, fast, slow, band):  # type: ignore[no-untyped-def]
    state = (0, 0.0, 0.0, 0, 0)
    while hbt.elapse(WAIT_NS) == 0:
        state = _take(hbt.last_trades(0), state, fast, slow, band)
        hbt.clear_last_trades(0)
    state = _take(hbt.last_trades(0), state, fast, slow, band)
    return state[0], state[4]


class Contender:
    def __init__(self, variant: str, ticks: dict[str, np.ndarray], rule: dict[str, float]) -> None:
        self.version = importlib.import_module("importlib.metadata").version("hftbacktest")
        self._strategy = {"feed": _on_each_event, "100ms": _every_100ms}[variant]
        self._rule = int(rule["fast"]), int(rule["slow"]), rule["band"]
        self._tick_size = 10.0 ** -int(ticks["digits"])
        self._events = np.zeros(len(ticks["price"]), importlib.import_module("hftbacktest.types").event_dtype)
        self._events["ev"] = _hft.TRADE_EVENT | _hft.EXCH_EVENT | _hft.LOCAL_EVENT | _hft.BUY_EVENT
        self._events["exch_ts"] = self._events["local_ts"] = ticks["ts_ns"]
        self._events["px"], self._events["qty"] = ticks["price"], ticks["size"]

    def run(self) -> tuple[int, int, float]:
        asset = _hft.BacktestAsset().data(self._events).linear_asset(1.0).constant_order_latency(0, 0)
        asset = asset.risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
        asset = asset.tick_size(self._tick_size).lot_size(1.0).last_trades_capacity(10_000)
        hbt = _hft.HashMapMarketDepthBacktest([asset])
        started = time.perf_counter()
        count, crosses = self._strategy(hbt, *self._rule)
        seconds = time.perf_counter() - started
        hbt.close()
        return int(count), int(crosses), seconds
