"""A rewritten recording has the same past, and from the cut on no future, or another one."""

import gzip
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from hft_engine.bias.rewrite import Future, rewrite
from hft_engine.feed.recorded_bars import parse_stamp
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.sinks.schema import TABLES
from hft_engine.records import TICK_DTYPE, join_ticks
from hft_engine.replay import open_source
from support.engine import ROOT
from support.journals import write_journal
from support.lean import write_day

BINANCE = ROOT / "tests" / "data" / "binance" / "usdm_btcusdt_20240808_cut.jsonl.gz"
CSV = ROOT / "tests" / "data" / "bars" / "intraday.csv.gz"


def ticks_of(path: Path) -> np.ndarray:
    return join_ticks(list(open_source([str(path)], InstrumentTable.private(8))))


def database(folder: Path) -> Path:
    path = folder / "bars.db"
    connection = sqlite3.connect(path)
    connection.executescript(TABLES)
    for i, line in enumerate(gzip.decompress(CSV.read_bytes()).decode("utf-8-sig").splitlines()[1:301]):
        stamp, *values = line.split(",")
        row = ("r", i, "ABC", "minute", parse_stamp(stamp), 0, *map(float, values), None, 1, 0, 0, 0)
        connection.execute(f"INSERT INTO bars VALUES ({','.join('?' * 16)})", row)
    connection.commit()
    connection.close()
    return path


@pytest.fixture(params=["lean_trade", "lean_quote", "binance", "csv", "database", "journal"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    match request.param:
        case "lean_trade" | "lean_quote":
            trade, quote = write_day(tmp_path, "abc", 1_000, seed=5)
            return Path(trade if request.param == "lean_trade" else quote)
        case "binance":
            return BINANCE
        case "csv":
            return CSV
        case "database":
            return database(tmp_path)
    return write_journal(tmp_path)


@pytest.mark.parametrize("future", list(Future))
def test_the_past_is_the_same_and_the_future_is_as_told(
    recording: Path, tmp_path: Path, future: Future
) -> None:
    before = ticks_of(recording)
    stamps = before["ts_recv_ns"]
    cut_ns = int(stamps[len(stamps) // 2 // 4 * 4])
    target = tmp_path / "copy" / recording.parent.name / recording.name
    rewrite(recording, target, future, cut_ns)
    after = ticks_of(target)
    past = int(np.searchsorted(stamps, cut_ns))
    assert after[:past].tobytes() == before[:past].tobytes()
    if future is Future.CUT:
        assert len(after) == past
        return
    assert len(after) == len(before)
    assert (after["ts_recv_ns"] == stamps).all()
    moved = after["price"][past:] != before["price"][past:]
    assert moved.any() == (future is Future.SHIFT)
    assert moved.all() or future is Future.KEEP


def test_nothing_comes_after_the_end(recording: Path, tmp_path: Path) -> None:
    before = ticks_of(recording)
    end_ns = int(before["ts_recv_ns"][len(before) // 4 * 4 // 3 // 4 * 4])
    target = tmp_path / "copy" / recording.parent.name / recording.name
    rewrite(recording, target, Future.KEEP, 0, end_ns)
    after = ticks_of(target)
    assert after.dtype == TICK_DTYPE
    assert after.tobytes() == before[before["ts_recv_ns"] < end_ns].tobytes()
