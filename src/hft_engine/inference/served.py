"""The models in use, as inference leaves them in the run's directory for views. No numba here."""

from pathlib import Path

import msgspec

FILE = "models.json"


class Served(msgspec.Struct, frozen=True):
    """One member of the set. ``outputs``: their names; ``since``: tick from which on it is in use."""

    model: str
    version: str
    sha256: str
    outputs: list[str]
    since: int


class ServedSet(msgspec.Struct, frozen=True):
    """``model_id``: what signals of these models carry; -1 without a model. ``outputs``: names of all, in order."""

    model_id: int = -1
    members: list[Served] = []
    outputs: list[str] = []


def read_served(run_dir: Path) -> ServedSet:
    """Of no model where nobody has written yet."""
    try:
        return msgspec.json.decode((run_dir / FILE).read_bytes(), type=ServedSet)
    except FileNotFoundError:
        return ServedSet()


def write_served(run_dir: Path, served: ServedSet) -> None:
    """Complete or as before. Raises OSError."""
    draft = run_dir / f"{FILE}.new"
    draft.write_bytes(msgspec.json.encode(served))
    draft.replace(run_dir / FILE)
