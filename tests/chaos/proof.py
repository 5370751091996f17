"""Was anything lost or done twice? A disturbed session against an undisturbed run on the same input, row for row.

The same input: the session's journal, replayed through ``inline``. That the journal is itself whole is proven apart
from it: its sequences are those of the ring, and the venue's own numbers show what never reached the feed, which may
only be what was sent while the feed was being restarted.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chaos.recovery import Kill
from chaos.session import Session
from hft_engine.persistence.journal import JournalReader
from hft_engine.records import TickKind, join_ticks
from hft_engine.runtime import run_record

NOT_COMPARED = ("run_id", "latency_ns")  # measurement
NUMBERED = (TickKind.TRADE, TickKind.QUOTE, TickKind.LULD)


@dataclass(frozen=True)
class Difference:
    """Rows of a table that one side has more often than the other."""

    table: str
    rows: int  # undisturbed
    missing: int
    duplicate: int
    wrong: int  # neither here nor there: another content under the same sequence
    first: str = ""

    @property
    def none(self) -> bool:
        return not (self.missing or self.duplicate or self.wrong)


@dataclass(frozen=True)
class Lost:
    """What the venue sent and the journal does not hold."""

    ticks: int
    ranges: int
    unexplained: int  # ranges in which the feed was not being restarted
    repeated: int  # venue numbers that came twice


def journal_ticks(session_dir: Path) -> np.ndarray:
    """All ticks of a session, in their order."""
    return join_ticks([chunk.copy() for chunk in JournalReader(session_dir)])


def whole(ticks: np.ndarray, published: int) -> list[str]:
    """What is wrong with a journal that should hold the ticks 0 to ``published`` - 1, each once."""
    problems = []
    if len(ticks) != published:
        problems.append(f"the journal holds {len(ticks):,} ticks, the ring published {published:,}")
    steps = np.diff(ticks["sequence"])
    if len(ticks) and (ticks["sequence"][0] != 0 or (steps != 1).any()):
        at = int(np.argmax(steps != 1)) if (steps != 1).any() else 0
        problems.append(f"sequences are not 0, 1, 2 ...: first break after {int(ticks['sequence'][at])}")
    return problems


def lost(ticks: np.ndarray, feed_kills: Sequence[Kill]) -> Lost:
    """By the venue's numbers."""
    numbered = ticks[np.isin(ticks["kind"], NUMBERED)]
    steps = np.diff(numbered["venue_sequence"])
    gaps = np.flatnonzero(steps > 1)
    unexplained = 0
    for at in gaps:
        before, after = int(numbered["ts_recv_ns"][at]), int(numbered["ts_recv_ns"][at + 1])
        unexplained += not any(
            before <= kill.utc_ns + kill.dying_ns and kill.utc_ns <= after for kill in feed_kills
        )
    return Lost(int((steps[gaps] - 1).sum()), len(gaps), unexplained, int((steps <= 0).sum()))


def longest_pause_ms(ticks: np.ndarray, feed_kills: Sequence[Kill]) -> float:
    """Between two ticks leaving the socket, where the feed was not being restarted."""
    stamps = ticks["ts_mono_ns"]
    pauses = np.diff(stamps)
    for kill in feed_kills:
        pauses[(stamps[:-1] <= kill.ns + kill.dying_ns) & (stamps[1:] >= kill.ns)] = 0
    return float(pauses.max(initial=0)) / 1e6


def reference(session: Session, journal: Path, database: Path) -> dict[str, object]:
    """The journal through ``inline`` into ``database``; what the replay printed."""
    answer = session.command(
        "replay", str(journal), "--layout", "inline", "--db", str(database), "--json", timeout_s=900
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found: dict[str, object] = json.loads(answer.stdout.splitlines()[-1])
    return found


def compare(
    live: Path, other: Path, tables: Sequence[str] = ("bars", "venue_bars", "signals")
) -> list[Difference]:
    """Every table, by content."""
    return [_compare(_rows(live, table), _rows(other, table), table) for table in tables]


def _rows(database: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        kept = [name for name in names if name not in NOT_COMPARED]
        query = f"SELECT {', '.join(kept)} FROM {table} ORDER BY sequence"
        return [tuple(row) for row in connection.execute(query)]


def _compare(live: list[tuple[object, ...]], expected: list[tuple[object, ...]], table: str) -> Difference:
    have, want = Counter(live), Counter(expected)
    extra, absent = have - want, want - have
    known = {row[0] for row in expected}
    duplicate = sum(count for row, count in extra.items() if row in want or row[0] not in known)
    wrong = sum(extra.values()) - duplicate
    missing = max(0, sum(absent.values()) - wrong)
    first = ""
    if extra or absent:
        first = f"live {min(extra, default=None)!r}, undisturbed {min(absent, default=None)!r}"
    return Difference(table, len(expected), missing, duplicate, wrong, first)


def accounts_hold(data_dir: Path, run_id: str) -> list[str]:
    """Readers of a run that has ended for which published != seen + lapped + lag, or that were lapped."""
    record = run_record.read(run_record.folder(data_dir) / f"{run_id}.json")
    return [
        f"{one.ring} -> {one.role}: published {one.published:,}, seen {one.seen:,}, lapped {one.lapped:,}, "
        f"lag {one.lag:,}"
        for one in record.readers
        if one.unaccounted or one.lapped or one.lag
    ]
