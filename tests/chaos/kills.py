"""Random ``kill -9`` over all actor processes under load, then the proof that nothing was lost or done twice.

    scripts/chaos.sh [--kills 200] [--minutes 10] [--rate 5000] [--seed N] [--roles a,b] [--supervisor-kills N]

Prints its seed, the recovery times, and what the proof found. Exit code 0: nothing lost, nothing twice.
"""

import argparse
import random
import sys
import time
from pathlib import Path

from chaos import points, proof
from chaos.recovery import Monitor, percentile, table
from chaos.session import Session, private_root, session, wait_for_ticks

ROLES = ("feed", "indicators", "inference", "signals", "persistence", "publisher")
LOOK_S = 0.001
SETTLE_S = 30.0
PAUSE_MS_MAX = 500.0  # of the feed while others die: far below heartbeat limit and quiet_after_ms
RECOVERY_P50_MS, RECOVERY_P99_MS = 250.0, 1_000.0


def disturb(
    running: Session, kills: int, minutes: float, rate: float, rng: random.Random, roles: tuple[str, ...]
) -> Monitor:
    """Kill at random times; returns when every victim has recovered."""
    monitor = Monitor(running.view(), rate)
    times = sorted(rng.uniform(0.0, minutes * 60) for _ in range(kills))
    started = time.monotonic()
    while times or monitor.pending:
        monitor.look()
        if times and time.monotonic() - started >= times[0]:
            able = [role for role in roles if monitor.can_be_killed(role)]
            if able:
                times.pop(0)
                monitor.kill(rng.choice(able))
        assert monitor.view.alive, "the engine ended: " + str(running.errors())
        if not times and time.monotonic() - started > minutes * 60 + SETTLE_S:
            raise AssertionError(f"never caught up: {[kill.role for kill in monitor.pending]}")
        time.sleep(LOOK_S)
    return monitor


def check(
    running: Session, run_id: str, published: int, monitor: Monitor, gate_times: bool, pause_ms_max: float
) -> list[str]:
    """Everything that is not as promised."""
    journal = running.data_dir / "journal" / run_id
    ticks = proof.journal_ticks(journal)
    feed_kills = [kill for kill in monitor.kills if kill.role == "feed"]
    problems = proof.whole(ticks, published) + proof.accounts_hold(running.data_dir, run_id)
    missed = proof.lost(ticks, feed_kills)
    print(f"venue's numbers: {missed.ticks:,} ticks sent while the feed was restarting ({missed.ranges} gaps), "
          f"{missed.unexplained} gaps otherwise, {missed.repeated} numbers twice")  # fmt: skip
    if missed.unexplained or missed.repeated:
        problems.append(f"the journal is not what the venue sent: {missed}")
    problems += _compare(running, journal)
    pause_ms = proof.longest_pause_ms(ticks, feed_kills)
    print(f"longest pause between ticks while others were killed: {pause_ms:.0f} ms")
    if pause_ms > pause_ms_max:
        problems.append(f"the feed stalled for {pause_ms:.0f} ms")
    if gate_times:
        problems += _slow(monitor)
    return problems


def _compare(running: Session, journal: Path) -> list[str]:
    other = running.directory / "undisturbed.db"
    replayed = proof.reference(running, journal, other)
    print(f"undisturbed run on the same input: {replayed['ticks']:,} ticks, {replayed['bars']:,} bars, "
          f"{replayed['signals']:,} signals, hash {replayed['signal_hash']}")  # fmt: skip
    problems = []
    for found in proof.compare(running.data_dir / "market_data.db", other):
        print(f"{found.table:<12}{found.rows:>9,} rows  missing {found.missing:,}  duplicate {found.duplicate:,}  "
              f"wrong {found.wrong:,}")  # fmt: skip
        if not found.none:
            problems.append(f"{found.table}: {found}")
    return problems


def _slow(monitor: Monitor) -> list[str]:
    values = [kill.recovery_ms for kill in monitor.kills]
    p50, p99 = percentile(values, 50), percentile(values, 99)
    slow = []
    if p50 > RECOVERY_P50_MS:
        slow.append(f"recovery p50 {p50:.0f} ms > {RECOVERY_P50_MS:.0f} ms")
    if p99 > RECOVERY_P99_MS:
        slow.append(f"recovery p99 {p99:.0f} ms > {RECOVERY_P99_MS:.0f} ms")
    return slow


def trial(
    kills: int,
    minutes: float,
    rate: float,
    seed: int,
    roles: tuple[str, ...] = ROLES,
    gate_times: bool = True,
    pause_ms_max: float = PAUSE_MS_MAX,
) -> list[str]:
    """One disturbed session and its proof; returns what is wrong."""
    rng = random.Random(seed)
    with private_root() as directory:
        with session(directory, rate, seed) as running:
            view = running.view()
            wait_for_ticks(view, int(rate))
            run_id = view.manifest.run_id
            monitor = disturb(running, kills, minutes, rate, rng, roles)
            wait_for_ticks(view, int(rate))
            running.stop()
            published = view.rings["ticks"].published
            signals = view.rings["signals"].published
        print(table(monitor.kills))
        print(f"{published:,} ticks, {signals:,} signals published")
        return check(running, run_id, published, monitor, gate_times, pause_ms_max)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=5_000.0, help="ticks/s from the venue")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the kills and of the market; default: a new one"
    )
    parser.add_argument("--roles", type=lambda text: tuple(text.split(",")), default=ROLES)
    parser.add_argument(
        "--no-times", action="store_true", help="do not judge the recovery times (a busy machine)"
    )
    parser.add_argument("--points", nargs="*", help="instead: kill -9 at every fault point, or at these")
    given = parser.parse_args()
    if given.points is not None:
        return points.run(given.points)
    seed = given.seed if given.seed is not None else time.time_ns() % 1_000_000
    print(f"seed {seed}: {given.kills} kills in {given.minutes:g} min over {', '.join(given.roles)} "
          f"at {given.rate:,.0f} ticks/s", flush=True)  # fmt: skip
    problems = trial(given.kills, given.minutes, given.rate, seed, given.roles, not given.no_times)
    for problem in problems:
        print(f"FAILED: {problem}")
    print(f"seed {seed}: " + ("FAILED" if problems else "nothing lost, nothing twice"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
