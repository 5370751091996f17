"""What `hft tune` shows: progress, then for each model the keys that were found, and whether they are better."""

import sys

import msgspec
from rich.console import Console

from hft_engine.config.schema import Config
from hft_engine.learn.command import TrainingOptions, run_tuning
from hft_engine.learn.tuning import Tuned, fragment
from hft_engine.views.train import shown_progress


def show(config: Config, options: TrainingOptions, trials: int, as_json: bool) -> int:
    """Search and print. Returns the exit code: 0, or 1 where what was found is not better beyond chance."""
    found: list[Tuned] = []
    with shown_progress(Console(stderr=True)) as progress:
        run_tuning(config, options, trials, progress, found.append)
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        for tuned in found:
            _print(Console(), tuned)
    return int(any(not tuned.better for tuned in found))


def _print(console: Console, tuned: Tuned) -> None:
    console.print(fragment(tuned), highlight=False)
    console.print(tuned.verdict, style="green" if tuned.better else "red")
    console.print(
        f"{tuned.trials} trials, {tuned.pruned} of them given up early, {tuned.seconds:.1f} s: {tuned.file}\n",
        style="dim",
    )
