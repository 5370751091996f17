"""Commands of models: train them, and the registry of their versions."""

import sys
from pathlib import Path
from typing import Any

import click

from hft_engine.cli.options import configuration, die, json_option, load

EXIT_INTERRUPTED = 130  # as a shell has it

registry_option = click.option(
    "--registry",
    type=click.Path(path_type=Path),
    help="The registry's folder; else models in engine.data_dir.",
)


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
    "--seconds",
    type=click.IntRange(min=1),
    default=1500,
    show_default=True,
    help="How much of the demo venue's market.",
)
@click.option("--cv", "cross_validate", is_flag=True, help="Also the mean AUC over purged k folds.")
@click.option("--dask", metavar="ADDRESS", default="", help="Train on the cluster of this Dask scheduler.")
@click.option("--promote", is_flag=True, help="Make a model that beats its baselines live.")
@click.option("--force", is_flag=True, help="With --promote: also one that does not.")
@registry_option
@json_option
def train(
    config_path: Path | None,
    overrides: tuple[str, ...],
    data: tuple[str, ...],
    tasks: tuple[str, ...],
    seconds: int,
    cross_validate: bool,
    dask: str,
    promote: bool,
    force: bool,
    registry: Path | None,
    as_json: bool,
) -> None:
    """Train models on recorded data, judge them against baselines, and register them. Exit code 1: one is no better."""
    from hft_engine.learn.command import TrainingOptions, check_extra
    from hft_engine.views import train as views

    check_extra()
    config = load(config_path, overrides, demo=data == ("demo",) and config_path is None)
    root = views.registry_root(config, registry)
    options = TrainingOptions(data, root, tasks, seconds, promote, force, cross_validate, dask)
    try:
        code = views.show(config, options, as_json)
    except KeyboardInterrupt:
        die("interrupted; of the model in the making nothing is registered, train it again", EXIT_INTERRUPTED)
    sys.exit(code)


@click.group()
def models() -> None:
    """Every version of every model: what there is, what is live, what differs."""


def opened_registry(config_path: Path | None, overrides: tuple[str, ...], registry: Path | None) -> Any:
    """Of a registry that is there: to look at one makes none."""
    from hft_engine.models.registry import Registry

    return Registry(registry or Path(load(config_path, overrides).engine.data_dir) / "models", create=False)


@models.command("ls")
@configuration
@registry_option
@click.argument("name", default="")
@json_option
def models_ls(
    config_path: Path | None, overrides: tuple[str, ...], registry: Path | None, name: str, as_json: bool
) -> None:
    """The versions, the oldest first."""
    from hft_engine.views import models as views

    views.listing(opened_registry(config_path, overrides, registry), name, as_json)


@models.command("show")
@configuration
@registry_option
@click.argument("name")
@click.argument("version", default="")
@json_option
def models_show(
    config_path: Path | None,
    overrides: tuple[str, ...],
    registry: Path | None,
    name: str,
    version: str,
    as_json: bool,
) -> None:
    """One version: by its beginning; without one the live version, else the newest."""
    from hft_engine.views import models as views

    opened = opened_registry(config_path, overrides, registry)
    views.one(opened, opened.entry(name, version), as_json)


@models.command("promote")
@configuration
@registry_option
@click.argument("name")
@click.argument("version", default="")
@click.option("--force", is_flag=True, help="Although it does not beat its baselines.")
def models_promote(
    config_path: Path | None,
    overrides: tuple[str, ...],
    registry: Path | None,
    name: str,
    version: str,
    force: bool,
) -> None:
    """Make a version live (the newest, where none is named); `hft model swap` brings it into a running engine."""
    opened = opened_registry(config_path, overrides, registry)
    entry = opened.promote(name, version, force)
    click.echo(f"{entry.name} {entry.version} is live: {opened.root / entry.name / 'saved_model'}")


@models.command("rollback")
@configuration
@registry_option
@click.argument("name")
@click.option("--reason", default="", help="Kept with the change.")
def models_rollback(
    config_path: Path | None, overrides: tuple[str, ...], registry: Path | None, name: str, reason: str
) -> None:
    """Make the version live again that was before."""
    entry = opened_registry(config_path, overrides, registry).roll_back(name, reason)
    click.echo(f"{entry.name} {entry.version} is live again")


@models.command("diff")
@configuration
@registry_option
@click.argument("name")
@click.argument("first")
@click.argument("second", default="")
@json_option
def models_diff(
    config_path: Path | None,
    overrides: tuple[str, ...],
    registry: Path | None,
    name: str,
    first: str,
    second: str,
    as_json: bool,
) -> None:
    """What differs between two versions; without a second one, between the first and the live one."""
    from hft_engine.views import models as views

    opened = opened_registry(config_path, overrides, registry)
    one, other = opened.entry(name, first), opened.entry(name, second)
    if one.version == other.version:
        die(f"both are {name} {one.version}; name two versions, `hft models ls {name}` shows them")
    views.difference(opened, one, other, as_json)
