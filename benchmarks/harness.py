"""What every benchmark shares: options, repeated runs, the table, the JSON object on the last line.

Rules: at least three runs, shown as median with the smallest and the largest; the machine's own jitter in the same
run; every figure beside a reference (a peer or the physical limit) taken in the same run; open-loop load, latency
from the scheduled time.
"""

import argparse
import json
import os
import signal
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks import hgrm, jitter, machine

RUNS = 3
REMEDY = 'pip install "hft-engine[bench]"'
Parser = argparse.ArgumentParser
T = TypeVar("T")


class LeftOutError(Exception):
    """A peer cannot take part. The text says why, and the remedy."""


@dataclass(frozen=True)
class Options:
    """``hdr``: where latency percentiles are written; ``extra``: what a benchmark's own arguments said."""

    quick: bool = False
    runs: int = RUNS
    hdr: Path | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def seconds(self, full: float, quick: float) -> float:
        return quick if self.quick else full

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full


def options(
    description: str,
    arguments: Sequence[str] | None = None,
    extra: Callable[[Parser], None] = lambda parser: None,
) -> Options:
    """The command line that every benchmark understands; ``extra`` adds a benchmark's own arguments."""
    parser = Parser(description=description.strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shorter runs, same shape")
    parser.add_argument(
        "--runs", type=int, default=RUNS, help="runs of each measurement (default %(default)s)"
    )
    parser.add_argument(
        "--hdr",
        type=Path,
        metavar="DIR",
        help="write each latency histogram there, for the HdrHistogram plotter",
    )
    extra(parser)
    parsed = vars(parser.parse_args(arguments))
    if arguments is None:  # a program of its own, not a test
        signal.signal(signal.SIGTERM, _terminated)
    return Options(parsed.pop("quick"), max(1, parsed.pop("runs")), parsed.pop("hdr"), parsed)


def _terminated(number: int, frame: object) -> None:
    # As an exception, so that every engine and directory that a benchmark made is removed on the way out.
    sys.exit(128 + number)


@dataclass(frozen=True)
class Measured:
    """One figure over several runs."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


def medians(values: Sequence[Sequence[float]]) -> list[float]:
    """Of each figure's runs."""
    return [Measured(tuple(runs)).median for runs in values]


@dataclass
class Report:
    """Collects a benchmark's figures; ``finish`` prints the table and, as the last line, the JSON object."""

    benchmark: str
    opts: Options
    results: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    jitters: list[jitter.Jitter] = field(default_factory=list)
    console: Console = field(default_factory=lambda: Console(width=160, highlight=False))

    def progress(self, text: str) -> None:
        print(f"  {self.benchmark}: {text}", file=sys.stderr, flush=True)

    def sense_jitter(self, seconds: float | None = None) -> jitter.Jitter:
        """Measure the machine's own jitter now and keep it for the report."""
        self.progress("the machine's own jitter ...")
        self.jitters.append(jitter.measure(seconds or self.opts.seconds(1.0, 0.3)))
        return self.jitters[-1]

    def measure(self, what: str, once: Callable[[], T]) -> list[T]:
        """``once`` as many times as runs were asked for."""
        values = []
        for run in range(self.opts.runs):
            self.progress(f"{what}, run {run + 1} of {self.opts.runs} ...")
            values.append(once())
        return values

    def gather(self, makers: Mapping[str, Callable[[], T]]) -> dict[str, T]:
        """What each maker gives, by name. One that lacks its package or service is named as left out."""
        made: dict[str, T] = {}
        for name, make in makers.items():
            try:
                made[name] = make()
            except ImportError as error:
                self.leave_out(name, f"no module {error.name}; remedy: {REMEDY}")
            except LeftOutError as error:
                self.leave_out(name, str(error))
        return made

    def interleave(self, contenders: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
        """Each contender once, then each again: what changes about the machine in between touches all of them.

        One that raises LeftOutError takes part no longer and is named.
        """
        values: dict[str, list[T]] = {name: [] for name in contenders}
        for run in range(self.opts.runs):
            for name in list(values):
                self.progress(f"{name}, run {run + 1} of {self.opts.runs} ...")
                try:
                    values[name].append(contenders[name]())
                except LeftOutError as error:
                    del values[name]
                    self.leave_out(name, str(error))
        return values

    def leave_out(self, name: str, why: str) -> None:
        """Say that a peer does not take part, why, and the remedy."""
        self.note(f"Left out: {name}: {why}.")

    def latencies(self, name: str, runs: Sequence[np.ndarray]) -> None:
        """With ``--hdr``: all runs' values of one figure, histograms of nanoseconds, as a percentile file."""
        if self.opts.hdr is not None:
            self.opts.hdr.mkdir(parents=True, exist_ok=True)
            file = self.opts.hdr / f"{self.benchmark}.{name}{hgrm.SUFFIX}"
            file.write_text(hgrm.text(hgrm.joined(runs)))

    def add(
        self,
        name: str,
        values: Sequence[float],
        unit: str,
        reference: tuple[str, Sequence[float]] | None = None,
        target: float | None = None,
        more_is_better: bool = False,
    ) -> None:
        """A figure with what it is compared with: (name, values) of the reference, and the target if it has one."""
        value = Measured(tuple(values)).median
        peer = Measured(tuple(reference[1])).median if reference else None
        met = None if target is None else (value >= target if more_is_better else value <= target)
        self.results.append(
            {
                "name": name,
                "value": _rounded(value),
                "unit": unit,
                "reference": _rounded(peer),
                "ratio": _rounded(value / peer) if peer else None,
                "reference_name": reference[0] if reference else None,
                "min": _rounded(min(values)),
                "max": _rounded(max(values)),
                "runs": len(values),
                "target": target,
                "met": met,
            }
        )

    def note(self, text: str) -> None:
        """A line below the table."""
        self.notes.append(text)

    def show(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A further table, for people."""
        table = Table(
            *header,
            title=title,
            box=MARKDOWN,
            min_width=len(title) + 2,
            title_justify="left",
            title_style="bold",
        )
        for row in rows:
            table.add_row(*row)
        self.console.print(table)
        self.console.print()

    def finish(self) -> int:
        """Prints everything; returns the exit code (0: figures are figures, a missed target is no error)."""
        described = machine.describe()
        configuration = {"quick": self.opts.quick, "runs": self.opts.runs, **self.opts.extra}
        if self.jitters:
            described["jitter"] = jitter.joined(self.jitters).summary()
        print_results(self.console, f"{self.benchmark}", self.results)
        for text in (_machine_line(described), *self.notes):
            self.console.print(text, soft_wrap=True)
        print(
            json.dumps(
                {
                    "benchmark": self.benchmark,
                    "configuration": configuration,
                    "machine": described,
                    "notes": self.notes,
                    "results": self.results,
                },
                default=str,
            ),
            flush=True,
        )
        return 0


def print_results(console: Console, title: str, results: Sequence[dict[str, Any]]) -> None:
    """The table of figures, as Markdown."""
    table = Table(box=MARKDOWN, title=title, title_justify="left", title_style="bold")
    for column in ("figure", "median", "min - max", "unit", "reference", "ratio", "target"):
        table.add_column(column, justify="left" if column in ("figure", "unit", "reference") else "right")
    for row in results:
        table.add_row(*_cells(row))
    console.print(table)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    reference = f"{row['reference_name']}: {number(row['reference'])}" if row["reference"] else "-"
    target = "-" if row["target"] is None else f"{number(row['target'])} {'met' if row['met'] else 'MISSED'}"
    return (
        row["name"],
        number(row["value"]),
        f"{number(row['min'])} - {number(row['max'])}",
        row["unit"],
        reference,
        f"{row['ratio']:.3g}" if row["ratio"] else "-",
        target,
    )


def number(value: float) -> str:
    """Three significant digits, thousands grouped."""
    if abs(value) >= 1000:
        digits = 3 - len(str(int(abs(value))))
        return f"{round(value, digits):,.0f}"
    return f"{value:.3g}"


def _rounded(value: float | None) -> float | None:
    """Six significant digits: more would be noise."""
    return None if value is None else float(f"{value:.6g}")


def _machine_line(described: dict[str, Any]) -> str:
    sensed = described.get("jitter")
    own = (
        f" Own jitter, 10,000 looks/s: p50 {number(sensed['p50_us'])}, p99 {number(sensed['p99_us'])}, "
        f"p99.9 {number(sensed['p999_us'])}, max {number(sensed['max_us'])} us; "
        f"{sensed['stolen_percent']:.2f} % of the time taken away."
        if sensed
        else ""
    )
    return (
        f"\n{described['cpu']}, {described['cores']} cores, Linux {described['kernel']}, "
        f"Python {described['python']}, commit {described['commit'] or 'unknown'}, "
        f"load average {described['load_average_1min']}.{own}"
    )


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread, and what it starts meanwhile, runs on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def two_cores() -> tuple[int, int]:
    """Two different cores where there are two, else the same one twice."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]
