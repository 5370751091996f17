"""Lean equity tick files, ``<symbol>/<YYYYMMDD>_trade.zip`` and ``..._quote.zip``, as ticks.

One CSV without header in each. Trades: milliseconds since midnight in New York, price x 10,000, size, exchange
letter, conditions in hexadecimal, suspicious (0 or 1). Quotes: milliseconds, bid x 10,000, its size, ask x 10,000,
its size, exchange letter, conditions, suspicious; a row holds one side of one exchange, the other side is 0.
"""

import re
import zipfile
import zlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from hft_engine.feed.recorded_rows import RecordingError, blank_ticks, count_skipped
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TickFlag, TickKind

LEAN_NAME = re.compile(r"^(\d{8})_(trade|quote)\.zip$")
LEAN_PRICE_SCALE = 10_000.0
LEAN_NOT_ELIGIBLE = (
    0x20 | 0x2000_0000
)  # prints that the vendor's own bars leave out of open, high, low, close
LEAN_EXTENDED_HOURS = 0x2000
# The same facts in Polygon's condition codes, so that they survive the simulator's wire: 37 (odd lot) is a print
# that adds volume and moves no price, 12 (Form T) one outside the regular session.
ODD_LOT, FORM_T = 37, 12
# AlgoSeek's exchange letters (those of the SIPs, Q for Nasdaq) as Polygon's exchange ids; 0 = not known.
EXCHANGE_IDS = {
    "A": 1, "B": 2, "C": 3, "D": 4, "I": 6, "J": 7, "K": 8, "M": 9, "N": 10, "P": 11, "Q": 12,
    "T": 12, "L": 14, "V": 15, "W": 16, "X": 17, "Y": 18, "Z": 19, "H": 20, "U": 21,
}  # fmt: skip


def read_lean(path: Path, instruments: InstrumentTable, skipped: dict[str, int]) -> np.ndarray:
    named = LEAN_NAME.match(path.name)
    assert named is not None
    try:
        day = datetime.strptime(named[1], "%Y%m%d").date()
    except ValueError as error:
        raise RecordingError(f"{path}: the name must begin with a date, YYYYMMDD") from error
    table = _CsvTable(_unzip(path), columns=6 if named[2] == "trade" else 8, path=path)
    instrument_id = instruments.id_of(path.resolve().parent.name.upper())
    convert = _lean_trades if named[2] == "trade" else _lean_quotes
    return convert(table, _new_york_midnight_ns(day), instrument_id, skipped)


def new_york_midnight_ns(day: str) -> int:
    """UTC ns of 00:00 in New York of a day, YYYYMMDD: what the files' milliseconds count from. Raises ValueError."""
    return _new_york_midnight_ns(datetime.strptime(day, "%Y%m%d").date())


