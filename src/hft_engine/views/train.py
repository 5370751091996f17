"""What `hft train` shows: progress, then for each model its figures beside the baselines', and the verdict."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hft_engine.config.schema import Config
from hft_engine.learn.command import Outcome, TrainingOptions, run
from hft_engine.learn.report import MODEL, Report

_SHORT = {"auc": "AUC", "average_precision": "avg prec", "brier": "Brier"}


def show(config: Config, options: TrainingOptions, as_json: bool) -> int:
    """Train, register and print. Returns the exit code: 0, or 1 where a model does not beat its baseline.

    What is registered is printed even where the training of another model fails or is interrupted.
    """
    outcomes: list[Outcome] = []
    try:
        with shown_progress(Console(stderr=True)) as progress:
            run(config, options, progress, outcomes.append)
    finally:
        if as_json:
            sys.stdout.write(msgspec.json.encode([_plain(outcome) for outcome in outcomes]).decode() + "\n")
        else:
            for outcome in outcomes:
                _print(Console(), outcome)
        sys.stdout.flush()
    return int(any(outcome.report.unbeaten for outcome in outcomes))


@contextlib.contextmanager
def shown_progress(console: Console) -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal; elsewhere, in a log for one, a line for each step."""
    if not console.is_terminal:
        yield _lines(console)
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeElapsedColumn(),
        console=console, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("reading", total=1.0)
        yield lambda text, share: bar.update(task, description=text, completed=share)


def _lines(console: Console) -> Callable[[str, float], None]:
    told = ""

    def tell(text: str, share: float) -> None:
        nonlocal told
        if text != told:
            console.print(f"{100 * share:3.0f} %  {text}", highlight=False)
        told = text

    return tell


def _plain(outcome: Outcome) -> dict[str, object]:
    return {
        "version": outcome.version,
        "status": outcome.status,
        "folder": str(outcome.folder),
        "verdict": outcome.report.verdict,
        "report": outcome.report,
    }


def _print(console: Console, outcome: Outcome) -> None:
    report = outcome.report
    console.print(_figures(report, f"{report.task} {outcome.version}, {report.rows:,} rows, out of sample"))
    console.print(report.verdict, style="red" if report.unbeaten else "green")
    if report.cv_auc >= 0:
        console.print(f"CV AUC {report.cv_auc:.4f} (mean of purged k folds; for comparisons only)")
    console.print(f"{outcome.status}: {outcome.folder} (card.html, report.json)\n", style="dim")


def _figures(report: Report, title: str) -> Table:
    names = list(report.figures[MODEL])
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in (*names, "equity"):  # narrow enough for 80 columns
        table.add_column(_SHORT.get(name, name.replace("_", " ")), justify="right", no_wrap=True)
    table.add_column("beaten", no_wrap=True)
    for who, figures in report.figures.items():
        against = report.comparisons.get(who)
        verdict = "" if against is None else "yes" if against.better else "[red]NO[/]"
        verdict = "too short" if against is not None and against.undecided else verdict
        earned = f"{report.equity[who].total:+.2%}"
        table.add_row(who, *(f"{figures[name]:.4f}" for name in names), earned, verdict)
    return table


def registry_root(config: Config, given: Path | None) -> Path:
    """Where the registry lies: as given, else beside the models that runs used."""
    return given or Path(config.engine.data_dir) / "models"
