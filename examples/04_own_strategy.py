"""Your own strategy, on recorded ticks: fade large moves with a limit order, take the profit or cut the loss.

    .venv/bin/python examples/04_own_strategy.py

The same class trades on paper beside a live feed:

    .venv/bin/hft start --demo --set execution.strategy=examples/04_own_strategy.py:Fade
"""

import sys
from pathlib import Path

from hft_engine.backtest.report import text_of
from hft_engine.backtest.run import backtest, with_strategy
from hft_engine.config.load import load_config
from hft_engine.records import BarKind
from hft_engine.strategy import Bar, Context, Fill, Strategy

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "tests" / "data" / "binance" / "usdm_btcusdt_20240808_cut.jsonl.gz"


class Fade(Strategy):
    """Sells into a second's rise of more than ``move_bps`` and buys its fall; closes a second later."""

    def on_start(self, ctx: Context) -> None:
        self.quantity = ctx.parameters.get("quantity", 0.1)
        self.move = ctx.parameters.get("move_bps", 1.0) * 1e-4
        self.fills = 0

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        if bar.kind != BarKind.SECOND or not bar.open > 0.0:
            return
        held = ctx.position(bar.instrument_id)
        if held > 0:
            ctx.sell(bar.instrument_id, held)
        elif held < 0:
            ctx.buy(bar.instrument_id, -held)
        elif bar.close > bar.open * (1.0 + self.move):
            ctx.sell(bar.instrument_id, self.quantity, limit=bar.close, expiry_ms=1_000)
        elif bar.close < bar.open * (1.0 - self.move):
            ctx.buy(bar.instrument_id, self.quantity, limit=bar.close, expiry_ms=1_000)

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        self.fills += 1


def main() -> int:
    overrides = (
        "engine.layout=inline",
        f"execution.strategy={Path(__file__).resolve()}:Fade",
        "execution.price_tick=0.01",  # Bitcoin: prices of cents, quantities of thousandths
        "execution.size_tick=0.001",
        "execution.fee_per_unit=0",
        "execution.fee_bps=1",
        "execution.equity_every_ms=1000",
    )
    config = with_strategy(load_config(ROOT / "config" / "demo.yaml", overrides))
    report = backtest(config, [str(RECORDED)])
    print(text_of(report))
    return 0 if report.fills else 1


if __name__ == "__main__":
    sys.exit(main())
