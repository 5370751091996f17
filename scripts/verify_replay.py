"""Replays recorded data again and again and says whether every run gave the same signals.

    python scripts/verify_replay.py PATH... [--runs 10] [--layouts inline,compact,dedicated] [--config FILE]
                                            [--set KEY=VALUE]...

PATH is what ``hft replay`` takes: a journal, or recorded files that are merged by time. The first of ``--layouts``
runs ``--runs`` times, every other one once. Each run is an ``hft replay`` in a process of its own, so that nothing
but the input can be shared between two runs. Two runs agree when ticks, bars, signals and the hash over all
signals are the same.

Prints a table, then one JSON object as the last line. Exit code 0: all agree; 1: they do not; 2: a replay failed.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

LAYOUTS = ("inline", "compact", "dedicated")
COMPARED = ("ticks", "bars", "signals", "signal_hash")
RUN_TIMEOUT_S = 900

Run = dict[str, Any]  # what ``hft replay --json`` prints


class ReplayFailedError(Exception):
    """A replay ended with an error; the text is what it said."""


def replay(paths: Sequence[str], layout: str, options: Sequence[str]) -> Run:
    """One ``hft replay`` in a process of its own. Raises ReplayFailedError."""
    command = [sys.executable, "-m", "hft_engine", "replay", "--json", "--layout", layout, *options, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    if done.returncode:
        raise ReplayFailedError(done.stderr.strip() or f"exit code {done.returncode}")
    run: Run = json.loads(done.stdout.splitlines()[-1])
    return run


def plan(layouts: Sequence[str], runs: int) -> list[str]:
    """The layout of each run."""
    return [layouts[0]] * runs + list(layouts[1:])


def outcome(run: Run) -> tuple[object, ...]:
    """What two runs must have in common."""
    return tuple(run[name] for name in COMPARED)


def summary(runs: Sequence[Run]) -> dict[str, object]:
    """The JSON object: how many runs agree with the most frequent outcome, which that is, and how fast they were."""
    common, agreeing = Counter(outcome(run) for run in runs).most_common(1)[0]
    speeds = {
        layout: round(max(run["ticks_per_s"] for run in runs if run["layout"] == layout))
        for layout in dict.fromkeys(run["layout"] for run in runs)
    }
    return {
        "runs": len(runs),
        "agreeing": agreeing,
        "agree": agreeing == len(runs),
        **dict(zip(COMPARED, common, strict=True)),
        "ticks_per_s_max": speeds,
    }


def table_of(runs: Sequence[Run], common: tuple[object, ...]) -> Table:
    table = Table("run", "layout", *COMPARED, "seconds", "ticks/s", "")
    for number, run in enumerate(runs, 1):
        same = outcome(run) == common
        values = [f"{run[name]:,}" if isinstance(run[name], int) else run[name] for name in COMPARED]
        speed = (f"{run['seconds']:.2f}", f"{run['ticks_per_s']:,}")
        table.add_row(str(number), run["layout"], *values, *speed, "same" if same else "[red]DIFFERENT[/red]")
    return table


def show(runs: Sequence[Run]) -> bool:
    """Print table, verdict and JSON. Returns whether all runs agree."""
    found = summary(runs)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table_of(runs, tuple(found[name] for name in COMPARED)))
    console.print(f"{found['agreeing']} of {found['runs']} runs gave signal hash {found['signal_hash']}")
    print(json.dumps(found))
    return bool(found["agree"])


def _runs(arguments: argparse.Namespace) -> Iterator[Run]:
    options = ["--config", arguments.config] if arguments.config else []
    for override in arguments.overrides:
        options += ["--set", override]
    layouts = plan(arguments.layouts, arguments.runs)
    for number, layout in enumerate(layouts, 1):
        print(f"run {number} of {len(layouts)}, {layout} ...", file=sys.stderr, flush=True)
        yield replay(arguments.paths, layout, options)


def _layouts(text: str) -> list[str]:
    layouts = [name.strip() for name in text.split(",")]
    if unknown := [name for name in layouts if name not in LAYOUTS]:
        raise argparse.ArgumentTypeError(f"no layout {unknown[0]!r}; known: {', '.join(LAYOUTS)}")
    return layouts


def _run_count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs, 1 or more")
    return int(text)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.add_argument("--runs", type=_run_count, default=10, help="of the first layout (default 10)")
    parser.add_argument(
        "--layouts", type=_layouts, default=list(LAYOUTS), help="comma-separated, default all three"
    )
    parser.add_argument("--config", help="configuration file, as of hft replay")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    try:
        return 0 if show(list(_runs(_arguments(argv)))) else 1
    except ReplayFailedError as error:
        print(f"error: a replay failed: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
