"""What befalls instruments from outside the stream of ticks: their line is lost or live again, a gap is filled in."""

import math
from typing import Any

import numpy as np

from hft_engine.feed.health.cells import CHANNELS, T_BASE, T_MONO, T_UTC
from hft_engine.feed.health.observe import miss, suspect, venue_delay
from hft_engine.kernel import kernel
from hft_engine.records import HealthCause

_CONNECTION = int(HealthCause.CONNECTION)


@kernel()
def lose(
    ids: np.ndarray, v: int, cells: np.ndarray, due: np.ndarray, boards: np.ndarray, venues: np.ndarray
) -> None:
    """No line brings these instruments of venue ``v`` any more: from their newest tick on everything is missing."""
    known = len(boards) // len(venues)
    for instrument in ids:
        boards[v * known + instrument].connected = 0
        for at in range((v * known + instrument) * CHANNELS, (v * known + instrument + 1) * CHANNELS):
            cell = cells[at]
            if cell.last_mono_ns == 0 or (cell.gap_from_ns != 0 and cell.gap_to_ns == 0):
                continue
            from_ns = cell.gap_from_ns if cell.untold != 0 and cell.gap_from_ns != 0 else cell.last_venue_ns
            cell.gap_from_ns, cell.gap_to_ns = max(from_ns, 1), 0
            cell.gap_cause, cell.untold = _CONNECTION, 1
            due[at] = 0


@kernel()
def regain(
    ids: np.ndarray, v: int, cells: np.ndarray, due: np.ndarray, boards: np.ndarray, venues: np.ndarray, limits: Any,
    now: np.ndarray, suspects: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """A line brings them again: what the venue sent in between, by its clock as far as we know it, is missing."""
    known = len(boards) // len(venues)
    for instrument in ids:
        boards[v * known + instrument].connected = 1
        for at in range((v * known + instrument) * CHANNELS, (v * known + instrument + 1) * CHANNELS):
            cell = cells[at]
            if cell.last_mono_ns == 0:
                continue
            due[at] = 0
            if cell.gap_from_ns == 0 or cell.gap_to_ns != 0:
                continue
            delay_ns = venue_delay(venues[v], cell.channel)
            to_ns = now[T_MONO] + now[T_BASE] - np.int64(delay_ns) if delay_ns < math.inf else now[T_UTC]
            to_ns = max(to_ns, cell.gap_from_ns + 1)
            suspect(suspects, now, counts, instrument, v, cell.gap_from_ns, to_ns, _CONNECTION)
            miss(cell, cell.gap_from_ns, to_ns, _CONNECTION, now[T_MONO] + limits.gapped_hold_ns)


@kernel()
def mend(instrument: int, v: int, cells: np.ndarray, due: np.ndarray, boards: np.ndarray, venues: np.ndarray,
         limits: Any, now: np.ndarray) -> None:  # fmt: skip
    """All that was suspect of the instrument has been filled in."""
    known = len(boards) // len(venues)
    for at in range((v * known + instrument) * CHANNELS, (v * known + instrument + 1) * CHANNELS):
        cell = cells[at]
        if cell.gapped_until_ns > now[T_MONO]:
            cell.gapped_until_ns = 0
            cell.repaired_until_ns = now[T_MONO] + limits.repaired_hold_ns
            due[at] = 0
