"""What `hft parity` shows: one line of what was compared, then each feature that differs, and where first."""

from pathlib import Path

import msgspec
import orjson
from rich.console import Console
from rich.table import Table

from hft_engine.learn.parity import FeatureParity, Parity, check_parity
from hft_engine.views.replay import EXIT_DIFFERENT, progress_bar


def run(session: Path, vectors: int, force: bool, as_json: bool) -> int:
    """Compare and print; the exit code. Raises what ``check_parity`` raises."""
    with progress_bar("computing again") as (progress, _):
        parity = check_parity(session, vectors, force, progress)
    if as_json:
        print(orjson.dumps({**msgspec.to_builtins(parity), "holds": parity.holds}).decode())
    else:
        _show(parity)
    return 0 if parity.holds else EXIT_DIFFERENT


def _show(parity: Parity) -> None:
    console = Console()
    console.print(
        f"session {parity.session}: {parity.vectors:,} live vectors (1 of {parity.every} was kept), computed again "
        f"from {parity.ticks:,} ticks in {parity.seconds:.1f} s"
    )
    for note in parity.notes:
        console.print(f"note: {note}")
    if not parity.vectors:
        console.print("nothing was compared")
    elif parity.holds:
        console.print(_all_alike(parity))
    else:
        console.print(_table(parity.differing))


def _all_alike(parity: Parity) -> str:
    judged = [feature for feature in parity.features if feature.worst >= 0]
    nearest = max(judged, key=lambda feature: feature.worst)
    unjudged = len(parity.features) - len(judged)
    text = (
        f"{len(parity.features)} features: every bit again the same; 0 beyond the bound of the reference (the worst, "
        f"{nearest.name}, used {nearest.worst:.1%} of it)"
    )
    return text + (f"; {unjudged} of your own have no reference" if unjudged else "")


def _table(features: tuple[FeatureParity, ...]) -> Table:
    table = Table()
    for column in ("feature", "other bits", "beyond the bound", "first: tick", "live", "again", "reference"):
        table.add_column(column)
    for feature in features:
        first = feature.first
        where = (
            (
                f"{first.tick} {first.symbol}",
                f"{first.live:.9g}",
                f"{first.again:.9g}",
                f"{first.reference:.9g}",
            )
            if first
            else ("", "", "", "")
        )
        table.add_row(feature.name, f"{feature.unequal:,}", f"{feature.beyond:,}", *where)
    return table
