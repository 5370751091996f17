"""What `hft journal export` does and says."""

import re
from datetime import UTC, datetime
from pathlib import Path

from hft_engine.persistence.export import What, export
from hft_engine.persistence.journal import JournalError, Selection, survey_session
from hft_engine.persistence.journal.selection import SEQUENCE_MAX
from hft_engine.views.journal import progress_bar

_CLOCK = re.compile(r"^\d\d:\d\d(:\d\d(\.\d+)?)?$")


def run(session: Path, what: What, out: Path | None, start: str, end: str, symbols: str) -> None:
    """Export and say where to. ``start``, ``end``: see ``moment_ns``; empty: no bound. Raises JournalError."""
    day_ns = survey_session(session).first_ts_ns if _CLOCK.match(start) or _CLOCK.match(end) else 0
    selection = Selection(
        from_ns=moment_ns(start, day_ns) if start else 0,
        to_ns=moment_ns(end, day_ns) if end else int(SEQUENCE_MAX),
    )
    target = out or Path(f"{session.name.partition('.')[0]}-{what}.parquet")
    wanted = tuple(filter(None, (symbol.strip() for symbol in symbols.split(","))))
    with progress_bar(f"exporting {what}") as bar:
        task = bar.add_task("export", total=1.0)
        done = export(session, what, target, selection, wanted, lambda part: bar.update(task, completed=part))
    print(f"{done.path}: {done.rows:,} {what}, {done.bytes:,} bytes")


def moment_ns(text: str, day_ns: int) -> int:
    """UTC nanoseconds of an ISO time (UTC unless it says otherwise), or of a time of the day of ``day_ns``.

    Raises JournalError.
    """
    if _CLOCK.match(text):
        text = f"{datetime.fromtimestamp(day_ns / 1e9, UTC):%Y-%m-%d}T{text}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise JournalError(
            f"{text!r} is no time: give 2026-11-26T14:30:00, with an offset where it is not UTC, or 14:30 of the "
            "session's first day"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000
