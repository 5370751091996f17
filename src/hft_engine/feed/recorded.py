"""Recorded market data as ticks in time order: files in, chunks of ``TICK_DTYPE`` out.

Two formats are known, told apart by name and content:

* **Lean equity ticks**: ``<symbol>/<YYYYMMDD>_trade.zip`` and ``..._quote.zip``, one CSV inside. A quote row holds one
  side of one exchange; the best bid and offer over the exchanges is put together here (``_lean_quotes``).
* **Raw Binance frames**: ``*.jsonl.gz`` (or ``*.jsonl``), lines of ``<receive time, UTC ns> <frame>``. ``trade`` and
  ``bookTicker`` become ticks; other streams are counted in ``Recording.skipped`` and left out.

Several files are merged by receive time, where equal in the order given. ``ts_recv_ns`` is the recorded receive time
where the file has one, else the venue's time. ``sequence`` and ``ts_mono_ns`` are 0: whoever puts the ticks on a
ring sets them. ``venue_id`` is 0.
"""

import gzip
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE, TickFlag, TickKind

CHUNK_TICKS_MAX = 4_096  # one chunk fits a quarter of the smallest sensible ring and half a megabyte of cache
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


_ROW = np.dtype(f"V{TICK_DTYPE.itemsize}")


class RecordingError(Exception):
    """A recorded file that cannot be used; the text names the file, the cause and the remedy."""


@dataclass
class Recording:
    """Iterate it, more than once if need be, for chunks of at most ``CHUNK_TICKS_MAX`` ticks in time order.

    A chunk is a fresh array that the caller may change. ``skipped`` counts what the files held and the ticks do
    not, by reason.
    """

    symbols: tuple[str, ...]
    count: int
    description: str
    skipped: dict[str, int] = field(default_factory=dict)
    _parts: np.ndarray = field(default_factory=lambda: np.zeros(0, TICK_DTYPE), repr=False)
    _order: np.ndarray | None = field(default=None, repr=False)  # None: already in order

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, self.count, CHUNK_TICKS_MAX):
            stop = start + CHUNK_TICKS_MAX
            yield (
                self._parts[start:stop].copy()
                if self._order is None
                else self._parts[self._order[start:stop]]
            )


def open_recording(paths: str | Path | Sequence[str | Path], instruments: InstrumentTable) -> Recording:
    """Read one file or several and merge them by time; symbols are added to ``instruments`` in order of files.

    Raises RecordingError for a file that is missing, unreadable or in no known format, or has no tick.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not files:
        raise RecordingError("no recorded file was given; name at least one")
    skipped: dict[str, int] = {}
    parts = [_reader_of(path)(path, instruments, skipped) for path in files]
    ticks = parts[0] if len(parts) == 1 else join_ticks(parts)
    if not len(ticks):
        raise RecordingError(f"{_names(files)}: no trade and no quote inside, nothing to replay")
    symbols = tuple(instruments.symbol_of(int(i)) for i in np.unique(ticks["instrument_id"]))
    return Recording(
        symbols, len(ticks), _describe(files, ticks), skipped, ticks, _order_of(ticks["ts_recv_ns"])
    )


def join_ticks(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One array of TICK_DTYPE. ``np.concatenate`` alone would repack the records and part the overlapping fields."""
    joined: np.ndarray = np.concatenate([part.view(_ROW) for part in parts]).view(TICK_DTYPE)
    return joined


def _order_of(ts: np.ndarray) -> np.ndarray | None:
    return None if bool(np.all(ts[1:] >= ts[:-1])) else np.argsort(ts, kind="stable")


def _names(files: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in files)


def _describe(files: Sequence[Path], ticks: np.ndarray) -> str:
    trades = int(np.count_nonzero(ticks["kind"] == TickKind.TRADE))
    first, last = int(ticks["ts_recv_ns"].min()), int(ticks["ts_recv_ns"].max())
    start = datetime.fromtimestamp(first / 1e9, UTC)
    return (
        f"{_names(files)}: {trades} trades and {len(ticks) - trades} quotes over {(last - first) / 1e9:.0f} s "
        f"from {start:%Y-%m-%d %H:%M:%S} UTC"
    )


_Reader = Callable[[Path, InstrumentTable, dict[str, int]], np.ndarray]


def _reader_of(path: Path) -> _Reader:
    """The reader for a file's format. Raises RecordingError where there is no such file or reader."""
    if not path.is_file():
        raise RecordingError(f"{path}: no such file; name a recorded file, not a folder")
    if LEAN_NAME.match(path.name):
        return _read_lean
    if path.name.endswith((".jsonl.gz", ".jsonl")):
        return _read_binance
    raise RecordingError(
        f"{path}: not a known recording; expected <symbol>/<YYYYMMDD>_trade.zip or _quote.zip (Lean equity ticks) "
        "or *.jsonl.gz with lines of '<receive ns> <Binance frame>'"
    )


def _count(skipped: dict[str, int], reason: str, n: int) -> None:
    if n:
        skipped[reason] = skipped.get(reason, 0) + n


def _blank(n: int, kind: TickKind, instrument_id: int) -> np.ndarray:
    ticks = np.zeros(n, TICK_DTYPE)
    ticks["kind"] = kind
    ticks["instrument_id"] = instrument_id
    return ticks


# --- Lean equity ticks ------------------------------------------------------------------------------------------


