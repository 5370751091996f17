"""The findings as they come, then what they amount to."""

from collections import Counter
from collections.abc import Iterator

import msgspec
from rich.console import Console
from rich.text import Text

from hft_engine.config.schema import Config
from hft_engine.doctor import machine
from hft_engine.doctor.findings import Finding, Level

_MARKS = {
    Level.OK: ("ok     ", "green"),
    Level.WARNING: ("warning", "yellow"),
    Level.PROBLEM: ("PROBLEM", "bold red"),
}


def run(config: Config, seconds: float, as_json: bool) -> int:
    """``seconds``: for the feed, 0 to leave it alone. Returns the exit code: 1 where there is a problem."""
    found = []
    console = Console()
    for finding in _examined(config, seconds):
        found.append(finding)
        if not as_json:
            console.print(_line(finding), soft_wrap=True)
    levels = Counter(finding.level for finding in found)
    if as_json:
        print(msgspec.json.encode({"works": not levels[Level.PROBLEM], "findings": found}).decode())
    else:
        console.print(_sum(levels))
    return 1 if levels[Level.PROBLEM] else 0


def _examined(config: Config, seconds: float) -> Iterator[Finding]:
    yield from machine.examine(config)
    if seconds > 0.0:
        from hft_engine.doctor import feeds, stores  # the feed's kernels, which the rest does without

        yield from feeds.examine(config, seconds)
        yield from stores.examine()


def _line(finding: Finding) -> Text:
    mark, style = _MARKS[finding.level]
    line = Text.assemble((mark, style), f"  {finding.area}: {finding.text}")
    if finding.remedy:
        line.append(f"\n         -> {finding.remedy}", "dim" if finding.level is Level.OK else "")
    return line


def _sum(levels: Counter[Level]) -> str:
    if levels[Level.PROBLEM]:
        return f"{levels[Level.PROBLEM]} to be mended before a start, {levels[Level.WARNING]} warnings"
    return f"ready to start{f', {levels[Level.WARNING]} warnings' if levels[Level.WARNING] else ''}"
