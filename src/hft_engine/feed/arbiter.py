"""Of several lines that bring the same ticks, the first copy of each: compiled, one call for the rows of a message.

Each line delivers its ticks in the venue's order, but for what it reorders; each loses some of its own. For every
instrument and kind of tick the last WINDOW ticks that went on are remembered, by what orders them (the key: the
venue's sequence, or its stamp where it has none) and what tells equal keys apart (the mark: the trade's id, or the
values). A tick that is there is a second copy. One that is not goes on, also when later ones went before it: its own
venue's line lost it, another brings it. One older than the window is left out: nobody knows whether it was there.

A number that no line brought is lost as soon as every line has passed it, which shows where the venue numbers without
gaps (``contiguous``). After A/B arbitration as exchanges describe it (CME, "MDP 3.0 Incremental Feed Arbitration").
"""

import numpy as np

from hft_engine.config.lines import MIRRORS_MAX
from hft_engine.feed.scan_tables import ROW_WORDS
from hft_engine.kernel import kernel
from hft_engine.records import TickKind
from hft_engine.shm.histogram import HISTOGRAM_WORDS, record
from hft_engine.shm.histogram_view import percentile
from hft_engine.wiring import wire, wired
from hft_engine.words import copy_record

WINDOW = 64  # ticks of an instrument: by so many one line may be behind the other
SOURCES_MAX = MIRRORS_MAX + 1
KINDS = 8  # places an instrument has, by TickKind
_NEVER = (1 << 63) - 1  # highest key of a source that is not there, or was not heard since it came

_HEADS, _HIGHS, _ENTRIES, _LOST_BY_ALL, _LEADS, _TALLY, _OPTIONS = range(7)
# of a place: entries ever made, highest key that left the window, latest stamp, key before the first, every line is
# past this, lost up to there
_COUNT, _FLOOR, _LATEST_NS, _BASE, _SETTLED, _LOST = range(6)
_HEAD_WORDS = 8
_KEY, _MARK, _SEEN_NS, _SOURCES = range(
    4
)  # of an entry; sources: the first one, and bits of all that brought it
_ENTRY_WORDS = 4
_FIRST, _SECOND, _REPEATED, _OLD = range(4)  # tally of a source
_TRADE = int(TickKind.TRADE)


@kernel(inline="always")
def _entry(place: int, number: int) -> int:
    return (place * WINDOW + number % WINDOW) * _ENTRY_WORDS


@kernel()
def _look(entries: np.ndarray, place: int, count: int, key: int, mark: int) -> tuple[int, int]:
    """(entry with this key and mark or -1, entries with a higher key)."""
    above = 0
    for number in range(count - 1, max(count - WINDOW, 0) - 1, -1):
        entry = _entry(place, number)
        if entries[entry + _KEY] < key:
            break
        if entries[entry + _KEY] > key:
            above += 1
        elif entries[entry + _MARK] == mark or entries[entry + _MARK] == 0 or mark == 0:
            return entry, above
    return -1, above


@kernel()
def _insert(
    head: np.ndarray,
    entries: np.ndarray,
    place: int,
    above: int,
    key: int,
    mark: int,
    seen_ns: int,
    source: int,
) -> None:
    """Put a tick in its place of the window, below ``above`` others."""
    count = head[_COUNT]
    if count >= WINDOW:
        head[_FLOOR] = max(head[_FLOOR], entries[_entry(place, count) + _KEY])
        above = min(above, WINDOW - 1)  # the one that leaves is not above it any more
    for number in range(count, count - above, -1):
        to, of = _entry(place, number), _entry(place, number - 1)
        for word in range(_ENTRY_WORDS):
            entries[to + word] = entries[of + word]
    entry = _entry(place, count - above)
    entries[entry + _KEY], entries[entry + _MARK] = key, mark
    entries[entry + _SEEN_NS], entries[entry + _SOURCES] = seen_ns, source | 256 << source
    head[_COUNT] = count + 1


