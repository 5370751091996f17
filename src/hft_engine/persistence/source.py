"""A journal as a source of ticks for the replay actor."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import JournalError, JournalReader, Selection
from hft_engine.persistence.journal.selection import EVERYTHING
from hft_engine.records import TICK_DTYPE, TickKind

VOIDS_MAX = 8_192  # of a chunk


class TickSource(Protocol):
    """Chunks of ``TICK_DTYPE`` in order; each iteration starts from the beginning and yields the same ticks."""

    def __iter__(self) -> Iterator[np.ndarray]: ...


class JournalTicks:
    """The ticks of ``reader`` with the instrument ids of ``table``. Source of one run.

    A tick has the place of its recorded sequence, because what was recorded besides ticks goes by it: sequences that
    the journal lacks, and those that ``selection`` or ``symbols`` (empty: all) do not want, are ticks of kind VOID.
    ``count``: all of them, as far as is known beforehand. Raises JournalError for a symbol that is not there.
    """

    def __init__(
        self,
        reader: JournalReader,
        table: InstrumentTable,
        selection: Selection = EVERYTHING,
        symbols: Sequence[str] = (),
    ) -> None:
        self.reader = reader
        self.count = min(reader.report.next_sequence, selection.end)
        self._selection = selection
        ids = [table.id_of(symbol) for symbol in reader.instruments]
        self._ids = np.array(ids, np.int32)
        self._renamed = ids != list(range(len(ids)))
        self._unwanted = _unwanted(reader.instruments, symbols)

    def __iter__(self) -> Iterator[np.ndarray]:
        expected = 0
        for chunk in self.reader.ticks(self._selection):
            for run in _runs(self._prepared(chunk)):
                yield from _voids(expected, int(run["sequence"][0]), run)
                expected = int(run["sequence"][-1]) + 1
                yield run

    def _prepared(self, chunk: np.ndarray) -> np.ndarray:
        if not self._renamed and self._unwanted is None:
            return chunk
        chunk = np.frombuffer(bytearray(chunk.tobytes()), chunk.dtype)
        if self._unwanted is not None:
            chunk["kind"][self._unwanted[chunk["instrument_id"]]] = TickKind.VOID
        chunk["instrument_id"] = self._ids[chunk["instrument_id"]]
        return chunk


def _unwanted(known: Sequence[str], symbols: Sequence[str]) -> np.ndarray | None:
    """bool[len(known)]; None where all are wanted."""
    if not symbols:
        return None
    missing = [symbol for symbol in symbols if symbol not in known]
    if missing:
        raise JournalError(f"the journal has no ticks of {', '.join(missing)}; it has: {', '.join(known)}")
    return np.array([symbol not in symbols for symbol in known])


def _runs(chunk: np.ndarray) -> list[np.ndarray]:
    """The chunk cut where sequences are missing."""
    sequences = chunk["sequence"]
    if int(sequences[-1]) - int(sequences[0]) == len(chunk) - 1:
        return [chunk]
    cuts = [0, *(np.flatnonzero(np.diff(sequences) != 1) + 1).tolist(), len(chunk)]
    return [chunk[begin:end] for begin, end in itertools.pairwise(cuts)]


def _voids(first: int, end: int, after: np.ndarray) -> Iterator[np.ndarray]:
    """Ticks [first, end) of kind VOID, due when the first of ``after`` is."""
    while first < end:
        count = min(end - first, VOIDS_MAX)
        rows = np.zeros(count, TICK_DTYPE)
        rows["sequence"] = np.arange(first, first + count)
        rows["kind"] = TickKind.VOID
        rows["ts_recv_ns"] = after["ts_recv_ns"][0]
        rows["ts_venue_ns"] = after["ts_venue_ns"][0]
        yield rows
        first += count


@dataclass(frozen=True)
class JournalSource:
    """Opens the journal at ``path`` (session folder or segment) for a run; can be sent to another process."""

    path: Path
    selection: Selection = EVERYTHING
    symbols: tuple[str, ...] = ()

    def __call__(self, table: InstrumentTable) -> JournalTicks:
        """Raises JournalError, InstrumentTableFullError."""
        return JournalTicks(JournalReader(self.path), table, self.selection, self.symbols)
