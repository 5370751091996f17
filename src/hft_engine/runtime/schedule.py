"""What a stage has to change at an exact record: its kernel stops before it, Python changes, the kernel goes on.

The kernel compares each record with ``gate``, int64[GATE_WORDS]:

    NEXT_TICK      stop before a record whose tick (``source_sequence``) is this or later
    NEXT_RECORD    from this record's own sequence on, see in the table of stretches what holds
    SKIPPING       records are passed over: the recorded run did not see them
    AT_TICK, AT_RECORD    the record that the kernel stopped before
    LATE_FROM, LATE_TO    records [from, to) that the kernel found too late, live only; nothing was done with them
    ASKED          1: the kernel stopped and Python has not come yet
    PILE_ABOVE     return to Python where more records than this wait ...
    PILE_FROM      ... at this record or a later one; who set the two looks at the pile
    STRETCH        row of the table: the first stretch that does not end before the record
    STRETCHES      rows that hold a stretch
    MORE           1: there are stretches that found no room in the table
    TABLE          from here on rows [first, end) of record sequences to skip, in order, apart

A stretch begins and ends in compiled code: under conflation they are as short as a record, and Python's coming costs
as much as many predictions. Python comes only where the table is used up.

Live, a change comes from a person; in a replay, and in an actor's next life, from the session's events. Both are
changes of a schedule, so both take effect by the same path and at the same record. The same goes for records that came
too late: a deadline is a decision by the clock, so it is written down, then carried out as a stretch to skip.
"""

from collections.abc import Callable, Iterable

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.runtime.actor import ActorContext

(
    NEXT_TICK,
    NEXT_RECORD,
    SKIPPING,
    AT_TICK,
    AT_RECORD,
    LATE_FROM,
    LATE_TO,
    ASKED,
    PILE_ABOVE,
    PILE_FROM,
    STRETCH,
    STRETCHES,
    MORE,
    TABLE,
) = range(14)
STRETCHES_MAX = 1_024  # in the table at a time
GATE_WORDS = TABLE + 2 * STRETCHES_MAX
NEVER = np.iinfo(np.int64).max

MISSED = ("lap", "late_drop")  # events that name a stretch of records: ring, from, to
CONFLATED = "conflation"  # and, of a stretch, the records that were seen all the same
Change = Callable[[], None]


@kernel(forceinline=True)
def is_due(gate: np.ndarray, tick: int, record: int) -> bool:
    """Whether Python has to change something before this record; then return to it: it calls ``Schedule.reach``.

    ``gate[SKIPPING]`` holds for this record afterwards.
    """
    if record >= gate[NEXT_RECORD]:
        _look_up(gate, record)
    if tick < gate[NEXT_TICK] and record < gate[NEXT_RECORD]:
        return False
    gate[AT_TICK], gate[AT_RECORD], gate[ASKED] = tick, record, 1
    return True


@kernel()
def _look_up(gate: np.ndarray, record: int) -> None:
    """SKIPPING for ``record``, and up to where that holds; NEXT_RECORD stays where the table is used up."""
    row = gate[STRETCH]
    while row < gate[STRETCHES] and gate[TABLE + 2 * row + 1] <= record:
        row += 1
    gate[STRETCH] = row
    gate[SKIPPING] = 0
    if row < gate[STRETCHES]:
        first, end = gate[TABLE + 2 * row], gate[TABLE + 2 * row + 1]
        gate[SKIPPING] = first <= record
        gate[NEXT_RECORD] = end if first <= record else first
    elif gate[MORE] == 0:
        gate[NEXT_RECORD] = NEVER


@kernel(forceinline=True)
def is_piled(gate: np.ndarray, record: int, waiting: int) -> bool:
    """Whether so many records wait from ``record`` on that Python should look; then return to it."""
    return waiting > gate[PILE_ABOVE] and record >= gate[PILE_FROM]


@kernel(forceinline=True)
def too_late(gate: np.ndarray, first: int, end: int) -> None:
    """Records [first, end) came too late; return to Python, which calls ``Schedule.tend``."""
    gate[LATE_FROM], gate[LATE_TO], gate[ASKED] = first, end, 1


