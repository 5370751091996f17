"""What `hft journal info` shows: all that a session says about itself."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from hft_engine.persistence.journal import JournalReport, SegmentReport, survey_session
from hft_engine.persistence.journal.session import index_path
from hft_engine.runtime.session_events import read_session
from hft_engine.views.journal import as_text, summary, time_text

SYMBOLS_SHOWN = 12
ROWS_SHOWN = 20  # segments or holes of a long session; --json has them all


def show_info(path: Path, running: Iterable[str], as_json: bool) -> None:
    """All that a session says about itself, without reading its ticks. Raises JournalError."""
    report = survey_session(path)
    found = info(report, set(running))
    if as_json:
        print(as_text(found))
        return
    console = Console(highlight=False)
    _print_facts(console, report, found)
    _print_segments(console, report)
    _print_holes(console, "never journalled: ticks", report.holes)
    _print_holes(console, "never journalled: signals", report.signal_holes)
    _print_events(console, found["events"])


def info(report: JournalReport, running: Iterable[str] = ()) -> dict[str, Any]:
    """``summary`` and the header, the segments, the holes, and how many events of each kind."""
    directory = report.path if report.path.is_dir() else report.path.parent
    events, damage = read_session(directory)
    counts = Counter((event.role, event.kind) for event in events)
    return {
        **summary(report, running),
        "metadata": msgspec.to_builtins(report.metadata),
        "segment_list": [_segment_fields(segment) for segment in report.segments],
        "holes": report.holes,
        "signal_holes": report.signal_holes,
        "events": [{"role": role, "kind": kind, "count": n} for (role, kind), n in sorted(counts.items())],
        "event_damage": [str(part) for part in damage],
    }


def _segment_fields(segment: SegmentReport) -> dict[str, Any]:
    sums, header = segment.sums, segment.header
    return {
        "file": segment.path.name,
        "bytes": segment.bytes,
        "disk_bytes": segment.disk_bytes,
        "ticks": sums.ticks,
        "signals": sums.signals,
        "blocks": sums.blocks,
        "first_sequence": header.first_sequence if header else None,
        "next_sequence": sums.next_sequence,
        "first_ts_ns": sums.first_ts_ns,
        "last_ts_ns": sums.last_ts_ns,
        "ended": sums.ended,
        "torn_bytes": segment.torn_bytes,
        "damaged_at": segment.damaged_at,
        "index": index_path(segment.path).exists(),
    }


def _print_facts(console: Console, report: JournalReport, found: dict[str, Any]) -> None:
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(report, found):
        if value:
            facts.add_row(name, value)
    console.print(facts)


def _facts(report: JournalReport, found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [
        ("session", f"{found['session']}  {found['state']}"),
        ("venue", report.venue),
        ("ticks", f"{time_text(report.first_ts_ns)} to {time_text(report.last_ts_ns)} UTC"),
        ("", f"{report.ticks:,}, sequences {report.first_sequence:,} to {report.next_sequence - 1:,}"),
        ("signals", f"{report.signals:,}"),
        ("symbols", _shortened(report.symbols, SYMBOLS_SHOWN)),
        ("size", f"{report.bytes / 1e6:,.1f} MB, on disk {report.disk_bytes / 1e6:,.1f} MB"),
    ]
    metadata = report.metadata
    if metadata is None:
        return lines
    code, machine = metadata.code, metadata.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    return [
        *lines,
        ("configuration", metadata.config_hash[:16]),
        *(("model", f"{file} {digest[:16]}") for file, digest in metadata.models.items()),
        ("code", f"{metadata.code_version} commit {code.commit[:12] or '-'} source {code.source_hash[:12]}"),
        ("machine", f"{machine.cpu_model} ({machine.cpu_class})"),
        ("", f"python {machine.python}, {machine.libc}, {libraries}" if libraries else ""),
    ]


def _print_segments(console: Console, report: JournalReport) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("segment", "from (UTC)", "to"):
        table.add_column(name, no_wrap=True)
    for name in ("ticks", "signals", "MB"):
        table.add_column(name, no_wrap=True, justify="right")
    for name in ("index", "state"):
        table.add_column(name, no_wrap=True)
    for segment in report.segments[-ROWS_SHOWN:]:
        sums = segment.sums
        indexed = "yes" if index_path(segment.path).exists() else "no"
        times = (time_text(sums.first_ts_ns, "%m-%d %H:%M:%S"), time_text(sums.last_ts_ns, "%H:%M:%S"))
        size = f"{segment.disk_bytes / 1e6:,.1f}"
        table.add_row(
            segment.path.name, *times, f"{sums.ticks:,}", f"{sums.signals:,}", size, indexed, _ending(segment)
        )
    console.print()
    console.print(table)
    _print_left_out(console, len(report.segments), "segments")


def _ending(segment: SegmentReport) -> str:
    if segment.damaged_at is not None:
        return "damaged"
    if segment.torn_bytes:
        return "torn"
    return "closed" if segment.sums.ended else "open"


def _print_holes(console: Console, title: str, holes: tuple[tuple[int, int], ...]) -> None:
    if not holes:
        return
    missing = sum(end - first for first, end in holes)
    console.print(f"\n{title} ({missing:,} in {len(holes)} holes)", style="yellow")
    for first, end in holes[-ROWS_SHOWN:]:
        console.print(f"  {first:,} to {end - 1:,}")
    _print_left_out(console, len(holes), "holes")


def _print_events(console: Console, events: list[dict[str, Any]]) -> None:
    if events:
        told = ", ".join(f"{event['role']} {event['kind']} {event['count']}" for event in events)
        console.print(f"\nevents: {told}")


def _print_left_out(console: Console, count: int, what: str) -> None:
    if count > ROWS_SHOWN:
        console.print(f"  {count - ROWS_SHOWN} earlier {what} are not shown; --json has all")


def _shortened(names: tuple[str, ...], count: int) -> str:
    more = f", and {len(names) - count} more" if len(names) > count else ""
    return f"{len(names)}: {', '.join(names[:count])}{more}" if names else "0"
