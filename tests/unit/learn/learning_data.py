"""What the tests of learning learn from: real bars, and bars in which something is planted."""

from pathlib import Path

import numpy as np

from hft_engine.config.schema import Config, IndicatorConfig, LearningConfig

BARS = Path(__file__).parents[2] / "data/bars"


def config(**learning: object) -> Config:
    values = {"folds": 3, "trees_max": 30, "leaf_rows_min": 20, **learning}
    return Config(indicators=IndicatorConfig(), learning=LearningConfig(**values))  # type: ignore[arg-type]


def write_bars(path: Path, close: np.ndarray, step_s: int = 60) -> Path:
    """A CSV file of bars with these closes."""
    random = np.random.default_rng(0)
    lines = ["timestamp,open,high,low,close,volume"]
    before = close[0]
    for i, price in enumerate(close):
        high, low = (
            max(before, price) * (1 + random.random() * 1e-4),
            min(before, price) * (1 - random.random() * 1e-4),
        )
        lines.append(
            f"{1_600_000_000 + i * step_s},{before:.6f},{high:.6f},{low:.6f},{price:.6f},{100 + i % 7}"
        )
        before = price
    path.write_text("\n".join(lines) + "\n")
    return path


def waves(rows: int, seed: int = 0) -> np.ndarray:
    """Closes that rise and fall in turn, with noise: their peaks can be foretold."""
    random = np.random.default_rng(seed)
    phase = np.cumsum(random.uniform(0.12, 0.2, rows))
    return 100.0 * np.exp(0.01 * np.sin(phase) + np.cumsum(random.normal(0, 0.0004, rows)))


def noise(rows: int, seed: int = 0) -> np.ndarray:
    """Closes of a random walk: nothing can be foretold."""
    return 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.001, rows)))
