"""The demo venue's market as a training set, with the truth that its generator planted: peaks and regimes.

The truth is never learned from; it judges what was learned (docs/models.md).
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hft_engine.config.schema import Config, SimulatorConfig
from hft_engine.feed.simulator.generator import BLOCK_NS, SyntheticMarket
from hft_engine.instruments import InstrumentTable
from hft_engine.learn.regimes import RANGING, TREND_DOWN, TREND_UP, VOLATILE
from hft_engine.learn.samples import Samples, of_ticks
from hft_engine.records import join_ticks

START_NS = 1_700_000_000_000_000_000  # 2023-11-14, a Tuesday; the market knows no calendar
# The generator's regimes as the model tells them apart: calm and mean-reverting both range.
_STATES = {
    "calm": RANGING,
    "mean_reverting": RANGING,
    "trend_up": TREND_UP,
    "trend_down": TREND_DOWN,
    "volatile": VOLATILE,
}
_BLOCKS_A_CHUNK = 10


class DemoMarket:
    """``seconds`` of the synthetic market as chunks of ticks. ``truths``: what it did, once it was iterated over."""

    def __init__(self, config: SimulatorConfig, seconds: int) -> None:
        self._market = SyntheticMarket(config, START_NS)
        self._end_ns = self._market.next_ns + seconds * 1_000_000_000
        self.symbols = self._market.symbols
        self.truths: list[Any] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        while self._market.next_ns < self._end_ns:
            left = (self._end_ns - self._market.next_ns) // BLOCK_NS
            yield join_ticks([self._market.block() for _ in range(min(_BLOCKS_A_CHUNK, left))])
        self.truths = list(self._market.truths)


def demo_samples(
    config: Config, seconds: int, progress: Callable[[int], None] = lambda permille: None
) -> tuple[Samples, list[Any]]:
    """(training set, truths) of ``seconds`` of the configured ``simulator``."""
    simulator = config.simulator or SimulatorConfig()
    market = DemoMarket(simulator, seconds)
    instruments = InstrumentTable.private(len(market.symbols))
    for symbol in market.symbols:
        instruments.id_of(symbol)
    name = f"the demo venue, seed {simulator.seed}, {seconds} s"
    total = int(seconds * simulator.ticks_per_s)
    samples = of_ticks(config.indicators, market, instruments, name, total, progress)
    return samples, market.truths


def true_regimes(samples: Samples, truths: list[Any]) -> np.ndarray:
    """int64[n]: the planted regime at each row, as ``learn.regimes`` numbers them."""
    found = np.full(len(samples), RANGING, np.int64)
    for part, mine in _by_symbol(samples, truths):
        begun = [(truth.ts_ns, _STATES[truth.kind]) for truth in mine if truth.kind in _STATES]
        stamps, states = (np.array(column) for column in zip(*begun, strict=True))
        found[part] = states[np.maximum(np.searchsorted(stamps, samples.ts_ns[part], side="right") - 1, 0)]
    return found


def true_peaks(samples: Samples, truths: list[Any], before_s: float, after_s: float) -> np.ndarray:
    """bool[n]: rows from ``before_s`` ahead of a planted peak to ``after_s`` behind it."""
    found = np.zeros(len(samples), np.bool_)
    for part, mine in _by_symbol(samples, truths):
        for truth in mine:
            if truth.kind == "peak":
                since_s = (samples.ts_ns[part] - truth.ts_ns) / 1e9
                found[part] |= (since_s >= -before_s) & (since_s <= after_s)
    return found


def _by_symbol(samples: Samples, truths: list[Any]) -> Iterator[tuple[slice, list[Any]]]:
    """Of each series its rows and its truths. The ids of the market are the places of its symbols."""
    from hft_engine.feed.simulator.symbols import market_symbols

    count = max((truth.instrument_id for truth in truths), default=0) + 1
    ids = {symbol: i for i, symbol in enumerate(market_symbols(count))}
    for part in samples.by_series():
        own = ids[samples.symbols[int(samples.series[part.start])]]
        yield part, [truth for truth in truths if truth.instrument_id == own]
