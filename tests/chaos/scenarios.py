"""Runs scenarios of faults that are declared as data, and pairs of faults composed at random; checks after each what is
promised.

    scripts/chaos_scenarios.sh [NAME ...] [--pairs N] [--seed N] [--file tests/system/scenarios/faults.yaml]

``--pairs N``: N pairs of faults that begin together, chosen by the seed; ``--pairs 0``: all there are. Exit code 0: all
ended as they should.
"""

import argparse
import itertools
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from chaos import proof
from chaos.session import API_KEY, Session, prepare, private_root, running, wait_for_ticks
from hft_engine.chaos import FAULTS as PROCESS_FAULTS
from hft_engine.chaos import ChaosError
from hft_engine.feed.states import FEED_STATES
from hft_engine.runtime.faultpoints import ENVIRONMENT
from hft_engine.shm.counters import ActorState
from support import watcher
from support.engine import ROOT, hft
from support.faults import CLOCK, DISK, FAULTS, NETWORK, Ground, SteppingVenue, inflict, slow_disk
from support.memory import small_file_system
from support.proxy import Proxy
from support.refusal import assert_nothing_left
from support.waiting import wait_for

FILE = ROOT / "tests" / "system" / "scenarios" / "faults.yaml"
ROLES = ("feed", "indicators", "inference", "signals", "persistence", "publisher")
# What a restart and a lost connection always leave in the error logs.
ALWAYS = (
    "restart: ",
    "hang: ",
    "connection lost: ",
    "gap of ",
    "data are missing",
    "an earlier life died",
    "quiet: ",
)
NOT_PAIRED = (
    "corrupt",
    "full-disk",
    "flip",
)  # ends the engine; needs a disk of its own; is for the journal's readers
LIVE = FEED_STATES.index("live")
VICTIM_LOOKS = 1_000  # of 10 ms
RECOVERED_S = 45.0  # backoff cap + 5 s, and a hang that must be seen first
QUICK = {"quiet_after_ms": 500, "dead_after_ms": 1_500, "reconnect": {"cap_ms": 2_000}}


class ScenarioError(AssertionError):
    """A scenario did not end as it should."""


