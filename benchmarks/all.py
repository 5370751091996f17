"""Runs every benchmark, one after the other: their tables, one table of all figures, one JSON object last.

``--full`` is three runs of each, but for what would take an hour alone (``OF_FULL``).
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import harness, machine, report_page

QUICK = (
    "micro.hop",
    "micro.ring",
    "micro.decode",
    "micro.indicators",
    "micro.inference",
    "load.replay",
    "load.live",
    "load.tick_to_signal",
)
NAMES = (
    *QUICK,
    "micro.transport",
    "micro.storage",
    "micro.latency_cost",
    "load.frames",
    "load.feed_limits",
    "load.pipeline",
    "load.backtest",
    "load.startup",
    "load.overload",
    "load.persistence_stall",
    "load.scaling",
    "load.swaps",
)

OF_FULL = {  # what would take an hour alone, three times over
    "load.feed_limits": ("--runs", "1"),
    "load.overload": ("--variant", "compact", "--variant", "compact_shedding"),
    "load.swaps": ("--swaps", "200", "--runs", "1"),
}


def run(name: str, options: list[str]) -> dict[str, Any] | None:
    """One benchmark in a process of its own; its tables go on to our output. None when it failed."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    done = subprocess.run(command, cwd=machine.ROOT, stdout=subprocess.PIPE, text=True, check=False)
    *shown, last = done.stdout.rstrip("\n").split("\n")
    print("\n".join(shown if done.returncode == 0 else [*shown, last]), flush=True)
    if done.returncode:
        print(f"benchmark {name} failed with status {done.returncode}; its output is above", file=sys.stderr)
        return None
    return dict(json.loads(last))


def _told(took_s: dict[str, float]) -> str:
    """The slowest first."""
    return ", ".join(f"{name} {took_s[name]:.0f}" for name in sorted(took_s, key=lambda name: -took_s[name]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="the engine's own figures in under three minutes"
    )
    parser.add_argument("--full", action="store_true", help="three full runs of everything (the default)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the JSON object there")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write a page there: index.html, pictures, percentile files"
    )
    parser.add_argument("--only", action="append", choices=NAMES, help="just this one; may be given again")
    arguments = parser.parse_args()
    quick = arguments.quick and not arguments.full
    options = ["--quick", "--runs", "1"] if quick else []
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        options += ["--hdr", str(arguments.out.resolve() / "hdr")]
    started = time.monotonic()
    names = arguments.only or (QUICK if quick else NAMES)
    done, took_s = {}, {}
    for name in names:
        begun = time.monotonic()
        done[name] = run(name, [*options, *(() if quick else OF_FULL.get(name, ()))])
        took_s[name] = time.monotonic() - begun
    reports = [report for report in done.values() if report is not None]
    results = [result for report in reports for result in report["results"]]
    harness.print_results(Console(width=160, highlight=False), "all figures", results)
    print(f"\n{len(results)} figures in {time.monotonic() - started:.0f} s: {_told(took_s)}")
    whole = {"benchmark": "all", "machine": machine.describe(), "results": results, "reports": reports}
    text = json.dumps(whole)
    if arguments.out:
        print(f"page: {report_page.write(arguments.out, whole)}")
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)
    return 0 if len(reports) == len(done) else 1


if __name__ == "__main__":
    raise SystemExit(main())
