"""A model that was saved, ready to predict on frames of bars: what the three models have in common."""

from pathlib import Path
from typing import Any, Self

import numpy as np

from hft_engine.config.schema import Config, IndicatorConfig
from hft_engine.indicators.features import FeatureSchema, feature_schema
from hft_engine.indicators.offline import features_of_bars
from hft_engine.inference.errors import ModelError
from hft_engine.inference.model import CompiledModel, load_model, read_metadata
from hft_engine.inference.trees import predict
from hft_engine.models.frames import bars_of, is_empty

MODEL_FILE = "model.txt"  # in a saved model's folder


class SavedModel:
    """``config``: a ``Config``, its ``indicators`` section, or a mapping of that section's keys; what the model was
    trained with. A model of another task or another feature set is refused.
    """

    task = ""

    def __init__(self, config: Config | IndicatorConfig | dict[str, Any] | None = None) -> None:
        self._indicators = _indicators(config)
        self._schema: FeatureSchema = feature_schema(self._indicators)
        self._model: CompiledModel | None = None

    def load(self, path: str | Path) -> Self:
        """From a saved model's folder, or its LightGBM text file. Raises ModelError."""
        file = Path(path)
        file = file / MODEL_FILE if file.is_dir() else file
        task = read_metadata(file).task
        if task != self.task:
            raise ModelError(
                f"model {file} is of {task or 'no known task'}, not of {self.task}; load it as what it is"
            )
        self._model = load_model(file, self._schema)
        return self

    @property
    def model(self) -> CompiledModel:
        """Raises ModelError before ``load``."""
        if self._model is None:
            raise ModelError(f"{type(self).__name__} has no model yet; call load(path) first")
        return self._model

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """float64[n, classes] of feature vectors of the engine (float64[n, FEATURES_MAX])."""
        outputs = predict(self.model.tables, np.atleast_2d(vectors))
        return np.column_stack([1.0 - outputs, outputs]) if outputs.shape[1] == 1 else outputs

    def of_frame(self, frame: Any) -> np.ndarray | None:
        """float64[classes] after the frame's last bar; None of an empty frame. Raises ModelError."""
        if is_empty(frame):
            return None
        meta = self.model.metadata
        if meta.rows_are == "ticks":
            raise ModelError(
                f"model {meta.name} {meta.version} was trained on ticks: bars alone do not hold its features; "
                "train one on bars (hft train --data bars.csv), or give feature vectors to probabilities()"
            )
        vectors = features_of_bars(*bars_of(frame), self._indicators)
        return np.asarray(self.probabilities(vectors[-1:])[0])


def _indicators(config: Config | IndicatorConfig | dict[str, Any] | None) -> IndicatorConfig:
    if isinstance(config, Config):
        return config.indicators
    if isinstance(config, IndicatorConfig):
        return config
    known = {key: value for key, value in (config or {}).items() if key in IndicatorConfig.__struct_fields__}
    return IndicatorConfig(**known)
