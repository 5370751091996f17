"""The strategy on the models, traded on paper by the engine's own backtest of real minute bars."""

from pathlib import Path

from registered import made

from hft_engine.backtest.run import backtest
from hft_engine.config.schema import Config, EngineConfig, ExecutionConfig
from hft_engine.inference.model import write_model
from hft_engine.models import EnhancedMarketRegimeModel, EntryTimingModel, PeakDetectionModel
from hft_engine.models.strategy import MLTradingStrategy

BARS = Path(__file__).parents[2] / "data/bars/intraday.csv.gz"

STRATEGY = """
from pathlib import Path
from hft_engine.models import EnhancedMarketRegimeModel, EntryTimingModel, PeakDetectionModel
from hft_engine.models.strategy import MLTradingStrategy

HERE = Path(__file__).parent

class Mine(MLTradingStrategy):
    def __init__(self):
        super().__init__({
            "peak": PeakDetectionModel().load(HERE / "peak_detection"),
            "entry": EntryTimingModel().load(HERE / "entry_timing"),
            "regime": EnhancedMarketRegimeModel().load(HERE / "market_regime"),
        })
"""


def test_three_models_trade_real_minute_bars_on_paper(tmp_path: Path) -> None:
    for task in ("peak_detection", "entry_timing", "market_regime"):
        text, metadata = made(task)
        write_model(tmp_path / task / "model.txt", text, metadata)
    (tmp_path / "mine.py").write_text(STRATEGY)
    parameters = {"kind": 2.0, "signal_threshold": 0.5, "quantity": 10.0}
    execution = ExecutionConfig(strategy=f"{tmp_path / 'mine.py'}:Mine", parameters=parameters)
    config = Config(engine=EngineConfig(layout="inline"), execution=execution)
    report = backtest(config, [str(BARS)])
    assert report.metrics.trades > 0
    assert {trade.quantity for trade in report.trades} == {10.0}


def test_opinions_are_the_models_own_and_their_weights_move_by_what_came_of_them(tmp_path: Path) -> None:
    models = {}
    for kind in (PeakDetectionModel, EntryTimingModel, EnhancedMarketRegimeModel):
        text, metadata = made(kind.task)
        write_model(tmp_path / kind.task / "model.txt", text, metadata)
        models[kind.task] = kind().load(tmp_path / kind.task)
    strategy = MLTradingStrategy(models)
    from test_model_facades import frame

    bars = frame(60)
    told, regime = strategy.opinions(bars)
    assert told["peak_detection"] == 1.0 - models["peak_detection"].predict(bars)["peak_probability"]
    assert told["entry_timing"] == models["entry_timing"].predict(bars)["entry_confidence"]
    found = models["market_regime"].predict_regime({"A": bars})
    assert (told["market_regime"], regime) == (found["probabilities"]["trend_up"], found["regime"])
    before = strategy.ensemble.weights(regime)
    for _ in range(20):
        strategy.ensemble.learn(told, True, regime)
    after = strategy.ensemble.weights(regime)
    best = max(told, key=lambda name: told[name])
    assert after[best] > before[best]
