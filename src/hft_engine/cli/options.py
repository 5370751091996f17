"""What the commands share: the configuration's options, which run, which session, how to speak to a person."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

EXIT_ERROR = 2
LAST_SESSION = "last"
_DEMO_CONFIG = Path("config/demo.yaml")
_ENGINE_CONFIG = Path("config/engine.yaml")


def die(text: str, code: int = EXIT_ERROR) -> None:
    click.secho(f"error: {text}", fg="red", err=True)
    sys.exit(code)


def say(text: str) -> None:
    """What a long command tells as it goes; errors to where errors go."""
    error = text.startswith("error: ")
    with contextlib.suppress(OSError):  # a full disk or a closed terminal is no reason to end an engine
        click.secho(text, fg="red" if error else None, err=error)


def _no_secrets(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a key on the command line: whoever is on this machine can read it there, as long as the process runs."""
    from hft_engine.config.load import remedy_for_secret

    for override in given:
        remedy = remedy_for_secret(override)
        if remedy:
            die(remedy)
    return given


def configuration(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option(
        "--set",
        "overrides",
        multiple=True,
        callback=_no_secrets,
        metavar="KEY=VALUE",
        help="Override one key, e.g. --set engine.layout=compact. Repeatable.",
    )(function)
    return click.option(
        "--config", "config_path", type=click.Path(path_type=Path), help="YAML, JSON or TOML file."
    )(function)


def load(config_path: Path | None, overrides: Sequence[str], demo: bool = False) -> Any:
    from hft_engine.config.load import load_config

    if config_path is None:
        default = _DEMO_CONFIG if demo else _ENGINE_CONFIG
        config_path = default if default.exists() else None
        if demo and config_path is None:
            overrides = ("simulator.port=0", *overrides)
    return load_config(config_path, overrides)


def chosen_run(run: str | None, config_path: Path | None, overrides: Sequence[str]) -> Path:
    from hft_engine.runtime import rundir

    engine = load(config_path, overrides).engine
    if run:
        return rundir.find_run(engine.run_root, run)
    runs = rundir.live_runs(engine.run_root)
    if len(runs) == 1:
        return runs[0]
    return rundir.find_run(engine.run_root, None, Path(engine.data_dir))


def session_folder(config_path: Path | None, overrides: Sequence[str], name: str) -> Path:
    from hft_engine.recorded_session import find_session

    return find_session(Path(load(config_path, overrides).engine.data_dir), name)


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
run_option = click.option("--run", help="Which run, by id or its beginning; needed only when several run.")
