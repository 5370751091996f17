"""The kill matrix: every way to die x every process x every state of the engine, and how each must end.

    scripts/kill_matrix.sh [--states idle,peak,...] [--victims supervisor,feed,...] [--ways SIGKILL,...] [--seed N]

Ways: SIGTERM, SIGINT, SIGKILL, SIGSTOP for 5 s, SIGABRT, SIGSEGV, and no more memory. States: idle (1 tick/s), peak
(10,000 ticks/s), reconnecting (nothing listens at the venue), replaying (a recording, all rings gating). After each
cell: no orphan, no run folder, the journal opens, the error log says what happened, the exit code is as specified, and
of a replay the signals are those of an undisturbed one.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from chaos.session import API_KEY, Session, prepare, private_root, wait_for_ticks
from hft_engine import chaos
from hft_engine.feed.states import FEED_STATES
from hft_engine.runtime import run_record, rundir
from hft_engine.shm import layout
from hft_engine.shm.counters import ActorState
from hft_engine.views.run import RunView
from support.engine import ROOT, START_TIMEOUT_S, hft
from support.faults import SteppingVenue
from support.proxy import Proxy
from support.waiting import wait_for

WAYS = ("SIGTERM", "SIGINT", "SIGKILL", "SIGSTOP", "SIGABRT", "SIGSEGV", "memory")
VICTIMS = ("supervisor", "feed", "indicators", "inference", "signals", "persistence", "publisher")
STATES = ("idle", "peak", "reconnecting", "replaying")
RATES = {"idle": 1.0, "peak": 10_000.0, "reconnecting": 1_000.0}
FAULT_OF = {"SIGTERM": "term", "SIGINT": "int", "SIGKILL": "kill", "SIGSTOP": "stop", "SIGABRT": "abort",
            "SIGSEGV": "segv", "memory": "memory"}  # fmt: skip
STOP_S, MEMORY_S = 5.0, 1.0
GONE_S = 2.0  # from the supervisor's death to the last orphan's
RESTARTING = ("SIGTERM", "SIGKILL", "SIGABRT", "SIGSEGV")  # an actor that ends, however, is started again
DEADLY = ("SIGKILL", "SIGABRT", "SIGSEGV")
RECORDED = ROOT / "tests" / "data" / "binance" / "usdm_btcusdt_20240808_cut.jsonl.gz"


@dataclass(frozen=True)
class Cell:
    way: str
    victim: str
    state: str

    def __str__(self) -> str:
        return f"{self.way:<9}{self.victim:<13}{self.state}"


class CellError(AssertionError):
    """A cell did not end as it must."""


def cells(ways: Sequence[str], victims: Sequence[str], states: Sequence[str]) -> list[Cell]:
    return [Cell(way, victim, state) for state in states for victim in victims for way in ways]


def diagonal() -> list[Cell]:
    """Every way, every victim and the live states, each at least once."""
    ways = ("SIGKILL", "SIGSEGV", "SIGTERM", "SIGABRT", "memory", "SIGINT")
    found = [Cell(way, victim, "peak") for way, victim in zip(ways, VICTIMS[1:], strict=True)]
    return [*found, Cell("SIGTERM", "supervisor", "peak"), Cell("SIGKILL", "supervisor", "reconnecting")]


class Live:
    """An engine in the foreground, so that its exit code is ours to see; again and again, as cells use it up."""

    def __init__(self, state: str, directory: Path, seed: int) -> None:
        self.state = state
        self.venue = SteppingVenue(API_KEY, RATES[state], seed)
        self.proxy = Proxy(self.venue.port)
        self.proxy.__enter__()
        self.session: Session = prepare(
            directory, self.proxy.url, inference={"model": None}, signals=_plain_rules()
        )
        self.engine: subprocess.Popen[bytes] | None = None

    def up(self) -> RunView:
        """The running engine; started where there is none, and brought into its state."""
        if self.engine is None or self.engine.poll() is not None:
            self.proxy.heal()
            self._start()
            if self.state == "reconnecting":
                self.proxy.refuse()
                view = self.session.view()
                wait_for(lambda: _feed_state(view) in ("backoff", "connecting"), "feed without a venue", 20)
        return self.session.view()

    def _start(self) -> None:
        command = [sys.executable, "-m", "hft_engine", "start", *self.session.options]
        self.engine = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

        def live() -> bool:
            assert self.engine is not None and self.engine.poll() is None, "the engine did not start"
            time.sleep(0.1)  # opening a view costs a starting engine some of its core
            try:
                return _feed_state(self.session.view()) == "live"
            except (rundir.RunError, KeyError):
                return False

        wait_for(live, "engine live", START_TIMEOUT_S)
        wait_for_ticks(self.session.view(), 1)

    def close(self) -> None:
        try:
            if self.engine is not None and self.engine.poll() is None:
                self.session.stop()
                self.engine.wait(20)
        finally:
            self.session.kill_everything()
            self.proxy.__exit__(None, None, None)
            self.venue.close()


def _plain_rules() -> dict[str, Any]:
    rule = {"name": "up", "feature": "tick_return_1", "side": "buy", "when": "above"}
    return {"rules": [{**rule, "enter": 1e-4, "release": -1e-7, "full": 1e-2}]}


def _feed_state(view: RunView) -> str:
    return FEED_STATES[view.counters("feed").get("state", 0)]


# ---- cells of a live engine -----------------------------------------------------------------------------------


def run_live(cell: Cell, live: Live) -> None:
    """Raises CellError."""
    if cell.victim == "supervisor":
        _supervisor_cell(cell, live)
    else:
        _actor_cell(cell, live)


def _actor_cell(cell: Cell, live: Live) -> None:
    view = live.up()
    before, restarts = _pid(view, cell.victim), _restarts(view, cell.victim)
    _inflict(cell, view)
    if cell.way in (*RESTARTING, "SIGSTOP"):
        wait_for(lambda: _pid(view, cell.victim) != before, f"{cell}: restarted", 15)
    wait_for(lambda: _healthy(view), f"{cell}: all running again", 20)
    if cell.way == "SIGINT":
        _must(
            _pid(view, cell.victim) == before,
            "an actor must not heed Ctrl-C: the supervisor tells it to stop",
        )
    if live.state == "peak":
        wait_for_ticks(view, 100, 20)
    told = " ".join(fault["text"] for fault in live.session.errors())
    if _restarts(view, cell.victim) > restarts:
        name = "hang: " if cell.way == "SIGSTOP" else f"restart: {cell.victim} "
        _must(name in told, f"the error log does not say {name!r}: {told}")
    assert live.engine is not None
    _must(live.engine.poll() is None, "the engine ended")


def _supervisor_cell(cell: Cell, live: Live) -> None:
    view = live.up()
    assert live.engine is not None
    run_dir, run_id = view.run_dir, view.manifest.run_id
    processes = psutil.Process(live.engine.pid).children(recursive=True)
    _inflict(cell, view)
    if cell.way in ("SIGSTOP", "memory"):
        wait_for(lambda: _healthy(view), f"{cell}: all running again", 20)
        live.session.stop()
    code = live.engine.wait(25)
    expected = -getattr(signal, cell.way) if cell.way in DEADLY else 0
    _must(code == expected, f"exit code {code}, not {expected}")
    _, orphans = psutil.wait_procs(processes, timeout=GONE_S if cell.way in DEADLY else 0.5)
    _must(not orphans, f"orphans: {orphans}")
    if cell.way in DEADLY:
        _must(run_dir.is_dir(), "a dead run's folder is not there to be looked at")
        live.session.stop()
    _must(not run_dir.exists(), f"left behind: {run_dir}")
    record = run_record.read(run_record.folder(live.session.data_dir) / f"{run_id}.json")
    _must(record.ended == ("killed" if cell.way in DEADLY else "stopped"), f"recorded as {record.ended}")
    _journal_opens(live.session.data_dir / "journal" / run_id)


def _inflict(cell: Cell, view: RunView) -> None:
    victim = chaos.find_victim(view.run_dir, view.manifest, cell.victim)
    chaos.FAULTS[FAULT_OF[cell.way]].inflict(victim, STOP_S if cell.way == "SIGSTOP" else MEMORY_S)


def _pid(view: RunView, role: str) -> int:
    return int(view.stats[role].vitals[layout.V_PID])


def _restarts(view: RunView, role: str) -> int:
    return view.counters("supervisor").get(f"restarts.{role}", 0)


def _healthy(view: RunView) -> bool:
    now_ns = time.monotonic_ns()
    stats = [view.stats[role] for role in view.roles]
    fresh = all(now_ns - int(one.vitals[layout.V_HEARTBEAT_NS]) < 1_000_000_000 for one in stats)
    return fresh and all(one.state == ActorState.RUNNING for one in stats)


def _journal_opens(journal: Path) -> None:
    """A torn tail is not an error; what is neither whole nor torn is."""
    answer = hft("journal", "check", str(journal))
    _must(answer.returncode == 0 or "repair" in answer.stdout, f"journal: {answer.stdout}{answer.stderr}")


def _must(holds: bool, text: str) -> None:
    if not holds:
        raise CellError(text)


# ---- cells of a replay ----------------------------------------------------------------------------------------


class Replaying:
    """A recording of some thousand ticks in real time, many times faster; its undisturbed result."""

    SPEED = "40"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.options = ["--layout", "dedicated", "--speed", self.SPEED, "--json",
                        "--set", f"engine.log_dir={directory / 'logs'}"]  # fmt: skip
        answer = hft("replay", str(RECORDED), "--layout", "inline", "--json", *self.options[4 + 1 :])
        assert answer.returncode == 0, answer.stderr
        self.hash = json.loads(answer.stdout.splitlines()[-1])["signal_hash"]

    def run(self, cell: Cell) -> None:
        """Raises CellError."""
        root = os.environ["HFT_RUN_ROOT"]
        command = [sys.executable, "-m", "hft_engine", "replay", str(RECORDED), *self.options,
                   "--db", str(self.directory / f"{time.time_ns()}.db")]  # fmt: skip
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as replay:
            try:
                self._disturb(cell, replay, root)
            finally:
                replay.kill()

    def _disturb(self, cell: Cell, replay: "subprocess.Popen[str]", root: str) -> None:
        view = _view_of(replay, root)
        processes = psutil.Process(replay.pid).children(recursive=True)
        role = "replay" if cell.victim == "feed" else cell.victim
        _inflict(Cell(cell.way, role, cell.state), view)
        out, err = replay.communicate(timeout=60)
        _, orphans = psutil.wait_procs(processes, timeout=GONE_S)
        _must(not orphans, f"orphans: {orphans}")
        rundir.sweep(root, salvage=run_record.salvage)
        _must(not list(Path(root).rglob("run.json")), "a run folder is left")
        if cell.victim == "supervisor" and cell.way in DEADLY:
            _must(replay.returncode == -getattr(signal, cell.way), f"exit code {replay.returncode}")
        elif cell.victim == "supervisor" and cell.way in ("SIGTERM", "SIGINT"):
            _must(replay.returncode == 2 and "it was stopped" in err, f"exit code {replay.returncode}: {err}")
        else:
            _must(replay.returncode == 0, f"exit code {replay.returncode}: {err}")
            found = json.loads(out.splitlines()[-1])["signal_hash"]
            _must(found == self.hash, f"signals {found}, undisturbed {self.hash}")


def _view_of(replay: "subprocess.Popen[str]", root: str) -> RunView:
    found: list[RunView] = []

    def ready() -> bool:
        assert replay.poll() is None, "the replay ended before it was disturbed"
        try:
            view = RunView(rundir.find_run(root))
        except rundir.RunError:
            return False
        if view.rings["ticks"].published < 100 or not _healthy(view):
            return False
        found.append(view)
        return True

    wait_for(ready, "replay under way", START_TIMEOUT_S)
    return found[0]


# ---- all of them ----------------------------------------------------------------------------------------------


@contextmanager
def runner(state: str, directory: Path, seed: int) -> Iterator[Callable[[Cell], None]]:
    """What runs a cell of this state."""
    if state == "replaying":
        yield Replaying(directory).run
        return
    live = Live(state, directory / state, seed)
    try:
        yield lambda cell: run_live(cell, live)
    finally:
        live.close()


def run_cells(wanted: Sequence[Cell], seed: int, say: Callable[[str], None] = print) -> list[str]:
    """All of them, state by state; returns those that did not end as they must."""
    failed = []
    with private_root() as directory:
        for state in dict.fromkeys(cell.state for cell in wanted):
            with runner(state, directory, seed) as run:
                for cell in [cell for cell in wanted if cell.state == state]:
                    started = time.monotonic()
                    try:
                        run(cell)
                        outcome = "ok"
                    except AssertionError as error:
                        outcome = f"FAILED: {error}"
                        failed.append(f"{cell}: {error}")
                    say(f"{cell!s:<36}{time.monotonic() - started:>6.1f} s  {outcome}")
        left = list(Path(os.environ["HFT_RUN_ROOT"]).rglob("run.json"))
        if left:
            failed.append(f"run folders left: {left}")
    return failed


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"no {sorted(unknown)[0]!r}; there are: {', '.join(known)}")
        return names

    return parse


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ways", type=_names(WAYS), default=list(WAYS))
    parser.add_argument("--victims", type=_names(VICTIMS), default=list(VICTIMS))
    parser.add_argument("--states", type=_names(STATES), default=list(STATES))
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    wanted = cells(given.ways, given.victims, given.states)
    print(f"{len(wanted)} cells, seed {given.seed}")
    failed = run_cells(wanted, given.seed, lambda text: print(text, flush=True))
    print(f"{len(wanted) - len(failed)} of {len(wanted)} cells ended as they must")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
