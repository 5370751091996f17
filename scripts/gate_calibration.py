"""How often the gate is wrong, by simulation: the evidence behind docs/decisions/0012-gate.md.

    python scripts/gate_calibration.py [--runs 1000] [--effect 0.5] [--market SECONDS]

Equal candidates (which must hardly ever pass), candidates better by the effect that the gate is powered for (which must
mostly pass), and how long a promoted model that becomes worse, or does not, stays; the differences of the blocks
normal, heavy-tailed, skewed, dependent. The last kind are differences of two models of the demo venue's market on rows
that they had not seen, drawn in runs of neighbouring blocks. Beside the gate, on the same numbers: the mixture
sequential probability ratio test, and a t test that is looked at after each block. Exit code 1 where the gate misses
its marks.
"""

import argparse
import math
import sys
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hft_engine.runtime import kernelcache

kernelcache.use()  # before anything imports numba

from hft_engine.learn.gate import ALPHA, WARM_BLOCKS, Gate, Verdict, Watch, blocks_max  # noqa: E402

PROMOTED_MAX, FOUND_MIN = 0.05, 0.80
HORIZON_ROWS, BLOCK_HORIZONS = 5, 20
RUN_BLOCKS = 5  # neighbours drawn together
Make = Callable[[np.random.Generator, int], np.ndarray]  # so many blocks of mean 0 and deviation 1


def normal(rng: np.random.Generator, blocks: int) -> np.ndarray:
    return rng.standard_normal(blocks)


