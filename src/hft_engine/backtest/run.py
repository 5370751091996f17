"""A backtest: a replay with a strategy, then the report. The actors are those of a live run, and so are the fills."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from hft_engine.backtest.report import Report, report_of
from hft_engine.config.schema import Config, ExecutionConfig
from hft_engine.execution.ledger import Ledger, read_ledger
from hft_engine.replay import Part, ReplayResult, replay


def with_strategy(config: Config, strategy: str | None = None) -> Config:
    """``config`` with an ``execution`` section, the defaults where it has none, and ``strategy`` if it is given."""
    execution = config.execution or ExecutionConfig()
    if strategy is not None:
        execution = msgspec.structs.replace(execution, strategy=strategy)
    return msgspec.structs.replace(config, execution=execution)


def run(
    config: Config,
    paths: Sequence[str],
    database: Path | None = None,
    period: tuple[int, int] = (0, 0),
    progress: Callable[[int], None] = lambda permille: None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[ReplayResult, Ledger]:
    """What a replay of ``paths`` with the strategy of ``config`` left. See ``replay.replay`` for the arguments."""
    with tempfile.TemporaryDirectory(prefix="hft-backtest-") as folder:
        file = Path(folder) / "ledger.npz"
        part = Part(begin_ns=period[0], end_ns=period[1])
        result = replay(config, paths, 0.0, database, progress, say, file, part)
        return result, read_ledger(file)


def backtest(
    config: Config,
    paths: Sequence[str],
    database: Path | None = None,
    period: tuple[int, int] = (0, 0),
    progress: Callable[[int], None] = lambda permille: None,
    say: Callable[[str], None] = lambda text: None,
) -> Report:
    """Run and report. ``config`` needs an ``execution`` section, see ``with_strategy``.

    Raises ReplayError, StrategyError and what the readers of the files raise.
    """
    result, ledger = run(config, paths, database, period, progress, say)
    return report_of(config, paths, result, ledger)
