"""Symbols and their int32 ids: a table in an array that every process of a run can see.

The feed is the only writer. A new symbol is written first and the count raised after it, so that a reader
never sees a half-written row. Ids are given in order of arrival and never reused within a run.
"""

import numpy as np

from hft_engine.records import SYMBOL_BYTES_MAX

INSTRUMENT_DTYPE = np.dtype([("symbol", f"S{SYMBOL_BYTES_MAX}")])


class InstrumentTableFullError(RuntimeError):
    """More symbols came than the table has rows."""


class InstrumentTable:
    """``rows``: array of ``INSTRUMENT_DTYPE``; ``count``: int64 array of one element. Both may be shared."""

    def __init__(self, rows: np.ndarray, count: np.ndarray) -> None:
        self._rows = rows
        self._count = count
        self._ids: dict[str, int] = {}
        self._sync()

    @classmethod
    def private(cls, capacity: int) -> "InstrumentTable":
        """A table in this process's own memory."""
        return cls(np.zeros(capacity, INSTRUMENT_DTYPE), np.zeros(1, np.int64))

    def _sync(self) -> None:
        for i in range(len(self._ids), int(self._count[0])):
            self._ids[self._rows[i]["symbol"].decode()] = i

    @property
    def capacity(self) -> int:
        return len(self._rows)

    def __len__(self) -> int:
        self._sync()
        return len(self._ids)

    def id_of(self, symbol: str) -> int:
        """The id of ``symbol``, given now if it is new (writer only).

        Raises InstrumentTableFullError, ValueError.
        """
        found = self._ids.get(symbol)
        return found if found is not None else self._add(symbol)

    def find(self, symbol: str) -> int | None:
        """The id of ``symbol``, or None where it has none."""
        if symbol not in self._ids:
            self._sync()
        return self._ids.get(symbol)

    def symbol_of(self, instrument_id: int) -> str:
        """The symbol of an id. Raises IndexError for an id not given yet."""
        if not 0 <= instrument_id < int(self._count[0]):
            raise IndexError(f"instrument id {instrument_id} is not in the table of {int(self._count[0])}")
        return str(self._rows[instrument_id]["symbol"].decode())

    def symbols(self) -> list[str]:
        """All symbols, in order of id."""
        self._sync()
        return list(self._ids)

    def _add(self, symbol: str) -> int:
        self._sync()
        if symbol in self._ids:
            return self._ids[symbol]
        encoded = symbol.encode()
        if not 0 < len(encoded) <= SYMBOL_BYTES_MAX:
            raise ValueError(f"symbol {symbol!r} must have 1 to {SYMBOL_BYTES_MAX} bytes")
        next_id = len(self._ids)
        if next_id >= self.capacity:
            raise InstrumentTableFullError(
                f"no room for {symbol!r}: the table holds {self.capacity} instruments; "
                "raise engine.instruments_max or subscribe to fewer symbols"
            )
        self._rows[next_id]["symbol"] = encoded
        self._count[0] = next_id + 1
        self._ids[symbol] = next_id
        return next_id
