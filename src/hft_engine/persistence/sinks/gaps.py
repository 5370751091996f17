"""Bars and what is known of gaps: a bar that is stored or comes later is marked GAPPED where a gap reaches into it.

The stage marks what it is building (``indicators.bars``). A gap that is found when a bar is out already is marked here,
whichever of the two reaches the database first.
"""

from collections import defaultdict, deque
from collections.abc import Iterable

import numpy as np

from hft_engine.records import BarFlag, BarKind

GAPS_KEPT = 64  # of an instrument: for bars that were closed before the gap was found and come after it
_GAPPED, _REPAIRED = int(BarFlag.GAPPED), int(BarFlag.REPAIRED)
MARK = (
    f"UPDATE bars SET flags = flags | {_GAPPED} WHERE run_id = ? AND symbol = ? AND kind IN ('second', 'minute') "
    f"AND ts_start_ns < ? AND ts_end_ns > ? AND flags & {_REPAIRED} = 0"
)


class Gaps:
    """By instrument id: [from, to) in the venue's time. ``known``: (instrument, from, to), in order."""

    def __init__(self, known: Iterable[tuple[int, int, int]] = ()) -> None:
        self._known: dict[int, deque[tuple[int, int]]] = defaultdict(lambda: deque(maxlen=GAPS_KEPT))
        self._learn(known)

    def note(self, rows: np.ndarray) -> list[tuple[int, int, int]]:
        """HEALTH ticks in; (instrument, from, to) of the gaps that they close."""
        found = rows[rows["gap_to_ns"] != 0]
        gaps = [(int(row["instrument_id"]), int(row["gap_from_ns"]), int(row["gap_to_ns"])) for row in found]
        self._learn(gaps)
        return gaps

    def _learn(self, gaps: Iterable[tuple[int, int, int]]) -> None:
        for instrument, start, end in gaps:
            self._known[instrument].append((start, end))

    def flags_of(self, bars: np.ndarray) -> list[int]:
        """The flags of BAR_DTYPE rows, GAPPED where a known gap reaches in."""
        flags: list[int] = bars["flags"].tolist()
        if not self._known:
            return flags
        for i, instrument in enumerate(bars["instrument_id"].tolist()):
            if instrument in self._known and self._is_gapped(bars[i], self._known[instrument]):
                flags[i] |= _GAPPED
        return flags

    @staticmethod
    def _is_gapped(bar: np.void, gaps: deque[tuple[int, int]]) -> bool:
        if bar["flags"] & _REPAIRED or bar["kind"] == BarKind.TICKS:
            return False
        return any(bar["ts_start_ns"] < end and bar["ts_end_ns"] > start for start, end in gaps)
