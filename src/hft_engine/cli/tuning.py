"""`hft tune`: a search for better keys of the ``learning`` section."""

import sys
from pathlib import Path

import click

from hft_engine.cli.learning import EXIT_INTERRUPTED, registry_option
from hft_engine.cli.options import configuration, die, json_option, load


@click.command()
@configuration
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="PATH",
    help='Stored bars, recorded ticks or a session; "demo": the demo venue\'s market. Repeatable.',
)
@click.option(
    "--model", "tasks", multiple=True, help="peak_detection, entry_timing, market_regime; else all three."
)
@click.option(
    "--trials",
    type=click.IntRange(min=2),
    default=40,
    show_default=True,
    help="How many in all; a search that was stopped goes on.",
)
@click.option("--dask", metavar="ADDRESS", default="", help="Try on the cluster of this Dask scheduler.")
@click.option(
    "--seconds",
    type=click.IntRange(min=1),
    default=1500,
    show_default=True,
    help="How much of the demo venue's market.",
)
@registry_option
@json_option
def tune(
    config_path: Path | None,
    overrides: tuple[str, ...],
    data: tuple[str, ...],
    tasks: tuple[str, ...],
    trials: int,
    dask: str,
    seconds: int,
    registry: Path | None,
    as_json: bool,
) -> None:
    """Search better leaves, rates and fractions; says whether they are better on tests that no trial saw."""
    from hft_engine.learn.command import TrainingOptions
    from hft_engine.views import train as training
    from hft_engine.views import tune as views

    config = load(config_path, overrides, demo=data == ("demo",) and config_path is None)
    options = TrainingOptions(data, training.registry_root(config, registry), tasks, seconds, dask=dask)
    try:
        code = views.show(config, options, trials, as_json)
    except KeyboardInterrupt:
        die("interrupted; the same command goes on where it stopped", EXIT_INTERRUPTED)
    sys.exit(code)
