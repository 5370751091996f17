"""A journal as a source of ticks for the replay actor."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import JournalReader


class TickSource(Protocol):
    """Chunks of ``TICK_DTYPE`` in order; each iteration starts from the beginning and yields the same ticks."""

    def __iter__(self) -> Iterator[np.ndarray]: ...


class JournalTicks:
    """The ticks of ``reader`` with the instrument ids of ``table``; ``count`` of them. Source of one run."""

    def __init__(self, reader: JournalReader, table: InstrumentTable) -> None:
        self.reader = reader
        self.count = reader.count
        ids = [table.id_of(symbol) for symbol in reader.instruments]
        self._ids = np.array(ids, np.int32)
        self._renamed = ids != list(range(len(ids)))

    def __iter__(self) -> Iterator[np.ndarray]:
        for chunk in self.reader:
            yield self._rename(chunk) if self._renamed else chunk

    def _rename(self, chunk: np.ndarray) -> np.ndarray:
        chunk = np.frombuffer(bytearray(chunk.tobytes()), chunk.dtype)
        chunk["instrument_id"] = self._ids[chunk["instrument_id"]]
        return chunk


@dataclass(frozen=True)
class JournalSource:
    """Opens the journal at ``path`` (session folder or segment) for a run; can be sent to another process."""

    path: Path

    def __call__(self, table: InstrumentTable) -> JournalTicks:
        """Raises JournalError, InstrumentTableFullError."""
        return JournalTicks(JournalReader(self.path), table)
