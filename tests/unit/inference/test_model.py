"""Loading a model: what is verified, and what each refusal says."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from boosters import FEATURES, booster, label_of, training_rows

from hft_engine.config.load import load_config
from hft_engine.indicators.features import feature_schema
from hft_engine.inference.errors import ModelError
from hft_engine.inference.model import (
    ModelMetadata,
    load_model,
    metadata_path,
    model_id_of,
    read_metadata,
    write_model,
)
from hft_engine.inference.trees import predict
from hft_engine.records import FEATURES_MAX

ROOT = Path(__file__).parents[3]
DEMO_MODEL = ROOT / "models/demo/direction.txt"
SEED = 11


@dataclass(frozen=True)
class Schema:
    """A feature set of twelve names, in another order than the model's."""

    names: tuple[str, ...] = tuple(f"f{i}" for i in reversed(range(12)))
    hash: str = "ab" * 32

    def index(self, name: str) -> int:
        return self.names.index(name)


def metadata(**changes: object) -> ModelMetadata:
    values: dict[str, object] = {
        "name": "test",
        "version": "1",
        "sha256": "",
        "feature_schema_hash": Schema().hash,
        "features": tuple(f"f{i}" for i in range(FEATURES)),
        "label": "sign",
        "horizon": "1 bar",
        "training_data": "random numbers",
        "training_start": "2026-01-01",
        "training_end": "2026-01-02",
        "training_rows": 600,
        "metrics": {"auc": 0.5},
        "params": {"num_leaves": 15},
        "created": "2026-01-03",
        "lightgbm_version": lightgbm.__version__,
    }
    return ModelMetadata(**{**values, **changes})  # type: ignore[arg-type]


def train(**params: object) -> lightgbm.Booster:
    rows = training_rows(SEED, missing=True)
    label = (label_of(rows, SEED) > 0).astype(float)
    return booster(rows, label, **{"objective": "binary", **params})


def text_with_names(model: lightgbm.Booster) -> str:
    return str(model.model_to_string()).replace("Column_", "f")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.txt"
    write_model(path, text_with_names(train()), metadata())
    return path


def test_features_are_found_by_name(path: Path) -> None:
    model = load_model(path, Schema())
    rows = training_rows(SEED + 1, missing=True)
    vectors = np.full((len(rows), FEATURES_MAX), np.nan)
    for i, name in enumerate(model.metadata.features):
        vectors[:, Schema().index(name)] = rows[:, i]
    expected = train().predict(rows, num_threads=1)
    np.testing.assert_array_equal(predict(model.tables, vectors)[:, 0], expected)


def test_the_id_is_the_start_of_the_sha256_and_positive(path: Path) -> None:
    model = load_model(path, Schema())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.model_id == int(digest[:16], 16) % 2**63 == model_id_of(digest)
    assert model.model_id == int(model.tables.header[0]["model_id"])


def test_metadata_survives_writing_and_reading(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_metadata(path) == metadata(sha256=digest)


def test_another_text_than_the_metadata_describes_is_refused(path: Path) -> None:
    path.write_text(text_with_names(train(num_leaves=4)))
    with pytest.raises(
        ModelError, match=r"not the one its metadata describes.*copy model and metadata again"
    ):
        load_model(path, Schema())


def test_another_feature_schema_is_refused(path: Path) -> None:
    with pytest.raises(ModelError, match=r"another feature schema \(abab.*this run computes cdcd.*train it"):
        load_model(path, Schema(hash="cd" * 32))


def test_a_feature_that_is_not_computed_is_named(path: Path) -> None:
    with pytest.raises(ModelError, match=r"needs feature 'f3'.*indicators\.extensions"):
        load_model(path, Schema(names=tuple(f"f{i}" for i in range(12) if i != 3)))


def test_columns_that_the_metadata_does_not_name_are_refused(path: Path) -> None:
    names = ("other", *(f"f{i}" for i in range(1, FEATURES)))
    write_model(path, path.read_text(), metadata(features=names))
    with pytest.raises(ModelError, match=r"has columns f0, f1.*metadata names other, f1"):
        load_model(path, Schema())


def test_a_model_without_metadata_is_refused(path: Path) -> None:
    metadata_path(path).unlink()
    with pytest.raises(ModelError, match=r"no readable metadata.*model\.txt\.meta\.json.*copy it"):
        load_model(path, Schema())


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"surprise": 1}, "unknown field `surprise`"),
        ({"training_rows": "many"}, r"training_rows"),
        ({"features": None}, r"features"),
    ],
)
def test_metadata_with_a_wrong_field_is_refused(path: Path, change: dict, cause: str) -> None:
    beside = metadata_path(path)
    beside.write_text(json.dumps({**json.loads(beside.read_text()), **change}))
    with pytest.raises(ModelError, match=rf"cannot be used: .*{cause}"):
        load_model(path, Schema())


def test_metadata_cut_at_any_byte_is_refused(path: Path) -> None:
    beside = metadata_path(path)
    whole = beside.read_bytes().rstrip()
    for cut in range(0, len(whole), 7):
        beside.write_bytes(whole[:cut])
        with pytest.raises(ModelError, match="cannot be used"):
            load_model(path, Schema())


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read.*inference\.model"):
        load_model(tmp_path / "none.txt", Schema())


def test_more_outputs_than_a_prediction_holds_are_refused(path: Path) -> None:
    rows = training_rows(SEED)
    model = booster(rows, np.arange(len(rows)) % 13.0, objective="multiclass", num_class=13, trees=2)
    write_model(path, text_with_names(model), metadata())
    with pytest.raises(ModelError, match="has 13 outputs, a prediction holds 12"):
        load_model(path, Schema())


def test_an_unknown_objective_is_refused(path: Path) -> None:
    text = text_with_names(train()).replace("objective=binary sigmoid:1", "objective=mystery")
    write_model(path, text, metadata())
    with pytest.raises(ModelError, match=r"objective 'mystery' is not supported.*LightGBM's own"):
        load_model(path, Schema())


def test_the_shipped_model_fits_the_demo_configuration() -> None:
    schema = feature_schema(load_config(ROOT / "config/demo.yaml", env={}, dotenv_path=None).indicators)
    model = load_model(DEMO_MODEL, schema)
    assert (model.output_count, len(model.ensemble.trees)) == (1, 100)
    assert model.ensemble.objective.name == "binary"
    metrics = model.metadata.metrics
    assert 0.45 < metrics["auc"] < 0.6  # far above would be a leak, not a discovery
    assert {"baseline_majority_accuracy", "baseline_last_return_accuracy"} <= set(metrics)
    assert DEMO_MODEL.stat().st_size < 400_000


def test_the_shipped_model_equals_lightgbm() -> None:
    reference = lightgbm.Booster(model_file=str(DEMO_MODEL))
    schema = feature_schema(load_config(ROOT / "config/demo.yaml", env={}, dotenv_path=None).indicators)
    model = load_model(DEMO_MODEL, schema)
    random = np.random.default_rng(SEED)
    vectors = random.normal(size=(2_000, FEATURES_MAX)) * 10.0 ** random.integers(
        -5, 2, (2_000, FEATURES_MAX)
    )
    vectors[random.random(vectors.shape) < 0.1] = np.nan
    columns = vectors[:, [schema.index(name) for name in model.metadata.features]]
    expected = reference.predict(columns, num_threads=1)
    np.testing.assert_array_equal(predict(model.tables, vectors)[:, 0], expected)
