"""What `hft models drift` shows: each feature's PSI and KS against what was learned from, and a page of pictures."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from hft_engine.config.load import recorded_config
from hft_engine.config.schema import Config
from hft_engine.inference.model import ModelMetadata
from hft_engine.learn.drift_page import drift_page
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.serving import rows_of_data, rows_of_ring
from hft_engine.models.drift import PSI_SOME, PSI_STRONG, ROWS_MIN, FeatureDrift, drift_of, snapshot_of
from hft_engine.persistence.journal import is_journal
from hft_engine.recorded_session import RecordedSession
from hft_engine.views.replay import progress_bar
from hft_engine.views.run import RunView

EXIT_DRIFTED = 1
_STYLES = {"strong": "red", "some": "yellow", "too few": "dim"}


def of_data(metadata: ModelMetadata, config: Config, paths: Sequence[str]) -> tuple[FeatureDrift, ...]:
    """Of recorded data; a session with its own configuration. Raises TrainingError, and what the readers raise."""
    if len(paths) == 1 and is_journal(Path(paths[0])):
        config = RecordedSession(Path(paths[0]), verify=False).config()
    with progress_bar("reading") as (progress, _):
        rows = rows_of_data(metadata, config, paths, progress)
    return _drifts(metadata, rows)


def of_run(metadata: ModelMetadata, run_dir: Path) -> tuple[FeatureDrift, ...]:
    """Of what a running engine's ring of features holds. Raises RunError, TrainingError."""
    manifest = RunView(run_dir).manifest
    config = recorded_config(manifest.config, f"the configuration of {manifest.run_id}")
    return _drifts(metadata, rows_of_ring(metadata, config, run_dir / "features.ring"))


def _drifts(metadata: ModelMetadata, rows: np.ndarray) -> tuple[FeatureDrift, ...]:
    snapshot = snapshot_of(metadata.quantiles, metadata.shares)
    if not snapshot.features:
        raise TrainingError(
            f"{metadata.name} {metadata.version} does not say what it learned from: an older version made it; "
            "train it again"
        )
    columns = [metadata.features.index(name) for name in snapshot.features]
    return drift_of(snapshot, rows[:, columns])


def show(
    metadata: ModelMetadata, drifts: Sequence[FeatureDrift], source: str, page: Path | None, as_json: bool
) -> int:
    """Print, write the page; the exit code: 1 where a feature moved strongly."""
    if page is not None:
        page.write_text(drift_page(metadata, drifts, source))
    if as_json:
        print(msgspec.json.encode(drifts).decode())
    else:
        _print(metadata, drifts, source, page)
    return EXIT_DRIFTED if any(drift.level == "strong" for drift in drifts) else 0


def _print(metadata: ModelMetadata, drifts: Sequence[FeatureDrift], source: str, page: Path | None) -> None:
    console = Console()
    rows = drifts[0].rows if drifts else 0
    table = Table(
        title=f"{metadata.name} {metadata.version} on {rows:,} rows of {source}",
        title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False,
    )  # fmt: skip
    for column in ("feature", "PSI", "KS", "drift"):
        table.add_column(column, justify="left" if column in ("feature", "drift") else "right", no_wrap=True)
    for drift in drifts:
        style = _STYLES.get(drift.level, "")
        table.add_row(drift.name, f"{drift.psi:.4f}", f"{drift.ks:.4f}", drift.level, style=style)
    console.print(table)
    console.print(f"PSI from {PSI_SOME} on: it moved; from {PSI_STRONG} on: another population", style="dim")
    if rows < ROWS_MIN:
        console.print(
            f"fewer than {ROWS_MIN} rows say nothing: compare with a whole session (--data SESSION)"
        )
    if page is not None:
        console.print(f"pictures: {page}")