def _read_lean(path: Path, instruments: InstrumentTable, skipped: dict[str, int]) -> np.ndarray:
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
    ticks = _blank(len(table), TickKind.TRADE, instrument_id)
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
    _count(skipped, "suspicious quote rows", len(table) - len(trusted))
    ms, letters = table.integers(0)[trusted], table.first_bytes(5)[trusted]
    bid, bid_size, ask, ask_size = (table.integers(column)[trusted] for column in (1, 2, 3, 4))
    same_update = np.zeros(len(trusted), bool)  # one exchange's rows of one millisecond are one update
    same_update[:-1] = (ms[1:] == ms[:-1]) & (letters[1:] == letters[:-1])
    columns = (letters, bid, bid_size, ask, ask_size, same_update)
    best = _best_quotes(zip(*(column.tolist() for column in columns), strict=True))
    _count(skipped, "quote rows that leave the best bid and offer as it was", len(trusted) - len(best))
    ticks = _blank(len(best), TickKind.QUOTE, instrument_id)
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


def _best_quotes(rows: "Iterator[tuple[int, int, int, int, int, bool]]") -> np.ndarray:
    """int64 (n, 7): row, bid, its size and exchange letter, offer, its size and letter, whenever they change.

    An exchange that stops quoting leaves its last row behind, and within the hour such leftovers would cross the
    market for good. So the newer quote is believed: one that locks or crosses another exchange's forgets the older one.
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


# --- raw Binance frames -----------------------------------------------------------------------------------------


class _BinanceData(msgspec.Struct):
    """A trade (``p, q, t, T``) or a bookTicker (``u, b, B, a, A``, on futures also ``T``); absent fields are None."""

    s: str
    e: str | None = None
    T: int | None = None
    t: int | None = None
    p: str | None = None
    q: str | None = None
    u: int | None = None
    b: object = None
    B: str | None = None
    a: object = None
    A: str | None = None
    m: bool | None = None


class _BinanceFrame(msgspec.Struct):
    stream: str = "@snapshot"  # the recorder's own depth snapshots have neither stream nor data
    data: msgspec.Raw = msgspec.Raw(b"{}")


_FRAME = msgspec.json.Decoder(_BinanceFrame)
_DATA = msgspec.json.Decoder(_BinanceData)


def _read_binance(path: Path, instruments: InstrumentTable, skipped: dict[str, int]) -> np.ndarray:
    rows: list[tuple[int, ...] | tuple[float, ...]] = []
    for number, line in enumerate(_lines(path), 1):
        try:
            received, _, frame = line.partition(b" ")
            outer = _FRAME.decode(frame)
            stream = outer.stream.partition("@")[2]
            if stream == "trade":
                rows.append(_binance_trade(int(received), _DATA.decode(outer.data), instruments))
            elif stream == "bookTicker":
                rows.append(_binance_quote(int(received), _DATA.decode(outer.data), instruments))
            else:
                _count(skipped, f"{stream.partition('@')[0]} frames", 1)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise RecordingError(
                f"{path}: line {number} is not '<receive ns> <Binance frame>' ({error}): {line[:80]!r}"
            ) from error
    return _binance_ticks(rows)


def _lines(path: Path) -> Iterator[bytes]:
    opener = gzip.open if path.suffix == ".gz" else Path.open
    try:
        with opener(path, "rb") as file:
            yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise RecordingError(f"{path}: cannot be read to the end ({error}); fetch it again") from error


# Columns of a parsed row: kind, receive ns, venue ns, instrument, sequence, then price, size of a trade or bid,
# ask, bid_size, ask_size of a quote.
def _binance_trade(received: int, data: _BinanceData, instruments: InstrumentTable) -> tuple[float, ...]:
    if data.p is None or data.q is None or data.t is None:
        raise ValueError("a trade needs p, q and t")
    venue = received if data.T is None else data.T * 1_000_000
    return (
        TickKind.TRADE,
        received,
        venue,
        instruments.id_of(data.s),
        data.t,
        float(data.p),
        float(data.q),
        0.0,
        0.0,
    )


def _binance_quote(received: int, data: _BinanceData, instruments: InstrumentTable) -> tuple[float, ...]:
    if data.u is None or data.B is None or data.A is None:
        raise ValueError("a bookTicker needs u, b, B, a and A")
    venue = received if data.T is None else data.T * 1_000_000
    bid, ask = float(str(data.b)), float(str(data.a))
    return (
        TickKind.QUOTE, received, venue, instruments.id_of(data.s), data.u,
        bid, ask, float(data.B), float(data.A),
    )  # fmt: skip


def _binance_ticks(rows: Sequence[tuple[float, ...]]) -> np.ndarray:
    ticks = np.zeros(len(rows), TICK_DTYPE)
    if not rows:
        return ticks
    columns = list(zip(*rows, strict=True))
    names = (
        "kind",
        "ts_recv_ns",
        "ts_venue_ns",
        "instrument_id",
        "venue_sequence",
        "bid",
        "ask",
        "bid_size",
        "ask_size",
    )
    for name, column in zip(names, columns, strict=True):
        ticks[name] = column
    is_trade = ticks["kind"] == TickKind.TRADE
    ticks["trade_id"] = np.where(is_trade, ticks["venue_sequence"], 0)
    return ticks