@kernel()
def _again(
    entries: np.ndarray, entry: int, tally: np.ndarray, leads: np.ndarray, seen_ns: int, source: int
) -> None:
    """A tick that went on came once more."""
    bits = entries[entry + _SOURCES]
    if bits & (256 << source) != 0:
        tally[_REPEATED] += 1
        return
    entries[entry + _SOURCES] = bits | 256 << source
    tally[_SECOND] += 1
    first = bits & 255  # of the bits above, one a source
    lead = leads[first * HISTOGRAM_WORDS : (first + 1) * HISTOGRAM_WORDS]
    record(lead, seen_ns - entries[entry + _SEEN_NS])


@kernel()
def _settle(
    head: np.ndarray, highs: np.ndarray, entries: np.ndarray, place: int, key: int, source: int
) -> int:
    """A source is past ``key``. Returns by how much the count of numbers that no line brought has changed."""
    at = place * SOURCES_MAX
    highs[at + source] = key if highs[at + source] == _NEVER else max(highs[at + source], key)
    past = highs[at]
    for other in range(1, SOURCES_MAX):
        past = min(past, highs[at + other])
    head[_SETTLED] = max(head[_SETTLED], past)
    above, count = 0, head[_COUNT]
    for number in range(count - 1, max(count - WINDOW, 0) - 1, -1):
        if entries[_entry(place, number) + _KEY] <= head[_SETTLED]:
            break
        above += 1
    lost = head[_SETTLED] - head[_BASE] - (count - above)
    change = lost - head[_LOST]
    head[_LOST] = lost
    return change


@kernel(inline="always")
def _identity(rows: np.ndarray, i: int) -> tuple[int, int]:
    """(key, mark) of a tick; the words of a row are those of ``TICK_DTYPE``."""
    if rows[i, 4] != 0:
        return rows[i, 4], rows[i, 10] if (rows[i, 5] >> 32) & 255 == _TRADE else 0
    return rows[i, 1], rows[i, 6] ^ (rows[i, 7] << 1) ^ (rows[i, 8] << 2) ^ (rows[i, 9] << 3) | 1


@kernel()
def _goes_on(arbiter: np.ndarray, rows: np.ndarray, i: int, ts_mono_ns: int) -> bool:
    """Whether this tick is the first copy."""
    options = wired(arbiter, _OPTIONS, np.int64)
    source, contiguous = options[0], options[1]
    place = (rows[i, 5] & 0x7FFFFFFF) * KINDS + ((rows[i, 5] >> 32) & (KINDS - 1))
    heads, highs = wired(arbiter, _HEADS, np.int64), wired(arbiter, _HIGHS, np.int64)
    head = heads[place * _HEAD_WORDS : (place + 1) * _HEAD_WORDS]
    entries, tally = wired(arbiter, _ENTRIES, np.int64), wired(arbiter, _TALLY, np.int64)
    key, mark = _identity(rows, i)
    if head[_COUNT] != 0 and key <= head[_FLOOR] and rows[i, 1] > head[_LATEST_NS]:
        # The venue counts afresh: a new day, or a venue that was started again.
        head[:] = 0
        highs[place * SOURCES_MAX : (place + 1) * SOURCES_MAX] = _NEVER
    entry, above = _look(entries, place, head[_COUNT], key, mark)
    new = entry < 0 and (head[_COUNT] == 0 or key > head[_FLOOR])
    if entry >= 0:
        _again(entries, entry, tally, wired(arbiter, _LEADS, np.int64), ts_mono_ns, source)
    elif new:
        head[_BASE] = key - 1 if head[_COUNT] == 0 else min(head[_BASE], key - 1)
        head[_LATEST_NS] = max(head[_LATEST_NS], rows[i, 1])
        _insert(head, entries, place, above, key, mark, ts_mono_ns, source)
        tally[_FIRST] += 1
    else:
        tally[_OLD] += 1
    if contiguous != 0 and rows[i, 4] != 0:
        wired(arbiter, _LOST_BY_ALL, np.int64)[0] += _settle(head, highs, entries, place, key, source)
    return new


