"""Who takes part in a comparison: made one by one, measured in turn, and named where it cannot take part."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from benchmarks import harness

T = TypeVar("T")
REMEDY = 'pip install "hft-engine[bench]"'


class LeftOutError(Exception):
    """A peer cannot take part. The text says why, and the remedy."""


def gather(report: harness.Report, makers: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """What each maker gives, by name. One that lacks its package or service is noted in the report."""
    made: dict[str, T] = {}
    for name, make in makers.items():
        try:
            made[name] = make()
        except ImportError as error:
            report.note(f"Left out: {name}: no module {error.name}; remedy: {REMEDY}.")
        except LeftOutError as error:
            report.note(f"Left out: {name}: {error}.")
    return made


def interleave(report: harness.Report, contenders: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Each contender once, then each again: what changes about the machine in between touches all of them."""
    values: dict[str, list[T]] = {name: [] for name in contenders}
    for run in range(report.opts.runs):
        report.progress(f"run {run + 1} of {report.opts.runs}: {', '.join(contenders)} ...")
        for name, once in contenders.items():
            values[name].append(once())
    return values
