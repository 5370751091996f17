"""Which model is in force: what a restarted actor goes on with, whatever has become of the files meanwhile.

A copy of each model that a run used lies in the data directory, named by its SHA-256 (``models/<first 16>.txt``); the
run's directory says which is in force. It is said before the model is used: a swap counts from the record that the
reader stood at, also for a life that died in between.
"""

import contextlib
import os
from pathlib import Path

from hft_engine.inference.model import CompiledModel, metadata_path
from hft_engine.runtime import rundir
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.checkpoint import InForce

FOLDER = "models"


class ModelInForce:
    """Remembers nothing where there is no run directory (replay in one process, tests)."""

    def __init__(self, ctx: ActorContext) -> None:
        self._folder = ctx.data_dir / FOLDER
        self._document = InForce(ctx.run_dir, ctx.role) if (ctx.run_dir / rundir.LOCK).exists() else None

    def path(self) -> Path | None:
        """The copy of the model that an earlier life used, None where there was none."""
        told = self._document.read() if self._document else None
        if told is None or not told["sha256"]:
            return None
        return self._copy(str(told["sha256"]))

    def say(self, path: Path, model: CompiledModel) -> None:
        """From now on ``model``, which was loaded from ``path``. A full disk keeps no engine from it."""
        if self._document is None:
            return
        with contextlib.suppress(OSError):
            self._keep(path, self._copy(model.metadata.sha256))
            self._document.write({"sha256": model.metadata.sha256, "path": str(path)})

    def _copy(self, sha256: str) -> Path:
        return self._folder / f"{sha256[:16]}.txt"

    def _keep(self, path: Path, copy: Path) -> None:
        if path == copy or (copy.exists() and metadata_path(copy).exists()):
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        for source, target in ((metadata_path(path), metadata_path(copy)), (path, copy)):
            draft = target.with_name(target.name + ".new")
            with draft.open("wb") as file:
                file.write(source.read_bytes())
                os.fsync(file.fileno())
            draft.replace(target)
