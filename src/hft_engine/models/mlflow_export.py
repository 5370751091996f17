"""`hft models export --mlflow`: a version of the registry as a run of MLflow: parameters, figures, files, card.

``models.registry`` stays the place where it is decided what is live; MLflow gets a copy to look at.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hft_engine.inference.model import ModelMetadata
from hft_engine.models.registry import Entry, Registry, RegistryError

EXPERIMENT = "hft_engine"
PARAMETER_CHARACTERS_MAX = 500  # older servers refuse more


def export_version(registry: Registry, entry: Entry, to: str) -> str:
    """Log a version to the MLflow server at ``to`` (http://..., databricks, sqlite:///...), or into a folder: there
    into ``mlflow.db`` and ``artifacts``. Returns the run's id. Raises RegistryError: no extra, or MLflow refuses."""
    try:
        import mlflow.exceptions
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise RegistryError("--mlflow needs MLflow's client: pip install 'hft-engine[mlflow]'") from None
    metadata = registry.metadata(entry)
    try:
        tracking, artifacts = _store(to)
        client = MlflowClient(tracking_uri=tracking)
        run = client.create_run(
            _experiment(client, artifacts), tags=_tags(entry), run_name=f"{entry.name} {entry.version}"
        )
        _log(client, run.info.run_id, metadata, registry.folder(entry))
    except (mlflow.exceptions.MlflowException, OSError, ImportError) as error:
        raise RegistryError(
            f"--mlflow {to}: {error}; name the address of a running MLflow server, or a folder that can be written to"
        ) from error
    return str(run.info.run_id)


def _store(to: str) -> tuple[str, str | None]:
    """(tracking URI, where artifacts of a new experiment lie; None: the server decides)."""
    if ":" in to or to == "databricks":
        return to, None
    folder = Path(to).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()


def _experiment(client: Any, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    return str(
        found.experiment_id if found else client.create_experiment(EXPERIMENT, artifact_location=artifacts)
    )


def _log(client: Any, run: str, metadata: ModelMetadata, folder: Path) -> None:
    for name, value in _parameters(metadata).items():
        client.log_param(run, name, value[:PARAMETER_CHARACTERS_MAX])
    for name, number in metadata.metrics.items():
        client.log_metric(run, name, number)
    for path in sorted(folder.iterdir()):
        client.log_artifact(run, str(path))
    client.set_terminated(run)


def _parameters(metadata: ModelMetadata) -> Mapping[str, str]:
    return {
        **{name: str(value) for name, value in metadata.params.items()},
        "features": ", ".join(metadata.features),
        "label": metadata.label,
        "horizon": metadata.horizon,
        "training_data": metadata.training_data,
        "training_rows": str(metadata.training_rows),
        "threshold": f"{metadata.threshold:.6g}",
    }


def _tags(entry: Entry) -> dict[str, str]:
    """Where the version came from, and what becomes of it here."""
    hashes = {name: getattr(entry, name) for name in ("data_hash", "code_hash", "feature_hash", "model_hash")}
    return {
        "model": entry.name,
        "version": entry.version,
        "status": entry.status,
        "parent": entry.parent,
        "does_not_beat": ", ".join(entry.unbeaten),
        **hashes,
    }
