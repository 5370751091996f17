"""Bars of one instrument from its prints, by the rules that ``indicators.bars`` states."""

import math
from dataclasses import dataclass

SECOND_NS = 1_000_000_000
SPANS_NS = {"second": SECOND_NS, "minute": 60 * SECOND_NS}


@dataclass
class Bar:
    """``close_ns``: event time of the close; of bars of N prints ``end_ns`` says nothing."""

    start_ns: int = 0
    end_ns: int = 0
    high: float = -math.inf
    low: float = math.inf
    close: float = math.nan
    close_ns: int = 0
    prints: int = 0
    only_volume: int = 0  # prints that move no price

    def add(self, ts_ns: int, price: float | None) -> None:
        """``price`` None: a print that moves none."""
        if price is None:
            self.only_volume += 1
            return
        if not self.prints or ts_ns >= self.close_ns:
            self.close, self.close_ns = price, ts_ns
        self.high, self.low = max(self.high, price), min(self.low, price)
        self.prints += 1


class TimeBars:
    """Bars of ``span_ns``."""

    def __init__(self, span_ns: int) -> None:
        self._span_ns = span_ns
        self._over_ns = 0  # end of the last window that is over
        self.open: Bar | None = None

    def enter(self, ts_ns: int) -> tuple[bool, Bar | None]:
        """(whether a print of this time is still in time, the bar that it ends)."""
        start = ts_ns // self._span_ns * self._span_ns
        if start < self._over_ns or (self.open is not None and start < self.open.start_ns):
            return False, None
        ended = self.end() if self.open is not None and start > self.open.start_ns else None
        if self.open is None:
            self.open = Bar(start, start + self._span_ns)
        return True, ended

    def end(self) -> Bar | None:
        bar, self.open = self.open, None
        if bar is not None:
            self._over_ns = bar.end_ns
        return bar


class CountBars:
    """Bars of ``count`` prints that move the price."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.open = Bar()

    def add(self, ts_ns: int, price: float | None) -> Bar | None:
        """The bar that the print completes."""
        self.open.add(ts_ns, price)
        if self.open.prints < self._count:
            return None
        bar, self.open = self.open, Bar()
        return bar
