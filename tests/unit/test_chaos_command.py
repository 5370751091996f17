"""`hft chaos` breaks nothing unless told so, and then what it was told to."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from hft_engine import chaos
from hft_engine.cli import main
from hft_engine.runtime.rundir import Manifest, RingEntry
from hft_engine.shm import layout
from hft_engine.shm.counters import Stats
from support.waiting import wait_for


def manifest(pid: int) -> Manifest:
    ring = RingEntry("ticks", "ticks.ring", "TICK_DTYPE", 8, "feed", ("signals",))
    return Manifest(
        run_id="r", name="r", pid=pid, layout="dedicated", source="feed", venue="demo", started_utc_ns=0,
        started_mono_ns=0, data_dir="", log_dir="", processes={"signals": ("signals",)}, rings=(ring,), rules=(),
        config={},
    )  # fmt: skip


@pytest.fixture
def victim(tmp_path: Path):
    """A process that counts up, as the role ``signals`` of a run."""
    code = "import time\nwhile True: time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        Stats.create(tmp_path / "signals.stats")
        Stats.attach(tmp_path / "signals.stats").vitals[layout.V_PID] = process.pid
        yield process, chaos.find_victim(tmp_path, manifest(os.getpid()), "signals")
        process.kill()


@pytest.mark.parametrize("arguments", [[], ["kill", "signals"], ["flood", "signals", "--yes-break-it"]])
def test_nothing_is_done_without_the_word(arguments: list[str]) -> None:
    answer = CliRunner().invoke(main, ["chaos", *arguments])
    assert answer.exit_code == 2
    assert "nothing was done" in answer.output or "no fault 'flood'" in answer.output


@pytest.mark.parametrize(
    ("name", "number"), [("kill", signal.SIGKILL), ("abort", signal.SIGABRT), ("segv", signal.SIGSEGV)]
)
def test_signals_end_the_victim_as_they_should(victim, name: str, number: signal.Signals) -> None:
    process, target = victim
    chaos.FAULTS[name].inflict(target, 0)
    assert process.wait(10) == -number


def test_stop_halts_and_lets_go_again(victim, monkeypatch: pytest.MonkeyPatch) -> None:
    process, target = victim
    states = []

    def look(seconds: float) -> None:
        wait_for(lambda: state_of(process.pid) == "T", "stopped")
        states.append(seconds)

    monkeypatch.setattr(chaos, "time", SimpleNamespace(sleep=look))
    chaos.FAULTS["stop"].inflict(target, 3.0)
    monkeypatch.undo()
    assert states == [3.0]
    wait_for(lambda: state_of(process.pid) in "SR", "going again")


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize(
    ("name", "line"),
    [("memory", "Max address space"), ("disk-full", "Max file size"), ("files", "Max open files")],
)
def test_limits_hold_as_long_as_the_fault_lasts(
    victim, name: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, target = victim
    before = limit(process.pid, line)
    during: list[str] = []
    look = SimpleNamespace(sleep=lambda seconds: during.append(limit(process.pid, line)))
    monkeypatch.setattr(chaos, "time", look)
    chaos.FAULTS[name].inflict(target, 0.5)
    assert len(during) == 1 and during[0] != before
    assert limit(process.pid, line) == before


def limit(pid: int, line: str) -> str:
    """The soft one."""
    rows = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(row for row in rows if row.startswith(line))[len(line) :].split()[0]


def test_a_seed_chooses_the_same_victims_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = {name: (name,) for name in ("feed", "signals", "publisher")}
    made = manifest(os.getpid())
    made = Manifest(**{name: getattr(made, name) for name in made.__struct_fields__} | {"processes": roles})
    for role in roles:
        Stats.create(tmp_path / f"{role}.stats")
        Stats.attach(tmp_path / f"{role}.stats").vitals[layout.V_PID] = os.getpid()
    struck: list[str] = []
    planted = chaos.Fault("", False, lambda victim, seconds: struck.append(victim.role))
    monkeypatch.setitem(chaos.FAULTS, "kill", planted)
    monkeypatch.setattr(chaos, "time", SimpleNamespace(sleep=lambda seconds: None))
    for _ in range(2):
        chaos.inflict(tmp_path, made, "kill", "any", 0, 8, 1.0, 5, lambda text: None)
    assert struck[:8] == struck[8:]
    assert len(set(struck)) > 1


def test_a_role_that_is_not_there_or_does_not_run_is_named(tmp_path: Path) -> None:
    Stats.create(tmp_path / "signals.stats")
    with pytest.raises(chaos.ChaosError, match="no role 'x'; there are: supervisor, signals"):
        chaos.find_victim(tmp_path, manifest(1), "x")
    with pytest.raises(chaos.ChaosError, match="signals does not run"):
        chaos.find_victim(tmp_path, manifest(1), "signals")
