"""Models that were read lately: who is swapped in again costs no parsing.

A model is known by the SHA-256 of its text and of its metadata, so a file that was written anew is read anew.
"""

from collections import OrderedDict
from pathlib import Path

import msgspec

from hft_engine.inference.lightgbm_text import read_model_bytes
from hft_engine.inference.model import CompiledModel, FeatureSchema, compile_model, read_metadata, sha256_of

MODELS_MAX = 8
TEXT_BYTES_MAX = 8 * 1024 * 1024  # a larger model is not kept: memory stays bounded


class RecentModels:
    """``load`` as ``model.load_model``; for one thread at a time."""

    def __init__(self, schema: FeatureSchema) -> None:
        self._schema = schema
        self._models: OrderedDict[tuple[str, str], CompiledModel] = OrderedDict()  # the latest at the end

    def load(self, path: Path) -> CompiledModel:
        """The model at ``path``. Raises ModelError."""
        data = read_model_bytes(path)
        metadata = read_metadata(path)
        sha256 = sha256_of(data)
        key = sha256, sha256_of(msgspec.json.encode(metadata))
        model = self._models.get(key)
        if model is None:
            model = compile_model(path, data, sha256, metadata, self._schema)
        if len(data) <= TEXT_BYTES_MAX:
            self._models[key] = model
            self._models.move_to_end(key)
        if len(self._models) > MODELS_MAX:
            self._models.popitem(last=False)
        return model
