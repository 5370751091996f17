"""What `hft backtest` shows: a progress bar while it runs, then the report."""

from collections.abc import Sequence
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from hft_engine.backtest.page import page_of
from hft_engine.backtest.report import Report, fields, text_of
from hft_engine.backtest.run import backtest, with_strategy
from hft_engine.config.schema import Config
from hft_engine.feed.recorded_bars import parse_stamp


class PeriodError(ValueError):
    """A time on the command line that is none."""


def run(
    config: Config,
    paths: Sequence[str],
    strategy: str | None,
    period: tuple[str, str],
    database: Path | None,
    as_json: bool,
    page: Path | None,
) -> None:
    """Backtest and print. Raises what ``backtest`` raises, and PeriodError."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("backtesting"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("backtest", total=1000)
        report = backtest(
            with_strategy(config, strategy),
            paths,
            database,
            (_stamp(period[0]), _stamp(period[1])),
            progress=lambda permille: bar.update(task, completed=permille),
            say=bar.console.print,
        )
    _show(report, as_json)
    if page is not None:
        page.write_text(page_of(report), encoding="utf-8")
        console.print(f"report: {page}")


def _show(report: Report, as_json: bool) -> None:
    print(orjson.dumps(fields(report)).decode() if as_json else text_of(report))


def _stamp(text: str) -> int:
    """UTC ns; 0 of nothing."""
    try:
        return parse_stamp(text) if text else 0
    except ValueError as error:
        raise PeriodError(f"--from/--to: {error}; write 2024-08-08 or 2024-08-08T23:54:16") from None
