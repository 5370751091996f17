"""A model file with its metadata: read, verified, made ready for the compiled traversal.

Beside ``direction.txt`` (LightGBM text) lies ``direction.txt.meta.json``. A model is used only where both
agree with each other and with the features this run computes; every other case is a ModelError that says what
to do.
"""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from hft_engine.config.outputs import METADATA_SUFFIX
from hft_engine.inference.errors import ModelError
from hft_engine.inference.lightgbm_text import Ensemble, parse_model, read_model_bytes
from hft_engine.inference.tables import Calibration, Tables, build_tables
from hft_engine.records import OUTPUTS_MAX

QUANTILES = tuple(round(0.1 * tenth, 1) for tenth in range(11))


class FeatureSchema(Protocol):
    """Names of the slots of a feature vector, in order, and the hash of what they mean."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def hash(self) -> str: ...
    def index(self, name: str) -> int: ...


class ModelMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model came to be, and what it may be used with."""

    name: str
    version: str
    sha256: str  # of the model text, lower-case hex
    feature_schema_hash: str
    features: tuple[str, ...]  # the model's columns, by name in the feature set
    label: str  # what the output is a prediction of
    horizon: str
    training_data: str
    training_start: str
    training_end: str
    training_rows: int
    metrics: dict[str, float]  # out of sample, baselines among them
    params: dict[str, Any]
    created: str  # UTC date
    lightgbm_version: str
    needs_all_features: bool = False  # trained without missing values: outputs are NaN until all are there
    notes: str = ""
    task: str = ""  # what it was trained for, a name of ``learn.tasks``
    classes: tuple[str, ...] = ()  # names of the outputs; of two the one output is the second's probability
    threshold: float = 0.5  # of a model of two classes: from this probability on it says yes
    calibration: Calibration = ()  # from LightGBM's outputs to probabilities
    rows_are: str = ""  # "ticks" or "bars": what its features were computed from
    quantiles: dict[
        str, tuple[float, ...]
    ] = {}  # of each feature in training, in ``QUANTILES``; drift is told by them
    shares: dict[
        str, tuple[float, ...]
    ] = {}  # of each feature's training rows, between its inner quantiles and unknown: see ``models.drift``


class CompiledModel(msgspec.Struct, frozen=True, eq=False):
    """A verified model. ``model_id`` is the SHA-256's first eight bytes without their highest bit."""

    metadata: ModelMetadata
    ensemble: Ensemble
    tables: Tables
    model_id: int
    output_count: int
    ranges: tuple[
        tuple[int, float, float], ...
    ]  # slot, least and greatest value in training, where they are known


def load_model(path: Path, schema: FeatureSchema) -> CompiledModel:
    """The model at ``path``, ready for feature vectors of ``schema``. Raises ModelError."""
    data = read_model_bytes(path)
    return compile_model(path, data, sha256_of(data), read_metadata(path), schema)


def compile_model(
    path: Path, data: bytes, sha256: str, metadata: ModelMetadata, schema: FeatureSchema
) -> CompiledModel:
    """As ``load_model``, of a text, its SHA-256 and its metadata that were read from ``path``. Raises ModelError."""
    ensemble = parse_model(data, f"model {path}")
    _check_identity(path, sha256, metadata)
    _check_features(path, ensemble, metadata)
    positions = [_position(path, name, schema) for name in metadata.features]
    _check_schema(path, metadata, schema)
    return _compiled(path, metadata, ensemble, positions)


def read_metadata(path: Path) -> ModelMetadata:
    """The metadata beside the model at ``path``. Raises ModelError."""
    beside = metadata_path(path)
    try:
        return msgspec.json.decode(beside.read_bytes(), type=ModelMetadata)
    except OSError as error:
        raise ModelError(
            f"model {path} has no readable metadata ({beside}: {error.strerror}); "
            "copy it from where the model was trained, without it the features cannot be checked"
        ) from error
    except msgspec.MsgspecError as error:
        raise ModelError(
            f"metadata {beside} cannot be used: {error}; copy it again from where the model was trained"
        ) from error


