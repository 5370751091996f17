"""Commands of a running engine: start, stop, look, change."""

import sys
from pathlib import Path

import click

from hft_engine.cli.options import (
    LAST_SESSION,
    chosen_run,
    configuration,
    json_option,
    load,
    run_option,
    say,
)


@click.command()
@configuration
@click.option("--demo", is_flag=True, help="Our own venue with synthetic markets; needs no key.")
@click.option("--layout", type=click.Choice(["dedicated", "compact", "inline"]), help="Process layout.")
@click.option("--detach", is_flag=True, help="Return once it runs; logs go to the log directory.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=LAST_SESSION,
    metavar="[SESSION]",
    help="Go on with the last session, or the one named: its sequences, its state, its hash.",
)
def start(
    config_path: Path | None,
    overrides: tuple[str, ...],
    demo: bool,
    layout: str | None,
    detach: bool,
    resume: str | None,
) -> None:
    """Start the engine; Ctrl-C stops it."""
    from hft_engine import starting

    overrides = (*starting.inherited_overrides(), *overrides)
    if layout:
        overrides = (*overrides, f"engine.layout={layout}")
    config = load(config_path, overrides, demo)
    if demo and config.learning.live and not starting.can_learn():
        say("the demo goes without its trainer, which needs scikit-learn: pip install 'hft-engine[learn]'")
        overrides = (*overrides, "learning.live=false")
        config = load(config_path, overrides, demo)
    if detach:
        arguments = ["start", *(["--demo"] if demo else []), *(["--resume", resume] if resume else [])]
        arguments += ["--config", str(config_path)] if config_path else []
        sys.exit(starting.detached(config, arguments, overrides, say))
    sys.exit(starting.foreground(config, say, "" if resume == LAST_SESSION else resume))


@click.command()
@configuration
@run_option
def stop(config_path: Path | None, overrides: tuple[str, ...], run: str | None) -> None:
    """Stop the engine in order; nothing is left behind. Stopping a stopped engine is fine."""
    from hft_engine import stopping

    engine = load(config_path, overrides).engine
    sys.exit(stopping.stop(engine.run_root, run, Path(engine.data_dir), say))


@click.command()
@configuration
@run_option
@json_option
def status(config_path: Path | None, overrides: tuple[str, ...], run: str | None, as_json: bool) -> None:
    """What runs, how fast, what was lost. Reads shared memory only: works while an actor hangs."""
    from hft_engine.views.status import collect, render

    state = collect(chosen_run(run, config_path, overrides))
    if as_json:
        import orjson

        click.echo(orjson.dumps(state, option=orjson.OPT_INDENT_2).decode())
    else:
        render(state)


