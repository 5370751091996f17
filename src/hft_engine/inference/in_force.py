"""Which models a run used: what a restarted actor and a replay go on with, whatever has become of the files meanwhile.

A copy of each lies in the data directory, named by its SHA-256 (``models/<first 16>.txt``); the session says with
which it began. Later ones are session events (``model_swap``), recorded before they are used.

No copy is synced: a swap would wait for the disk five times instead of once. The kernel writes them out within seconds;
what a loss of power has made of one before that is told by its SHA-256, and the file that it was copied from counts.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from hft_engine.inference.model import CompiledModel, is_whole, metadata_path
from hft_engine.inference.model_set import ModelSet
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.checkpoint import InForce, write_atomically

FOLDER = "models"


class ModelInForce:
    """Remembers nothing where there is no session (replay, tests)."""

    def __init__(self, ctx: ActorContext) -> None:
        self._folder = ctx.data_dir / FOLDER
        session = ctx.history_dir
        self._folders = [self._folder] if session is None else [session.parents[1] / FOLDER, self._folder]
        self._document = InForce(ctx.session_dir, ctx.role) if ctx.session_dir is not None else None

    def paths(self) -> list[Path] | None:
        """Where the models are that the first life began with, None where there were none."""
        told = self._document.read() if self._document else None
        if told is None:
            return None
        models: list[dict[str, str]] = told["models"]  # type: ignore[assignment]
        return [
            self.find(each["sha256"], Path(each["path"])) or self._copy(each["sha256"]) for each in models
        ]

    def say(self, paths: Sequence[Path], models: ModelSet) -> None:
        """The run begins with ``models``, which were loaded from ``paths``. A full disk keeps no engine from it."""
        if self._document is None:
            return
        with contextlib.suppress(OSError):
            for path, member in zip(paths, models.members, strict=True):
                self.keep(path, member.model)
            about = [{**each, "path": str(path)} for each, path in zip(models.about(), paths, strict=True)]
            self._document.write({"model_id": models.model_id, "models": about})

    def keep(self, path: Path, model: CompiledModel) -> None:
        """A copy of ``model``, which was loaded from ``path``; one that is there already stays. Raises OSError."""
        copy, sha256 = self._copy(model.metadata.sha256), model.metadata.sha256
        if self._document is None or path == copy or is_whole(copy, sha256):
            return
        for source, target in ((metadata_path(path), metadata_path(copy)), (path, copy)):
            write_atomically(target, source.read_bytes())

    def find(self, sha256: str, path: Path) -> Path | None:
        """Where the model is that was used from ``path``, every byte of it: a copy, else there; None: nowhere."""
        return next((place for place in self.places(sha256, path) if is_whole(place, sha256)), None)

    def places(self, sha256: str, path: Path) -> list[Path]:
        """Where a model that was used from ``path`` may be found again, the surest place first."""
        return [*(folder / self._copy(sha256).name for folder in self._folders), path]

    def _copy(self, sha256: str) -> Path:
        return self._folder / f"{sha256[:16]}.txt"
