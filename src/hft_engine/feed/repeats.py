"""What a line brings a second time: compiled, in a decoder's staging rows.

Of every instrument and kind of tick the last WINDOW that went on are remembered, a word each: a hash of all that tells
one tick from another. What is among them is left out. Two prints or two quotes may well be alike, so where the venue
gives no number (sequence or id) they all go on; what it numbers is the same only with the same values, so a venue that
counts afresh loses nothing. Bars, fair values and price bands say something about a time: of those without a number,
one that repeats the newest in everything is left out, one that comes back to an earlier value is not.

Several lines that bring the same ticks: ``feed.arbiter``. Venues do not repeat a tick long afterwards; what comes
more than WINDOW ticks late goes on, and the health monitor counts it as ``repeated``.
"""

import numpy as np

from hft_engine.feed.scan_tables import HASH, ROW_WORDS
from hft_engine.kernel import kernel
from hft_engine.records import TickKind
from hft_engine.wiring import wire, wired, wired_rows
from hft_engine.words import copy_record

WINDOW = 7  # with the place of the newest a cache line
_PLACE_WORDS = WINDOW + 1  # of a kind of an instrument: where its newest is, 0 before one; then the window
_KINDS = max(TickKind) + 1
_TRADE, _QUOTE = int(TickKind.TRADE), int(TickKind.QUOTE)
_RECENT, _ROWS = range(2)  # of the wiring
# Words of a row. Of a bar they are other things; what matters is that they are all there.
_STAMP, _NUMBER, _PRICE, _SIZE, _BID_SIZE, _ASK_SIZE, _ID, _CODES = 1, 4, 6, 7, 8, 9, 10, 14


@kernel(inline="always")
def _with(found: int, word: int) -> int:
    """A hash, and a word more: the step of FNV-1a on whole words, its high half brought down, as prices differ there.

    Each step hangs on the last, so nobody loads several words at once that were written one by one a moment ago,
    which would wait until they have reached the cache.
    """
    mixed = (found ^ word) * HASH
    return mixed ^ (mixed >> 32)


@kernel(inline="always")
def _identity(rows: np.ndarray, i: int, kind: int) -> tuple[int, int]:
    """(a hash; how many of the last are to be looked through for it, 0 for a tick that is like no other)."""
    number = rows[i, _NUMBER]
    found = _with(_with(_with(number, rows[i, _PRICE]), rows[i, _SIZE]), rows[i, _CODES])
    if kind == _TRADE:
        return _with(found, rows[i, _ID]) | 1, WINDOW if number | rows[i, _ID] != 0 else 0
    if kind == _QUOTE:
        return _with(_with(found, rows[i, _BID_SIZE]), rows[i, _ASK_SIZE]) | 1, WINDOW if number != 0 else 0
    # Of the others the time, too; of those not, for where the venue gives none it is that of our clock.
    found = _with(found, rows[i, _STAMP])
    for word in range(_BID_SIZE, _CODES):
        found = _with(found, rows[i, word])
    return _with(found, rows[i, _CODES + 1]) | 1, WINDOW if number != 0 else 1


@kernel(inline="always")
def _is_new(recent: np.ndarray, place: int, identity: int, among: int) -> bool:
    """Whether it is not in the window; then it is from now on."""
    newest = recent[place]
    known = newest != 0 and recent[place + newest] == identity
    if among > 1:
        for other in range(1, _PLACE_WORDS):
            known |= recent[place + other] == identity
    if known:
        return False
    newest = newest + 1 if newest < WINDOW else 1
    recent[place], recent[place + newest] = newest, identity
    return True


@kernel()
def without_repeats(repeats: np.ndarray, count: int) -> int:
    """Leave of the first ``count`` staging rows those that did not come before; returns how many.

    ``repeats``: a ``Repeats``' wiring.
    """
    recent, rows = wired(repeats, _RECENT, np.int64), wired_rows(repeats, _ROWS, ROW_WORDS)
    instruments = len(recent) // (_KINDS * _PLACE_WORDS)
    kept = 0
    for i in range(count):
        kind = (rows[i, 5] >> 32) & 0xFF
        identity, among = _identity(rows, i, kind)
        if among > 0:
            place = (kind * instruments + (rows[i, 5] & 0x7FFFFFFF)) * _PLACE_WORDS
            if not _is_new(recent, place, identity, among):
                continue
        if kept != i:
            copy_record(rows, kept, rows, i)
        kept += 1
    return kept


@kernel(cache=True)
def _without_some(repeats: np.ndarray, count: int) -> int:
    return without_repeats(repeats, count)


class Repeats:
    """The memory of what came, beside a decoder's staging rows (TICK_DTYPE[]). ``wiring``: for ``without_repeats``."""

    def __init__(self, instruments_max: int, rows: np.ndarray) -> None:
        # Only what is written takes memory.
        self.recent = np.zeros(_KINDS * instruments_max * _PLACE_WORDS, np.int64)
        self._arrays = (self.recent, rows)
        self.wiring = wire(self._arrays)

    def leave_out(self, count: int) -> int:
        """``without_repeats``, from Python."""
        return int(_without_some(self.wiring, count))
