"""What `hft replay` shows: a progress bar while it runs, then what came out."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from hft_engine.config.schema import Config
from hft_engine.replay import ReplayResult, replay


def run(config: Config, paths: Sequence[str], speed: float, database: Path | None, as_json: bool) -> None:
    """Replay and print. Raises what ``replay`` raises."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("replaying"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("replay", total=1000)
        result = replay(
            config,
            paths,
            speed,
            database,
            progress=lambda permille: bar.update(task, completed=permille),
            say=bar.console.print,
        )
    print(orjson.dumps(_fields(result)).decode() if as_json else _text(result))


def _fields(result: ReplayResult) -> dict[str, object]:
    return {**msgspec.structs.asdict(result), "ticks_per_s": round(result.ticks_per_s)}


def _text(result: ReplayResult) -> str:
    return "\n".join(
        (
            f"ticks        {result.ticks:>12,}",
            f"bars         {result.bars:>12,}",
            f"signals      {result.signals:>12,}",
            f"signal hash  {result.signal_hash}",
            f"time         {result.seconds:>12.2f} s   {result.ticks_per_s:,.0f} ticks/s, layout {result.layout}",
        )
    )
