"""Small markets with known ticks."""

import numpy as np

from hft_engine.feed.recorded import Recording
from hft_engine.feed.simulator.source import RecordedSource
from hft_engine.records import TICK_DTYPE, TickKind

START_NS = 1_700_000_040_000_000_000  # the begin of a minute
SYMBOLS = ("AAPL", "MSFT", "SPY")


def steady_ticks(count: int, step_ns: int = 10_000_000, kind: TickKind = TickKind.TRADE) -> np.ndarray:
    """``count`` ticks, ``step_ns`` apart, of the three symbols in turn; price 100, 101, 102, ..., size 1."""
    ticks = np.zeros(count, TICK_DTYPE)
    number = np.arange(count)
    ticks["kind"], ticks["instrument_id"] = kind, number % len(SYMBOLS)
    ticks["ts_venue_ns"] = ticks["ts_recv_ns"] = START_NS + number * step_ns
    ticks["venue_sequence"] = 1_000 + 7 * number
    if kind == TickKind.TRADE:
        ticks["price"], ticks["size"], ticks["trade_id"] = 100.0 + number, 1.0, number
    else:
        ticks["bid"], ticks["ask"], ticks["bid_size"], ticks["ask_size"] = 99.0, 101.0, 100.0, 200.0
    return ticks


class HeldSource(RecordedSource):
    """Held until a test lets it go: a recording begins with the first subscription, and there may be more to come."""

    held = True

    def take(self, now_ns: int, limit: int) -> np.ndarray:
        return super().take(now_ns, 0 if self.held else limit)


def recorded(ticks: np.ndarray, speed: float = 0.0) -> RecordedSource:
    return RecordedSource(Recording.of(SYMBOLS, ticks), SYMBOLS, speed)


def held(ticks: np.ndarray) -> HeldSource:
    return HeldSource(Recording.of(SYMBOLS, ticks), SYMBOLS, 0.0)
