"""Records whose every field follows from their sequence."""

import numpy as np

from hft_engine.persistence.journal import SegmentMetadata
from hft_engine.records import BAR_DTYPE, FILL_DTYPE, ORDER_DTYPE, SIGNAL_DTYPE, TICK_DTYPE

METADATA = SegmentMetadata(run_id="run-1", venue="polygon", config_hash="c0ffee", code_version="0.1.0")


def make_ticks(first: int, count: int, instrument_id: int = 0) -> np.ndarray:
    """Ticks whose every field follows from the sequence."""
    rows = np.zeros(count, TICK_DTYPE)
    rows["sequence"] = np.arange(first, first + count)
    rows["kind"] = 1
    rows["instrument_id"] = instrument_id
    rows["price"] = 100.0 + rows["sequence"] * 0.25
    rows["ts_recv_ns"] = 1_700_000_000_000_000_000 + rows["sequence"] * 1_000
    rows["ts_venue_ns"] = rows["ts_recv_ns"] - 500
    return rows


def make_bars(count: int) -> np.ndarray:
    rows = np.zeros(count, BAR_DTYPE)
    rows["sequence"] = np.arange(count)
    rows["kind"] = 2
    rows["ts_start_ns"] = np.arange(count) * 60_000_000_000
    rows["close"] = 10.0 + np.arange(count)
    rows["vwap"] = np.nan
    return rows


def make_signals(count: int) -> np.ndarray:
    rows = np.zeros(count, SIGNAL_DTYPE)
    rows["sequence"] = np.arange(count)
    rows["side"] = np.where(np.arange(count) % 2, 1, -1)
    rows["reason"] = np.arange(count) % 2
    rows["strength"] = 0.75
    rows["probability"] = np.nan
    rows["chain_hash"] = np.uint64(0xFFFFFFFF00000000) + np.arange(count).astype("u8")
    rows["ts_publish_ns"] = 900
    rows["ts_mono_ns"] = 400
    return rows


def make_orders() -> np.ndarray:
    """A limit order on its way and a market order that was refused, in ticks of 0.0001."""
    rows = np.zeros(2, ORDER_DTYPE)
    rows["sequence"], rows["order_id"] = (0, 1), (1, 2)
    rows["side"], rows["kind"], rows["status"], rows["reason"] = (1, -1), (2, 1), (1, 6), (0, 6)
    rows["quantity"], rows["limit"], rows["price"] = 100, (105_000, 0), (0, 102_500)
    rows["signal_sequence"] = (7, -1)
    return rows


def make_fills() -> np.ndarray:
    rows = np.zeros(1, FILL_DTYPE)
    rows["order_id"], rows["side"], rows["liquidity"], rows["signal_sequence"] = 1, 1, 2, 7
    rows["price"], rows["quantity"], rows["fee"], rows["realised"] = 105_000, 100, 5_000, -12_500
    rows["position"], rows["cash"], rows["chain_hash"] = 100, 10_000_000, 255
    return rows
