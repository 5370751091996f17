"""Whether a purchase now gains, after costs, before it loses."""

from typing import Any

from hft_engine.models.saved import SavedModel


class EntryTimingModel(SavedModel):
    task = "entry_timing"

    def predict(self, df: Any) -> dict[str, Any]:
        """``{"entry_signal": bool, "entry_confidence": float}`` after the last bar of an OHLCV frame; False and 0 of an
        empty frame. Raises ModelError.
        """
        found = self.of_frame(df)
        if found is None:
            return {"entry_signal": False, "entry_confidence": 0.0}
        confidence = float(found[1])
        return {"entry_signal": confidence >= self.model.metadata.threshold, "entry_confidence": confidence}
