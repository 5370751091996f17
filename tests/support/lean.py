"""Lean tick files of a made-up day: what the real ones look like, small, and free to keep."""

import zipfile
from pathlib import Path

import numpy as np

DAY = "20131008"
OPEN_MS = 34_200_000  # 09:30 in New York


def write_day(folder: Path, symbol: str, ticks: int, seed: int, price: float = 100.0) -> list[str]:
    """A trade and a quote file of ``symbol`` below ``folder``; returns their paths. Rows are in order of time."""
    random = np.random.default_rng(seed)
    ms = OPEN_MS + np.cumsum(random.integers(0, 40, ticks))
    cents = np.round(price * 100 + np.cumsum(random.normal(0.0, 1.5, ticks))).astype(int)
    is_trade = random.random(ticks) < 0.5
    trades, quotes = [], []
    for at, cent, trade in zip(ms.tolist(), cents.tolist(), is_trade.tolist(), strict=True):
        size = int(random.integers(1, 9)) * 100
        if trade:
            flags = random.choice(
                ["0", "0", "0", "20", "2000"]
            )  # odd ones move no price, or are of extended hours
            trades.append(f"{at},{cent * 100},{size},N,{flags},0")
        else:
            quotes.append(f"{at},{(cent - 1) * 100},{size},0,0,N,0,0")
            quotes.append(f"{at},0,0,{(cent + 1) * 100},{size},N,0,0")
    paths = []
    for kind, lines in (("trade", trades), ("quote", quotes)):
        path = folder / symbol / f"{DAY}_{kind}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{DAY}_{symbol}_{kind}.csv", "\n".join(lines))
        paths.append(str(path))
    return paths
