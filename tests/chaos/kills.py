"""Random ``kill -9`` over all actor processes under load, then the proof that nothing was lost or done twice.

    scripts/chaos.sh [--kills 200] [--minutes 10] [--rate 5000] [--seed N] [--roles a,b] [--supervisor-kills N]
    scripts/chaos.sh --points [NAME ...]

With ``--supervisor-kills`` the time is cut in as many parts and one more, between which the supervisor is killed: all
must be gone within two seconds, and ``hft start --resume`` must go on, in turn from what is left in shared memory and
from disk alone. Prints its seed, the recovery times, and what
the proof found. Exit code 0: nothing lost, nothing twice.
"""

import argparse
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from chaos import points, proof
from chaos.recovery import Kill, Monitor, percentile, table
from chaos.session import Session, private_root, session, wait_for_ticks

ROLES = ("feed", "indicators", "inference", "signals", "persistence", "publisher")
LOOK_S = 0.001
SETTLE_S = 30.0
PAUSE_MS_MAX = 500.0  # of the feed while others die: far below heartbeat limit and quiet_after_ms
RECOVERY_P50_MS, RECOVERY_P99_MS = 250.0, 1_000.0
GONE_S = 2.0  # from the supervisor's death to the last orphan's


@dataclass(frozen=True)
class Plan:
    """What a trial does."""

    kills: int
    minutes: float
    rate: float
    seed: int
    roles: tuple[str, ...] = ROLES
    supervisor_kills: int = 0
    judge_times: bool = True
    pause_ms_max: float = PAUSE_MS_MAX


def disturb(running: Session, plan: Plan, rng: random.Random) -> list[Kill]:
    """All kills of the plan; returns when every victim has recovered."""
    parts = plan.supervisor_kills + 1
    kills: list[Kill] = []
    for part in range(parts):
        if part:
            kills.append(restart_all(running, from_disk=part % 2 == 0))
        share = plan.kills * (part + 1) // parts - plan.kills * part // parts
        kills += _kill_actors(running, share, plan.minutes * 60 / parts, plan, rng)
        wait_for_ticks(running.view(), int(plan.rate))
    return kills


def _kill_actors(running: Session, count: int, seconds: float, plan: Plan, rng: random.Random) -> list[Kill]:
    monitor = Monitor(running.view(), plan.rate)
    times = sorted(rng.uniform(0.0, seconds) for _ in range(count))
    started = time.monotonic()
    while times or monitor.pending:
        monitor.look()
        if times and time.monotonic() - started >= times[0]:
            able = [role for role in plan.roles if monitor.can_be_killed(role)]
            if able:
                times.pop(0)
                monitor.kill(rng.choice(able))
        assert monitor.view.alive, "the engine ended: " + str(running.errors())
        if time.monotonic() - started > seconds + SETTLE_S:
            raise AssertionError(f"never caught up: {[kill.role for kill in monitor.pending]}")
        time.sleep(LOOK_S)
    return monitor.kills


def restart_all(running: Session, from_disk: bool) -> Kill:
    """SIGKILL of the supervisor; nobody outlives it for long; resumed, from shared memory or without it."""
    view, processes = running.view(), running.processes()
    ticks = view.rings["ticks"]
    kill = Kill("supervisor", view.manifest.pid, time.monotonic_ns(), time.time_ns(), ticks.published)
    processes[0].kill()
    _, orphans = psutil.wait_procs(processes[1:], timeout=GONE_S)
    assert not orphans, f"orphans after {GONE_S} s: {orphans}"
    kill.dying_ns = time.monotonic_ns() - kill.ns
    if from_disk:
        running.stop()  # sweeps up what the dead run has left in memory
    running.start("--resume")
    resumed = running.view()
    assert resumed.manifest.run_id == view.manifest.run_id, "the run did not go on under its name"
    wait_for_ticks(resumed, 1)
    kill.running_ns = kill.caught_up_ns = time.monotonic_ns()
    return kill


