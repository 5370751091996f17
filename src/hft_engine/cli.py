"""The ``hft`` command: parsing only. Every error a person can cause ends in one message and a non-zero code."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from hft_engine import __version__

EXIT_ERROR = 2
LAST_SESSION = "last"
_DEMO_CONFIG = Path("config/demo.yaml")
_ENGINE_CONFIG = Path("config/engine.yaml")


class _Commands(click.Group):
    """Turns the errors we mean for people into a message without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not type(error).__module__.startswith("hft_engine"):
                raise  # a fault of ours: the traceback belongs into the report
            _die(str(error))


def _die(text: str, code: int = EXIT_ERROR) -> None:
    click.secho(f"error: {text}", fg="red", err=True)
    sys.exit(code)


def _say(text: str) -> None:
    """What a long command tells as it goes; errors to where errors go."""
    error = text.startswith("error: ")
    with contextlib.suppress(OSError):  # a full disk or a closed terminal is no reason to end an engine
        click.secho(text, fg="red" if error else None, err=error)


def _configuration(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one key, e.g. --set engine.layout=compact. Repeatable.",
    )(function)
    return click.option(
        "--config", "config_path", type=click.Path(path_type=Path), help="YAML, JSON or TOML file."
    )(function)


def _load(config_path: Path | None, overrides: Sequence[str], demo: bool = False) -> Any:
    from hft_engine.config.load import load_config

    if config_path is None:
        default = _DEMO_CONFIG if demo else _ENGINE_CONFIG
        config_path = default if default.exists() else None
        if demo and config_path is None:
            overrides = ("simulator.port=0", *overrides)
    return load_config(config_path, overrides)


def _run_dir(run: str | None, config_path: Path | None, overrides: Sequence[str]) -> Path:
    from hft_engine.runtime import rundir

    engine = _load(config_path, overrides).engine
    if run:
        return rundir.find_run(engine.run_root, run)
    runs = rundir.live_runs(engine.run_root)
    if len(runs) == 1:
        return runs[0]
    return rundir.find_run(engine.run_root, None, Path(engine.data_dir))


def _session(config_path: Path | None, overrides: Sequence[str], name: str) -> Path:
    from hft_engine.recorded_session import find_session

    return find_session(Path(_load(config_path, overrides).engine.data_dir), name)


_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
_run_option = click.option("--run", help="Which run, by id or its beginning; needed only when several run.")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hft")
def main() -> None:
    """hft_engine: market data in, signals out, through shared memory, in microseconds."""
    from hft_engine.runtime import kernelcache

    kernelcache.use()


@main.command()
@_configuration
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
    config = _load(config_path, overrides, demo)
    if detach:
        arguments = ["start", *(["--demo"] if demo else []), *(["--resume", resume] if resume else [])]
        arguments += ["--config", str(config_path)] if config_path else []
        sys.exit(starting.detached(config, arguments, overrides, _say))
    sys.exit(starting.foreground(config, _say, "" if resume == LAST_SESSION else resume))


@main.command()
@_configuration
@_run_option
def stop(config_path: Path | None, overrides: tuple[str, ...], run: str | None) -> None:
    """Stop the engine in order; nothing is left behind. Stopping a stopped engine is fine."""
    from hft_engine import stopping

    engine = _load(config_path, overrides).engine
    sys.exit(stopping.stop(engine.run_root, run, Path(engine.data_dir), _say))


@main.command()
@_configuration
@_run_option
@_json_option
def status(config_path: Path | None, overrides: tuple[str, ...], run: str | None, as_json: bool) -> None:
    """What runs, how fast, what was lost. Reads shared memory only: works while an actor hangs."""
    from hft_engine.views.status import collect, render

    state = collect(_run_dir(run, config_path, overrides))
    if as_json:
        import orjson

        click.echo(orjson.dumps(state, option=orjson.OPT_INDENT_2).decode())
    else:
        render(state)


