"""Which regime the market is in: ranging, trend_up, trend_down or volatile, with the probability of each."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hft_engine.models.frames import is_empty
from hft_engine.models.saved import SavedModel

BARS_MAX = 60  # of each frame, the newest
UNKNOWN = "unknown"


class EnhancedMarketRegimeModel(SavedModel):
    task = "market_regime"

    def predict_regime(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """``{"regime": str, "confidence": float, "probabilities": {name: float}, "symbols": {symbol: name}}``.

        ``data``: OHLCV frames by symbol, of which the newest 60 bars count; empty ones are skipped. The market's regime
        is the likeliest by the mean of the symbols' probabilities. Of nothing: "unknown" with confidence 0.
        """
        found: dict[str, np.ndarray] = {}
        for symbol, frame in data.items():
            probabilities = (
                None if is_empty(frame) else self.of_frame(frame[-BARS_MAX:] if _sliceable(frame) else frame)
            )
            if probabilities is not None:
                found[symbol] = probabilities
        if not found:
            return {"regime": UNKNOWN, "confidence": 0.0, "probabilities": {}, "symbols": {}}
        names = self.model.metadata.classes
        mean = np.mean(list(found.values()), axis=0)
        return {
            "regime": names[int(mean.argmax())],
            "confidence": float(mean.max()),
            "probabilities": dict(zip(names, mean.tolist(), strict=True)),
            "symbols": {symbol: names[int(each.argmax())] for symbol, each in found.items()},
        }


def _sliceable(frame: Any) -> bool:
    """Whether ``frame[-60:]`` are its last rows."""
    return hasattr(frame, "columns") or isinstance(frame, np.ndarray)
