"""A long run under an even load: memory, descriptors and threads of every process must stay as they are.

    scripts/soak.sh [--minutes 30] [--rate 2000] [--layout dedicated] [--svg FILE]

Prints a table and draws the memory of every process. Exit code 1 when, after the warm-up (a third of the time, at most
ten minutes), a process's resident memory grows by 1 MB/h or more in the linear fit, a descriptor or a thread is left
over, or the error log is not empty.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from benchmarks.plot import Line, Panel, draw

from chaos.session import Session, private_root, session

SLOPE_MB_H_MAX = 1.0
GROWTH_MB_MIN = 0.25  # what is less, over the whole time, is the grain of the allocator and no trend
PERIOD_S = 1.0
WARM_UP_SHARE, WARM_UP_S_MAX = 1 / 3, 600.0


@dataclass
class Watched:
    """One process over time. ``rss`` and ``anonymous`` in MB."""

    name: str
    process: psutil.Process
    times: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    anonymous: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    ended_s: float | None = None  # when it was found to be gone

    def sample(self, now_s: float) -> None:
        """Its figures now; of one that is gone, that it is."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            descriptors = self.process.num_fds()
            words = dict(line.split(":", 1) for line in status.splitlines())
            self.rss.append(int(words["VmRSS"].split()[0]) / 1e3)
        except (OSError, psutil.Error, KeyError):  # a zombie has no VmRSS
            self.ended_s = now_s
            return
        self.times.append(now_s)
        self.anonymous.append(int(words["RssAnon"].split()[0]) / 1e3)
        self.threads.append(int(words["Threads"]))
        self.descriptors.append(descriptors)


@dataclass(frozen=True)
class Finding:
    """Of one process, after the warm-up."""

    name: str
    rss_mb: float
    slope_mb_h: float
    growth_mb: float
    descriptors: tuple[int, int]  # fewest, most
    threads: tuple[int, int]
    problems: tuple[str, ...]


def finding(watched: Watched, warm_up_s: float) -> Finding:
    """The linear fit and what is out of bounds."""
    after = np.array(watched.times) >= min(warm_up_s, watched.times[-1])
    times, rss = np.array(watched.times)[after], np.array(watched.rss)[after]
    slope_mb_h = float(np.polyfit(times, rss, 1)[0]) * 3600 if len(times) > 2 else 0.0
    growth_mb = slope_mb_h * float(times[-1] - times[0]) / 3600
    descriptors, threads = (np.array(counts)[after] for counts in (watched.descriptors, watched.threads))
    problems = [] if watched.ended_s is None else [f"was gone after {watched.ended_s / 60:.1f} min"]
    if slope_mb_h >= SLOPE_MB_H_MAX and growth_mb >= GROWTH_MB_MIN:
        problems.append(f"grows by {slope_mb_h:.2f} MB/h")
    for what, counts in (("descriptors", descriptors), ("threads", threads)):
        # A file that is open for a moment (a checkpoint, a segment) is none left over: what is, raises the least.
        quarter = len(counts) // 4 + 1
        least_before, least_now = counts[:quarter].min(), counts[-quarter:].min()
        if least_now > least_before:
            problems.append(
                f"{what} {least_before} -> {least_now}, between {counts.min()} and {counts.max()}"
            )
    return Finding(
        watched.name,
        float(rss[-1]),
        slope_mb_h,
        growth_mb,
        (int(descriptors.min()), int(descriptors.max())),
        (int(threads.min()), int(threads.max())),
        tuple(problems),
    )


def names_of(running: Session) -> list[Watched]:
    """Every process of the engine, by its name (``hft:feed``)."""
    found = [Watched(process.name().removeprefix("hft:"), process) for process in running.processes()]
    found[0].name = "supervisor"
    return found


def watch(running: Session, minutes: float) -> list[Watched]:
    """Ends early where a process is gone: the one in its place would be another's figures."""
    watched = names_of(running)
    started = due = time.monotonic()
    while time.monotonic() - started < minutes * 60:
        for one in watched:
            one.sample(time.monotonic() - started)
        if any(one.ended_s is not None for one in watched):
            break
        due += PERIOD_S
        time.sleep(max(0.0, due - time.monotonic()))
    return watched


def table(findings: list[Finding]) -> str:
    lines = [f"{'process':<14}{'RSS MB':>8}{'MB/h':>8}{'grown MB':>10}{'descriptors':>13}{'threads':>9}"]
    for one in findings:
        descriptors, threads = _span(one.descriptors), _span(one.threads)
        lines.append(f"{one.name:<14}{one.rss_mb:>8.1f}{one.slope_mb_h:>8.2f}{one.growth_mb:>10.3f}"
                     f"{descriptors:>13}{threads:>9}  {'; '.join(one.problems)}")  # fmt: skip
    return "\n".join(lines)


def _span(found: tuple[int, int]) -> str:
    return str(found[0]) if found[0] == found[1] else f"{found[0]}-{found[1]}"


def plot(path: Path, watched: list[Watched], title: str) -> None:
    """Resident memory, and what of it is the process's own, less where it began: a leak is a line that rises."""
    panels = [
        Panel("RSS, MB", "minutes", [_line(one, one.rss, 0.0) for one in watched]),
        Panel(
            "own memory since the warm-up, MB",
            "minutes",
            [_line(one, one.anonymous, _base(one)) for one in watched],
        ),
    ]
    draw(path, title, panels)


def _base(watched: Watched) -> float:
    return watched.anonymous[len(watched.anonymous) // 3]


def _line(watched: Watched, values: list[float], base: float) -> Line:
    return Line(watched.name, [at / 60 for at in watched.times], [value - base for value in values])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2_000.0)
    parser.add_argument("--layout", default="dedicated")
    parser.add_argument("--svg", type=Path, default=Path("logs/soak.svg"))
    given = parser.parse_args()
    with (
        private_root() as directory,
        session(directory, given.rate, engine={"layout": given.layout}) as running,
    ):
        watched = watch(running, given.minutes)
        published = running.view().rings["ticks"].published
        running.stop()
        faults = running.record().faults
    warm_up_s = min(given.minutes * 60 * WARM_UP_SHARE, WARM_UP_S_MAX)
    findings = [finding(one, warm_up_s) for one in watched]
    title = f"{given.minutes:g} min at {given.rate:,.0f} ticks/s, layout {given.layout}"
    print(f"{title}: {published:,} ticks; figures after {warm_up_s / 60:.1f} min of warm-up")
    print(table(findings))
    for fault in faults:
        print(f"error log of {fault.role}: {fault.text} ({fault.count} times)")
    given.svg.parent.mkdir(parents=True, exist_ok=True)
    plot(given.svg, watched, f"Soak: {title}")
    print(f"drawn: {given.svg}")
    good = not faults and not any(one.problems for one in findings)
    print("nothing grows, nothing is left over, no errors" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