@main.command()
@_configuration
@click.option("--run", help="Which run, by id or its beginning, also a past one; default: the newest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def errors(config_path: Path | None, overrides: tuple[str, ...], run: str | None, as_json: bool) -> None:
    """What went wrong, each kind once. Works while the engine runs, hangs or is dead, and after it has ended."""
    from hft_engine.views.errors import collect, render

    engine = _load(config_path, overrides).engine
    found = collect(engine.run_root, Path(engine.data_dir), run)
    if as_json:
        import orjson

        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        render(found)


@main.command()
@_configuration
@_run_option
@_json_option
def lat(config_path: Path | None, overrides: tuple[str, ...], run: str | None, as_json: bool) -> None:
    """Where the time from tick to signal goes: every hop, and the slowest signals. Works while an actor hangs."""
    from hft_engine.views.lat import collect, render

    latency = collect(_run_dir(run, config_path, overrides))
    if as_json:
        import orjson

        click.echo(orjson.dumps(latency, option=orjson.OPT_INDENT_2).decode())
    else:
        render(latency)


@main.command()
@_configuration
@_run_option
def top(config_path: Path | None, overrides: tuple[str, ...], run: str | None) -> None:
    """The status, live, in this terminal; q or Ctrl-C leaves."""
    from hft_engine.views.top import watch

    watch(_run_dir(run, config_path, overrides))


@main.command()
@_configuration
@_run_option
@click.argument("stream", type=click.Choice(["signals", "events"]))
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
    """Print signals (or events) as they happen."""
    from hft_engine.views import tail as views

    run_dir = _run_dir(run, config_path, overrides)
    printer = views.tail_signals if stream == "signals" else views.tail_events
    printer(run_dir, count, not no_follow)


@main.command()
@_configuration
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--speed",
    type=click.FloatRange(min=0.0),
    default=0.0,
    show_default=True,
    help="1 = real time, 10 = tenfold, 0 = as fast as possible.",
)
@click.option(
    "--layout", type=click.Choice(["dedicated", "compact", "inline"]), default="inline", show_default=True
)
@click.option("--db", type=click.Path(path_type=Path), help="Store bars and signals in this SQLite file.")
@click.option(
    "--from", "begin", metavar="TIME", help="First moment, UTC: 2024-08-08T13:30, or ns since 1970."
)
@click.option("--to", "end", metavar="TIME", help="Moment before which it ends.")
@click.option("--symbols", metavar="A,B", default="", help="Only these instruments.")
@click.option(
    "--verify", is_flag=True, help="Compare with the live session's own signals; exit 0: identical, 1: not."
)
@click.option("--force", is_flag=True, help="With --verify: compare even where nothing can be proven.")
@_json_option
def replay(
    config_path: Path | None,
    overrides: tuple[str, ...],
    paths: tuple[str, ...],
    speed: float,
    layout: str,
    db: Path | None,
    begin: str | None,
    end: str | None,
    symbols: str,
    verify: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Run a journal or recorded files through the same actors; prints a hash over all signals.

    A session is replayed with its own configuration unless --config names another one.
    """
    from hft_engine.views import replay as views

    part = views.part_of(begin, end, symbols)
    if verify:
        if len(paths) > 1 or config_path or begin or symbols or db:
            _die(
                "--verify takes one session, with its own configuration, from its beginning; --to may end it early"
            )
        session = _session(config_path, overrides, paths[0])
        sys.exit(views.run_verify(session, layout, speed, part.end_ns, force, as_json))
    paths = views.existing(paths, lambda name: _session(config_path, overrides, name))
    overrides = (*overrides, f"engine.layout={layout}")
    config = views.own_config(config_path, paths, overrides) or _load(config_path, overrides)
    views.run(config, paths, speed, db, as_json, part)


@main.command()
@_configuration
@click.argument("paths", nargs=-1, required=True)
@click.option("--strategy", help='follow, ema_cross, "file.py:Class" or "package.module:Class".')
@click.option(
    "--layout", type=click.Choice(["dedicated", "compact", "inline"]), default="inline", show_default=True
)
@click.option("--from", "begin", default="", help="First UTC time taken, 2024-08-08 or 2024-08-08T23:54:16.")
@click.option("--to", "end", default="", help="First UTC time not taken any more.")
@click.option(
    "--db", type=click.Path(path_type=Path), help="Store bars, signals, orders and fills in this file."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write the report as one HTML page.")
def backtest(
    config_path: Path | None,
    overrides: tuple[str, ...],
    paths: tuple[str, ...],
    strategy: str | None,
    layout: str,
    begin: str,
    end: str,
    db: Path | None,
    as_json: bool,
    page: Path | None,
) -> None:
    """Trade a journal, recorded files or stored bars on paper, with the code of a live run."""
    from hft_engine.views.backtest import run

    config = _load(config_path, (*overrides, f"engine.layout={layout}"))
    run(config, paths, strategy, (begin, end), db, as_json, page)


@main.command()
@_configuration
@click.argument("signal", required=False, metavar="[SESSION:]SEQUENCE")
@click.option(
    "--recompute",
    is_flag=True,
    help="Compare the signal with a replay's, byte for byte; exit 1: not the same.",
)
@click.option("--random", "count", type=click.IntRange(min=1), help="Recompute so many signals of a session.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of --random.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def explain(
    config_path: Path | None,
    overrides: tuple[str, ...],
    signal: str | None,
    recompute: bool,
    count: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Why a signal came: its ticks, features, model, rule, configuration and latency. Default: the newest signal.

    SEQUENCE is the number that `hft tail signals` shows; without SESSION it is of the newest one.
    """
    from hft_engine.views import explain as views

    name, _, sequence = (signal or "").rpartition(":")
    session = _session(config_path, overrides, name)
    if count:
        sys.exit(views.recompute_random(session, count, seed, as_json))
    sys.exit(views.explain(session, sequence, recompute, as_json))


@main.command()
@_configuration
@click.argument("paths", nargs=-1, required=True)
@click.option("--ticks", "ticks_max", type=click.IntRange(min=100), default=50_000, show_default=True)
@click.option(
    "--cuts", type=click.IntRange(min=1, max=20), default=2, show_default=True, help="Moments tried."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def bias(
    config_path: Path | None,
    overrides: tuple[str, ...],
    paths: tuple[str, ...],
    ticks_max: int,
    cuts: int,
    as_json: bool,
) -> None:
    """Find what knows the future: features, bars, signals and orders whose past changes with what comes after."""
    from hft_engine.views.bias import run

    sys.exit(run(_load(config_path, overrides), paths, ticks_max, cuts, as_json))


@main.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sim(arguments: tuple[str, ...]) -> None:
    """Run a venue simulator of its own: hft sim polygon --port 8765."""
    from hft_engine.feed.simulator.serving import main as simulate

    sys.exit(simulate(list(arguments)))


@main.group()
def journal() -> None:
    """Recorded sessions: ls, info, check, cut, export. SESSION: an id, its beginning, or a path."""


def _journal_path(name: str, config_path: Path | None, overrides: Sequence[str]) -> Path:
    from hft_engine.views.journal import find_journal

    return find_journal(Path(_load(config_path, overrides).engine.data_dir), name)


def _running(config_path: Path | None, overrides: Sequence[str]) -> list[str]:
    """Ids of live runs."""
    from hft_engine.runtime import rundir

    return [path.name for path in rundir.live_runs(_load(config_path, overrides).engine.run_root)]


@journal.command("ls")
@_configuration
@_json_option
def journal_ls(config_path: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Sessions in the data directory."""
    from hft_engine.views.journal import show_sessions

    data_dir = Path(_load(config_path, overrides).engine.data_dir)
    show_sessions(data_dir, _running(config_path, overrides), as_json)


@journal.command("info")
@_configuration
@click.argument("session")
@_json_option
def journal_info(config_path: Path | None, overrides: tuple[str, ...], session: str, as_json: bool) -> None:
    """What a session was made with, its segments, its holes, its events."""
    from hft_engine.views.journal_info import show_info

    path = _journal_path(session, config_path, overrides)
    show_info(path, _running(config_path, overrides), as_json)


@journal.command("check")
@_configuration
@click.argument("session")
@_json_option
def journal_check(config_path: Path | None, overrides: tuple[str, ...], session: str, as_json: bool) -> None:
    """Read every block of a session or segment; exit 1 when something is wrong."""
    from hft_engine.views.journal import show_check

    sys.exit(show_check(_journal_path(session, config_path, overrides), as_json))


@journal.command("cut")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--at", required=True, type=int, help="Offset that `journal check` named.")
def journal_cut(path: Path, at: int) -> None:
    """Cut a damaged segment at an offset; what is cut is kept beside it."""
    from hft_engine.views.journal import cut_segment

    cut_segment(path, at)


@journal.command("export")
@_configuration
@click.argument("session")
@click.option("--what", type=click.Choice(["ticks", "signals", "bars"]), default="ticks", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The Parquet file; else <session>-<what>.parquet here."
)
@click.option("--from", "start", default="", metavar="TIME", help="2026-11-26T14:30:00 (UTC), or 14:30.")
@click.option("--to", "end", default="", metavar="TIME", help="Not included.")
@click.option("--symbols", default="", metavar="A,B", help="Only these.")
def journal_export(
    config_path: Path | None,
    overrides: tuple[str, ...],
    session: str,
    what: Any,
    out: Path | None,
    start: str,
    end: str,
    symbols: str,
) -> None:
    """Ticks, signals or bars as Parquet; needs hft-engine[parquet]."""
    from hft_engine.views.journal_export import run as export

    export(_journal_path(session, config_path, overrides), what, out, start, end, symbols)


@main.group()
def latch() -> None:
    """The latch that stops new orders after a fault that endangers them: show, reset."""


@latch.command("show")
@_configuration
def latch_show(config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Whether it is set and why; exit 1 when it is."""
    from hft_engine.views.latch import show

    sys.exit(show(Path(_load(config_path, overrides).engine.data_dir)))


@latch.command("reset")
@_configuration
def latch_reset(config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Let orders go out again, once you have dealt with the cause."""
    from hft_engine.views.latch import reset

    reset(Path(_load(config_path, overrides).engine.data_dir))


@main.group()
def model() -> None:
    """The model that the engine serves."""


@model.command("swap")
@_configuration
@_run_option
@click.argument("path", type=click.Path(path_type=Path))
def model_swap(config_path: Path | None, overrides: tuple[str, ...], run: str | None, path: Path) -> None:
    """Serve another model from the next record on; refused, and the old one kept, when it does not fit."""
    from hft_engine.runtime.messages import SwapModel
    from hft_engine.views.commands import ask

    body = SwapModel(str(path.resolve()))
    click.echo(ask(_run_dir(run, config_path, overrides), "inference", body))


@main.command("set")
@_configuration
@_run_option
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
    click.echo(ask(_run_dir(run, config_path, overrides), "signals", body))


@main.command()
@_configuration
@_run_option
@click.argument("symbols", nargs=-1, required=True)
def subscribe(
    config_path: Path | None, overrides: tuple[str, ...], run: str | None, symbols: tuple[str, ...]
) -> None:
    """Take up more symbols while the engine runs, on every channel of feed.channels."""
    from hft_engine.runtime.messages import Subscribe
    from hft_engine.views.commands import ask

    click.echo(ask(_run_dir(run, config_path, overrides), "feed", Subscribe(symbols)))


@main.command()
@_configuration
@_run_option
@click.argument("symbols", nargs=-1, required=True)
def unsubscribe(
    config_path: Path | None, overrides: tuple[str, ...], run: str | None, symbols: tuple[str, ...]
) -> None:
    """Give up symbols while the engine runs."""
    from hft_engine.runtime.messages import Unsubscribe
    from hft_engine.views.commands import ask

    click.echo(ask(_run_dir(run, config_path, overrides), "feed", Unsubscribe(symbols)))


@main.command()
@_configuration
def config(config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """The configuration as the engine would use it, secrets masked."""
    import yaml

    from hft_engine.config.redact import redacted

    click.echo(yaml.safe_dump(redacted(_load(config_path, overrides)), sort_keys=False))


@main.command()
@_configuration
@_run_option
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
        _die(f"no fault {fault!r}; there are: {', '.join(breaking.FAULTS)}")
    if fault is None or not yes_break_it:
        for name, one in breaking.FAULTS.items():
            click.echo(f"  {name:<11}{one.text}")
        _die("nothing was done: name a fault and a role, and say --yes-break-it")
        return
    run_dir = _run_dir(run, config_path, overrides)
    seed = time.time_ns() % 1_000_000 if seed is None else seed
    breaking.inflict(run_dir, read_manifest(run_dir), fault, role, seconds, times, every_s, seed, _say)


@main.command()
def warm() -> None:
    """Compile every kernel now, so that the first start is fast."""
    from hft_engine import starting

    sys.exit(starting.warm(click.echo))
