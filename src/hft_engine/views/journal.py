"""What `hft journal ls | check | cut` shows."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hft_engine.persistence.journal import JournalError, JournalReport, check, cut, session_paths
from hft_engine.persistence.journal.session import JOURNAL_DIR, segment_paths
from hft_engine.persistence.listing import sessions

SESSION_WIDTH_MIN = 24  # of the usual id; a longer one makes the table wider: it is there to be copied


def find_journal(data_dir: Path, name: str) -> Path:
    """A path as it is, else the session of that id or the only one whose id begins so. Raises JournalError."""
    if Path(name).exists():
        return Path(name)
    found = [path for path in session_paths(data_dir) if path.name.startswith(name)]
    exact = [path for path in found if path.name == name]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        raise JournalError(f"{name}: more than one session begins so: {', '.join(p.name for p in found)}")
    raise JournalError(
        f"{name}: no such file, and no such session in {data_dir / JOURNAL_DIR}; `hft journal ls` lists what there is"
    )


# ---- ls


def show_sessions(data_dir: Path, running: Iterable[str], as_json: bool) -> None:
    """The recorded sessions, oldest name first. ``running``: ids of live runs."""
    running = set(running)
    found = [
        report if isinstance(report, JournalError) else summary(report, running)
        for report in sessions(data_dir)
    ]
    if as_json:
        print(as_text([{"error": str(f)} if isinstance(f, JournalError) else f for f in found]))
        return
    for error in (f for f in found if isinstance(f, JournalError)):
        Console(stderr=True).print(f"[red]{error}")
    rows = [f for f in found if not isinstance(f, JournalError)]
    if not rows:
        print(f"no session in {data_dir / JOURNAL_DIR}")
        return
    _print_sessions(rows)


def _print_sessions(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("session", no_wrap=True)
    table.add_column("from (UTC)", no_wrap=True)
    for name in ("to", "ticks", "signals", "MB"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("state", no_wrap=True)
    for row in rows:
        table.add_row(
            row["session"],
            time_text(row["first_ts_ns"], "%m-%d %H:%M"),
            time_text(row["last_ts_ns"], "%H:%M:%S"),
            f"{row['ticks']:,}",
            f"{row['signals']:,}",
            f"{row['disk_bytes'] / 1e6:,.1f}",
            row["state"],
        )
    longest = max(len(row["session"]) for row in rows)
    console = Console()
    console.width += max(longest - SESSION_WIDTH_MIN, 0)
    console.print(table)


def summary(report: JournalReport, running: Iterable[str] = ()) -> dict[str, Any]:
    """A session in plain values. ``state``: running, clean, torn (a crash; its valid part reads) or damaged."""
    return {
        "session": report.run_id or report.path.name,
        "path": str(report.path),
        "venue": report.venue,
        "state": _state(report, running),
        "created_ns": report.created_ns,
        "first_ts_ns": report.first_ts_ns,
        "last_ts_ns": report.last_ts_ns,
        "ticks": report.ticks,
        "signals": report.signals,
        "symbols": len(report.symbols),
        "bytes": report.bytes,
        "disk_bytes": report.disk_bytes,
        "segments": len(report.segments),
        "first_sequence": report.first_sequence,
        "next_sequence": report.next_sequence,
        "torn_bytes": report.torn_bytes,
    }


def _state(report: JournalReport, running: Iterable[str]) -> str:
    if report.damaged:
        return "damaged"
    if report.run_id in running:
        return "running"
    return "clean" if report.ended else "torn"


# ---- check and cut


def show_check(path: Path, as_json: bool = False) -> int:
    """Verify every block. 0 when all is readable (a torn tail is: it is cut when read), 1 when damaged."""
    report = _checked(path)
    if as_json:
        print(
            as_text({**summary(report), "damaged": [s.remedy for s in report.damaged], "holes": report.holes})
        )
        return 1 if report.damaged else 0
    print(
        f"{path}: {report.ticks:,} ticks and {report.signals:,} signals in {len(report.segments)} segments, "
        f"{report.bytes:,} bytes"
    )
    for what, holes in (("sequences", report.holes), ("signals", report.signal_holes)):
        for start, end in holes:
            print(f"  hole: {what} {start} to {end - 1} were never journalled")
    for segment in report.segments:
        if segment.torn_bytes:
            print(
                f"  torn tail: {segment.path.name}: {segment.torn_bytes} bytes of an unfinished block from byte "
                f"{segment.valid_bytes} on are ignored"
            )
    for segment in report.damaged:
        print(f"  damaged: {segment.path} at byte {segment.damaged_at}; {segment.remedy}")
    return 1 if report.damaged else 0


def _checked(path: Path) -> JournalReport:
    count = len(segment_paths(path))
    with progress_bar("checking") as bar:
        task = bar.add_task("check", total=count)
        return check(path, lambda segment: bar.advance(task))


def cut_segment(path: Path, at: int) -> None:
    """Cut, and say where the tail was kept. Raises JournalError."""
    kept = cut(path, at)
    print(f"cut {path} at byte {at}; what was cut is kept in {kept}")


def progress_bar(what: str) -> Progress:
    """For work that may take long; on the terminal only, gone when it is done."""
    return Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def time_text(ts_ns: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """UTC; a dash where there is none."""
    return datetime.fromtimestamp(ts_ns / 1e9, UTC).strftime(form) if ts_ns else "-"


def as_text(value: object) -> str:
    """JSON, indented."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
