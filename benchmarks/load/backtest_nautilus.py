"""nautilus_trader: its ``BacktestEngine`` over ``TradeTick`` objects, a Python ``Strategy`` with its own two EMAs.

Logging is bypassed, no analysis after the run, the risk engine bypassed, no order is ever sent. The EMAs are
registered for trade ticks, so that compiled code updates them before ``on_trade_tick``. Options of the venue and of the
data engine (message queue, bar execution, contingent orders, validation) were tried and made no difference.
"""

import importlib
import time
from typing import Any

import numpy as np

_config = importlib.import_module("nautilus_trader.config")
_engine = importlib.import_module("nautilus_trader.backtest.engine")
_enums = importlib.import_module("nautilus_trader.model.enums")
_indicators = importlib.import_module("nautilus_trader.indicators")
_model = importlib.import_module("nautilus_trader.model")
_objects = importlib.import_module("nautilus_trader.model.objects")
_Equity = importlib.import_module("nautilus_trader.model.instruments").Equity
_Strategy: Any = importlib.import_module("nautilus_trader.trading").Strategy
_USD = importlib.import_module("nautilus_trader.model.currencies").USD


class _Cross(_Strategy):  # type: ignore[misc]
    def __init__(self, instrument_id: Any, fast: int, slow: int, band: float) -> None:
        super().__init__()
        self._watched, self._up, self._down = instrument_id, band, -band
        self._fast = _indicators.ExponentialMovingAverage(fast)
        self._slow = _indicators.ExponentialMovingAverage(slow)
        self._side = self.crosses = 0

    @property
    def ticks(self) -> int:
        return int(self._slow.count)

    def on_start(self) -> None:
        self.register_indicator_for_trade_ticks(self._watched, self._fast)
        self.register_indicator_for_trade_ticks(self._watched, self._slow)
        self.subscribe_trade_ticks(self._watched)

    def on_trade_tick(self, tick: Any) -> None:
        slow = self._slow
        if not slow.initialized:
            return
        spread = self._fast.value / slow.value - 1.0
        if spread >= self._up:
            if self._side != 1:
                self._side = 1
                self.crosses += 1
        elif spread <= self._down and self._side != -1:
            self._side = -1
            self.crosses += 1

    def on_reset(self) -> None:
        self._fast.reset()
        self._slow.reset()
        self._side = self.crosses = 0


class Contender:
    def __init__(self, variant: str, ticks: dict[str, np.ndarray], rule: dict[str, float]) -> None:
        self.version = str(importlib.import_module("nautilus_trader").__version__)
        instrument_id = _model.InstrumentId.from_str("TICKS.SIM")
        digits = int(ticks["digits"])
        logging = _config.LoggingConfig(bypass_logging=True)
        risk = _config.RiskEngineConfig(bypass=True)
        settings = _engine.BacktestEngineConfig(logging=logging, run_analysis=False, risk_engine=risk)
        self._engine = _engine.BacktestEngine(settings)
        self._engine.add_venue(
            instrument_id.venue,
            _enums.OmsType.NETTING,
            _enums.AccountType.CASH,
            [_objects.Money(1_000_000, _USD)],
            base_currency=_USD,
        )
        self._engine.add_instrument(_instrument(instrument_id, digits))
        self._strategy = _Cross(instrument_id, int(rule["fast"]), int(rule["slow"]), rule["band"])
        self._engine.add_strategy(self._strategy)
        self._engine.add_data(_trade_ticks(instrument_id, digits, ticks))

    def run(self) -> tuple[int, int, float]:
        self._engine.reset()  # the data stay
        started = time.perf_counter()
        self._engine.run()
        seconds = time.perf_counter() - started
        return self._strategy.ticks, self._strategy.crosses, seconds


def _instrument(instrument_id: Any, digits: int) -> Any:
    step = _objects.Price(10.0**-digits, digits)
    lot = _objects.Quantity.from_int(1)
    return _Equity(instrument_id, instrument_id.symbol, _USD, digits, step, lot, 0, 0)


def _trade_ticks(instrument_id: Any, digits: int, ticks: dict[str, np.ndarray]) -> Any:
    count = len(ticks["price"])
    stamps = ticks["ts_ns"].astype(np.uint64)
    sides = np.zeros(count, np.uint8)
    ids = [str(number) for number in range(count)]
    size = np.maximum(
        1.0, np.round(ticks["size"])
    )  # an equity's sizes are whole; the strategy has no use for them
    make = _model.TradeTick.from_raw_arrays_to_list
    return make(instrument_id, digits, 0, ticks["price"], size, sides, ids, stamps, stamps)
