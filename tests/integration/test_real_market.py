"""Recorded New York market days, when they are at hand: bars against the vendor's own, one hash in every run.

These files may not be copied into the project; ``scripts/verify_replay.py`` does the same by hand, ten runs of each.
"""

import csv
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hft_engine.config.load import load_config
from hft_engine.replay import ReplayResult, replay
from support.engine import hft

pytestmark = [pytest.mark.shared_data, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tests" / "golden" / "replay.yaml"
MODEL = f"inference.model={ROOT / 'models' / 'demo' / 'direction.txt'}"

OPTIONS = ("--config", str(CONFIG), "--set", MODEL)
VOLUME_EQUAL_MIN = 0.98
OUTSIDE_MAX = 0.01  # minutes whose high or low the vendor took from other prints than we
PRICE_SCALE = 10_000.0
MINUTE_MS = 60_000
EPSILON = 1e-9


@dataclass(frozen=True)
class Day:
    symbol: str
    date: str
    kinds: tuple[str, ...]

    def recordings(self, data: Path) -> list[str]:
        folder = data / "lean-us-equity-ticks" / self.symbol
        return [str(folder / f"{self.date}_{kind}.zip") for kind in self.kinds]

    def midnight_ms(self) -> int:
        """New York, daylight-saving time, which both days are in."""
        day = datetime.strptime(self.date, "%Y%m%d").replace(hour=4, tzinfo=UTC)
        return int(day.timestamp()) * 1_000


SPY = Day("spy", "20131008", ("trade",))
IBM = Day("ibm", "20131007", ("quote", "trade"))
DAYS = pytest.mark.parametrize("day", [SPY, IBM], ids=["SPY-2013-10-08", "IBM-2013-10-07"])


@dataclass
class Bar:
    high: float
    low: float
    volume: float


def rows_of(path: Path) -> Iterator[list[str]]:
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        yield from csv.reader(io.TextIOWrapper(file))


def vendors_bars(data: Path, day: Day) -> dict[int, Bar]:
    """The vendor's minute bars by milliseconds since midnight."""
    path = data / "lean-us-equity-bars" / "minute" / day.symbol / f"{day.date}_trade.zip"
    return {
        int(row[0]): Bar(int(row[2]) / PRICE_SCALE, int(row[3]) / PRICE_SCALE, float(row[5]))
        for row in rows_of(path)
    }


def bars_of_every_print(data: Path, day: Day) -> dict[int, Bar]:
    """Minute bars in which every print counts, computed here: no bar may reach beyond them."""
    found: dict[int, Bar] = {}
    for row in rows_of(Path(day.recordings(data)[-1])):
        price, size = int(row[1]) / PRICE_SCALE, float(row[2])
        bar = found.setdefault(int(row[0]) // MINUTE_MS * MINUTE_MS, Bar(price, price, 0.0))
        bar.high, bar.low, bar.volume = max(bar.high, price), min(bar.low, price), bar.volume + size
    return found


def built_bars(database: Path, day: Day) -> dict[int, Bar]:
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute("SELECT ts_start_ns, high, low, volume FROM bars WHERE kind = 'minute'")
        return {start // 1_000_000 - day.midnight_ms(): Bar(*values) for start, *values in rows}
    finally:
        connection.close()


def assert_complete(database: Path, result: dict[str, object]) -> None:
    """Every bar and signal of the replay has its row."""
    connection = sqlite3.connect(database)
    try:
        for table in ("bars", "signals"):
            rows = connection.execute(
                f"SELECT count(*), min(sequence), max(sequence) FROM {table}"
            ).fetchone()
            assert rows == (result[table], 0, int(str(result[table])) - 1)
    finally:
        connection.close()


def is_within(inner: Bar, outer: Bar) -> bool:
    """A bar without an eligible print has no high and no low."""
    return inner.high is None or (inner.high <= outer.high + EPSILON and inner.low >= outer.low - EPSILON)


@DAYS
def test_minute_bars_are_the_vendors(day: Day, shared_data: Path, tmp_path: Path) -> None:
    database = tmp_path / "day.db"
    answer = hft("replay", *day.recordings(shared_data), *OPTIONS, "--json", "--db", str(database))
    assert answer.returncode == 0, answer.stderr
    assert_complete(database, json.loads(answer.stdout.splitlines()[-1]))
    built, vendors = built_bars(database, day), vendors_bars(shared_data, day)
    every_print = bars_of_every_print(shared_data, day)
    assert set(built) <= set(every_print)
    assert all(is_within(bar, every_print[minute]) for minute, bar in built.items())
    equal = [
        minute for minute, bar in vendors.items() if minute in built and built[minute].volume == bar.volume
    ]
    assert len(equal) >= VOLUME_EQUAL_MIN * len(vendors)
    outside = [m for m, bar in built.items() if m in vendors and not is_within(bar, vendors[m])]
    assert len(outside) <= OUTSIDE_MAX * len(vendors)


def outcome(result: ReplayResult) -> tuple[int, int, int, str]:
    return result.ticks, result.bars, result.signals, result.signal_hash


@pytest.mark.parametrize(("day", "runs"), [(SPY, 1), (IBM, 10)], ids=["SPY-2013-10-08", "IBM-2013-10-07"])
def test_every_run_and_layout_gives_one_hash(day: Day, runs: int, shared_data: Path) -> None:
    paths = day.recordings(shared_data)
    config = load_config(CONFIG, (MODEL, "engine.layout=inline"))
    outcomes = {outcome(replay(config, paths)) for _ in range(runs)}
    for layout in ("compact", "dedicated"):
        answer = hft("replay", *paths, *OPTIONS, "--json", "--layout", layout, timeout_s=120)
        assert answer.returncode == 0, answer.stderr
        found = json.loads(answer.stdout.splitlines()[-1])
        outcomes.add((found["ticks"], found["bars"], found["signals"], found["signal_hash"]))
    assert len(outcomes) == 1
    assert outcomes.pop()[2] > 1_000
