"""What `hft bias` shows."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.table import Table

from hft_engine.bias.compare import Finding
from hft_engine.bias.detect import BiasReport, detect
from hft_engine.config.schema import Config

EXIT_FOUND = 1
MEMORY_MIN = 1e-6  # a relative change at the end that is worth telling


def run(config: Config, paths: Sequence[str], ticks_max: int, cuts: int, as_json: bool) -> int:
    """Detect and print. Returns the exit code: 0 nothing found, 1 something."""
    console = Console(stderr=True)
    report = detect(config, paths, ticks_max, cuts, say=console.print)
    if as_json:
        print(msgspec.json.encode({**msgspec.to_builtins(report), "clean": report.clean}).decode())
    else:
        _show(report)
    return 0 if report.clean else EXIT_FOUND


def _show(report: BiasReport) -> None:
    console = Console(width=None if sys.stdout.isatty() else 150)
    if report.findings:
        console.print(_table("knows the future", report.findings))
    if report.unsteady:
        console.print(
            _table("not the same twice: reads a clock, or an unseeded random number", report.unsteady)
        )
    compared = ", ".join(f"{count:,} {kind}s" for kind, count in report.compared.items())
    cuts = ", ".join(f"{cut:,}" for cut in report.cuts)
    console.print(
        f"{report.ticks:,} ticks, {report.runs} runs, futures from tick {cuts} on; compared: {compared}"
    )
    told = [memory for memory in report.memories if memory.change >= MEMORY_MIN]
    if told:
        names = ", ".join(f"{memory.name} ({memory.change:.2g})" for memory in told)
        console.print(f"for information, still differ at the end of a history that begins later: {names}")
    console.print(
        "[green]nothing knows the future[/green]" if report.clean else "[red]look-ahead found[/red]"
    )


def _table(title: str, findings: Sequence[Finding]) -> Table:
    table = Table(
        "kind", "name", "instrument", "first, UTC", "tick", "as it was", "as it became", "when", title=title
    )
    for found in findings:
        when = (
            datetime.fromtimestamp(found.ts_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
            if found.ts_ns
            else ""
        )
        tick = f"{found.tick:,}" if found.ts_ns else ""
        table.add_row(
            found.kind, found.name, found.instrument, when, tick, found.before, found.after, found.why
        )
    return table
