"""A model on live data: collect trades, compute features in the engine's own stage, predict, print.

    .venv/bin/python examples/realtime_ml_example.py --symbols AAPL,MSFT,GOOGL --interval 5
    .venv/bin/python examples/realtime_ml_example.py --demo --rounds 8 --interval 1

The first uses POLYGON_API_KEY; --demo connects to our own venue on this machine and needs no key. The model is the
demo's, which predicts nothing (models/demo/README.md); it speaks once its longest window is full.
"""

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec
import numpy as np

from hft_engine.api import CollectorConfig, CollectorFactory, PolygonWebsocketCollector, RecordType
from hft_engine.api.schema import Record, Trade
from hft_engine.config.load import load_config
from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.indicators.offline import OfflineIndicators
from hft_engine.inference.model import load_model
from hft_engine.inference.trees import predict
from hft_engine.records import FEATURE_DTYPE, TICK_DTYPE, TickKind

ROOT = Path(__file__).resolve().parents[1]


class Models:
    """The demo's indicators and model over whatever trades come."""

    def __init__(self, symbols: list[str]) -> None:
        config = load_config(
            ROOT / "config/demo.yaml", [f"inference.model={ROOT / 'models/demo/direction.txt'}"]
        )
        self._symbols = symbols
        self._indicators = OfflineIndicators(config.indicators, len(symbols))
        self._model = load_model(ROOT / "models/demo/direction.txt", self._indicators.schema)
        self._trades: SimpleQueue[Trade] = SimpleQueue()
        self.latest: dict[str, np.void] = {}  # the newest feature record of a symbol

    def take(self, _type: RecordType, record: Record) -> None:
        """On the feed's thread: put aside, and no more."""
        if isinstance(record, Trade):
            self._trades.put(record)

    def catch_up(self) -> int:
        """Compute what has come. Returns trades."""
        trades: list[Trade] = []
        with contextlib.suppress(Empty):
            while True:
                trades.append(self._trades.get_nowait())
        ticks = np.zeros(len(trades), TICK_DTYPE)
        ticks["kind"] = int(TickKind.TRADE)
        for tick, trade in zip(ticks, trades, strict=True):
            tick["instrument_id"] = self._symbols.index(trade.ticker)
            tick["price"], tick["size"], tick["ts_venue_ns"] = (
                trade.price,
                trade.size,
                trade.timestamp * 1_000_000,
            )
        features: np.ndarray = self._indicators.feed(ticks).features
        assert features.dtype == FEATURE_DTYPE
        for row in features:
            self.latest[self._symbols[int(row["instrument_id"])]] = row.copy()
        return len(trades)

    def probability(self, symbol: str) -> float:
        """P(up); NaN until every window is full."""
        if symbol not in self.latest:
            return math.nan
        return float(predict(self._model.tables, self.latest[symbol]["values"])[0])

    def rsi(self, symbol: str) -> float:
        if symbol not in self.latest:
            return math.nan
        return float(self.latest[symbol]["values"][self._indicators.schema.index("tick_rsi")])


@contextlib.contextmanager
def collecting(symbols: list[str], demo: bool, models: Models) -> Iterator[PolygonWebsocketCollector]:
    """A started collector: of Polygon, or of a venue on this machine."""
    with contextlib.ExitStack() as until_the_end:
        config = CollectorConfig.load("polygon", ROOT / "config/collector_config.yaml")
        if demo:
            market = SimulatorConfig(api_key="demo", instruments=50, ticks_per_s=500.0)
            venue = until_the_end.enter_context(RunningVenue(market))
            config = msgspec.structs.replace(config, websocket_url=venue.url, api_key="demo")
        collector = CollectorFactory.create("polygon_websocket", config)
        assert isinstance(collector, PolygonWebsocketCollector)
        for symbol in symbols:
            collector.add_symbol(symbol)
        collector.on_record(models.take)
        until_the_end.callback(collector.stop)
        if not collector.start():
            sys.exit(f"error: {collector.problem}")
        yield collector


def show(symbols: list[str], collector: PolygonWebsocketCollector, models: Models, trades: int) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {trades} trades, {collector.stats()['state']}")
    for symbol in symbols:
        trade = collector.latest(symbol, RecordType.TRADE)
        price = f"{trade.price:,.4f}" if isinstance(trade, Trade) else "-"
        figures = f"tick rsi {models.rsi(symbol):6.1f}  P(up) {models.probability(symbol):.3f}"
        print(f"  {symbol:<8} {price:>12}  {figures}".replace("nan", "-"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Predictions of the demo's model on live trades.")
    parser.add_argument("--symbols", default="AAPL,MSFT,GOOGL", help="comma-separated")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two prints")
    parser.add_argument("--rounds", type=int, default=0, help="leave after so many; 0 = until Ctrl-C")
    parser.add_argument("--demo", action="store_true", help="our own venue; needs no key")
    given = parser.parse_args()
    symbols = [symbol.strip() for symbol in given.symbols.split(",") if symbol.strip()]
    models = Models(symbols)
    number = 0
    with contextlib.suppress(KeyboardInterrupt), collecting(symbols, given.demo, models) as collector:
        while not given.rounds or number < given.rounds:
            time.sleep(given.interval)
            show(symbols, collector, models, models.catch_up())
            number += 1


if __name__ == "__main__":
    main()
