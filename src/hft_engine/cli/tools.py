"""Commands beside an engine: a venue of its own, the configuration, kernels, and what breaks things."""

import sys
from pathlib import Path

import click

from hft_engine.cli.options import (
    chosen_run,
    configuration,
    die,
    load,
    run_option,
    say,
)


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sim(arguments: tuple[str, ...]) -> None:
    """Run a venue simulator of its own: hft sim polygon --port 8765."""
    from hft_engine.feed.simulator.command import main as simulate

    sys.exit(simulate(list(arguments)))


@click.command()
@configuration
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--seconds", default=0.0, help="Stop after so long; without it, until Ctrl-C.")
def capture(config_path: Path | None, overrides: tuple[str, ...], file: Path, seconds: float) -> None:
    """Write what the feed's venues send into FILE (.capture, .capture.zst); hft sim --source FILE plays it back."""
    import signal
    import threading

    from hft_engine.feed.capturing import Capturing

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    capturing = Capturing(load(config_path, overrides), file, say)
    capturing.run(stop.is_set, seconds)
    say(
        f"{file}: {capturing.frames:,} frames, {capturing.bytes:,} bytes, {capturing.connections} connections"
    )


@click.command()
@click.option("--symbols", required=True, help="Comma-separated.")
@click.option("--realtime", is_flag=True, help="Polygon: real-time data; without it those of 15 minutes ago.")
@click.option("--venue", default="polygon", show_default=True, help="See docs/feeds.md.")
@click.option("--url", help="In the place of the venue's own address.")
def stream(symbols: str, realtime: bool, venue: str, url: str | None) -> None:
    """Print trades and quotes of a venue as they come, until Ctrl-C. The key comes from the environment or .env."""
    from hft_engine.api import stream_command
    from hft_engine.config.load import remedy_for_secret

    if url is not None and (remedy := remedy_for_secret(f"feed.url={url}")):
        die(remedy)
    names = [name.strip() for name in symbols.split(",") if name.strip()]
    if not names:
        die("--symbols: name at least one, AAPL,MSFT say")
    sys.exit(stream_command.run(names, venue, realtime, url))


@click.command()
@configuration
@click.option("--seconds", default=10.0, help="How long to wait for each line of the feed, and for its data.")
@click.option("--offline", is_flag=True, help="Look at this machine and the configuration only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; for programs.")
def doctor(
    config_path: Path | None, overrides: tuple[str, ...], seconds: float, offline: bool, as_json: bool
) -> None:
    """Whether the engine would work here: machine, configuration, keys, connection, plan. Exit code 1 if not."""
    from hft_engine.doctor import command

    sys.exit(command.run(load(config_path, overrides), 0.0 if offline else seconds, as_json))


@click.command()
@configuration
def config(config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """The configuration as the engine would use it, secrets masked."""
    import yaml

    from hft_engine.config.redact import redacted

    click.echo(yaml.safe_dump(redacted(load(config_path, overrides)), sort_keys=False))


@click.command()
@configuration
@run_option
@click.argument("fault", required=False)
@click.argument("role", default="any")
@click.option("--seconds", default=5.0, show_default=True, help="How long a lasting fault lasts.")
@click.option("--times", default=1, show_default=True)
@click.option("--every", "every_s", default=3.0, show_default=True, help="Seconds between two.")
@click.option("--seed", type=int, help="Of the random choice of roles; printed, so that it can be repeated.")
@click.option("--yes-break-it", is_flag=True, help="Without this, only the list of faults is printed.")
def chaos(
    config_path: Path | None,
    overrides: tuple[str, ...],
    run: str | None,
    fault: str | None,
    role: str,
    seconds: float,
    times: int,
    every_s: float,
    seed: int | None,
    yes_break_it: bool,
) -> None:
    """For developers: break a running engine on purpose, e.g. hft chaos kill signals --yes-break-it."""
    import time

    from hft_engine import chaos as breaking
    from hft_engine.runtime.rundir import read_manifest

    if fault is not None and fault not in breaking.FAULTS:
        die(f"no fault {fault!r}; there are: {', '.join(breaking.FAULTS)}")
    if fault is None or not yes_break_it:
        for name, one in breaking.FAULTS.items():
            click.echo(f"  {name:<11}{one.text}")
        die("nothing was done: name a fault and a role, and say --yes-break-it")
        return
    run_dir = chosen_run(run, config_path, overrides)
    seed = time.time_ns() % 1_000_000 if seed is None else seed
    breaking.inflict(run_dir, read_manifest(run_dir), fault, role, seconds, times, every_s, seed, say)


@click.command()
def warm() -> None:
    """Compile every kernel now, so that the first start is fast."""
    from hft_engine import starting

    sys.exit(starting.warm(click.echo))