def load(path: Path) -> dict[str, dict[str, Any]]:
    """The scenarios of a file, with every fault's name checked."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())
    for name, scenario in found.items():
        for fault in _flat(scenario["faults"]):
            if fault["name"] not in FAULTS:
                raise ScenarioError(
                    f"{path.name}: {name}: no fault {fault['name']!r}; there are: {', '.join(FAULTS)}"
                )
    return found


def _flat(faults: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for fault in faults:
        yield from fault.get("together", [fault])


def pairs(count: int, rng: random.Random) -> dict[str, dict[str, Any]]:
    """``count`` scenarios (0: all) of two faults that begin together; roles and times by the seed."""
    names = [name for name in FAULTS if name not in NOT_PAIRED]
    chosen = list(itertools.combinations(names, 2))
    rng.shuffle(chosen)
    return {f"{a}+{b}": _pair(a, b, rng) for a, b in chosen[: count or None]}


def _pair(a: str, b: str, rng: random.Random) -> dict[str, Any]:
    roles = rng.sample(ROLES, 2)
    together = [
        {
            "name": name,
            "role": role,
            "seconds": round(rng.uniform(0.5, 4.0), 1),
            "at": round(rng.uniform(0, 0.5), 2),
        }
        for name, role in zip((a, b), roles, strict=True)
    ]
    return {"rate": 2_000, "faults": [{"together": together}], "errors": [".*"], "lossless": False}


@contextmanager
def ground_for(scenario: dict[str, Any], directory: Path, seed: int) -> Iterator[tuple[Session, Ground]]:
    """An engine whose way to its venue leads through a proxy."""
    venue = SteppingVenue(API_KEY, float(scenario["rate"]), seed)
    try:
        with Proxy(venue.port) as proxy, running(prepare(directory, proxy.url, feed=QUICK)) as made:
            yield made, Ground(made.run_dir(), proxy, venue, made.data_dir)
    finally:
        venue.close()


def run(scenario: dict[str, Any], seed: int) -> list[str]:
    """One scenario; returns what is wrong in the end."""
    with private_root() as directory, _disk_of(scenario, directory):
        with ground_for(scenario, directory, seed) as (made, ground):
            view = made.view()
            run_id = view.manifest.run_id
            wait_for_ticks(view, 2_000)
            processes = made.processes()
            for fault in scenario["faults"]:
                _begin(fault, ground)
            if isinstance(scenario.get("ends"), dict):
                psutil.wait_procs(processes, timeout=30)
            else:
                _back_to_normal(made, view)
                made.stop()
        problems = _verdict(made, run_id, scenario)
        assert_nothing_left(Path(os.environ["HFT_RUN_ROOT"]))
        return problems


@contextmanager
def _disk_of(scenario: dict[str, Any], directory: Path) -> Iterator[None]:
    """The data directory on a small file system, or on a slow one, where the scenario says so."""
    slow = scenario.get("slow_disk")
    if slow:
        os.environ |= slow_disk(slow["points"], slow["milliseconds"])
    try:
        if "small_disk_mb" in scenario:
            with small_file_system(scenario["small_disk_mb"]) as place:
                (directory / "data").symlink_to(place)
                yield
        else:
            yield
    finally:
        if slow:
            del os.environ[ENVIRONMENT]


def _begin(fault: dict[str, Any], ground: Ground) -> None:
    """Inflict it, or all that are together, and wait until it is over. Raises ScenarioError for one that failed."""
    together = fault.get("together", [fault])
    with ThreadPoolExecutor(len(together)) as pool:
        outcomes = [pool.submit(_one, one, ground) for one in together]
    for one, outcome in zip(together, outcomes, strict=True):
        if (error := outcome.exception()) is not None:
            raise ScenarioError(f"{one['name']} could not be inflicted: {error!r}")


def _one(fault: dict[str, Any], ground: Ground) -> None:
    time.sleep(fault.get("at", 0.0))
    role, seconds = fault.get("role", ""), float(fault.get("seconds", 1.0))
    for _ in range(VICTIM_LOOKS):  # its victim may be on its way up, from the fault before
        try:
            inflict(fault["name"], ground, role, seconds)
            return
        except ChaosError:
            time.sleep(0.01)
    raise ScenarioError(f"{role} did not come back")


def _back_to_normal(made: Session, view: Any) -> None:
    def normal() -> bool:
        states = [view.stats[role].state for role in view.roles]
        return view.counters("feed").get("state") == LIVE and all(
            state == ActorState.RUNNING for state in states
        )

    wait_for(
        normal,
        f"all running and the feed live: {[str(view.stats[role].state) for role in view.roles]}",
        RECOVERED_S,
    )
    wait_for_ticks(view, 2_000)
    before = view.rings["signals"].published
    wait_for(lambda: view.rings["signals"].published > before, "signals again", 30)


def _verdict(made: Session, run_id: str, scenario: dict[str, Any]) -> list[str]:
    record = made.record()
    problems = watcher.unexpected(record, [*ALWAYS, *scenario.get("errors", [])])
    ends = scenario.get("ends", "running")
    if isinstance(ends, dict):
        if record.exit_code == 0 or ends["refuses"] not in record.reason:
            problems.append(
                f"it ended with {record.exit_code}, reason {record.reason!r}, not {ends['refuses']!r}"
            )
        problems = [problem for problem in problems if ends["refuses"] not in problem]
    elif record.exit_code:
        problems.append(f"exit code {record.exit_code}: {record.reason}")
    journal = made.data_dir / "journal" / run_id
    problems += _journal_check(journal, scenario.get("damaged", False))
    if scenario.get("lossless", True) and not isinstance(ends, dict):
        problems += _lossless(made, journal)
    return problems


def _journal_check(journal: Path, damaged: bool) -> list[str]:
    """It opens; or, of one that was damaged, it is refused with the place and the command that repairs it."""
    answer = hft("journal", "check", str(journal))
    told = answer.stdout + answer.stderr
    good = answer.returncode != 0 and "hft journal cut" in told if damaged else answer.returncode == 0
    return [] if good else [f"journal check, exit code {answer.returncode}: {told}"]


def _lossless(made: Session, journal: Path) -> list[str]:
    other = made.directory / "undisturbed.db"
    proof.reference(made, journal, other)
    found = proof.compare(made.data_dir / "market_data.db", other)
    return [str(difference) for difference in found if not difference.none]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--pairs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else time.time_ns() % 1_000_000
    declared = load(given.file)
    chosen = pairs(given.pairs, random.Random(seed)) if given.pairs is not None else declared
    if given.names:
        chosen = {name: scenario for name, scenario in chosen.items() if name in given.names}
    kinds = {"processes": PROCESS_FAULTS, "networks": NETWORK, "clocks": CLOCK, "disks": DISK}
    counted = ", ".join(f"{len(faults)} of {what}" for what, faults in kinds.items())
    print(f"seed {seed}, {len(chosen)} scenarios; {len(FAULTS)} kinds of faults: {counted}", flush=True)
    failed = [name for name, scenario in chosen.items() if not _told(name, scenario, seed)]
    print(f"seed {seed}: " + (f"FAILED: {', '.join(failed)}" if failed else "all ended as they should"))
    return 1 if failed else 0


def _told(name: str, scenario: dict[str, Any], seed: int) -> bool:
    started = time.monotonic()
    try:
        problems = run(scenario, seed)
    except AssertionError as error:
        problems = [str(error)]
    print(f"{'FAILED' if problems else 'ok':<8}{name:<32}{time.monotonic() - started:>6.1f} s", flush=True)
    if problems:
        print(f"        faults: {scenario['faults']}")
    for problem in problems:
        print(f"        {problem}")
    return not problems


if __name__ == "__main__":
    sys.exit(main())