@kernel()
def arbitrate(arbiter: np.ndarray, rows: np.ndarray, begin: int, end: int, ts_mono_ns: int) -> int:
    """Leave of ``rows[begin:end]`` those that are first copies, from ``begin`` on; returns how many.

    ``arbiter``: a ``Source``'s wiring; of length 0 every row stays. ``rows`` int64[ticks, ROW_WORDS].
    """
    if len(arbiter) == 0:
        return end - begin
    kept = begin
    for i in range(begin, end):
        if _goes_on(arbiter, rows, i, ts_mono_ns):
            if kept != i:
                copy_record(rows, kept, rows, i)
            kept += 1
    return kept - begin


@kernel(cache=True)
def _arbitrate_some(arbiter: np.ndarray, rows: np.ndarray, ts_mono_ns: int) -> int:
    return arbitrate(arbiter, rows, 0, len(rows), ts_mono_ns)


class Arbiter:
    """Between up to SOURCES_MAX lines. ``lost``: numbers that none of them brought, where they are contiguous."""

    def __init__(self, instruments_max: int, contiguous: bool) -> None:
        places = instruments_max * KINDS
        # Only what is written takes memory: a page of entries for two kinds of an instrument's ticks.
        self._heads = np.zeros(places * _HEAD_WORDS, np.int64)
        self._highs = np.full(places * SOURCES_MAX, _NEVER, np.int64)
        self._entries = np.zeros(places * WINDOW * _ENTRY_WORDS, np.int64)
        self._lost_by_all = np.zeros(1, np.int64)
        self._leads = np.zeros(SOURCES_MAX * HISTOGRAM_WORDS, np.int64)
        self._contiguous = contiguous
        self._sources = 0

    @property
    def lost(self) -> int:
        return int(self._lost_by_all[0])

    def place(self) -> int:
        """One more line, however many connections it has. Raises ValueError beyond SOURCES_MAX."""
        if self._sources == SOURCES_MAX:
            raise ValueError(f"at most {SOURCES_MAX} lines may bring the same ticks")
        self._sources += 1
        return self._sources - 1

    def arrays(self, place: int, tally: np.ndarray) -> tuple[np.ndarray, ...]:
        options = np.array([place, self._contiguous], np.int64)
        return self._heads, self._highs, self._entries, self._lost_by_all, self._leads, tally, options

    def leave(self, place: int) -> None:
        """What the others bring is from now on not missed until this line has brought more."""
        self._highs.reshape(-1, SOURCES_MAX)[:, place] = _NEVER

    def lead(self, place: int) -> np.ndarray:
        """int64[HISTOGRAM_WORDS]: by how much its first copies came before the second ones, ns."""
        return self._leads[place * HISTOGRAM_WORDS : (place + 1) * HISTOGRAM_WORDS]


class Source:
    """A connection's part in the arbitration, in the place of its line. ``wiring``: for ``arbitrate``."""

    def __init__(self, arbiter: Arbiter, place: int) -> None:
        self.arbiter = arbiter
        self._place = place
        self._tally = np.zeros(4, np.int64)
        self._arrays = arbiter.arrays(place, self._tally)
        self.wiring = wire(self._arrays)

    def arbitrate(self, rows: np.ndarray, ts_mono_ns: int) -> int:
        """``arbitrate`` of all of TICK_DTYPE[] ``rows``."""
        return int(_arbitrate_some(self.wiring, rows.view(np.int64).reshape(-1, ROW_WORDS), ts_mono_ns))

    def leave(self) -> None:
        """Its connection is gone."""
        self.arbiter.leave(self._place)

    @property
    def first(self) -> int:
        """Ticks of which it brought the first copy."""
        return int(self._tally[_FIRST])

    @property
    def second(self) -> int:
        """Ticks left out because another line had brought them."""
        return int(self._tally[_SECOND])

    @property
    def repeated(self) -> int:
        """Ticks left out because it had brought them itself, or because they were older than the window."""
        return int(self._tally[_REPEATED] + self._tally[_OLD])

    def lead_us(self) -> tuple[int, int, int]:
        """(mean, p50, p99) of the time by which its line's first copies came before the second ones."""
        lead = self.arbiter.lead(self._place)
        mean_ns = int(lead[2]) // max(int(lead[0]), 1)
        return mean_ns // 1_000, percentile(lead, 50.0) // 1_000, percentile(lead, 99.0) // 1_000


NO_SOURCE = np.zeros(0, np.int64)  # the wiring of a line that nobody mirrors
