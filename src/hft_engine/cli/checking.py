"""Commands that look at models and what they are served: parity with the ticks, drift, a copy for MLflow."""

import sys
from pathlib import Path

import click

from hft_engine.cli.learning import models, opened_registry, registry_option
from hft_engine.cli.options import chosen_run, configuration, json_option, load, run_option, session_folder


@click.command()
@configuration
@click.argument("session", default="")
@click.option(
    "--vectors", type=click.IntRange(min=1), help="Only the first so many; else all that were kept."
)
@click.option("--force", is_flag=True, help="Compare even where nothing can be proven.")
@json_option
def parity(
    config_path: Path | None,
    overrides: tuple[str, ...],
    session: str,
    vectors: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compute live feature vectors again from the session's ticks; exit code 1: some feature is not the same.

    SESSION (else the newest) must have kept vectors: persistence.feature_sample.
    """
    from hft_engine.views import parity as views

    found = session_folder(config_path, overrides, session)
    sys.exit(views.run(found, vectors or 0, force, as_json))


@models.command("drift")
@configuration
@registry_option
@click.argument("name")
@click.argument("version", default="")
@click.option(
    "--data", multiple=True, metavar="PATH", help="A session's name, or recorded data; else a running engine."
)
@run_option
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write pictures as one HTML page.")
@json_option
def models_drift(
    config_path: Path | None,
    overrides: tuple[str, ...],
    registry: Path | None,
    name: str,
    version: str,
    data: tuple[str, ...],
    run: str | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """How far what is served has moved from what the model learned from; exit code 1: a feature has strongly."""
    from hft_engine.views import drift as views

    opened = opened_registry(config_path, overrides, registry)
    metadata = opened.metadata(opened.entry(name, version))
    if data:
        paths = [_recorded(config_path, overrides, path) for path in data]
        drifts, source = views.of_data(metadata, load(config_path, overrides), paths), ", ".join(data)
    else:
        run_dir = chosen_run(run, config_path, overrides)
        drifts, source = views.of_run(metadata, run_dir), run_dir.name
    sys.exit(views.show(metadata, drifts, source, page, as_json))


def _recorded(config_path: Path | None, overrides: tuple[str, ...], name: str) -> str:
    """A path, or the folder of the session of that name."""
    return name if Path(name).exists() else str(session_folder(config_path, overrides, name))


@models.command("export")
@configuration
@registry_option
@click.argument("name")
@click.argument("version", default="")
@click.option("--mlflow", "to", required=True, metavar="URI|FOLDER", help="MLflow's server, or a folder.")
def models_export(
    config_path: Path | None,
    overrides: tuple[str, ...],
    registry: Path | None,
    name: str,
    version: str,
    to: str,
) -> None:
    """A version's parameters, figures, files and card as a run of MLflow; needs hft-engine[mlflow]."""
    from hft_engine.models.mlflow_export import export_version

    opened = opened_registry(config_path, overrides, registry)
    entry = opened.entry(name, version)
    run_id = export_version(opened, entry, to)
    click.echo(f"{entry.name} {entry.version} is run {run_id} of {to}")
