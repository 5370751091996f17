"""Everything that the venue has published, for its REST side: what clients ask back is what they were sent, or
would have been, had nothing gone wrong.
"""

from collections.abc import Sequence

import numpy as np

from hft_engine.records import TICK_DTYPE, TickKind

HISTORY_TICKS_MAX = 4_000_000  # 512 MB; the oldest quarter goes when it is full
FIRST_ROOM = 65_536


class History:
    """Ticks in the order of publication. ``of(symbol, kind)`` returns fresh arrays."""

    def __init__(self, symbols: Sequence[str], ticks_max: int = HISTORY_TICKS_MAX) -> None:
        self.symbols = tuple(symbols)
        self.forgotten = 0  # ticks that had to go
        self._ids = {symbol: i for i, symbol in enumerate(symbols)}
        self._ticks_max = ticks_max
        self._ticks = np.zeros(min(FIRST_ROOM, ticks_max), TICK_DTYPE)
        self._count = 0

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._ids

    def append(self, ticks: np.ndarray) -> None:
        while self._count + len(ticks) > len(self._ticks):
            self._make_room()
        self._ticks[self._count : self._count + len(ticks)] = ticks
        self._count += len(ticks)

    def _make_room(self) -> None:
        if len(self._ticks) < self._ticks_max:
            grown = np.zeros(min(2 * len(self._ticks), self._ticks_max), TICK_DTYPE)
            grown[: self._count] = self._ticks[: self._count]
            self._ticks = grown
            return
        go = max(1, self._count // 4)
        self._ticks[: self._count - go] = self._ticks[go : self._count].copy()
        self._count -= go
        self.forgotten += go

    def of(self, symbol: str, kind: TickKind) -> np.ndarray:
        """TICK_DTYPE[n] of one symbol; empty for one nobody trades."""
        return self._ticks[self._rows(symbol, kind)]

    def numbered(self, symbol: str, kind: TickKind) -> tuple[np.ndarray, np.ndarray]:
        """As ``of``, with the number of each tick, which it keeps for ever: int64[n], TICK_DTYPE[n]."""
        rows = self._rows(symbol, kind)
        return rows + self.forgotten, self._ticks[rows]

    def last(self, symbol: str, kind: TickKind) -> np.void | None:
        """The latest one."""
        rows = self._rows(symbol, kind)
        return self._ticks[rows[-1]].copy() if len(rows) else None

    def _rows(self, symbol: str, kind: TickKind) -> np.ndarray:
        known = self._ticks[: self._count]
        return np.flatnonzero((known["instrument_id"] == self._ids.get(symbol, -1)) & (known["kind"] == kind))

    @property
    def now_ns(self) -> int:
        """The venue's time: of the latest tick; 0 before the first."""
        return int(self._ticks["ts_venue_ns"][self._count - 1]) if self._count else 0
