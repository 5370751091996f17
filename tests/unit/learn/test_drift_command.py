"""`hft models drift`: the same market does not drift, another one does, and the rows are those that were learned."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from learning_data import config, noise, write_bars

from hft_engine.cli import main
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.offline import OfflineIndicators
from hft_engine.inference.model import ModelMetadata
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.samples import read_samples
from hft_engine.learn.serving import rows_of_data, rows_of_ring, with_new_bar
from hft_engine.learn.tasks import TASKS
from hft_engine.learn.training import train
from hft_engine.models.registry import Entry, Registry
from hft_engine.records import FEATURE_DTYPE
from hft_engine.shm.ring import Ring
from hft_engine.shm.ring_file import create_ring
from support.sessions import golden_config, recorded_ticks


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """With one model, of a random walk."""
    folder = tmp_path_factory.mktemp("drift")
    file = write_bars(folder / "calm.csv", noise(1_500, seed=1))
    samples = read_samples(config(), [str(file)])
    trained = train(TASKS["entry_timing"], samples, config())
    made = Registry(folder / "models")
    made.register(
        Entry(
            name="entry_timing", version="1", begin_ns=0, end_ns=1, data_hash="", code_hash="",
            feature_hash=samples.schema.hash, metrics={},
        ),
        trained.text,
        trained.metadata,
    )  # fmt: skip
    return made


def drift(registry: Registry, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(
        main, ["models", "drift", "entry_timing", "--registry", str(registry.root), *arguments]
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_what_it_learned_from_does_not_drift_and_returns_of_the_same_market_neither(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bars(tmp_path / "calm.csv", noise(1_500, seed=1))
    code, output = drift(registry, "--data", "calm.csv", "--json")
    found = {each["name"]: each for each in json.loads(output)}
    assert code == 0 and all(each["level"] == "none" and each["psi"] == 0.0 for each in found.values())
    assert set(found) == set(registry.metadata(registry.entry("entry_timing")).features)
    write_bars(tmp_path / "later.csv", noise(1_500, seed=2))
    _, output = drift(registry, "--data", "later.csv", "--json")
    found = {each["name"]: each for each in json.loads(output)}
    assert found["bar_return_1"]["level"] == "none" and found["bar_return_1"]["psi"] > 0.0


def test_a_wilder_market_drifts_and_is_shown(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bars(tmp_path / "wild.csv", noise(1_500, seed=2) ** 5)
    code, output = drift(registry, "--data", "wild.csv", "--html", "drift.html")
    assert code == 1
    assert "bar_volatility" in output and "strong" in output
    page = (tmp_path / "drift.html").read_text()
    assert page.count("<svg") > 5 and "bar_volatility: PSI" in page and "<script" not in page


def test_few_rows_are_said_to_say_nothing(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bars(tmp_path / "short.csv", noise(100, seed=2) ** 5)
    code, output = drift(registry, "--data", "short.csv")
    assert code == 0 and "say nothing" in output


# ---- rows of a ring -----------------------------------------------------------------------------------------------


def metadata_of(names: tuple[str, ...], schema_hash: str) -> ModelMetadata:
    return ModelMetadata(
        name="m", version="1", sha256="", feature_schema_hash=schema_hash, features=names, label="", horizon="",
        training_data="", training_start="", training_end="", training_rows=0, metrics={}, params={}, created="",
        lightgbm_version="",
    )  # fmt: skip


@pytest.mark.parametrize("evaluate", ["ticks", "bars"])
def test_rows_of_a_ring_are_those_that_a_model_learns(tmp_path: Path, evaluate: str) -> None:
    made = golden_config(
        f"inference.evaluate={evaluate}", "indicators.bar=ticks", "indicators.ticks_per_bar=9"
    )
    ticks, _ = recorded_ticks(2_000)
    by_bars = OfflineIndicators(made.indicators, 8, on_bars=True).feed(ticks).features
    records = by_bars
    if evaluate == "ticks":
        records = OfflineIndicators(made.indicators, 8).feed(ticks).features
    create_ring(tmp_path / "features.ring", FEATURE_DTYPE, 4_096, [], gating=False)
    Ring.attach(tmp_path / "features.ring", FEATURE_DTYPE, np.zeros(64, np.int64)).publish_rows(records)
    schema = feature_schema(made.indicators)
    metadata = metadata_of(("bar_return_1", "bar_rsi"), schema.hash)
    rows = rows_of_ring(metadata, made, tmp_path / "features.ring")
    wanted = by_bars["values"][:, [schema.index("bar_return_1"), schema.index("bar_rsi")]]
    assert len(rows) > 20
    np.testing.assert_array_equal(rows[-20:], wanted[-20:])
    with pytest.raises(TrainingError, match="another feature set"):
        rows_of_ring(metadata_of(("bar_rsi",), "0" * 64), made, tmp_path / "features.ring")


def test_a_record_without_a_new_bar_is_no_row() -> None:
    made = golden_config()
    records = np.zeros(4, FEATURE_DTYPE)
    records["instrument_id"] = [0, 0, 1, 0]
    slot = feature_schema(made.indicators).index("bar_rsi")
    records["values"][:, slot] = [50.0, 50.0, 60.0, 51.0]
    np.testing.assert_array_equal(
        with_new_bar(records, feature_schema(made.indicators)), [False, False, False, True]
    )


def test_data_of_another_feature_set_are_refused(tmp_path: Path) -> None:
    file = write_bars(tmp_path / "calm.csv", noise(200))
    with pytest.raises(TrainingError, match="another feature set"):
        rows_of_data(metadata_of(("bar_rsi",), "0" * 64), config(), [str(file)])
