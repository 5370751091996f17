"""Raw Binance frames, lines of ``<receive time, UTC ns> <frame>``, as ticks.

``trade`` and ``bookTicker`` become trades and quotes; frames of other streams are counted. On the spot market a
bookTicker has no time of its own: its venue time is the receive time.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.feed.recorded_rows import RecordingError, count_skipped
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE, TickKind


class _BinanceData(msgspec.Struct):
    """A trade (``p, q, t, T``) or a bookTicker (``u, b, B, a, A``, on futures ``T``); absent fields are None."""

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


def read_binance(path: Path, instruments: InstrumentTable, skipped: dict[str, int]) -> np.ndarray:
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
                count_skipped(skipped, f"{stream.partition('@')[0]} frames", 1)
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
