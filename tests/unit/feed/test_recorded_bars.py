"""Stored bars become trades from which the engine builds the same bars again."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from hft_engine.config.schema import IndicatorConfig
from hft_engine.feed.recorded import RecordingError, open_recording
from hft_engine.feed.recorded_bars import parse_stamp
from hft_engine.indicators.offline import compute
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.sinks.schema import TABLES
from hft_engine.records import BarKind, join_ticks

MINUTE_NS = 60_000_000_000
BARS = [
    ("2024-03-01T14:30:00", 10.0, 10.5, 9.5, 10.25, 1_003),
    ("2024-03-01T14:31:00", 10.25, 10.25, 9.0, 9.5, 400),
    ("2024-03-01T14:32:00", 9.5, 9.75, 9.5, 9.75, 2),
    ("2024-03-01T14:35:00", 9.75, 9.75, 9.75, 9.75, 0),
]


def ticks_of(path: Path) -> tuple[np.ndarray, InstrumentTable, dict[str, int]]:
    table = InstrumentTable.private(8)
    recording = open_recording([path], table)
    return join_ticks(list(recording)), table, recording.skipped


def write_csv(path: Path, header: str = "timestamp,open,high,low,close,volume") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, bar)) for bar in BARS)]))
    return path


def test_the_engine_builds_the_same_bars_again(tmp_path: Path) -> None:
    ticks, table, _ = ticks_of(write_csv(tmp_path / "abc.csv"))
    assert table.symbols() == ["ABC"]
    late = ticks[-1:].copy()
    late["ts_venue_ns"] += 10 * MINUTE_NS  # closes the last bar
    _, built = compute(join_ticks([ticks, late]), IndicatorConfig())
    minutes = built[built["kind"] == BarKind.MINUTE]
    found = [
        tuple(float(bar[name]) for name in ("open", "high", "low", "close", "volume")) for bar in minutes
    ]
    assert found == [tuple(map(float, bar[1:])) for bar in BARS]
    assert minutes["ts_start_ns"].tolist() == [parse_stamp(bar[0]) for bar in BARS]


def test_a_bar_that_rose_saw_its_low_first(tmp_path: Path) -> None:
    ticks, *_ = ticks_of(write_csv(tmp_path / "abc.csv"))
    assert ticks["price"][:8].tolist() == [10.0, 9.5, 10.5, 10.25, 10.25, 10.25, 9.0, 9.5]
    assert ticks["size"][:4].tolist() == [250.0, 250.0, 250.0, 253.0]
    assert (np.diff(ticks["ts_venue_ns"]) >= 0).all()


def test_a_database_gives_its_minute_bars_once_each(tmp_path: Path) -> None:
    path = tmp_path / "market.db"
    connection = sqlite3.connect(path)
    connection.executescript(TABLES)
    for run in ("one", "two"):
        for i, bar in enumerate(BARS):
            stamp = parse_stamp(bar[0])
            row = (run, i, "ABC", "minute", stamp, stamp + MINUTE_NS, *bar[1:], None, 1, 0, 0, 0)
            connection.execute(f"INSERT INTO bars VALUES ({','.join('?' * 16)})", row)
    connection.execute(
        "INSERT INTO bars VALUES ('one', 99, 'ABC', 'second', 1, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0)"
    )
    connection.commit()
    connection.close()
    ticks, table, _ = ticks_of(path)
    from_csv, *_ = ticks_of(write_csv(tmp_path / "abc.csv"))
    assert table.symbols() == ["ABC"]
    assert ticks.tobytes() == from_csv.tobytes()


def test_bars_without_prices_are_counted(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "abc.csv")
    path.write_text(path.read_text() + "\n2024-03-01T14:36:00,0,0,0,0,5")
    ticks, _, skipped = ticks_of(path)
    assert len(ticks) == 16
    assert skipped == {"bars without four positive prices": 1}


def test_every_stored_bar_file_of_this_repository_is_read() -> None:
    root = Path(__file__).resolve().parents[2] / "data" / "bars"
    for name, bars in (("intraday", 1_564), ("msft", 8_111)):
        ticks, table, skipped = ticks_of(root / f"{name}.csv.gz")
        assert len(ticks) == 4 * (bars - sum(skipped.values()))
        assert table.symbols() == [name.upper()]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-02", 86_400 * 10**9),
        ("1/2/1970", 86_400 * 10**9),
        ("1970-01-01 00:01", 60 * 10**9),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1700000000", 1_700_000_000 * 10**9),
        ("1700000000123", 1_700_000_000_123 * 10**6),
        ("1700000000123456789", 1_700_000_000_123_456_789),
    ],
)
def test_times_in_many_forms(text: str, ns: int) -> None:
    assert parse_stamp(text) == ns


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("date,open,high,low\n", "lacks close"),
        ("when,open,high,low,close\n", "lacks a time"),
        ("date,open,high,low,close\n2024-01-01,1,2\n", "line 2: "),
        ("date,open,high,low,close\nnever,1,2,1,2\n", "'never' is no date or time"),
        ("date,open,high,low,close\n", "holds no bar"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "abc.csv"
    path.write_text(text)
    with pytest.raises(RecordingError) as error:
        ticks_of(path)
    assert str(path) in str(error.value) and says in str(error.value)


def test_a_database_without_bars_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    sqlite3.connect(path).close()
    with pytest.raises(RecordingError, match="no such table: bars"):
        ticks_of(path)
