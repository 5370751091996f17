"""``kill -9`` at every fault point that a running engine comes by, again and again, and the proof after each.

    scripts/chaos.sh --points [NAME ...]

A point is where a checkpoint, the journal or an event file is half written. The process that comes by dies there, at
the ARRIVAL-th time in each of its lives, as long as the trial lasts; then the engine stops in order, and nothing may
be lost or done twice.
"""

import os
import re
import sys
import time
from pathlib import Path

from chaos import proof
from chaos.session import Session, private_root, session, wait_for_ticks
from hft_engine.runtime.faultpoints import ENVIRONMENT, WHILE
from support.engine import ROOT

SOURCE = ROOT / "src" / "hft_engine"
ARRIVAL = 3
ARRIVALS = {"journal.header": 2, "journal.roll": 1, "journal.open": 2}  # of those that are rare in a life
OFTEN = {"memory_ms": 250, "disk_ms": 500}  # so that every point of a checkpoint is come by within seconds
RATE = 3_000.0
SECONDS = 6.0
TABLES, TRADED = ("bars", "venue_bars", "signals"), ("orders", "fills")
# Not come by in a session without trouble or commands, or only at its end. Their own tests arm them.
ELSEWHERE = (
    "latch.", "journal.cut", "journal.delete", "journal.end", "journal.zstd", "events.", "file.", "told.",
    "trainer.", "registry.", "shadow.",
)  # fmt: skip
_POINT = re.compile(r"fault_point\(\s*f?\"([^\"]+)\"\s*\)")


def points() -> list[str]:
    """Every point in the engine's source."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        if path.name != "faultpoints.py":
            found |= {name for name in _POINT.findall(path.read_text()) if "{" not in name}
    return sorted(found)


def in_sessions() -> list[str]:
    return [name for name in points() if not name.startswith(ELSEWHERE)]


def trial(point: str, seconds: float = SECONDS) -> tuple[int, list[str]]:
    """(times the point killed, what is wrong in the end)."""
    with private_root() as directory:
        armed, arrival = directory / "armed", ARRIVALS.get(point, ARRIVAL)
        armed.touch()
        os.environ[ENVIRONMENT], os.environ[WHILE] = f"{point}:kill@{arrival}", str(armed)
        try:
            trades = {"execution": {"strategy": "follow"}} if point.startswith("execution.") else {}
            with session(
                directory / "s", RATE, persistence={"journal_segment_mb": 1}, checkpoints=OFTEN, **trades
            ) as running:
                return _watched(running, armed, seconds, TABLES + (TRADED if trades else ()))
        finally:
            del os.environ[ENVIRONMENT], os.environ[WHILE]


def _watched(running: Session, armed: Path, seconds: float, tables: tuple[str, ...]) -> tuple[int, list[str]]:
    view = running.view()
    time.sleep(seconds)
    armed.unlink()
    wait_for_ticks(view, int(RATE))
    kills = sum(view.counters("supervisor")[f"restarts.{role}"] for role in view.roles)
    running.stop()
    published = view.rings["ticks"].published
    run_id = view.manifest.run_id
    journal = running.data_dir / "journal" / run_id
    problems = proof.whole(proof.journal_ticks(journal), published)
    problems += proof.accounts_hold(running.data_dir, run_id)
    other = running.directory / "undisturbed.db"
    proof.reference(running, journal, other)
    found = proof.compare(running.data_dir / "market_data.db", other, tables)
    return kills, problems + [str(difference) for difference in found if not difference.none]


def run(names: list[str]) -> int:
    """Prints a line a point; returns the exit code. A point that nobody came by fails too."""
    failed = 0
    for name in names or in_sessions():
        kills, problems = trial(name)
        if not kills:
            problems.append("nobody came by")
        failed += bool(problems)
        print(
            f"{'FAILED' if problems else 'ok':<8}{name:<28}{kills:>4} kills  {'; '.join(problems)}",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
