"""What every venue's decoder has in common: staging rows, instrument ids, counts, what was refused and why."""

from struct import Struct as Layout
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hft_engine.feed.events import Status
from hft_engine.feed.scan_tables import SymbolTable
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE, TickKind

if TYPE_CHECKING:  # kernels: a supervisor, which only asks a venue for its rules, needs no compiler
    from hft_engine.feed.repeats import Repeats

ROW_BYTES = TICK_DTYPE.itemsize
REASONS_MAX = 16  # per frame: enough to see what is wrong, bounded
REASON_CHARACTERS_MAX = 200
UNKNOWN_NAMES_MAX = 32
FLAGS_SHIFT, VENUE_SHIFT = 8, 16

# One layout a kind. ``x`` pads are written as zeros, so a row never shows what was in the slot before.
# ``word`` is kind, flags and venue id in one number: three fields for the price of one conversion.
_HEADER = "<8xqqqqiI"  # (sequence), venue, recv, mono, venue_sequence, instrument, word
TRADE_ROW = Layout(_HEADER + "dd16xq24xQH2xH2x")  # price, size, trade_id, conditions, exchange, tape
SIDED_TRADE_ROW = Layout(_HEADER + "dd16xq24xQH2xHbx")  # the same, and side
QUOTE_ROW = Layout(_HEADER + "dddd32xQHHH2x")  # bid, ask, bid_size, ask_size, conditions, exchanges, tape
BAR_ROW = Layout(_HEADER + "ddddddddqd")  # o, h, l, c, volume, vwap, day volume, day vwap, start, day open
FMV_ROW = Layout(_HEADER + "d72x")
LULD_ROW = Layout(_HEADER + "dd48xQ4xH2x")  # upper, lower, conditions, tape
assert {row.size for row in (TRADE_ROW, SIDED_TRADE_ROW, QUOTE_ROW, BAR_ROW, FMV_ROW, LULD_ROW)} == {
    ROW_BYTES
}


class InstrumentIds(dict[str, int]):
    """symbol -> id; a new symbol gets its id from the table, and compiled code knows it from then on.

    Raises InstrumentTableFullError.
    """

    def __init__(self, table: InstrumentTable, symbols: SymbolTable) -> None:
        super().__init__()
        self._table, self._symbols = table, symbols

    def __missing__(self, symbol: str) -> int:
        self[symbol] = found = self._table.id_of(symbol)
        self._symbols.learn([(symbol, found)])
        return found


class Decoder(Protocol):
    """Makes ticks of one connection's messages. ``RowDecoder`` is the base that has all but ``decode``.

    ``rows``      TICK_DTYPE: after ``decode`` returned n, ``rows[:n]`` are the message's ticks, ``sequence`` 0
    ``statuses``  what the venue said about the session in the last message
    ``reasons``   why something in the last message was refused; empty for a clean one
    """

    rows: np.ndarray
    statuses: list[Status]
    reasons: list[str]
    instruments: InstrumentTable
    ids: dict[str, int]  # symbol -> instrument id, in the order they were met
    symbols: SymbolTable  # the same for compiled code; shared with the scanner, as the next two
    repeats: "Repeats"
    events: int
    rejected: int
    frames_rejected: int
    unknown_events: int
    ignored_events: int
    unknown_conditions: int
    duplicates: int

    def decode(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> int:
        """Rows made. Never raises for a message, whatever it holds."""
        ...


class RowDecoder:
    """Base of a ``Decoder``: subclasses pack rows into ``buffer`` at multiples of ROW_BYTES.

    ``rows``      staging array of ``TICK_DTYPE`` over ``buffer``; after ``decode`` returned n, ``rows[:n]`` are the
                  frame's ticks in the venue's order, with ``sequence`` 0
    ``words``     by TickKind: the header word of a row of this kind without flags
    ``statuses``  what the venue said about the session in the last frame
    ``ids``       symbol -> instrument id of all symbols met so far, in the order they were met
    ``symbols``   the same for compiled code (``scan_rows``)
    ``repeats``   what came lately, so that it goes on once
    ``reasons``   why events of the last frame were refused, at most REASONS_MAX; empty for a clean frame
    """

    # With slots, because beyond 30 attributes Python 3.11 reads them at half the speed.
    __slots__ = (
        "buffer",
        "duplicates",
        "events",
        "frames_rejected",
        "ids",
        "ignored_events",
        "instruments",
        "reasons",
        "rejected",
        "repeats",
        "rows",
        "statuses",
        "symbols",
        "unknown_conditions",
        "unknown_events",
        "unknown_names",
        "words",
    )

    def __init__(self, instruments: InstrumentTable, venue_id: int, rows_max: int) -> None:
        from hft_engine.feed.repeats import Repeats

        self.buffer = bytearray(rows_max * ROW_BYTES)
        self.rows: np.ndarray = np.frombuffer(self.buffer, TICK_DTYPE)
        self.words = {kind: int(kind) | venue_id << VENUE_SHIFT for kind in TickKind}
        self.statuses: list[Status] = []
        self.reasons: list[str] = []
        self.events = 0  # rows written
        self.rejected = 0  # events refused
        self.frames_rejected = 0  # frames that cannot be read at all
        self.unknown_events = 0  # of a kind we do not know
        self.ignored_events = 0  # of a kind we know and do not use
        self.unknown_conditions = 0  # trades with a condition code outside the table
        self.duplicates = 0  # events that had come before: left out
        self.unknown_names: set[str] = set()
        self.instruments = instruments
        self.symbols = SymbolTable(instruments.capacity)
        self.ids: dict[str, int] = InstrumentIds(instruments, self.symbols)
        self.repeats = Repeats(instruments.capacity, self.rows)

    def begin(self) -> None:
        """A new frame: forget what was said about the last."""
        self.statuses.clear()
        self.reasons.clear()

    def without_repeats(self, count: int) -> int:
        """Of the frame's ``rows[:count]`` those stay that did not come before, the others are counted; how many."""
        kept = self.repeats.leave_out(count)
        self.duplicates += count - kept
        return kept

    def reject(self, reason: str) -> int:
        """Count an event as refused; returns 0, the bytes it makes."""
        self.rejected += 1
        self.explain(reason)
        return 0

    def reject_frame(self, reason: str) -> None:
        """Count a frame as unreadable."""
        self.frames_rejected += 1
        self.explain(reason)

    def ignore(self) -> int:
        """Count an event of a kind that we know and do not use; returns 0, the bytes it makes."""
        self.ignored_events += 1
        return 0

    def count_unknown(self, name: str) -> None:
        """Count an event of a kind that we do not know."""
        self.unknown_events += 1
        if len(self.unknown_names) < UNKNOWN_NAMES_MAX:
            self.unknown_names.add(name[:UNKNOWN_NAMES_MAX])

    def explain(self, reason: str) -> None:
        if len(self.reasons) < REASONS_MAX:
            self.reasons.append(reason[:REASON_CHARACTERS_MAX])
