"""What a run of the desk left, as a file: for the report of a backtest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hft_engine.execution.state import SAMPLE_DTYPE
from hft_engine.records import FILL_DTYPE, ORDER_DTYPE


class Holding(msgspec.Struct, frozen=True):
    """One instrument at the end, in ticks and money units."""

    instrument_id: int
    symbol: str
    position: int
    cost: int
    mark: int
    realised: int
    fees: int
    traded: int
    fills: int


class Closing(msgspec.Struct, frozen=True):
    """The account after the last tick; money in whole units of ``price_tick * size_tick``."""

    price_tick: float
    size_tick: float
    start_cash: int
    cash: int
    fees: int
    realised: int
    equity: int
    orders: int
    refused: int
    cancelled: int
    expired: int
    ticks: int
    first_ns: int
    last_ns: int
    latched: bool
    holdings: tuple[Holding, ...]


@dataclass(frozen=True)
class Ledger:
    """``orders`` ORDER_DTYPE, ``fills`` FILL_DTYPE, ``samples`` SAMPLE_DTYPE; all of a run."""

    orders: np.ndarray
    fills: np.ndarray
    samples: np.ndarray
    closing: Closing


class LedgerWriter:
    """Keeps copies of what is added; ``write`` puts them into one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: dict[str, list[np.ndarray]] = {"orders": [], "fills": [], "samples": []}

    def add(self, orders: np.ndarray, fills: np.ndarray, samples: np.ndarray) -> None:
        for name, rows in (("orders", orders), ("fills", fills), ("samples", samples)):
            if len(rows):
                self._parts[name].append(rows.copy())

    def write(self, closing: Closing) -> None:
        """Appears under its name only when it is whole."""
        dtypes = {"orders": ORDER_DTYPE, "fills": FILL_DTYPE, "samples": SAMPLE_DTYPE}
        arrays: dict[str, Any] = {
            name: np.concatenate(parts) if parts else np.zeros(0, dtypes[name])
            for name, parts in self._parts.items()
        }
        unfinished = self._path.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.savez(file, closing=np.frombuffer(msgspec.json.encode(closing), np.uint8), **arrays)
        unfinished.replace(self._path)


def read_ledger(path: Path) -> Ledger:
    """Raises FileNotFoundError."""
    with np.load(path) as archive:
        closing = msgspec.json.decode(archive["closing"].tobytes(), type=Closing)
        return Ledger(archive["orders"], archive["fills"], archive["samples"], closing)