def heavy(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Student's t of 3 degrees of freedom."""
    return rng.standard_t(3, blocks) / math.sqrt(3.0)


def skewed(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """A candidate that gains a little in most blocks and loses much in some: minus a gamma of shape 4, skewness -1."""
    return (4.0 - rng.gamma(4.0, 1.0, blocks)) / 2.0


def overlapping(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Rows whose labels overlap over the horizon, averaged over blocks of 20 horizons, as the engine does."""
    rows = rng.standard_t(4, blocks * HORIZON_ROWS * BLOCK_HORIZONS + HORIZON_ROWS)
    dependent = np.convolve(rows, np.ones(HORIZON_ROWS) / HORIZON_ROWS, "valid")
    means = dependent[: blocks * HORIZON_ROWS * BLOCK_HORIZONS].reshape(blocks, -1).mean(axis=1)
    return np.asarray(means / (math.sqrt(2.0) / math.sqrt(HORIZON_ROWS * BLOCK_HORIZONS)))


def dependent(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Blocks that are too short: neighbours correlate by 0.2."""
    values = rng.standard_normal(blocks)
    for i in range(1, blocks):
        values[i] = 0.2 * values[i - 1] + math.sqrt(1.0 - 0.04) * values[i]
    return values


def of_models(seconds: int) -> Make:
    """Two models of one training set and different seeds, on the half of the market that came after it."""
    from dataclasses import replace

    import lightgbm
    import msgspec

    from hft_engine.config.schema import Config, LearningConfig, SimulatorConfig
    from hft_engine.learn.demo import demo_samples
    from hft_engine.learn.gate import block_means
    from hft_engine.learn.labels import UNKNOWN
    from hft_engine.learn.measures import losses
    from hft_engine.learn.tasks import TASKS
    from hft_engine.learn.training import train

    config = Config(simulator=SimulatorConfig(), learning=LearningConfig(folds=2))
    samples, _ = demo_samples(config, seconds)
    border = int(np.median(samples.ts_ns))

    def part(mask: np.ndarray):  # type: ignore[no-untyped-def]
        picked = {
            name: getattr(samples, name)[mask] for name in ("rows", "ts_ns", "series", "bars", "usable")
        }
        return replace(samples, **picked)

    early, late = part(samples.ts_ns < border), part(samples.ts_ns >= border)
    task = TASKS["entry_timing"]
    classes = task.label(late, config, np.ones(len(late), np.bool_)).classes
    known = classes != UNKNOWN
    found = []
    for seed in (1, 2):
        learning = msgspec.structs.replace(config.learning, seed=seed)
        trained = train(task, early, msgspec.structs.replace(config, learning=learning))
        chance = np.asarray(lightgbm.Booster(model_str=trained.text).predict(late.rows[known]))
        found.append(losses(np.column_stack([1.0 - chance, chance]), classes[known]))
    means = block_means(found[0] - found[1], late.ts_ns[known], 5 * HORIZON_ROWS * 1_000_000_000)
    values = np.array(list(means.values()))
    values = (values - values.mean()) / values.std()

    def make(rng: np.random.Generator, blocks: int) -> np.ndarray:
        starts = rng.integers(0, len(values), -(-blocks // RUN_BLOCKS))
        at = (starts[:, None] + np.arange(RUN_BLOCKS)) % len(
            values
        )  # round the end: each value as often as another
        return np.asarray(values[at].ravel()[:blocks])

    return make


def passes(differences: np.ndarray, effect: float) -> tuple[bool, int]:
    """(whether the gate promotes, blocks until its verdict)."""
    gate = Gate(effect)
    for difference in differences:
        if (verdict := gate.add(float(difference))) is not Verdict.UNDECIDED:
            return verdict is Verdict.BETTER, gate.blocks
    return False, gate.blocks


def mixture_ratio(differences: np.ndarray, effect: float) -> bool:
    """Johari, Koomen, Pekelis and Walsh, "Always valid inference", Operations Research 70 (2022), equation 2, with the
    deviation of what was seen so far and the effect as the mixture's deviation; only candidates that lead pass."""
    n = np.arange(1, len(differences) + 1)
    sums = np.cumsum(differences)
    variance = np.maximum(np.cumsum(differences**2) / n - (sums / n) ** 2, 1e-12)
    spread = effect**2 * variance
    logs = 0.5 * np.log(variance / (variance + n * spread)) + spread * sums**2 / (
        2 * variance * (variance + n * spread)
    )
    return bool(np.any((logs[WARM_BLOCKS:] >= math.log(1.0 / ALPHA)) & (sums[WARM_BLOCKS:] > 0.0)))


def peeked_t(differences: np.ndarray) -> bool:
    """A one-sided t test of 5 %, looked at after each block."""
    n = np.arange(1, len(differences) + 1)
    means = np.cumsum(differences) / n
    deviation = np.sqrt(np.maximum(np.cumsum(differences**2) / n - means**2, 1e-12))
    return bool(np.any((means / deviation * np.sqrt(n))[WARM_BLOCKS:] > 1.645))


def stays(differences: np.ndarray) -> int:
    """Blocks until the watch rolls back; more than there are: never."""
    watch = Watch()
    return next((watch.blocks for d in differences if watch.add(float(d))), len(differences) + 1)


def main() -> int:
    options = _options()
    kinds: dict[str, Make] = {
        "normal": normal,
        "heavy tails": heavy,
        "skewed": skewed,
        "overlapping labels": overlapping,
        "blocks correlate by 0.2": dependent,
    }
    if options.market:
        kinds["two models, demo market"] = of_models(options.market)
    blocks = blocks_max(options.effect)
    table = Table(title=f"{options.runs:,} runs each, effect {options.effect}, at most {blocks} blocks")
    for column in (
        "differences",
        "equal: promoted",
        "better: promoted",
        "blocks, mean",
        "mSPRT: equal, better",
        "peeked t: equal",
        "watch: rolled back in 1,000",
        "worse: blocks",
    ):
        table.add_column(column, justify="left" if column == "differences" else "right")
    missed = False
    for name, make in kinds.items():
        row, bad = _row(name, make, options, blocks)
        table.add_row(*row)
        missed |= bad
    Console(width=150).print(table)
    return int(missed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Calibrate the gate by simulation.")
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--effect", type=float, default=0.5)
    parser.add_argument(
        "--market", type=int, default=0, metavar="SECONDS", help="also differences of real models"
    )
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def _row(name: str, make: Make, options: argparse.Namespace, blocks: int) -> tuple[list[str], bool]:
    rng, effect, runs = np.random.default_rng(options.seed), options.effect, options.runs
    equal, better, needed, wrong, worse = 0, 0, [], 0, []
    ratio_equal, ratio_better, peeked = 0, 0, 0
    for _ in track(range(runs), name, transient=True):
        null, shifted = make(rng, blocks), make(rng, blocks) + effect
        equal += passes(null, effect)[0]
        found, after = passes(shifted, effect)
        better += found
        needed.append(after)
        ratio_equal += mixture_ratio(null, effect)
        ratio_better += mixture_ratio(shifted, effect)
        peeked += peeked_t(null)
    for _ in track(range(runs // 10), f"{name}: watch", transient=True):
        wrong += stays(make(rng, 1_000)) <= 1_000
        worse.append(stays(make(rng, 1_000) - effect))
    told = [f"{100 * equal / runs:.1f} %", f"{100 * better / runs:.1f} %", f"{np.mean(needed):.0f}"]
    rivals = [
        f"{100 * ratio_equal / runs:.1f} %, {100 * ratio_better / runs:.1f} %",
        f"{100 * peeked / runs:.1f} %",
    ]
    watched = [f"{wrong} of {runs // 10}", f"{np.mean(worse):.0f}"]
    bad = equal / runs > PROMOTED_MAX or better / runs < FOUND_MIN
    return [name, *told, *rivals, *watched], bad


if __name__ == "__main__":
    sys.exit(main())
