"""Whether a peak of the price is at hand: a reason to leave a position."""

from typing import Any

from hft_engine.models.saved import SavedModel


class PeakDetectionModel(SavedModel):
    task = "peak_detection"

    def predict(self, df: Any) -> dict[str, Any]:
        """``{"peak_detected": bool, "peak_probability": float}`` after the last bar of an OHLCV frame, 30 rows or more
        for features that are all warm; False and 0 of an empty frame. Raises ModelError.
        """
        found = self.of_frame(df)
        if found is None:
            return {"peak_detected": False, "peak_probability": 0.0}
        probability = float(found[1])
        return {
            "peak_detected": probability >= self.model.metadata.threshold,
            "peak_probability": probability,
        }
