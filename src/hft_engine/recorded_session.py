"""A recorded session as a whole: its journal, the configuration and machine that made it, and what changed in it."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.config.live import changed
from hft_engine.config.load import recorded_config
from hft_engine.config.schema import Config
from hft_engine.persistence.journal import JournalReader, SegmentMetadata, Selection
from hft_engine.persistence.journal.session import session_dir, session_paths
from hft_engine.records import SIGNAL_DTYPE
from hft_engine.runtime.session_events import Damage, SessionEvent, of_kinds, read_session

MODELS_DIR = "models"  # copies of the models that runs used, below the data directory


class SessionError(RuntimeError):
    """There is no such session, or it cannot be used; the text says why and what to do."""


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
        """As the session began with it, its model from the copy that was kept. Raises ConfigError."""
        config = recorded_config(self.metadata.config, f"{self.path.name}'s configuration", overrides)
        model = self.model_path(config)
        if model is None:
            return config
        inference = msgspec.structs.replace(config.inference, model=str(model))
        return msgspec.structs.replace(config, inference=inference)

    def config_at(self, tick: int) -> Config:
        """With every change that was in force when ``tick`` was decided."""
        config = self.config()
        for event in of_kinds(self.events, "config_change"):
            if event.sequence <= tick:
                config = changed(config, event.data["changes"])
        return config

    def model_path(self, config: Config) -> Path | None:
        """The model that the session began with: the copy of it, else the file it came from; None without one."""
        if config.inference.model is None:
            return None
        copy = self.path.parents[1] / MODELS_DIR / f"{self.initial_model_hash[:16]}.txt"
        return copy if copy.exists() else Path(config.inference.model)

    @property
    def initial_model_hash(self) -> str:
        """SHA-256 of the model that the session began with; empty without one."""
        hashes = [value for key, value in self.metadata.models.items() if not key.endswith(".json")]
        return hashes[0] if hashes else ""

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