class Schedule:
    """Changes by tick and stretches of records to skip, in order. ``gate`` is wired into the stage's kernel."""

    def __init__(self) -> None:
        self.gate = np.zeros(GATE_WORDS, np.int64)
        self.gate[PILE_ABOVE] = NEVER
        self._changes: list[tuple[int, Change]] = []
        self._stretches: list[tuple[int, int]] = []  # the table's rows, then what found no room in it
        self._arm()

    def change_at(self, tick: int, change: Change) -> None:
        """``change`` before the first record of tick ``tick`` or a later one; after earlier ones of the same tick."""
        self._changes.append((tick, change))
        self._changes.sort(key=lambda item: item[0])  # stable: changes at one tick keep their order
        self._arm()

    def skip(self, first: int, end: int) -> None:
        """Records [first, end) of the input ring are not seen."""
        self._leave_out([(first, end)])

    def thin_out(self, first: int, end: int, kept: Iterable[int]) -> None:
        """Of records [first, end) of the input ring only ``kept``, in order, are seen."""
        edges = [first, *(edge for record in kept for edge in (record, record + 1)), end]
        self._leave_out(zip(edges[::2], edges[1::2], strict=True))

    def look_at_pile(self, above: int, first: int) -> None:
        """Python is wanted where more than ``above`` records wait and the next is ``first`` or a later one."""
        self.gate[PILE_ABOVE], self.gate[PILE_FROM] = above, first

    @property
    def asked(self) -> bool:
        """Whether the kernel stopped for ``tend``."""
        return bool(self.gate[ASKED])

    def skip_missed(self, ctx: ActorContext, ring: str) -> None:
        """What this role was recorded not to have seen on ``ring``: lapped, too late, or conflated."""
        for event in ctx.recorded():
            if event.kind == CONFLATED and event.data.get("ring") == ring:
                self.thin_out(int(event.data["from"]), int(event.data["to"]), event.data["kept"])
            seen_once = event.data.get("out", False)  # its state was lost, what it caused is out
            if event.kind in MISSED and event.data.get("ring") == ring and not seen_once:
                self.skip(int(event.data["from"]), int(event.data["to"]))

    def tend(self, ctx: ActorContext, ring: str) -> int:
        """Where the kernel asked for Python: record what is too late, do what is due. Returns records too late."""
        first, end = int(self.gate[LATE_FROM]), int(self.gate[LATE_TO])
        if end > first:
            ctx.record("late_drop", end, {"ring": ring, "from": first, "to": end})
            self.skip(first, end)
        self.gate[LATE_FROM] = self.gate[LATE_TO] = 0
        self.reach()
        return end - first

    def reach(self) -> None:
        """Do what is due at the record that the kernel stopped before."""
        self.gate[ASKED] = 0
        self.come_to(int(self.gate[AT_TICK]))
        self._leave_out([])

    def come_to(self, tick: int) -> None:
        """Do what is due where no record of an earlier tick than ``tick`` can come any more."""
        while self._changes and self._changes[0][0] <= tick:
            _, change = self._changes.pop(0)
            change()
        self._arm()

    def _arm(self) -> None:
        self.gate[NEXT_TICK] = self._changes[0][0] if self._changes else NEVER

    def _leave_out(self, stretches: Iterable[tuple[int, int]]) -> None:
        """Fill the table; the kernel looks at it before the next record."""
        self._stretches = _merged([*self._stretches[self.gate[STRETCH] :], *stretches])
        rows = self._stretches[:STRETCHES_MAX]
        self.gate[TABLE : TABLE + 2 * len(rows)] = np.ravel(rows)
        self.gate[STRETCH], self.gate[STRETCHES] = 0, len(rows)
        self.gate[MORE] = len(rows) < len(self._stretches)
        self.gate[NEXT_RECORD] = 0


def _merged(laps: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, end in sorted(laps):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        elif end > first:
            merged.append((first, end))
    return merged
