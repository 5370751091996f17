"""Where the time of a replayed tick goes in the engine's part of ``backtest``: two EMAs and a cross, no model.

    journal --> replay actor --ticks--> indicators --features--> inference --predictions--> signals

The same trades, cut to several lengths: what a replay costs once, whatever its length, shows in the short ones. Beside
the whole replay, which stays in compiled code from the indicators to the signals, each stage alone, driven by hand.
"""

import statistics

from benchmarks import harness
from benchmarks.load.backtest import RULE
from benchmarks.load.backtest_data import Dataset, load
from benchmarks.load.backtest_ours import Contender
from benchmarks.load.replay import STAGES, split

LENGTHS = (20_000, 150_000, 450_000)


def budget(data: Dataset, runs: int) -> tuple[list[float], dict[str, list[float]]]:
    """Nanoseconds a tick: of each whole replay, and of each stage in each split one."""
    ours = Contender("none", {"ts_ns": data.ts_ns, "price": data.price, "size": data.size}, RULE)
    ours.run()  # compiles
    whole: list[float] = []
    stages: dict[str, list[float]] = {name: [] for name in STAGES}
    for _ in range(runs):
        ticks, _, seconds = ours.run()
        whole.append(1e9 * seconds / ticks)
        spent, ticks, _ = split(ours.config, ours.journal)
        for name, spent_s in spent.items():
            stages[name].append(1e9 * spent_s / ticks)
    return whole, stages


def main() -> int:
    report = harness.Report("backtest_budget", harness.options(__doc__ or ""))
    data = load()
    rows = []
    for length in LENGTHS[: 2 if report.opts.quick else None]:
        report.progress(f"{length:,} ticks ...")
        part = data.first(length)
        whole, stages = budget(part, report.opts.runs)
        report.add(f"replay_ema_cross_{length}_ns_per_tick", whole, "ns")
        medians = [statistics.median(stages[name]) for name in STAGES]
        rows.append([f"{len(part.price):,}", *(f"{ns:,.0f}" for ns in (statistics.median(whole), *medians))])
    report.show("nanoseconds a tick", ("ticks", "whole replay", *STAGES), rows)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
