"""A folder that stands for the current one: everything in it is a link, but the recorded files are copies."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from hft_engine.config.schema import Config

OUTSIDE = "hft_bias_inputs"  # folder for what lies outside the current one


class Sandbox:
    """``names``: the recorded files as seen from any ``folder_of``; ``originals``: where they really are."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root = root
        self._here = Path.cwd()
        self.originals = [Path(path).resolve() for path in paths]
        self._relative = [self._place(i, path) for i, path in enumerate(self.originals)]
        self.names = tuple(str(path) for path in self._relative)

    def folder_of(self, name: str) -> Path:
        """A new folder below ``root``, made of links to what is in the current one, without the recorded files."""
        folder = self.root / name
        folder.mkdir()
        self._link(folder, self._here, [path.parts for path in self._relative])
        return folder

    def copies(self, folder: Path) -> Iterator[tuple[Path, Path]]:
        """(original, where its copy belongs in ``folder``)."""
        for original, relative in zip(self.originals, self._relative, strict=True):
            yield original, folder / relative

    def absolute(self, config: Config) -> Config:
        """``config`` with its own files (model, extensions, strategy) named so that they are found from anywhere."""
        replace = msgspec.structs.replace
        execution = config.execution
        if execution is not None:
            execution = replace(execution, strategy=self._spec(execution.strategy))
        extensions = tuple(self._spec(spec) for spec in config.indicators.extensions)
        inference = config.inference
        model = str(self._here / inference.model) if inference.model is not None else None
        models = tuple(str(self._here / path) for path in inference.models)
        return replace(
            config,
            execution=execution,
            indicators=replace(config.indicators, extensions=extensions),
            inference=replace(inference, model=model, models=models),
        )

    def _place(self, i: int, path: Path) -> Path:
        if path.is_relative_to(self._here):
            return path.relative_to(self._here)
        # The folder's name may be part of what the file says: Lean's symbol is.
        return Path(OUTSIDE, str(i), path.parent.name, path.name)

    def _spec(self, spec: str) -> str:
        file, separator, name = spec.rpartition(":")
        return f"{self._here / file}:{name}" if separator and file.endswith(".py") else spec

    def _link(self, target: Path, source: Path, held: Sequence[tuple[str, ...]]) -> None:
        """Links in ``target`` to all in ``source``; ``held``: paths inside it that a copy will stand at."""
        below: dict[str, list[tuple[str, ...]]] = {}
        for parts in held:
            below.setdefault(parts[0], []).append(parts[1:])
        for entry in os.scandir(source):
            deeper = [parts for parts in below.get(entry.name, []) if parts]
            if entry.name not in below:
                (target / entry.name).symlink_to(Path(entry.path))
            elif deeper:
                (target / entry.name).mkdir()
                self._link(target / entry.name, Path(entry.path), deeper)