@click.command()
@configuration
@click.option("--run", help="Which run, by id or its beginning, also a past one; default: the newest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def errors(config_path: Path | None, overrides: tuple[str, ...], run: str | None, as_json: bool) -> None:
    """What went wrong, each kind once. Works while the engine runs, hangs or is dead, and after it has ended."""
    from hft_engine.views.errors import collect, render

    engine = load(config_path, overrides).engine
    found = collect(engine.run_root, Path(engine.data_dir), run)
    if as_json:
        import orjson

        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        render(found)


@click.command()
@configuration
@run_option
@json_option
def lat(config_path: Path | None, overrides: tuple[str, ...], run: str | None, as_json: bool) -> None:
    """Where the time from tick to signal goes: every hop, and the slowest signals. Works while an actor hangs."""
    from hft_engine.views.lat import collect, render

    latency = collect(chosen_run(run, config_path, overrides))
    if as_json:
        import orjson

        click.echo(orjson.dumps(latency, option=orjson.OPT_INDENT_2).decode())
    else:
        render(latency)


@click.command()
@configuration
@run_option
def top(config_path: Path | None, overrides: tuple[str, ...], run: str | None) -> None:
    """The status, live, in this terminal; q or Ctrl-C leaves."""
    from hft_engine.views.top import watch

    watch(chosen_run(run, config_path, overrides))


@click.command()
@configuration
@run_option
@click.argument("stream", type=click.Choice(["signals", "events", "health"]))
@click.option("-n", "count", default=10, show_default=True, help="How many past ones to show first.")
@click.option("--no-follow", is_flag=True, help="Only the past ones.")
def tail(
    config_path: Path | None,
    overrides: tuple[str, ...],
    run: str | None,
    stream: str,
    count: int,
    no_follow: bool,
) -> None:
    """Print signals, events, or changes of the health of instruments' data as they happen."""
    from hft_engine.views import tail as views

    run_dir = chosen_run(run, config_path, overrides)
    printers = {"signals": views.tail_signals, "events": views.tail_events, "health": views.tail_health}
    printers[stream](run_dir, count, not no_follow)


@click.group()
def latch() -> None:
    """The latch that stops new orders after a fault that endangers them: show, reset."""


@latch.command("show")
@configuration
def latch_show(config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Whether it is set and why; exit 1 when it is."""
    from hft_engine.views.latch import show

    sys.exit(show(Path(load(config_path, overrides).engine.data_dir)))


@latch.command("reset")
@configuration
def latch_reset(config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Let orders go out again, once you have dealt with the cause."""
    from hft_engine.views.latch import reset

    reset(Path(load(config_path, overrides).engine.data_dir))


@click.group()
def model() -> None:
    """The model that the engine serves."""


@model.command("swap")
@configuration
@run_option
@click.argument("path", type=click.Path(path_type=Path))
def model_swap(config_path: Path | None, overrides: tuple[str, ...], run: str | None, path: Path) -> None:
    """Serve another model from the next record on; refused, and the old one kept, when it does not fit."""
    from hft_engine.runtime.messages import SwapModel
    from hft_engine.views.commands import ask

    body = SwapModel(str(path.resolve()))
    click.echo(ask(chosen_run(run, config_path, overrides), "inference", body))


@click.command("set")
@configuration
@run_option
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
def set_live(
    config_path: Path | None, overrides: tuple[str, ...], run: str | None, settings: tuple[str, ...]
) -> None:
    """Change signals.cooldown_ms, .expiry_ms, .strength_min or signals.rules.NAME.enter, .release, .full while it runs.

    All of them take effect together, between two records; a replay of the session does the same at the same record.
    """
    from hft_engine.config.live import parse_changes
    from hft_engine.runtime.messages import SetConfig
    from hft_engine.views.commands import ask

    body = SetConfig(parse_changes(settings))
    click.echo(ask(chosen_run(run, config_path, overrides), "signals", body))


line_option = click.option(
    "--line", default="", metavar="NAME", help="A line of feed.lines; without it the one that feed describes."
)


@click.command()
@configuration
@run_option
@line_option
@click.argument("symbols", nargs=-1, required=True)
def subscribe(
    config_path: Path | None, overrides: tuple[str, ...], run: str | None, line: str, symbols: tuple[str, ...]
) -> None:
    """Take up more symbols while the engine runs, on every channel of feed.channels."""
    from hft_engine.runtime.messages import Subscribe
    from hft_engine.views.commands import ask

    click.echo(ask(chosen_run(run, config_path, overrides), "feed", Subscribe(symbols, line)))


@click.command()
@configuration
@run_option
@line_option
@click.argument("symbols", nargs=-1, required=True)
def unsubscribe(
    config_path: Path | None, overrides: tuple[str, ...], run: str | None, line: str, symbols: tuple[str, ...]
) -> None:
    """Give up symbols while the engine runs."""
    from hft_engine.runtime.messages import Unsubscribe
    from hft_engine.views.commands import ask

    click.echo(ask(chosen_run(run, config_path, overrides), "feed", Unsubscribe(symbols, line)))