def is_whole(path: Path, sha256: str) -> bool:
    """Whether the files at ``path`` are the model of this SHA-256, every byte of it, and its metadata."""
    try:
        return read_metadata(path).sha256 == sha256 == sha256_of(read_model_bytes(path))
    except ModelError:
        return False


def write_model(path: Path, text: str, metadata: ModelMetadata) -> ModelMetadata:
    """Writes a model and its metadata, with the text's SHA-256 filled in. Returns what was written."""
    data = text.encode()
    complete = msgspec.structs.replace(metadata, sha256=sha256_of(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    encoded = msgspec.json.format(msgspec.json.encode(complete), indent=2)
    metadata_path(path).write_bytes(encoded + b"\n")
    return complete


def metadata_path(path: Path) -> Path:
    return path.with_name(path.name + METADATA_SUFFIX)


def sha256_of(data: bytes) -> str:
    """Lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def model_id_of(sha256: str) -> int:
    """The id of the model text of this SHA-256: positive, the same on every machine."""
    return int(sha256[:16], 16) & 0x7FFF_FFFF_FFFF_FFFF


def _check_identity(path: Path, sha256: str, metadata: ModelMetadata) -> None:
    if sha256 != metadata.sha256:
        raise ModelError(
            f"model {path} is not the one its metadata describes: SHA-256 {sha256[:16]}..., "
            f"expected {metadata.sha256[:16]}...; copy model and metadata again, both from the same training"
        )


def _check_schema(path: Path, metadata: ModelMetadata, schema: FeatureSchema) -> None:
    if metadata.feature_schema_hash != schema.hash:
        raise ModelError(
            f"model {path} was trained on another feature schema ({metadata.feature_schema_hash[:16]}..., "
            f"this run computes {schema.hash[:16]}...); train it again with this configuration's "
            "indicators section, or restore the section it was trained with"
        )


def _check_features(path: Path, ensemble: Ensemble, metadata: ModelMetadata) -> None:
    if ensemble.feature_names != metadata.features:
        raise ModelError(
            f"model {path} has columns {_listed(ensemble.feature_names)}, its metadata names "
            f"{_listed(metadata.features)}; copy both again, from the same training"
        )


def _listed(names: tuple[str, ...], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f", ... ({len(names)})" if len(names) > limit else "")


def _position(path: Path, name: str, schema: FeatureSchema) -> int:
    if name not in schema.names:
        raise ModelError(
            f"model {path} needs feature {name!r}, which this run does not compute; "
            "add it under indicators.extensions or train the model without it"
        )
    return schema.index(name)


def _compiled(path: Path, metadata: ModelMetadata, ensemble: Ensemble, positions: list[int]) -> CompiledModel:
    outputs = ensemble.trees_per_iteration
    if outputs > OUTPUTS_MAX:
        raise ModelError(
            f"model {path} has {outputs} outputs, a prediction holds {OUTPUTS_MAX}; "
            "train it with fewer classes"
        )
    model_id = model_id_of(metadata.sha256)
    try:
        tables = build_tables(
            ensemble, positions, model_id, metadata.needs_all_features, metadata.calibration
        )
    except ValueError as error:
        raise ModelError(
            f"model {path}: {error}; train it again, with one of LightGBM's own objectives"
        ) from error
    return CompiledModel(
        metadata, ensemble, tables, model_id, outputs, tuple(_ranges(metadata, tables, positions))
    )


def _ranges(
    metadata: ModelMetadata, tables: Tables, positions: list[int]
) -> Iterator[tuple[int, float, float]]:
    """Of the features that some tree asks for."""
    asked = set(tables.columns["source"][1:].tolist())
    for name, slot in zip(metadata.features, positions, strict=True):
        seen = metadata.quantiles.get(name, ())
        if slot in asked and seen and math.isfinite(seen[0]) and math.isfinite(seen[-1]):
            yield slot, seen[0], seen[-1]
