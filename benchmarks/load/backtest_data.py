"""The ticks that ``backtest`` replays: a day of SPY where the files are, else what this repository has or can make."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import machine, workload
from hft_engine.feed.recorded import open_recording
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TickKind, join_ticks

SHARED_DATA = "HFT_SHARED_DATA"  # environment variable: where the recorded files are
SPY = Path("lean-us-equity-ticks") / "spy" / "20131008_trade.zip"
BINANCE = Path("tests") / "data" / "binance" / "usdm_btcusdt_20240808_cut.jsonl.gz"
TICKS_MIN = 100_000  # fewer are over before anything is warm: synthetic ones are used then
SYNTHETIC_TICKS = 450_000
DIGITS_MAX = 4


class Dataset(NamedTuple):
    """Trades of one instrument in time order; ``digits`` decimals are enough for every price."""

    description: str
    ts_ns: np.ndarray
    price: np.ndarray
    size: np.ndarray
    digits: int

    def first(self, count: int) -> "Dataset":
        return self._replace(ts_ns=self.ts_ns[:count], price=self.price[:count], size=self.size[:count])

    def write(self, path: Path) -> None:
        np.savez(path, ts_ns=self.ts_ns, price=self.price, size=self.size, digits=self.digits)


def load(given: Path | None = None, ticks_min: int = TICKS_MIN) -> Dataset:
    """SPY of 2013-10-08, the Binance cut, or synthetic trades: the first that is there and has ``ticks_min``.

    ``given``: where to look for SPY instead of HFT_SHARED_DATA and ``../shared/data`` beside the checkout.
    """
    folder = given or Path(os.environ.get(SHARED_DATA) or machine.ROOT.parent / "shared" / "data")
    for file in (folder / SPY, machine.ROOT / BINANCE):
        if file.is_file():
            found = _recorded(file)
            if len(found.price) >= ticks_min:
                return found
    missing = f"{folder / SPY} is not there (name its folder by --data or {SHARED_DATA})"
    return _synthetic(max(ticks_min, SYNTHETIC_TICKS), missing)


def _recorded(file: Path) -> Dataset:
    recording = open_recording(file, InstrumentTable.private(8))
    ticks = join_ticks(list(recording))
    trades = ticks[ticks["kind"] == TickKind.TRADE]
    return _dataset(f"{len(trades):,} trades of {file.parent.name}/{file.name}", trades)


def _synthetic(count: int, why: str) -> Dataset:
    _, ticks = workload.market_ticks(4 * count, instruments=1)  # about a third of them are trades
    trades = ticks[ticks["kind"] == TickKind.TRADE][:count]
    return _dataset(f"{len(trades):,} synthetic trades: {why}", trades)


def _dataset(description: str, trades: np.ndarray) -> Dataset:
    price = np.ascontiguousarray(trades["price"])
    digits = next(
        (d for d in range(DIGITS_MAX) if np.allclose(np.round(price, d), price, atol=1e-9, rtol=0)), 4
    )
    columns = (np.ascontiguousarray(trades[name]) for name in ("ts_venue_ns", "price", "size"))
    ts_ns, price, size = columns
    return Dataset(description, np.maximum.accumulate(ts_ns), price, size, digits)
