"""Ticks and price series for the tests of the indicators."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.features import feature_schema
from hft_engine.records import TICK_DTYPE, TickKind

BARS = Path(__file__).resolve().parents[2] / "data" / "bars"
MONDAY_NS = 1_700_438_400 * 1_000_000_000  # 2023-11-20 00:00 UTC
SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS


def bars_of(name: str) -> dict[str, np.ndarray]:
    """Columns of a shipped bar file, oldest first."""
    with gzip.open(BARS / f"{name}.csv.gz", "rt", encoding="utf-8-sig") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["date"])
    return {
        column: np.array([float(row[column]) for row in rows])
        for column in ("open", "high", "low", "close", "volume")
    }


def expected_of(name: str, column: str) -> np.ndarray:
    with gzip.open(BARS / "results" / f"{name}.standard.json.gz", "rt", encoding="utf-8-sig") as file:
        rows = json.load(file)
    return np.array([np.nan if row[column] is None else row[column] for row in rows], np.float64)


def walk(count: int, start: float, step: float, seed: int = 7) -> np.ndarray:
    return start * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, step, count)))


def trades(
    prices: np.ndarray,
    sizes: np.ndarray | float = 100.0,
    stamps_ns: np.ndarray | None = None,
    instrument: np.ndarray | int = 0,
    flags: np.ndarray | int = 0,
) -> np.ndarray:
    """TRADE ticks, 100 ms apart where no stamps are given."""
    ticks = np.zeros(len(prices), TICK_DTYPE)
    ticks["sequence"] = np.arange(len(prices))
    ticks["kind"] = int(TickKind.TRADE)
    ticks["price"], ticks["size"] = prices, sizes
    ticks["instrument_id"], ticks["flags"] = instrument, flags
    ticks["ts_venue_ns"] = (
        MONDAY_NS + np.arange(len(prices)) * SECOND_NS // 10 if stamps_ns is None else stamps_ns
    )
    return ticks


def quote(bid: float, ask: float, bid_size: float, ask_size: float, ts_ns: int = MONDAY_NS) -> np.ndarray:
    ticks = np.zeros(1, TICK_DTYPE)
    ticks["kind"], ticks["ts_venue_ns"] = int(TickKind.QUOTE), ts_ns
    ticks["bid"], ticks["ask"], ticks["bid_size"], ticks["ask_size"] = bid, ask, bid_size, ask_size
    return ticks


def joined(*parts: np.ndarray) -> np.ndarray:
    """Ticks one after another. (``np.concatenate`` would lay the overlapping fields out anew.)"""
    return np.concatenate([part.view("V128") for part in parts]).view(TICK_DTYPE)


def market(count: int, instruments: int, seed: int) -> np.ndarray:
    """Trades and quotes of several instruments in disorder: late, ineligible, without volume, other kinds."""
    random = np.random.default_rng(seed)
    ticks = trades(walk(count, 60_000.0, 1e-4, seed), random.integers(1, 900, count).astype(float))
    ticks["instrument_id"] = random.integers(0, instruments, count)
    disorder = np.where(random.random(count) < 0.05, random.integers(-2 * SECOND_NS, 1, count), 0)
    ticks["ts_venue_ns"] = MONDAY_NS + np.cumsum(random.integers(0, SECOND_NS // 4, count)) + disorder
    ticks["flags"] = random.choice([0, 0, 0, 0, 1, 2, 3, 5], count)
    quotes = random.random(count) < 0.4
    ticks["kind"][quotes] = int(TickKind.QUOTE)
    ticks["flags"][quotes] = 0
    ticks["ask"][quotes] = ticks["bid"][quotes] + 0.5
    ticks["bid_size"][quotes], ticks["ask_size"][quotes] = 3.0, 5.0
    ticks["kind"][random.random(count) < 0.02] = int(TickKind.BAR_MINUTE)
    return ticks


def column(features: np.ndarray, name: str, config: IndicatorConfig) -> np.ndarray:
    """One feature over FEATURE_DTYPE records or over rows of values."""
    values = features["values"] if features.dtype.names else features
    return values[:, feature_schema(config).index(name)]
