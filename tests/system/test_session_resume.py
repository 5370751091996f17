"""A session that is killed, swept and stopped, and goes on each time: in the end it is what one undisturbed run gives.

``HFT_KILLS=200`` for more kills of single actors. The engine is the demo; it is compared with its journal, replayed.
"""

import json
import os
import random
import signal
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from hft_engine.persistence.journal import JournalReader
from hft_engine.runtime.session_events import read_events
from hft_engine.views.status import collect
from support.engine import Engine, demo, hft
from support.waiting import wait_for

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(600),
    pytest.mark.expects_errors("restart: .* SIGKILL", "connection lost: ", "gap of ", "data are missing"),
]

KILLS = int(os.environ.get("HFT_KILLS", "4"))
VICTIMS = ("indicators", "inference", "signals", "persistence")
RULES = [
    ("bar_rsi_high", "bar_rsi", "sell", "above", 65.0, 60.0, 95.0),
    ("tick_rsi_low", "tick_rsi", "buy", "below", 30.0, 45.0, 0.0),
    ("large_trade", "size_z", "sell", "above", 4.0, 1.0, 8.0),
]
KEYS = ("name", "feature", "side", "when", "enter", "release", "full")
SETTINGS = (
    "signals.cooldown_ms=100",
    f"signals.rules={json.dumps([dict(zip(KEYS, rule, strict=True)) for rule in RULES])}",
    "simulator.ticks_per_s=5000",
    "supervisor.restarts_max=1000",
    "checkpoints.memory_ms=200",
    "checkpoints.disk_ms=500",
)
SIGNALS = "sequence, source_sequence, symbol, side, rule, strength, price, value, ts_venue_ns, chain_hash"
BARS = (
    "sequence, source_sequence, symbol, kind, ts_start_ns, open, high, low, close, volume, vwap, trade_count"
)


def look(engine: Engine) -> dict[str, Any]:
    return collect(engine.run_dir())


def published(engine: Engine) -> dict[str, int]:
    return {ring["name"]: int(ring["published"]) for ring in look(engine)["rings"]}


def wait_for_signals(engine: Engine, more: int) -> None:
    wanted = published(engine)["signals"] + more
    wait_for(lambda: published(engine)["signals"] >= wanted, f"{wanted} signals", 60)


def actor(engine: Engine, role: str) -> dict[str, Any]:
    return next(actor for actor in look(engine)["actors"] if actor["role"] == role)


def kill_some(engine: Engine, count: int, seed: int) -> None:
    print(f"seed {seed}")
    chosen = random.Random(seed)
    for _ in range(count):
        role = chosen.choice(VICTIMS)
        pid = actor(engine, role)["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda role=role, pid=pid: is_replaced(engine, role, pid), f"{role} restarted")
        wait_for_signals(engine, chosen.randrange(10))


def is_replaced(engine: Engine, role: str, pid: int) -> bool:
    now = actor(engine, role)
    return bool(now["state"] == "running" and now["pid"] != pid)


def kill_supervisor(engine: Engine) -> None:
    processes = engine.processes()
    os.kill(engine.supervisor_pid(), signal.SIGKILL)
    _, left = psutil.wait_procs(processes, timeout=20)
    # one that has ended, and whose end nobody has taken note of yet, is dead as well
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


def stored(database: Path, table: str, columns: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY sequence").fetchall()
    finally:
        connection.close()


def assert_one_undisturbed_run(directory: Path, session: Path, engine: Engine) -> None:
    again = directory / "again.db"
    answer = hft(
        "replay", str(session), "--config", "config/demo.yaml", *engine.options, "--json", "--db", str(again)
    )
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout.splitlines()[-1])
    live = directory / "data" / "market_data.db"
    signals = stored(live, "signals", SIGNALS)
    assert [row[0] for row in signals] == list(range(result["signals"]))
    assert signals == stored(again, "signals", SIGNALS)
    assert signals[-1][-1] == result["signal_hash"]
    bars = stored(live, "bars", BARS)
    assert [row[0] for row in bars] == list(range(result["bars"]))
    assert bars == stored(again, "bars", BARS)


def assert_journal_is_whole(session: Path) -> None:
    reader = JournalReader(session)
    assert reader.holes == ()
    chunks = [chunk["sequence"] for chunk in reader]
    assert chunks[0][0] == 0
    for before, after in pairwise(chunks):
        assert after[0] == before[-1] + 1


def test_a_session_goes_on_whatever_is_killed_and_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    with demo(tmp_path, *SETTINGS) as first:
        wait_for_signals(first, 20)
        kill_some(first, KILLS, seed=3)
        kill_supervisor(first)
        with demo(tmp_path, *SETTINGS, flags=["--resume"]) as second:  # its shared memory is there
            run_id = second.run_dir().name
            wait_for_signals(second, 20)
            kill_some(second, KILLS // 2, seed=4)
            kill_supervisor(second)
            assert "removed what" in hft("stop", *second.options).stdout  # now only the disk has it
    with demo(tmp_path, *SETTINGS, flags=["--resume"]) as third:
        assert third.run_dir().name == run_id
        wait_for_signals(third, 20)
    with demo(tmp_path, *SETTINGS, flags=["--resume"]) as fourth:  # after an ordered stop
        wait_for_signals(fourth, 5)
    session = tmp_path / "data" / "journal" / run_id
    assert_journal_is_whole(session)
    assert_one_undisturbed_run(tmp_path, session, fourth)
    events, _ = read_events(session, "engine")
    assert [event.data["from"] for event in events if event.kind == "resume"] == ["memory", "disk", "disk"]


def test_what_cannot_be_resumed_is_refused_with_the_remedy(tmp_path: Path) -> None:
    options = [
        "--set",
        f"engine.data_dir={tmp_path / 'data'}",
        "--set",
        f"engine.log_dir={tmp_path / 'logs'}",
    ]
    answer = hft("start", "--demo", "--resume", *options)
    assert answer.returncode == 2
    assert "no session in" in answer.stderr and "start without --resume" in answer.stderr
