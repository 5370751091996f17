"""A live engine's journal: persistence stands still until its ring laps it; segments are compressed as they close."""

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from hft_engine.persistence.journal import JournalReader, session_dir
from hft_engine.views.run import RunView
from support.engine import Engine, demo, hft
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

RING = 8_192
SETTINGS = (
    f"rings.ticks={RING}",
    "simulator.ticks_per_s=20000",
    "persistence.journal_segment_mb=1",
    "persistence.journal_compress=zstd",
    "supervisor.heartbeat_limit_ms=12000",  # or it would start persistence anew, and nothing would stand still
    "supervisor.hang_kill_ms=13000",
    "supervisor.stop_deadline_ms=14000",
)


def stand_still_until_lapped(engine: Engine, run: RunView) -> None:
    pid = engine.pid_of("persistence")
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "stopped")
        before = run.rings["ticks"].published
        wait_for(lambda: run.rings["ticks"].published > before + 2 * RING, "a ring overwritten", 60)
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.expects_errors("journal_hole: ticks from")
def test_what_persistence_missed_is_counted_and_is_a_hole_and_the_rest_is_stored(tmp_path: Path) -> None:
    with demo(tmp_path, *SETTINGS) as engine:
        run = RunView(engine.run_dir())
        run_id = run.manifest.run_id
        wait_for(lambda: run.rings["signals"].published, "signals", 60)
        stand_still_until_lapped(engine, run)
        wait_for(lambda: run.counters("persistence")["lapped_ticks"] > RING, "a lap", 60)
        wait_for(lambda: run.counters("persistence")["journal_compressed"], "compression", 60)
        listed = json.loads(hft("journal", "ls", "--json", *engine.options).stdout)
        shown = json.loads(hft("journal", "info", run_id, "--json", *engine.options).stdout)
    # Stopped in order, everything was drained; what is mapped can still be read.
    counted, published = run.counters("persistence"), run.rings["ticks"].published
    assert [(found["session"], found["state"]) for found in listed] == [(run_id, "running")]
    assert shown["holes"]
    session = session_dir(tmp_path / "data", run_id)
    reader = JournalReader(session)
    missing = sum(end - first for first, end in reader.holes)
    assert missing == counted["lapped_ticks"] > RING
    assert len(reader.holes) == counted["holes"]
    assert reader.count == counted["ticks"] == published - missing
    assert reader.report.signals == run.rings["signals"].published > 0
    assert (reader.report.signal_holes, reader.report.ended) == ((), True)
    assert list(session.glob("*.hftj.zst"))
    assert not list(session.glob("*.draft"))
    checked = hft("journal", "check", str(session))
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("hole: sequences") == counted["holes"]