def _unzip(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if len(members) != 1:
                raise RecordingError(f"{path}: {len(members)} files inside, expected one CSV")
            return archive.read(members[0])
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        raise RecordingError(f"{path}: unreadable zip file ({error}); fetch it again") from error


def _new_york_midnight_ns(day: date) -> int:
    """UTC ns such that adding New York's wall-clock time since midnight gives UTC, for times after 02:00.

    The offset is computed, not looked up, so that a machine without a time zone database gets it right.
    Daylight-saving rule: Energy Policy Act of 2005 (from 2007), before that Uniform Time Act as of 1987.
    """
    if day.year >= 2007:
        begins, ends = _nth_sunday(day.year, 3, 2), _nth_sunday(day.year, 11, 1)
    else:
        begins, ends = _nth_sunday(day.year, 4, 1), _nth_sunday(day.year, 11, 1) - timedelta(days=7)
    offset_h = 4 if begins <= day < ends else 5
    midnight = datetime(day.year, day.month, day.day, offset_h, tzinfo=UTC)
    return int(midnight.timestamp()) * 1_000_000_000


def _nth_sunday(year: int, month: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (nth - 1))


class _CsvTable:
    """A CSV of integers without header or quotes, parsed column by column without a Python object per row."""

    def __init__(self, text: bytes, columns: int, path: Path) -> None:
        text = text.replace(b"\r", b"")
        if text and not text.endswith(b"\n"):
            text += b"\n"
        self._path = path
        self._bytes = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero((self._bytes == ord(",")) | (self._bytes == ord("\n")))
        lines = np.flatnonzero(self._bytes == ord("\n"))
        if len(ends) != columns * len(lines) or not np.array_equal(ends[columns - 1 :: columns], lines):
            raise RecordingError(
                f"{path}: not every row has {columns} columns; not a Lean tick file of this kind"
            )
        self._ends = ends.reshape(-1, columns)
        self._starts = np.concatenate(([0], ends[:-1] + 1)).astype(np.int64).reshape(-1, columns)

    def __len__(self) -> int:
        return len(self._ends)

    def integers(self, column: int, base: int = 10) -> np.ndarray:
        """int64 of one column. Raises RecordingError with the line number for anything but digits."""
        starts, ends = self._starts[:, column], self._ends[:, column]
        widths = ends - starts
        if len(widths) and not 0 < widths.min() <= widths.max() <= 15:
            self._refuse(np.flatnonzero((widths < 1) | (widths > 15)), column)
        values = np.zeros(len(starts), np.int64)
        for place in range(int(widths.max(initial=0))):
            rows = slice(None) if place < widths.min() else np.flatnonzero(widths > place)
            digits = _DIGITS[self._bytes[starts[rows] + place]]
            if digits.max() >= base:
                self._refuse(np.arange(len(starts))[rows][digits >= base], column)
            values[rows] = values[rows] * base + digits
        return values

    def first_bytes(self, column: int) -> np.ndarray:
        """uint8: the first character of one column (the comma itself where it is empty)."""
        return self._bytes[self._starts[:, column]]

    def _refuse(self, rows: np.ndarray, column: int) -> None:
        start, end = self._starts[rows[0], column], self._ends[rows[0], column]
        text = self._bytes[start:end].tobytes().decode(errors="replace")
        raise RecordingError(
            f"{self._path}: line {rows[0] + 1}, column {column + 1}: {text[:40]!r} is not a whole number"
        )


def _digit_table() -> np.ndarray:
    table = np.full(256, 255, np.int64)
    for value, character in enumerate(b"0123456789abcdef"):
        table[character] = value
        table[ord(chr(character).upper())] = value
    return table


def _exchange_table() -> np.ndarray:
    table = np.zeros(256, np.uint16)
    for letter, exchange in EXCHANGE_IDS.items():
        table[ord(letter)] = exchange
    return table


_DIGITS = _digit_table()
_EXCHANGES = _exchange_table()


def _lean_trades(
    table: _CsvTable, midnight_ns: int, instrument_id: int, skipped: dict[str, int]
) -> np.ndarray:
    """Every row is a trade. Those not eligible for bar prices carry NO_PRICE_UPDATE."""
    ticks = blank_ticks(len(table), TickKind.TRADE, instrument_id)
    ticks["ts_venue_ns"] = ticks["ts_recv_ns"] = midnight_ns + table.integers(0) * 1_000_000
    ticks["price"] = table.integers(1) / LEAN_PRICE_SCALE
    ticks["size"] = table.integers(2)
    ticks["exchange"] = _EXCHANGES[table.first_bytes(3)]
    conditions = table.integers(4, base=16)
    ineligible = ((conditions & LEAN_NOT_ELIGIBLE) != 0) | (table.integers(5) != 0)
    extended = (conditions & LEAN_EXTENDED_HOURS) != 0
    ticks["flags"] = ineligible * TickFlag.NO_PRICE_UPDATE + extended * TickFlag.EXTENDED_HOURS
    first = np.where(extended, FORM_T + 1, ineligible * (ODD_LOT + 1))
    second = np.where(extended & ineligible, ODD_LOT + 1, 0)
    ticks["conditions"] = first | second << 16
    ticks["venue_sequence"] = np.arange(1, len(table) + 1)
    ticks["trade_id"] = ticks["venue_sequence"]
    return ticks


def _lean_quotes(
    table: _CsvTable, midnight_ns: int, instrument_id: int, skipped: dict[str, int]
) -> np.ndarray:
    """Best bid and offer over the exchanges, one tick whenever it changes; suspicious rows are left out."""
    trusted = np.flatnonzero(table.integers(7) == 0)
    count_skipped(skipped, "suspicious quote rows", len(table) - len(trusted))
    ms, letters = table.integers(0)[trusted], table.first_bytes(5)[trusted]
    bid, bid_size, ask, ask_size = (table.integers(column)[trusted] for column in (1, 2, 3, 4))
    same_update = np.zeros(len(trusted), bool)  # one exchange's rows of one millisecond are one update
    same_update[:-1] = (ms[1:] == ms[:-1]) & (letters[1:] == letters[:-1])
    columns = (letters, bid, bid_size, ask, ask_size, same_update)
    best = _best_quotes(zip(*(column.tolist() for column in columns), strict=True))
    count_skipped(skipped, "quote rows that leave the best bid and offer as it was", len(trusted) - len(best))
    ticks = blank_ticks(len(best), TickKind.QUOTE, instrument_id)
    if len(best):
        row, ticks["bid"], ticks["bid_size"], bid_at, ticks["ask"], ticks["ask_size"], ask_at = best.T
        ticks["bid"] /= LEAN_PRICE_SCALE
        ticks["ask"] /= LEAN_PRICE_SCALE
        ticks["exchange"], ticks["exchange_ask"] = _EXCHANGES[bid_at], _EXCHANGES[ask_at]
        ticks["ts_venue_ns"] = ticks["ts_recv_ns"] = midnight_ns + ms[row] * 1_000_000
        ticks["venue_sequence"] = row + 1
    return ticks


class _Side:
    """One side of the market: each exchange's price and size, and which exchange is best."""

    def __init__(self, sign: int) -> None:
        self._sign = sign  # +1: the highest price is best (bids), -1: the lowest (offers)
        self._quotes: dict[int, tuple[int, int]] = {}
        self.price = self.size = self.exchange = 0  # of the best; price 0 = nobody quotes

    def set(self, exchange: int, price: int, size: int) -> None:
        self._quotes[exchange] = (price, size)
        if not self.price or (price - self.price) * self._sign > 0:
            self.price, self.size, self.exchange = price, size, exchange
        elif exchange == self.exchange:
            self._choose()

    def drop_beyond(self, limit: int) -> None:
        """Forget the quotes that a newer quote of the other side at ``limit`` locks or crosses."""
        if not self.price or (self.price - limit) * self._sign < 0:
            return
        self._quotes = {x: q for x, q in self._quotes.items() if (q[0] - limit) * self._sign < 0}
        self._choose()

    def _choose(self) -> None:
        self.price = self.size = self.exchange = 0
        for exchange, (price, size) in self._quotes.items():
            if not self.price or (price - self.price) * self._sign > 0:
                self.price, self.size, self.exchange = price, size, exchange


def _best_quotes(rows: Iterable[tuple[int, int, int, int, int, bool]]) -> np.ndarray:
    """int64 (n, 7): row, bid, its size and exchange letter, offer, its size and letter, whenever they change.

    An exchange that stops quoting leaves its last row behind, and within the hour such leftovers would cross the
    market for good. So the newer quote is believed: the older one that it locks or crosses is forgotten.
    """
    bids, offers = _Side(+1), _Side(-1)
    found: list[tuple[int, ...]] = []
    last: tuple[int, ...] = ()
    for row, (letter, bid, bid_size, ask, ask_size, more_to_come) in enumerate(rows):
        if bid:
            bids.set(letter, bid, bid_size)
            offers.drop_beyond(bid)
        if ask:
            offers.set(letter, ask, ask_size)
            bids.drop_beyond(ask)
        if more_to_come or not bids.price or not offers.price:
            continue
        now = (bids.price, bids.size, bids.exchange, offers.price, offers.size, offers.exchange)
        if now != last:
            found.append((row, *now))
            last = now
    return np.array(found, np.int64).reshape(-1, 7)
