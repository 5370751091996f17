"""Your own indicator in the compiled hot path: which side the trades come from.

    .venv/bin/python examples/02_own_indicator.py

A trade at or above the mid of the newest quote counts as bought, one below as sold; the indicator is
(bought - sold) / (bought + sold), with older trades fading. The same function runs live with this configuration:

    indicators:
      extensions: ["examples/02_own_indicator.py:order_flow"]

and rules and models can then use the feature "order_flow" like any built-in one.
"""

import math
from typing import Any

import numpy as np

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.extension import indicator
from hft_engine.indicators.features import feature_schema
from hft_engine.records import TICK_DTYPE, TickKind
from hft_engine.runtime import kernelcache

kernelcache.use()  # compiled kernels are kept between runs; before anything imports numba

from hft_engine.indicators.offline import compute  # noqa: E402

TRADE = int(TickKind.TRADE)
MID, BOUGHT, SOLD = 0, 1, 2  # what each double of the state holds; all are 0 at first
FADE = 0.98


@indicator(name="order_flow", state_size=3)
def order_flow(state: np.ndarray, tick: Any, features: np.ndarray) -> float:
    """-1: all sold, 1: all bought; NaN until a trade has followed a quote."""
    if tick.kind != TRADE:
        state[MID] = 0.5 * (tick.bid + tick.ask)
    elif state[MID] > 0.0:
        state[BOUGHT] *= FADE
        state[SOLD] *= FADE
        state[BOUGHT if tick.price >= state[MID] else SOLD] += tick.size
    total = state[BOUGHT] + state[SOLD]
    return (state[BOUGHT] - state[SOLD]) / total if total > 0.0 else math.nan


def made_up_ticks(count: int) -> np.ndarray:
    """Quotes and trades in turn, TICK_DTYPE[count]; buyers are the more eager in the second half."""
    random = np.random.default_rng(7)
    ticks = np.zeros(count, TICK_DTYPE)
    ticks["ts_venue_ns"] = 1_700_000_000_000_000_000 + np.arange(count) * 50_000_000
    quotes, trades = ticks[0::2], ticks[1::2]
    mid = 100 + np.cumsum(random.normal(0, 0.01, len(quotes)))
    quotes["kind"], quotes["bid"], quotes["ask"] = int(TickKind.QUOTE), mid - 0.01, mid + 0.01
    quotes["bid_size"], quotes["ask_size"] = random.integers(1, 9, (2, len(quotes)))
    bought = random.random(len(trades)) < np.where(np.arange(len(trades)) < len(trades) // 2, 0.4, 0.8)
    trades["kind"], trades["price"] = TRADE, mid + np.where(bought, 0.01, -0.01)
    trades["size"] = random.integers(1, 5, len(trades)) * 100
    return ticks


def main() -> None:
    config = IndicatorConfig(extensions=(f"{__file__}:order_flow",))
    schema = feature_schema(config)
    features, _bars = compute(made_up_ticks(2_000), config)
    columns = [schema.index(name) for name in ("tick_rsi", "spread_bps", "order_flow")]
    print(f"{len(schema)} features, the last one is {schema.names[-1]!r}\n")
    print("   tick     price  tick_rsi  spread_bps  order_flow")
    for row in features[199::200]:
        rsi, spread, flow = row["values"][columns]
        print(f"{row['source_sequence']:7d}  {row['price']:8.2f}  {rsi:8.1f}  {spread:10.2f}  {flow:+10.3f}")


if __name__ == "__main__":
    main()
