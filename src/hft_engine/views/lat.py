"""`hft lat`: where the time from tick to signal goes, hop by hop, since the start and in the last minute; the slowest.

Reads shared memory only. Figures are microseconds.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hft_engine.records import HOPS, SLOW_DTYPE, signal_hops
from hft_engine.runtime.snapshots import Snapshot, read_snapshots
from hft_engine.shm.histogram_view import new_counts, percentile, since
from hft_engine.signals.slowest_table import SLOWEST_MAX, read_slowest
from hft_engine.views.run import RunView

WINDOW_NS = 60_000_000_000
SHOWN = 5  # of the slowest, for people
# role, histogram, from, to
ROWS = (
    ("feed", "venue_to_socket", "venue's stamp", "socket"),
    ("feed", "feed", "socket", "tick visible"),
    ("indicators", "indicators", "tick visible", "features visible"),
    ("inference", "inference", "features visible", "prediction visible"),
    ("signals", "signals", "prediction visible", "signal visible"),
    ("signals", "tick_to_signal", "socket", "signal visible"),
)
PERCENTS = {"p50": 50.0, "p99": 99.0, "p999": 99.9, "p9999": 99.99}


def collect(run_dir: Path) -> dict[str, Any]:
    """The object of `hft lat --json`. Raises RunError where there is no run.

    ``window_s``: what ``last_minute`` covers in truth: a little more than 60, less while the run is younger, more
    while the supervisor stands still. ``slowest.last_minute`` are those that the signal ring still holds.
    """
    run = RunView(run_dir)
    now_ns = time.monotonic_ns()
    before = _before(run, now_ns)
    began_ns = run.manifest.started_mono_ns if before is None else before.taken_ns
    return {
        "run_id": run.manifest.run_id,
        "uptime_s": round((now_ns - run.manifest.started_mono_ns) / 1e9, 1),
        "window_s": round((now_ns - began_ns) / 1e9, 1),
        "hops": _hops(run, before),
        "slowest": {
            "since_start": _named(run, read_slowest(run.stats["signals"].table)),
            "last_minute": _named(run, _slowest_since(run, began_ns)),
        },
    }


def _before(run: RunView, now_ns: int) -> Snapshot | None:
    """The latest snapshot that is at least a minute old."""
    old = [s for s in read_snapshots(run.run_dir) if s.taken_ns <= now_ns - WINDOW_NS]
    return old[-1] if old else None


def _hops(run: RunView, before: Snapshot | None) -> list[dict[str, Any]]:
    rows = []
    for role, name, begin, end in ROWS:
        stats = run.stats.get(role)
        declared = stats is not None and name in stats.histogram_names
        counts = stats.histogram(name).copy() if stats is not None and declared else new_counts()
        recent = counts if before is None else since(counts, before.counts(f"{role}/{name}"))
        rows.append(
            {
                "hop": name,
                "from": begin,
                "to": end,
                "since_start": figures(counts),
                "last_minute": figures(recent),
            }
        )
    return rows


def figures(counts: np.ndarray) -> dict[str, float]:
    """``count``, and p50, p99, p999, p9999, max in microseconds."""
    return {
        "count": int(counts[0]),
        **{name: percentile(counts, percent) / 1e3 for name, percent in PERCENTS.items()},
        "max": int(counts[1]) / 1e3,
    }


def _slowest_since(run: RunView, began_ns: int) -> np.ndarray:
    """SLOW_DTYPE[]: the slowest signals in the ring that became visible since then."""
    signals = run.rings["signals"].last(run.rings["signals"].capacity)
    signals = signals[signals["ts_publish_ns"] >= began_ns]
    total_ns = signals["ts_publish_ns"] - signals["ts_mono_ns"]
    signals = signals[np.argsort(-total_ns, kind="stable")[:SLOWEST_MAX]]
    slow = np.zeros(len(signals), SLOW_DTYPE)
    for name in ("sequence", "source_sequence", "instrument_id", "ts_recv_ns"):
        slow[name] = signals[name]
    slow["total_ns"] = signals["ts_publish_ns"] - signals["ts_mono_ns"]
    slow["hops_ns"] = signal_hops(signals)[:, :-1]
    return slow


def _named(run: RunView, slow: np.ndarray) -> list[dict[str, Any]]:
    """``hops_ns`` add up to ``total_ns``; ``source_sequence`` is the tick's sequence in the journal."""
    rows = []
    for row in slow:
        first = [int(hop) for hop in row["hops_ns"]]
        total_ns = int(row["total_ns"])
        rows.append(
            {
                "sequence": int(row["sequence"]),
                "source_sequence": int(row["source_sequence"]),
                "instrument_id": int(row["instrument_id"]),
                "symbol": run.symbol(int(row["instrument_id"])),
                "ts_recv_ns": int(row["ts_recv_ns"]),
                "total_ns": total_ns,
                "hops_ns": dict(zip(HOPS, [*first, total_ns - sum(first)], strict=True)),
            }
        )
    return rows


def render(latency: dict[str, Any]) -> None:
    """The same for people."""
    from rich.console import Console

    console = Console()
    console.print(f"{latency['run_id']}, latency in µs, since the start")
    console.print(_hop_table(latency["hops"], "since_start"))
    console.print(f"in the last minute ({latency['window_s']:.0f} s)")
    console.print(_hop_table(latency["hops"], "last_minute"))
    for hop in latency["hops"]:
        console.print(f"{hop['hop']}: {hop['from']} → {hop['to']}", style="dim", highlight=False)
    console.print()
    for name, rows in latency["slowest"].items():
        if rows:
            console.print(f"slowest signals, {name.replace('_', ' ')}, in µs")
            console.print(_slowest_table(rows[:SHOWN]))


def _hop_table(hops: Sequence[dict[str, Any]], when: str) -> Any:
    from hft_engine.views.panels import new_table

    shown = new_table("hop", ">count", ">p50", ">p99", ">p99.9", ">p99.99", ">max")  # fits 80 columns
    for hop in hops:
        of = hop[when]
        shown.add_row(hop["hop"], f"{of['count']:,}", *(_us(of[key]) for key in (*PERCENTS, "max")))
    return shown


def _us(value: float) -> str:
    return f"{value:,.1f}" if value < 1_000 else f"{value:,.0f}"


def _slowest_table(rows: Sequence[dict[str, Any]]) -> Any:
    from hft_engine.views.panels import new_table

    shown = new_table(">signal", ">tick", "symbol", "UTC", ">total", *(f">{hop}" for hop in HOPS))
    for column in shown.columns:  # where there is no room, the hops' names break, never a figure
        column.no_wrap, column.overflow = column.header not in HOPS, "fold"
    for row in rows:
        received = datetime.fromtimestamp(row["ts_recv_ns"] / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]
        durations = (row["total_ns"], *row["hops_ns"].values())
        cells = (_us(ns / 1e3) for ns in durations)
        shown.add_row(str(row["sequence"]), str(row["source_sequence"]), row["symbol"], received, *cells)
    return shown
