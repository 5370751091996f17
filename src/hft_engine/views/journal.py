"""What `hft journal ls | check | cut` shows."""

from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hft_engine.persistence.journal import JournalReport, check, cut
from hft_engine.persistence.listing import sessions

WIDTH_MIN = 110  # a session's id is there to be copied: better a long line than a cut one


def _time(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S") if ts_ns else "-"


def show_sessions(data_dir: Path) -> None:
    """A table of the recorded sessions."""
    table = Table(box=None, pad_edge=False)
    for name in ("session", "venue", "from (UTC)", "seconds", "ticks", "MB", "symbols", "state"):
        table.add_column(name, no_wrap=True)
    for report in sessions(data_dir):
        if not isinstance(report, JournalReport):
            Console(stderr=True).print(f"[red]{report}")
            continue
        table.add_row(
            report.run_id,
            report.venue,
            _time(report.first_ts_ns),
            f"{(report.last_ts_ns - report.first_ts_ns) / 1e9:,.0f}",
            f"{report.ticks:,}",
            f"{report.bytes / 1e6:.1f}",
            str(len(report.symbols)),
            _state(report),
        )
    Console(width=max(Console().width, WIDTH_MIN)).print(table)


def _state(report: JournalReport) -> str:
    if report.damaged:
        return "damaged"
    return "closed" if report.ended else "open or torn"


def show_check(path: Path) -> int:
    """Verify every block. 0 when all is readable (a torn tail is: it is cut when read), 1 when damaged."""
    report = check(path)
    print(f"{path}: {report.ticks:,} ticks in {len(report.segments)} segments, {report.bytes:,} bytes")
    for start, end in report.holes:
        print(f"  hole: sequences {start} to {end - 1} were never journalled")
    if report.torn_bytes:
        print(f"  torn tail: {report.torn_bytes} bytes of an unfinished block are ignored")
    for segment in report.damaged:
        print(f"  damaged: {segment.path} at byte {segment.damaged_at}; {segment.remedy}")
    return 1 if report.damaged else 0


def cut_segment(path: Path, at: int) -> None:
    """Cut, and say where the tail was kept. Raises JournalError."""
    kept = cut(path, at)
    print(f"cut {path} at byte {at}; what was cut is kept in {kept}")
