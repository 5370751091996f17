"""What a live run put out is what its journal gives when it is replayed: undisturbed, and with actors killed.

The live run is the demo in processes of its own, through a real socket. The comparison is only asked of a run without
laps: a lap is a loss, counted and shown, and a replay loses nothing.
"""

import json
import os
import signal
import sqlite3
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hft_engine.persistence.journal import JournalReader
from hft_engine.views.status import collect
from support.engine import Engine, demo, hft
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

# The demo's rules fire once or twice a second. These fire many times a second, on the newest state of every stage.
RULES = [
    ("model_up", "probability", "buy", "above", 0.51, 0.5, 0.75),
    ("model_down", "probability_down", "sell", "above", 0.51, 0.5, 0.75),
    ("bar_rsi_high", "bar_rsi", "sell", "above", 65.0, 60.0, 95.0),
    ("tick_rsi_low", "tick_rsi", "buy", "below", 30.0, 45.0, 0.0),
    ("large_trade", "size_z", "sell", "above", 4.0, 1.0, 8.0),
    ("imbalance", "quote_imbalance", "buy", "above", 0.8, 0.2, 1.0),
]
KEYS = ("name", "feature", "side", "when", "enter", "release", "full")
MANY_SIGNALS = (
    "signals.cooldown_ms=100",
    f"signals.rules={json.dumps([dict(zip(KEYS, rule, strict=True)) for rule in RULES])}",
)
SIGNALS = (
    "sequence, source_sequence, symbol, side, rule, strength, price, value, probability, model_id, "
    "ts_venue_ns, ts_expiry_ns, chain_hash"
)
BARS = (
    "sequence, source_sequence, symbol, kind, ts_start_ns, ts_end_ns, open, high, low, close, volume, vwap, "
    "trade_count, late_count, flags"
)
Rows = list[tuple[Any, ...]]


@dataclass
class Recorded:
    """What a stopped live run left: its database and its journal."""

    database: Path
    journal: Path

    def rows(self, table: str, columns: str) -> Rows:
        return stored(self.database, table, columns)


def stored(database: Path, table: str, columns: str) -> Rows:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY sequence").fetchall()
    finally:
        connection.close()


def look(engine: Engine) -> dict[str, Any]:
    """The status without a process of its own for each look."""
    return collect(engine.run_dir())


def assert_not_lapped(engine: Engine) -> None:
    readers = [reader for ring in look(engine)["rings"] for reader in ring["readers"]]
    assert not [reader for reader in readers if reader["lapped"]]


def signals_so_far(engine: Engine) -> int:
    return int(look(engine)["signals"]["published"])


def wait_for_signals(engine: Engine, more_than: int) -> None:
    wait_for(lambda: signals_so_far(engine) > more_than, f"more than {more_than} signals", 60)


def recorded(directory: Path) -> Recorded:
    (journal,) = (directory / "data" / "journal").iterdir()
    return Recorded(directory / "data" / "market_data.db", journal)


def replayed(live: Recorded, engine: Engine, database: Path) -> dict[str, Any]:
    """The journal through the same configuration, its bars and signals stored in ``database``."""
    answer = hft(
        "replay",
        str(live.journal),
        "--config",
        "config/demo.yaml",
        *engine.options,
        "--json",
        "--db",
        str(database),
    )
    assert answer.returncode == 0, answer.stderr
    result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return result


def assert_journal_is_whole(live: Recorded) -> None:
    """Every tick from the first on, none missing, none twice."""
    expected = 0
    for chunk in JournalReader(live.journal):
        sequences = chunk["sequence"]
        assert sequences[0] == expected
        assert (sequences[1:] - sequences[:-1] == 1).all()
        expected = int(sequences[-1]) + 1
    assert expected > 0


def assert_sequences_are_whole(rows: Rows) -> None:
    assert [row[0] for row in rows] == list(range(len(rows)))


def assert_replay_gives_the_same(live: Recorded, engine: Engine, database: Path) -> None:
    result = replayed(live, engine, database)
    signals, again = live.rows("signals", SIGNALS), stored(database, "signals", SIGNALS)
    assert len(signals) == len(again) == result["signals"] > 0
    for happened, repeated in zip(signals, again, strict=True):
        assert happened == repeated
    assert result["signal_hash"] == signals[-1][-1]
    assert live.rows("bars", BARS) == stored(database, "bars", BARS)


def test_a_live_run_replayed_from_its_journal_gives_the_same_signals_and_bars(tmp_path: Path) -> None:
    with demo(tmp_path, *MANY_SIGNALS) as engine:
        wait_for_signals(engine, more_than=200)
        assert_not_lapped(engine)
    live = recorded(tmp_path)
    assert_journal_is_whole(live)
    assert_replay_gives_the_same(live, engine, tmp_path / "again.db")


def kill(engine: Engine, role: str) -> None:
    """End an actor at once, and wait until its successor runs and signals go on."""
    pid = actor(engine, role)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_replaced(engine, role, pid), f"{role} restarted")
    wait_for_signals(engine, more_than=signals_so_far(engine) + 10)


def actor(engine: Engine, role: str) -> dict[str, Any]:
    found: dict[str, Any] = next(actor for actor in look(engine)["actors"] if actor["role"] == role)
    return found


def is_replaced(engine: Engine, role: str, pid: int) -> bool:
    now = actor(engine, role)
    return bool(now["state"] == "running" and now["pid"] != pid)


@pytest.mark.expects_errors("restart: .* SIGKILL")
def test_killed_actors_leave_no_trace_in_what_a_run_puts_out(tmp_path: Path) -> None:
    with demo(tmp_path, *MANY_SIGNALS) as engine:
        wait_for_signals(engine, more_than=20)
        for role in ("signals", "inference", "indicators", "persistence"):
            kill(engine, role)
        assert_not_lapped(engine)
    live = recorded(tmp_path)
    assert_journal_is_whole(live)
    signals, bars = live.rows("signals", SIGNALS), live.rows("bars", BARS)
    assert_sequences_are_whole(signals)
    assert_sequences_are_whole(bars)
    sources = [row[1] for row in signals]
    assert all(later > earlier for earlier, later in pairwise(sources))
    assert_replay_gives_the_same(live, engine, tmp_path / "again.db")
