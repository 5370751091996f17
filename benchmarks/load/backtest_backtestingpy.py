"""backtesting.py: one bar for each tick, EMAs computed for the whole series at once, ``next`` called for each bar.

It knows bars only, so each tick is a bar of one price. ``Backtest.run`` cannot leave out its statistics: they are in
the time. Its EMA is pandas' ``ewm(span)``, as in its own documentation, which starts at the first price.
"""

import importlib
import time
import warnings
from typing import Any

import numpy as np

_backtesting = importlib.import_module("backtesting")
_Strategy: Any = _backtesting.Strategy
_pandas = importlib.import_module("pandas")


def _ema(values: Any, period: int) -> Any:
    # ``next`` is first called one bar after the last missing value: with the ``period``-th bar
    return _pandas.Series(values).ewm(span=period, adjust=False, min_periods=period - 1).mean()


class _Cross(_Strategy):  # type: ignore[misc]
    fast, slow, band = 0, 0, 0.0  # parameters of the run
    crosses = 0  # of the latest run: the library makes the instance and keeps it to itself

    def init(self) -> None:
        self._fast = self.I(_ema, self.data.Close, self.fast)
        self._slow = self.I(_ema, self.data.Close, self.slow)
        self._side = _Cross.crosses = 0

    def next(self) -> None:
        spread = self._fast[-1] / self._slow[-1] - 1.0
        side = 1 if spread >= self.band else -1 if spread <= -self.band else self._side
        if side != self._side:
            self._side = side
            _Cross.crosses += 1


class Contender:
    def __init__(self, variant: str, ticks: dict[str, np.ndarray], rule: dict[str, float]) -> None:
        warnings.simplefilter("ignore")  # no trades, no index of its own: it would say so in each run
        self.version = str(_backtesting.__version__)
        price = ticks["price"]
        columns = dict.fromkeys(("Open", "High", "Low", "Close"), price) | {"Volume": ticks["size"]}
        self._bars = _pandas.DataFrame(columns, index=_pandas.to_datetime(ticks["ts_ns"]))
        self._test = _backtesting.Backtest(self._bars, _Cross, cash=1e9)
        self._rule = {"fast": int(rule["fast"]), "slow": int(rule["slow"]), "band": rule["band"]}

    def run(self) -> tuple[int, int, float]:
        started = time.perf_counter()
        self._test.run(**self._rule)
        seconds = time.perf_counter() - started
        return len(self._bars), _Cross.crosses, seconds
