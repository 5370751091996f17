"""The stages' checkpoints on disk: what ``hft start --resume`` goes on from. Format and reading.

    checkpoint-<tick sequence>.hftc     in the session's directory; the newest two are kept
    a page: magic 8 | JSON bytes u32 | crc u32 | JSON (``Description``)
    then of each role its facts, then its rows

The page is written last; the crc is the CRC-32C of what follows it, and then of the JSON. The parts belong together:
the rules have seen every prediction of the ticks that the indicators' state has seen, and perhaps more.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import msgspec
import numpy as np

from hft_engine.runtime.checkpoint import FACTS, Checkpoint
from hft_engine.shm.layout import PAGE_BYTES, WORD

MAGIC = b"HFTCKPT\n"
PREFIX, SUFFIX = "checkpoint-", ".hftc"
KEEP_FROM = "keep-from-checkpoint"  # ASCII: ticks before this are needed by no checkpoint that is kept
HEAD = struct.Struct("<8sII")
KEPT = 2
FACT_BYTES = FACTS * WORD
VERSION = 1


class Part(msgspec.Struct, frozen=True):
    """A role's share: its facts, then ``rows`` times ``row_bytes``. ``key``: of ``CheckpointFile``."""

    role: str
    key: int
    rows: int
    row_bytes: int

    @property
    def bytes(self) -> int:
        return FACT_BYTES + self.rows * self.row_bytes


class Description(msgspec.Struct, frozen=True):
    """``ticks``: the first tick that is to be taken again. ``taken_ns``: UTC."""

    version: int
    run_id: str
    ticks: int
    taken_ns: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class DiskCheckpoint:
    path: Path
    description: Description
    states: dict[str, Checkpoint]  # by role

    def key(self, role: str) -> int:
        return next(part.key for part in self.description.parts if part.role == role)


def checkpoint_paths(session: Path) -> list[Path]:
    """Checkpoint files of a session, oldest first."""
    return sorted(session.glob(f"{PREFIX}*{SUFFIX}"))


def path_of(session: Path, ticks: int) -> Path:
    return session / f"{PREFIX}{ticks:020d}{SUFFIX}"


def newest_checkpoint(session: Path) -> DiskCheckpoint | None:
    """The newest that is whole; None where there is none. Damaged ones are passed over: older ones do as well."""
    for path in reversed(checkpoint_paths(session)):
        found = read_checkpoint(path)
        if found is not None:
            return found
    return None


def read_checkpoint(path: Path) -> DiskCheckpoint | None:
    """None where it is damaged, or of another version."""
    raw = path.read_bytes()
    if len(raw) < HEAD.size:
        return None
    magic, length, crc = HEAD.unpack_from(raw)
    text = raw[HEAD.size : HEAD.size + length]
    if magic != MAGIC or google_crc32c.extend(google_crc32c.value(raw[PAGE_BYTES:]), text) != crc:
        return None
    description = msgspec.json.decode(text, type=Description)
    if description.version != VERSION:
        return None
    states, at = {}, PAGE_BYTES
    for part in description.parts:
        states[part.role] = _state(raw, at, part)
        at += part.bytes
    return DiskCheckpoint(path, description, states)


def _state(raw: bytes, at: int, part: Part) -> Checkpoint:
    facts = np.frombuffer(raw, np.int64, FACTS, at)
    rows = np.frombuffer(raw, np.uint8, part.rows * part.row_bytes, at + FACT_BYTES)
    return Checkpoint(1, facts, rows.reshape(part.rows, part.row_bytes))
