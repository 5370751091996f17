"""What `hft explain` shows of a signal."""

import math
import random
from pathlib import Path

import msgspec
import orjson
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table

from hft_engine.explain import Explanation, recompute
from hft_engine.explain import explain as explained
from hft_engine.recorded_session import RecordedSession, SessionError
from hft_engine.views.replay import EXIT_DIFFERENT, progress_bar, utc

WIDTH = 110  # of what is not a terminal
FEATURE_COLUMNS = 3
DIFFERENCES_SHOWN = 10


def explain(path: Path, sequence: str, compare: bool, as_json: bool) -> int:
    """Print all about a signal (the newest where ``sequence`` is empty); the exit code. Raises SessionError."""
    session = RecordedSession(path, verify=False)
    with progress_bar("computing its features") as (progress, _):
        found = explained(session, _sequence(session, sequence), compare, progress)
    if as_json:
        print(orjson.dumps(msgspec.to_builtins(found)).decode())
    else:
        console = Console()
        Console(width=None if console.is_terminal else WIDTH).print(_page(found))
    return EXIT_DIFFERENT if compare and found.recomputed != "same bytes" else 0


def recompute_random(path: Path, count: int, seed: int, as_json: bool) -> int:
    """Recompute ``count`` signals of a session in one pass, print how many are the same; the exit code."""
    session = RecordedSession(path, verify=False)
    sequences = session.signals["sequence"].tolist()
    if not sequences:
        raise SessionError(f"session {path.name} has no signals in its journal")
    chosen = sorted(random.Random(seed).sample(sequences, min(count, len(sequences))))
    with progress_bar(f"recomputing {len(chosen):,} signals") as (progress, _):
        again = recompute(session, chosen, progress)
    different = [(int(each.live["sequence"]), each.difference) for each in again if not each.same]
    told = {"session": path.name, "seed": seed, "signals": len(again), "same": len(again) - len(different)}
    if as_json:
        print(orjson.dumps({**told, "different": different}).decode())
    else:
        print(f"{told['same']:,} of {len(again):,} signals recomputed to the same bytes (seed {seed})")
        for sequence, difference in different[:DIFFERENCES_SHOWN]:
            print(f"  signal {sequence:,}: {difference}")
    return EXIT_DIFFERENT if different else 0


def _sequence(session: RecordedSession, text: str) -> int:
    if text:
        if not text.lstrip("#").isdigit():
            raise SessionError(f"{text!r} is no signal: give its sequence, such as 123, or SESSION:123")
        return int(text.lstrip("#"))
    rows = session.signals
    if not len(rows):
        raise SessionError(f"session {session.path.name} has no signals in its journal yet")
    return int(rows["sequence"][-1])


def _page(found: Explanation) -> Group:
    parts = [_head(found), _cause(found), _features(found), _hops(found)]
    if found.recomputed:
        same = found.recomputed == "same bytes"
        text = "recomputed to the same bytes" if same else f"NOT the same when recomputed: {found.recomputed}"
        parts.append(Panel(text, style="green" if same else "red"))
    return Group(*parts)


def _head(found: Explanation) -> Panel:
    rule = found.rule
    fired = f"{rule['name']}: {rule['feature']} {rule['when']} {rule['enter']:g} (was {found.value:.6g})"
    probability = "" if math.isnan(found.probability) else f", probability {found.probability:.4f}"
    rows = (
        f"{found.side.upper()} {found.symbol} at {found.price:,.4f}, strength {found.strength:.3f}{probability}",
        f"{utc(found.ts_venue_ns)}, good until {utc(found.ts_expiry_ns)}",
        f"rule {fired}",
    )
    return Panel("\n".join(rows), title=f"signal {found.sequence:,} of {found.session}", title_align="left")


def _cause(found: Explanation) -> Panel:
    fields = ", ".join(f"{name} {value}" for name, value in found.tick.items() if name != "kind")
    since = (
        f"{found.symbol}'s signal before came at tick {found.since:,}" if found.since >= 0 else "its first"
    )
    changed = ", ".join(f"{key}={value}" for key, value in found.changes.items()) or "none"
    rows = (
        f"input    ticks {found.ticks[0]:,} to {found.ticks[1]:,}; {since}",
        f"tick     {found.tick.get('kind', 'not in the journal')}: {fields}",
        f"models   {'; '.join(found.models) or 'none'}",
        f"config   {found.config_hash[:16]}, changed while it ran: {changed}",
        f"chain    {found.chain_hash}",
    )
    return Panel("\n".join(rows), title="caused by", title_align="left")


def _features(found: Explanation) -> Panel:
    table = Table.grid(padding=(0, 2))
    for _ in range(FEATURE_COLUMNS):
        table.add_column()
        table.add_column(justify="right")
    cells = [(name, f"{value:.6g}") for name, value in found.features.items()]
    rows = -(-len(cells) // FEATURE_COLUMNS)
    for row in range(rows):
        line = [cells[i] for i in range(row, len(cells), rows)]
        table.add_row(*(part for cell in line for part in cell))
    outputs = ", ".join(f"{name} {value:.6g}" for name, value in found.outputs.items()) or "none"
    strange = f"{found.out_of_distribution:.1%} of the features used outside their training"
    return Panel(Group(table, f"outputs: {outputs}; {strange}"), title="features", title_align="left")


def _hops(found: Explanation) -> Panel:
    hops = "   ".join(f"{name} {duration / 1e3:,.1f} µs" for name, duration in found.hops_ns.items())
    return Panel(f"{hops}   in all {found.total_ns / 1e3:,.1f} µs", title="latency", title_align="left")
