"""The strategy that trades on the models: bars in, the three models, an ensemble's confidence, orders out.

    from hft_engine.models.strategy import MLTradingStrategy

    class Mine(MLTradingStrategy):
        def __init__(self):
            super().__init__({"peak": PeakDetectionModel(config).load("..."), "entry": ..., "regime": ...})

and in the configuration ``execution: {strategy: "mine.py:Mine"}``.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from hft_engine.execution.context import Context
from hft_engine.execution.strategy import Bar, Strategy, StrategyError
from hft_engine.models.ensemble import Ensemble, Method
from hft_engine.models.entry_timing import EntryTimingModel
from hft_engine.models.market_regime import EnhancedMarketRegimeModel
from hft_engine.models.peak_detection import PeakDetectionModel
from hft_engine.models.saved import SavedModel

HISTORY_BARS = 120  # kept of each instrument; the longest windows of the features are warm after far fewer
BARS_MIN = 30  # before the first decision
SIGNAL_THRESHOLD = 0.7
QUANTITY = 100.0
_UP_IN = {"trend_up"}


class MLTradingStrategy(Strategy):
    """``models``: by any name. Each says how likely a rise is: an entry model its confidence, a peak model one minus
    its probability, a regime model the probability of the trend up. The ensemble's probability opens a position of
    ``quantity`` at ``signal_threshold`` and closes it below one minus that. What became of each prediction
    ``horizon`` bars later moves the weights of ``dynamic_ensemble``, in the regime of the prediction.

    Parameters of the configuration: quantity, signal_threshold, horizon (bars), kind (of bars: 1 second, 2 minute).
    """

    def __init__(
        self, models: Mapping[str, SavedModel], ensemble_method: Method = "dynamic_ensemble"
    ) -> None:
        if not models:
            raise StrategyError("MLTradingStrategy needs at least one model; train them with hft train")
        self.models = dict(models)
        self.ensemble = Ensemble(tuple(models), ensemble_method)
        self._history: dict[int, deque[Bar]] = {}
        self._waiting: dict[int, deque[tuple[dict[str, float], str, float]]] = {}

    def on_start(self, ctx: Context) -> None:
        parameters = ctx.parameters
        self.quantity = float(parameters.get("quantity", QUANTITY))
        self.threshold = float(parameters.get("signal_threshold", SIGNAL_THRESHOLD))
        self.horizon = int(parameters.get("horizon", 5))
        self.kind = int(parameters.get("kind", 1))

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        if bar.kind != self.kind or not bar.close > 0.0:
            return
        history = self._history.setdefault(bar.instrument_id, deque(maxlen=HISTORY_BARS))
        history.append(bar)
        self._learn(bar)
        if len(history) < BARS_MIN:
            return
        probabilities, regime = self.opinions(frame_of(history))
        self._remember(bar, probabilities, regime)
        self._act(ctx, bar.instrument_id, self.ensemble.combine(probabilities, regime))

    def opinions(self, frame: Mapping[str, np.ndarray]) -> tuple[dict[str, float], str]:
        """(how likely each model thinks a rise, the regime, "" where no model says one)."""
        found, regime = {}, ""
        for name, model in self.models.items():
            if isinstance(model, EnhancedMarketRegimeModel):
                told: dict[str, Any] = model.predict_regime({"": frame})
                regime = told["regime"]
                found[name] = float(sum(told["probabilities"].get(each, 0.0) for each in _UP_IN))
            elif isinstance(model, PeakDetectionModel):
                found[name] = 1.0 - model.predict(frame)["peak_probability"]
            elif isinstance(model, EntryTimingModel):
                found[name] = model.predict(frame)["entry_confidence"]
        return found, regime

    def _remember(self, bar: Bar, probabilities: dict[str, float], regime: str) -> None:
        waiting = self._waiting.setdefault(bar.instrument_id, deque())
        waiting.append((probabilities, regime, bar.close))

    def _learn(self, bar: Bar) -> None:
        """From the prediction that is ``horizon`` bars old."""
        waiting = self._waiting.get(bar.instrument_id)
        if waiting is not None and len(waiting) >= self.horizon:
            probabilities, regime, close = waiting.popleft()
            self.ensemble.learn(probabilities, bar.close > close, regime)

    def _act(self, ctx: Context, instrument: int, confidence: float) -> None:
        held = ctx.position(instrument) + ctx.pending(instrument)
        if confidence >= self.threshold and held <= 0:
            ctx.buy(instrument, self.quantity - held)
        elif confidence <= 1.0 - self.threshold and held > 0:
            ctx.sell(instrument, held)


def frame_of(bars: Any) -> dict[str, np.ndarray]:
    """Bars as the columns that the models take."""
    names = ("open", "high", "low", "close", "volume")
    columns = {name: np.array([getattr(bar, name) for bar in bars]) for name in names}
    return columns | {"timestamp": np.array([bar.ts_start_ns for bar in bars])}
