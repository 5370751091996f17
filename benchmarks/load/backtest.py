"""Replay of a day of real trades with one strategy, the cross of two EMAs, beside three backtesting engines.

    the same trades --> each engine's own replay --> two EMAs --> a signal whenever they change sides

Periods are 12 and 26. A cross is a change of sides by more than 1e-9 of the price: less is rounding, which no two
libraries share. Signals are counted; orders are sent by the engine alone, in its variant that follows the crosses on
paper (`hft backtest`). Every trade updates the EMAs, whatever the conditions of the print. Each contender has a
process of its own; they take turns: A B C A B C. Importing, loading, making objects and compiling is not in the rates;
it is shown. Every contender's crosses must be exactly those of a plain loop with the
same start of the EMAs: the mean of the first window (TA-Lib, this engine) or the first price (nautilus_trader, pandas).

What is not the same work: this engine reads a journal from disk and builds bars, with no switch to leave that out, and
its rules are configuration; with a model it computes its whole feature set. The others have their ticks in memory and
compute two EMAs. nautilus_trader calls a Python strategy on each tick, hftbacktest a compiled one; backtesting.py
computes its indicators for the whole series at once and calls Python for each bar. Each module's docstring says more.

`--prepare` makes the peers' environments (about 1.5 GB), `--python` with another interpreter than this one.
"""

import contextlib
import functools
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.load import backtest_peers as peers
from benchmarks.load.backtest_bare import count_crosses
from benchmarks.load.backtest_data import SHARED_DATA, Dataset, load
from benchmarks.load.backtest_peers import Contender, ContenderError, Worker

RULE = {"fast": 12, "slow": 26, "band": 1e-9}
QUICK_TICKS = 150_000
NAUTILUS_TIMES = 10.0  # what the engine is to be faster by than nautilus_trader

Runs = dict[Contender, list[dict[str, Any]]]


def expected_crosses(data: Dataset, from_first: bool) -> int:
    return int(count_crosses(data.price, RULE["fast"], RULE["slow"], RULE["band"], from_first))


def check(contender: Contender, done: dict[str, Any], data: Dataset) -> None:
    """Raises RuntimeError for a contender that did not do the work."""
    expected = (len(data.price), expected_crosses(data, contender.from_first))
    if (done["ticks"], done["crosses"]) != expected:
        raise RuntimeError(
            f"{contender.title}: {done['ticks']} ticks and {done['crosses']} crosses, expected {expected}"
        )


def start_all(
    report: harness.Report, stack: contextlib.ExitStack, file: Path, contenders: Sequence[Contender]
) -> list[Worker]:
    """Every contender that can take part, loaded and warm; the others are named in the report."""
    workers = []
    for contender in contenders:
        report.progress(f"{contender.title}: loading ...")
        try:
            workers.append(stack.enter_context(Worker(contender, file, RULE)))
        except ContenderError as error:
            report.note(f"Left out: {error}")
    return workers


def measure(report: harness.Report, workers: list[Worker], data: Dataset) -> Runs:
    """A B C A B C: every run of every contender, checked."""

    def once(worker: Worker) -> dict[str, Any]:
        done = worker.replay()
        check(worker.contender, done, data)
        return done

    runs = report.interleave({worker.contender.title: functools.partial(once, worker) for worker in workers})
    return {worker.contender: runs[worker.contender.title] for worker in workers}


def add_figures(report: harness.Report, runs: Runs) -> None:
    """The engine beside each contender that took part; beside nautilus_trader there is a target."""
    rates = {contender: [done["rate"] for done in each] for contender, each in runs.items()}
    ours = rates[peers.OURS]
    for peer in [contender for contender in peers.OTHERS if contender in rates]:
        target = None
        name = f"ema_cross_to_{peer.key}_ticks_per_s"
        if peer is peers.NAUTILUS_TRADER:
            name, target = "replay_ema_cross_ticks_per_s", NAUTILUS_TIMES * statistics.median(rates[peer])
        report.add(name, ours, "1/s", (peer.title, rates[peer]), target, more_is_better=True)
    if peers.NAUTILUS_TRADER not in rates:
        report.add("replay_ema_cross_ticks_per_s", ours, "1/s", ("bare numba loop", rates[peers.BARE]))
    for variant in (peers.OURS_COMPACT, peers.OURS_TRADING, peers.OURS_MODEL):
        name = f"ema_cross_{variant.key}_ticks_per_s"
        report.add(name, rates[variant], "1/s", ("one process, no model", ours))
    _add_memory(report, runs)


