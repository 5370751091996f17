"""Commands that compare what is with what should be: live vectors with their ticks, served rows with learned ones."""

import sys
from pathlib import Path

import click

from hft_engine.cli.options import configuration, json_option, session_folder


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
