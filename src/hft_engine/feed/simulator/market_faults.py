"""What a scenario changes of the market itself, before anything of it is published: halts, and sequence numbers."""

from collections.abc import Sequence

import numpy as np

from hft_engine.feed.conditions import pack
from hft_engine.feed.simulator.scenario import Halt
from hft_engine.records import TICK_DTYPE, TickKind, join_ticks

RESUME = 16  # quote condition
NUMBERED = (TickKind.TRADE, TickKind.QUOTE, TickKind.LULD)  # kinds with a sequence number on the wire


class ContiguousNumbers:
    """Numbers each channel of each symbol 1, 2, 3, ..."""

    def __init__(self, instruments: int) -> None:
        self._instruments = instruments
        self._last = np.zeros((max(TickKind) + 1) * instruments, np.int64)

    def number(self, ticks: np.ndarray) -> np.ndarray:
        """A copy of ``ticks`` with new ``venue_sequence``."""
        ticks = ticks.copy()
        rows = np.flatnonzero(np.isin(ticks["kind"], NUMBERED))
        if not len(rows):
            return ticks
        keys = ticks["kind"][rows].astype(np.int64) * self._instruments + ticks["instrument_id"][rows]
        order = np.argsort(keys, kind="stable")
        keys, rows = keys[order], rows[order]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        counts = np.diff(np.append(first, len(keys)))
        within = np.arange(len(keys)) - np.repeat(first, counts)
        ticks["venue_sequence"][rows] = self._last[keys] + 1 + within
        self._last[keys[first]] += counts
        return ticks


class Halts:
    """Takes trades and quotes of halted symbols out, and puts a quote in where a halt begins and ends."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._ids = {symbol: i for i, symbol in enumerate(symbols)}
        self._halted = np.zeros(len(symbols), bool)
        self._quotes = np.zeros(len(symbols), TICK_DTYPE)  # the last one of each
        self._due: list[tuple[int, int]] = []  # instrument, condition
        self._inserted = 0

    def begin(self, step: Halt) -> None:
        self._set(step, True, step.code)

    def end(self, step: Halt) -> None:
        self._set(step, False, RESUME)

    def _set(self, step: Halt, halted: bool, code: int) -> None:
        for symbol in step.symbols:
            if symbol in self._ids:
                self._halted[self._ids[symbol]] = halted
                self._due.append((self._ids[symbol], code))

    def apply(self, ticks: np.ndarray) -> np.ndarray:
        """Ticks as the market has them with the halts. Numbers go on without a hole and without a repetition."""
        if not len(ticks):
            return ticks
        announced = self._announcements(ticks[0])
        tradable = np.isin(ticks["kind"], (TickKind.TRADE, TickKind.QUOTE))
        ticks = ticks[~(self._halted[ticks["instrument_id"]] & tradable)]
        ticks["venue_sequence"][np.isin(ticks["kind"], NUMBERED)] += self._inserted
        quotes = ticks[ticks["kind"] == TickKind.QUOTE]
        self._quotes[quotes["instrument_id"]] = quotes
        return join_ticks((announced, ticks)) if len(announced) else ticks

    def _announcements(self, now: np.void) -> np.ndarray:
        quotes = np.zeros(len(self._due), TICK_DTYPE)
        for row, (who, code) in enumerate(self._due):
            quotes[row] = self._quotes[who]
            quote = quotes[row]
            quote["kind"], quote["instrument_id"], quote["conditions"] = TickKind.QUOTE, who, pack((code,))
            quote["ts_venue_ns"], quote["ts_recv_ns"] = now["ts_venue_ns"], now["ts_recv_ns"]
            quote["venue_sequence"] = now["venue_sequence"] + self._inserted
            self._inserted += 1
        self._due.clear()
        return quotes
