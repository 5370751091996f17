"""A recorded session as a whole: its journal, the configuration and machine that made it, and what changed in it."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.config.live import changed
from hft_engine.config.load import recorded_config
from hft_engine.config.outputs import METADATA_SUFFIX
from hft_engine.config.schema import Config
from hft_engine.persistence.journal import JournalReader, SegmentMetadata, Selection
from hft_engine.persistence.journal.session import session_dir, session_paths
from hft_engine.records import SIGNAL_DTYPE
from hft_engine.runtime.checkpoint import InForce
from hft_engine.runtime.session_events import Damage, SessionEvent, of_kinds, read_session

MODELS_DIR = "models"  # copies of the models that runs used, below the data directory


class SessionError(RuntimeError):
    """There is no such session, or it cannot be used; the text says why and what to do."""


class ModelsInForce(msgspec.Struct, frozen=True):
    """``since``: tick from which on they predicted; ``model_id``: what their signals carry; ``members``: model, version
    and sha256 of each.
    """

    since: int
    model_id: int
    members: list[dict[str, str]]


def find_session(data_dir: Path, wanted: str = "") -> Path:
    """A session folder: by path, by name or its beginning, else the newest. Raises SessionError."""
    if wanted and Path(wanted).exists():
        return Path(wanted)
    found = [path for path in session_paths(data_dir) if path.name.startswith(wanted)]
    exact = [path for path in found if path.name == wanted]
    if not found:
        which = f"no session {wanted!r}" if wanted else "no session"
        raise SessionError(
            f"{which} below {session_dir(data_dir, '')}; `hft journal ls` lists what was recorded"
        )
    if wanted and len(found) > 1 and not exact:
        raise SessionError(f"{wanted!r} may be {', '.join(path.name for path in found)}; say which")
    return exact[0] if exact else max(found, key=lambda path: path.stat().st_mtime_ns)


class RecordedSession:
    """``verify``: every block of the journal is checked when it is opened, else only what is read.

    Raises SessionError for a journal without its run's configuration, and what the journal's reader raises.
    """

    def __init__(self, path: Path, verify: bool = True) -> None:
        self.path = path.resolve()
        self.reader = JournalReader(path, verify)
        self.report = self.reader.report
        found = self.report.metadata
        if found is None or not found.config:
            raise SessionError(
                f"{path} does not say with which configuration it was made: an older version recorded it; "
                "`hft replay` replays it with a configuration of yours"
            )
        self.metadata: SegmentMetadata = found
        events, damages = read_session(self.path) if path.is_dir() else ([], [])
        self.events: list[SessionEvent] = events
        self.damages: list[Damage] = damages

    def config(self, overrides: Sequence[str] = ()) -> Config:
        """As the session began with it, its models from the copies that were kept. Raises ConfigError."""
        config = recorded_config(self.metadata.config, f"{self.path.name}'s configuration", overrides)
        paths = tuple(str(path) for path in self.model_paths(config))
        named = {"models": paths} if config.inference.models else {"model": paths[0] if paths else None}
        inference = msgspec.structs.replace(config.inference, **named)
        return msgspec.structs.replace(config, inference=inference)

    def config_at(self, tick: int) -> Config:
        """With every change that was in force when ``tick`` was decided."""
        config = self.config()
        for event in of_kinds(self.events, "config_change"):
            if event.sequence <= tick:
                config = changed(config, event.data["changes"])
        return config

    def model_paths(self, config: Config) -> list[Path]:
        """The models that the session began with: of each the copy, else the file it came from."""
        folder, hashes = self.path.parents[1] / MODELS_DIR, self.initial_model_hashes
        copies = [folder / f"{sha256[:16]}.txt" for sha256 in hashes]
        paths = [Path(path) for path in config.inference.paths]
        if len(copies) != len(paths):
            return paths  # --set names others
        return [copy if copy.exists() else path for copy, path in zip(copies, paths, strict=True)]

    @property
    def initial_model_hashes(self) -> list[str]:
        """SHA-256 of the models that the session began with, in order."""
        return [value for key, value in self.metadata.models.items() if not key.endswith(METADATA_SUFFIX)]

    @cached_property
    def model_sets(self) -> list[ModelsInForce]:
        """Which models were in force from which tick on, oldest first; nothing before the first of them.

        Sessions of versions that served one model do not say it.
        """
        told = InForce(self.path, "inference").read() if self.path.is_dir() else None
        swaps = [(event.sequence, event.data) for event in of_kinds(self.events, "model_swap")]
        happened = [(0, told), *swaps] if told is not None else swaps
        return [
            ModelsInForce(since, data["model_id"], data["models"])
            for since, data in happened
            if "models" in data
        ]

    def models_at(self, tick: int) -> ModelsInForce | None:
        """The models that predicted for ``tick``; None without one."""
        return next((each for each in reversed(self.model_sets) if each.since <= tick), None)

    @cached_property
    def signals(self) -> np.ndarray:
        """SIGNAL_DTYPE: all that the live run published and journalled, in order."""
        chunks = list(self.reader.signals())
        return np.concatenate(chunks) if chunks else np.zeros(0, SIGNAL_DTYPE)

    def tick(self, sequence: int) -> np.ndarray | None:
        """TICK_DTYPE[1], None where the journal lacks it."""
        chunks = self.reader.ticks(Selection(first=sequence, end=sequence + 1))
        return next((chunk for chunk in chunks if len(chunk)), None)

    def symbol(self, instrument_id: int) -> str:
        known = self.reader.instruments
        return known[instrument_id] if 0 <= instrument_id < len(known) else f"#{instrument_id}"
