"""Second and minute bars made of the very trades that the venue sends, so that the two always agree."""

import numpy as np

from hft_engine.records import TICK_DTYPE, TickFlag, TickKind, join_ticks

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS


class _Window:
    """The unfinished bar of every instrument over one width; arrays with an element per instrument."""

    def __init__(self, kind: TickKind, width_ns: int, count: int) -> None:
        self.kind = kind
        self.width_ns = width_ns
        self.index = -1  # window number since the epoch; -1 before the first trade
        self._prices = np.zeros((4, count))  # open, high, low, close
        self._volume = np.zeros(count)
        self._notional = np.zeros(count)
        self._trades = np.zeros(count, np.int64)
        self._eligible = np.zeros(count, bool)

    def add(self, ids: np.ndarray, prices: np.ndarray, sizes: np.ndarray, eligible: np.ndarray) -> None:
        np.add.at(self._volume, ids, sizes)
        np.add.at(self._notional, ids, sizes * prices)
        np.add.at(self._trades, ids, 1)
        ids, prices = ids[eligible], prices[eligible]
        opened, first = np.unique(ids, return_index=True)
        new = ~self._eligible[opened]
        self._prices[:, opened[new]] = prices[first[new]]
        np.maximum.at(self._prices[1], ids, prices)
        np.minimum.at(self._prices[2], ids, prices)
        closed, last = np.unique(ids[::-1], return_index=True)
        self._prices[3, closed] = prices[::-1][last]
        self._eligible[opened] = True

    def close(self) -> np.ndarray:
        """The finished bars, day fields still 0; none for an instrument without an eligible trade."""
        ids = np.flatnonzero(self._eligible & (self._volume > 0))
        bars = np.zeros(len(ids), TICK_DTYPE)
        bars["instrument_id"], bars["kind"] = ids, self.kind
        bars["open"], bars["high"], bars["low"], bars["close"] = self._prices[:, ids]
        bars["volume"] = self._volume[ids]
        bars["vwap"] = np.round(self._notional[ids] / self._volume[ids], 4)
        bars["ts_start_ns"] = self.index * self.width_ns
        bars["ts_venue_ns"] = (self.index + 1) * self.width_ns
        bars["venue_sequence"] = self._trades[ids]
        for array in (self._volume, self._notional, self._trades, self._eligible):
            array[:] = 0
        return bars


class BarMaker:
    """Puts bars between ticks. A bar's ``venue_sequence``, which the wire has no use for, holds its trade count.

    Trades must come in time order; one that goes back in time counts for the window that is open.
    """

    def __init__(self, instruments: int) -> None:
        self._windows = (
            _Window(TickKind.BAR_SECOND, SECOND_NS, instruments),
            _Window(TickKind.BAR_MINUTE, MINUTE_NS, instruments),
        )
        self._second = -1
        self._day_open = np.zeros(instruments)
        self._day_volume = np.zeros(instruments)
        self._day_notional = np.zeros(instruments)

    def push(self, ticks: np.ndarray) -> np.ndarray:
        """``ticks`` with each bar put before the first tick at or after its end."""
        if not len(ticks):
            return ticks
        seconds = np.maximum(np.maximum.accumulate(ticks["ts_venue_ns"] // SECOND_NS), self._second)
        cuts = np.flatnonzero(np.diff(seconds, prepend=self._second))
        pieces = [ticks[: cuts[0]] if len(cuts) else ticks]
        self._add(pieces[0])
        for start, stop in zip(cuts, np.append(cuts[1:], len(ticks)), strict=False):
            pieces += self._close(int(seconds[start]), int(ticks["ts_recv_ns"][start]))
            pieces.append(ticks[start:stop])
            self._add(pieces[-1])
        return join_ticks(pieces) if len(pieces) > 1 else ticks

    def _close(self, second: int, ts_recv_ns: int) -> list[np.ndarray]:
        """Closes what ended before ``second`` begins."""
        self._second = second
        done = []
        for window in self._windows:
            index = second * SECOND_NS // window.width_ns
            if index == window.index:
                continue
            bars = window.close()
            window.index = index
            bars["ts_recv_ns"] = ts_recv_ns
            self._put_day(bars)
            done.append(bars)
        return done

    def _put_day(self, bars: np.ndarray) -> None:
        ids = bars["instrument_id"]
        bars["day_volume"] = self._day_volume[ids]
        bars["day_vwap"] = np.round(self._day_notional[ids] / self._day_volume[ids], 4)
        bars["day_open"] = self._day_open[ids]

    def _add(self, ticks: np.ndarray) -> None:
        flags = ticks["flags"]
        rows = np.flatnonzero((ticks["kind"] == TickKind.TRADE) & ((flags & TickFlag.NO_VOLUME_UPDATE) == 0))
        if not len(rows):
            return
        ids, prices, sizes = ticks["instrument_id"][rows], ticks["price"][rows], ticks["size"][rows]
        eligible = (flags[rows] & TickFlag.NO_PRICE_UPDATE) == 0
        for window in self._windows:
            window.add(ids, prices, sizes, eligible)
        np.add.at(self._day_volume, ids, sizes)
        np.add.at(self._day_notional, ids, sizes * prices)
        opened, first = np.unique(ids[eligible], return_index=True)
        new = self._day_open[opened] == 0
        self._day_open[opened[new]] = prices[eligible][first[new]]