def _add_memory(report: harness.Report, runs: Runs) -> None:
    peaks = {contender: [done["peak_mb"] for done in each] for contender, each in runs.items()}
    peer = next(contender for contender in (peers.NAUTILUS_TRADER, peers.BARE) if contender in peaks)
    report.add("replay_ema_cross_peak_mb", peaks[peers.OURS], "MB", (peer.title, peaks[peer]))


def show(report: harness.Report, workers: Sequence[Worker], runs: Runs) -> None:
    """One row for each contender: what it did, how fast, what it needed before."""
    header = (
        "contender",
        "ticks",
        "crosses",
        "ticks/s",
        "min - max",
        "ns/tick",
        "import s",
        "load s",
        "first s",
    )
    report.show("replay of the same ticks", (*header, "peak MB"), [_row(worker, runs) for worker in workers])


def _row(worker: Worker, runs: Runs) -> list[str]:
    about, each = worker.about, runs[worker.contender]
    rates = [done["rate"] for done in each]
    median = statistics.median(rates)
    number = harness.number
    return [
        f"{worker.contender.title} {about['version']}",
        f"{each[0]['ticks']:,}",
        f"{each[0]['crosses']:,}",
        number(median),
        f"{number(min(rates))} - {number(max(rates))}",
        number(1e9 / median),
        *(f"{about[name]:.2f}" for name in ("import_s", "load_s", "first_s")),
        f"{max(done['peak_mb'] for done in each):,.0f}",
    ]


def explain(report: harness.Report, data: Dataset, runs: Runs) -> None:
    """What the figures were taken on, and why they may be compared."""
    mean, first = expected_crosses(data, False), expected_crosses(data, True)
    report.note(
        f"replay_ema_cross: {data.description}, {len(data.price):,} of them replayed; crosses of a plain loop: "
        f"{mean:,} with EMAs that start as a mean (hft_engine, hftbacktest, bare loop), {first:,} with EMAs that start "
        f"at the first price; all {sum(map(len, runs.values()))} runs gave exactly theirs."
    )
    report.note(
        "Peak memory is that of a contender's whole process, its ticks included (of two processes: the first)."
    )


def prepare(interpreter: str) -> int:
    """Make every peer's environment; 1 where one could not be made."""
    failed = 0
    for environment in peers.ENVIRONMENTS:
        print(f"{environment.requirement} into {environment.folder} ...", flush=True)
        try:
            environment.prepare(interpreter)
        except ContenderError as error:
            failed = 1
            print(f"failed: {error}", file=sys.stderr)
    return failed


def run(report: harness.Report, data: Dataset, contenders: Sequence[Contender]) -> int:
    with tempfile.TemporaryDirectory(prefix="hft_bench-") as folder, contextlib.ExitStack() as stack:
        file = Path(folder) / "ticks.npz"
        data.write(file)
        workers = start_all(report, stack, file, contenders)
        report.sense_jitter()
        runs = measure(report, workers, data)
        report.sense_jitter()
    add_figures(report, runs)
    show(report, workers, runs)
    explain(report, data, runs)
    return report.finish()


def _arguments(parser: harness.Parser) -> None:
    parser.add_argument("--prepare", action="store_true", help="make the peers' environments and end")
    parser.add_argument("--python", default=sys.executable, help="interpreter of these environments")
    parser.add_argument(
        "--data", type=Path, help=f"folder of recorded files (default: {SHARED_DATA}, ../shared/data)"
    )


def main() -> int:
    opts = harness.options(__doc__ or "", extra=_arguments)
    if opts.extra["prepare"]:
        return prepare(opts.extra["python"])
    report = harness.Report("backtest", opts)
    data = load(opts.extra["data"])
    data = data.first(report.opts.count(len(data.price), QUICK_TICKS))
    return run(report, data, (*peers.OF_OURS, *peers.OTHERS))


if __name__ == "__main__":
    raise SystemExit(main())
