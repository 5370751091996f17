"""Commands of what was recorded: replay, backtest, explain, and the journal."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hft_engine.cli.options import (
    configuration,
    die,
    json_option,
    load,
    session_folder,
)


@click.command()
@configuration
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
@json_option
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
            die(
                "--verify takes one session, with its own configuration, from its beginning; --to may end it early"
            )
        session = session_folder(config_path, overrides, paths[0])
        sys.exit(views.run_verify(session, layout, speed, part.end_ns, force, as_json))
    paths = views.existing(paths, lambda name: session_folder(config_path, overrides, name))
    overrides = (*overrides, f"engine.layout={layout}")
    config = views.own_config(config_path, paths, overrides) or load(config_path, overrides)
    views.run(config, paths, speed, db, as_json, part)


@click.command()
@configuration
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

    config = load(config_path, (*overrides, f"engine.layout={layout}"))
    run(config, paths, strategy, (begin, end), db, as_json, page)


@click.command()
@configuration
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
    session = session_folder(config_path, overrides, name)
    if count:
        sys.exit(views.recompute_random(session, count, seed, as_json))
    sys.exit(views.explain(session, sequence, recompute, as_json))


@click.command()
@configuration
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

    sys.exit(run(load(config_path, overrides), paths, ticks_max, cuts, as_json))


@click.group()
def journal() -> None:
    """Recorded sessions: ls, info, check, cut, export. SESSION: an id, its beginning, or a path."""


def _journal_path(name: str, config_path: Path | None, overrides: Sequence[str]) -> Path:
    from hft_engine.views.journal import find_journal

    return find_journal(Path(load(config_path, overrides).engine.data_dir), name)


def _running(config_path: Path | None, overrides: Sequence[str]) -> list[str]:
    """Ids of live runs."""
    from hft_engine.runtime import rundir

    return [path.name for path in rundir.live_runs(load(config_path, overrides).engine.run_root)]


@journal.command("ls")
@configuration
@json_option
def journal_ls(config_path: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Sessions in the data directory."""
    from hft_engine.views.journal import show_sessions

    data_dir = Path(load(config_path, overrides).engine.data_dir)
    show_sessions(data_dir, _running(config_path, overrides), as_json)


@journal.command("info")
@configuration
@click.argument("session")
@json_option
def journal_info(config_path: Path | None, overrides: tuple[str, ...], session: str, as_json: bool) -> None:
    """What a session was made with, its segments, its holes, its events."""
    from hft_engine.views.journal_info import show_info

    path = _journal_path(session, config_path, overrides)
    show_info(path, _running(config_path, overrides), as_json)


@journal.command("check")
@configuration
@click.argument("session")
@json_option
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
@configuration
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
