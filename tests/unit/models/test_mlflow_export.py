"""A version as a run of MLflow: nothing of it is missing, and an address that cannot be used is named."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from registered import entry, made

from hft_engine.cli import main
from hft_engine.models.mlflow_export import EXPERIMENT, export_version
from hft_engine.models.registry import CARD, REPORT, Registry, RegistryError

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's libraries have some of their own

METRICS = {"model_auc": 0.75, "majority_log_loss": 0.6}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models")
    text, metadata = made("peak_detection", metrics=METRICS)
    found = entry("peak_detection", "20260101", unbeaten=("logistic",))
    registry.register(found, text, metadata, {CARD: b"<html>", REPORT: b"{}"})
    return registry


def test_parameters_figures_files_and_origin_are_in_the_run(registry: Registry, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    arguments = ("models", "export", "peak_detection", "--registry", str(registry.root), "--mlflow")
    for _ in range(2):  # the second one goes into the same experiment
        result = CliRunner().invoke(main, [*arguments, str(tmp_path / "runs")])
        assert result.exit_code == 0, result.output
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert len(client.search_runs([experiment.experiment_id])) == 2
    run = client.get_run(result.output.split(" is run ")[1].split()[0])
    assert run.data.metrics == METRICS
    assert run.data.params["features"].startswith("bar_rsi") and run.data.params["seed"] == "0"
    assert run.data.tags["does_not_beat"] == "logistic" and run.data.tags["version"] == "20260101"
    assert run.info.status == "FINISHED"
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert files == {"model.txt", "model.txt.meta.json", REPORT, CARD}
    copy = tmp_path / "runs" / "artifacts" / run.info.run_id / "artifacts" / "model.txt"
    assert copy.read_bytes() == (registry.folder(registry.entry("peak_detection")) / "model.txt").read_bytes()


def test_a_place_that_cannot_be_used_is_named(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RegistryError, match="file"):
        export_version(registry, registry.entry("peak_detection"), str(tmp_path / "file"))