def check(running: Session, run_id: str, published: int, kills: list[Kill], plan: Plan) -> list[str]:
    """Everything that is not as promised."""
    journal = running.data_dir / "journal" / run_id
    ticks = proof.journal_ticks(journal)
    feed_kills = [kill for kill in kills if kill.role in ("feed", "supervisor")]
    problems = proof.whole(ticks, published) + proof.accounts_hold(running.data_dir, run_id)
    missed = proof.lost(ticks, feed_kills)
    print(f"venue's numbers: {missed.ticks:,} ticks sent while the feed was restarting ({missed.ranges} gaps), "
          f"{missed.unexplained} gaps otherwise, {missed.repeated} numbers twice")  # fmt: skip
    if missed.unexplained or missed.repeated:
        problems.append(f"the journal is not what the venue sent: {missed}")
    problems += _compare(running, journal)
    pause_ms = proof.longest_pause_ms(ticks, feed_kills)
    print(f"longest pause between ticks while others were killed: {pause_ms:.0f} ms")
    if pause_ms > plan.pause_ms_max:
        problems.append(f"the feed stalled for {pause_ms:.0f} ms")
    return problems + (_slow(kills) if plan.judge_times else [])


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


def _slow(kills: list[Kill]) -> list[str]:
    values = [kill.recovery_ms for kill in kills if kill.role != "supervisor"]
    p50, p99 = percentile(values, 50), percentile(values, 99)
    slow = []
    if p50 > RECOVERY_P50_MS:
        slow.append(f"recovery p50 {p50:.0f} ms > {RECOVERY_P50_MS:.0f} ms")
    if p99 > RECOVERY_P99_MS:
        slow.append(f"recovery p99 {p99:.0f} ms > {RECOVERY_P99_MS:.0f} ms")
    return slow


def trial(plan: Plan) -> list[str]:
    """One disturbed session and its proof; returns what is wrong."""
    rng = random.Random(plan.seed)
    with private_root() as directory:
        with session(directory, plan.rate, plan.seed) as running:
            wait_for_ticks(running.view(), int(plan.rate))
            kills = disturb(running, plan, rng)
            view = running.view()
            run_id = view.manifest.run_id
            running.stop()
            published, signals = view.rings["ticks"].published, view.rings["signals"].published
        print(table([kill for kill in kills if kill.role != "supervisor"]))
        for kill in kills:
            if kill.role == "supervisor":
                print(f"supervisor killed: ticks again after {kill.recovery_ms:,.0f} ms, with --resume")
        print(f"{published:,} ticks, {signals:,} signals published")
        return check(running, run_id, published, kills, plan)


def _plan(given: argparse.Namespace) -> Plan:
    seed = given.seed if given.seed is not None else time.time_ns() % 1_000_000
    return Plan(
        given.kills,
        given.minutes,
        given.rate,
        seed,
        tuple(given.roles.split(",")),
        given.supervisor_kills,
        not given.no_times,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=5_000.0, help="ticks/s from the venue")
    parser.add_argument("--seed", type=int, help="of the kills and of the market; default: a new one")
    parser.add_argument("--roles", default=",".join(ROLES))
    parser.add_argument("--supervisor-kills", type=int, default=0)
    parser.add_argument(
        "--no-times", action="store_true", help="do not judge recovery times (a busy machine)"
    )
    parser.add_argument("--points", nargs="*", help="instead: kill -9 at every fault point, or at these")
    given = parser.parse_args()
    if given.points is not None:
        return points.run(given.points)
    plan = _plan(given)
    print(f"seed {plan.seed}: {plan.kills} kills in {plan.minutes:g} min over {', '.join(plan.roles)} "
          f"at {plan.rate:,.0f} ticks/s", flush=True)  # fmt: skip
    problems = trial(plan)
    for problem in problems:
        print(f"FAILED: {problem}")
    print(f"seed {plan.seed}: " + ("FAILED" if problems else "nothing lost, nothing twice"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
