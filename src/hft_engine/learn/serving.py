"""What a model is served: rows as it learned them, of recorded data or of a running engine's ring of features."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hft_engine.config.schema import Config
from hft_engine.indicators.features import FeatureSchema, feature_schema
from hft_engine.inference.model import ModelMetadata
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.samples import read_samples
from hft_engine.records import FEATURE_DTYPE
from hft_engine.shm.ring_file import RingView


def rows_of_data(
    metadata: ModelMetadata,
    config: Config,
    paths: Sequence[str],
    progress: Callable[[int], None] = lambda permille: None,
) -> np.ndarray:
    """float64[n, features of the model] of recorded data. Raises TrainingError, and what the readers raise."""
    samples = read_samples(config, paths, progress)
    _check(metadata, samples.schema)
    return np.column_stack([samples.column(name) for name in metadata.features])[samples.usable]


def rows_of_ring(metadata: ModelMetadata, config: Config, ring: Path) -> np.ndarray:
    """The same of what the ring of features holds: of each instrument the first record with a new bar."""
    schema = feature_schema(config.indicators)
    _check(metadata, schema)
    view = RingView(ring, FEATURE_DTYPE)
    records = view.last(view.capacity)
    if config.inference.evaluate != "bars":
        records = records[with_new_bar(records, schema)]
    return np.asarray(records["values"][:, [schema.index(name) for name in metadata.features]])


def with_new_bar(records: np.ndarray, schema: FeatureSchema) -> np.ndarray:
    """bool[n]: which of FEATURE_DTYPE records differ in a bar's feature from the one before of their instrument."""
    columns = [i for i, name in enumerate(schema.names) if name.startswith("bar_")]
    order = np.argsort(records["instrument_id"], kind="stable")
    values = np.nan_to_num(records["values"][order][:, columns])
    instrument = records["instrument_id"][order]
    is_new = np.zeros(len(records), np.bool_)
    is_new[order[1:]] = (values[1:] != values[:-1]).any(axis=1) & (instrument[1:] == instrument[:-1])
    return is_new


def _check(metadata: ModelMetadata, schema: FeatureSchema) -> None:
    if metadata.feature_schema_hash != schema.hash:
        raise TrainingError(
            f"{metadata.name} {metadata.version} was trained on another feature set "
            f"({metadata.feature_schema_hash[:16]}...) than this configuration's ({schema.hash[:16]}...); "
            "name the configuration that it was trained with (--config, --set)"
        )
