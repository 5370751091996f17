"""Where the venue's ticks come from and when each is due: a live synthetic market, or a recording at any speed."""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.recorded import Recording, open_recording
from hft_engine.feed.simulator.bars import BarMaker
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE

SYNTHETIC = "synthetic"  # the market that is made here
RECORDED_SYMBOLS_MAX = 1_000  # files merged into one replay; far more than anybody names on a command line


class LiveMarket(Protocol):
    """``block()`` returns the next stretch of ticks in time order, ``next_ns`` is where it begins."""

    symbols: tuple[str, ...]
    what: str  # it trades, in the plural

    @property
    def next_ns(self) -> int: ...
    def block(self) -> np.ndarray: ...


class Paced(Protocol):
    """``symbols[i]`` is the symbol of instrument id i. ``paced``: what it has falls due by the clock; else as fast as
    it is taken, and the venue must wait for its readers. ``finished``: nothing will come any more.
    """

    symbols: tuple[str, ...]
    paced: bool
    description: str

    @property
    def finished(self) -> bool: ...

    def start(self, now_ns: int) -> None:
        """The first subscriber has come. Called once; there is nothing before."""


class Source(Paced, Protocol):
    """Ticks. ``with_bars``, to be set before the first ``take``: bars of the trades are among them."""

    with_bars: bool

    def take(self, now_ns: int, limit: int) -> np.ndarray:
        """The next ticks due at ``now_ns`` (UTC ns), at most ``limit``, in order."""


class _Buffer:
    """Ticks made ahead, handed out in order."""

    def __init__(self) -> None:
        self._ticks = np.zeros(0, TICK_DTYPE)
        self._due = np.zeros(0, np.int64)
        self._next = 0

    def __len__(self) -> int:
        return len(self._ticks) - self._next

    def fill(self, ticks: np.ndarray) -> None:
        """Only when empty."""
        self._ticks, self._next = ticks, 0
        self._due = np.maximum.accumulate(ticks["ts_recv_ns"])

    def take(self, due_ns: float, limit: int) -> np.ndarray:
        stop = int(np.searchsorted(self._due, due_ns, side="right"))
        start, self._next = self._next, max(self._next, min(stop, self._next + limit))
        return self._ticks[start : self._next]


class SyntheticSource:
    """The synthetic market in real time: venue times are the wall clock's."""

    paced = True
    finished = False
    with_bars = True

    def __init__(self, config: SimulatorConfig, market: LiveMarket) -> None:
        self.market = market
        self.symbols = market.symbols
        self.description = (
            f"synthetic market of {len(self.symbols)} {market.what}, {config.ticks_per_s:g} ticks/s, "
            f"seed {config.seed}"
        )
        self._bars = BarMaker(len(self.symbols))
        self._buffer = _Buffer()

    def start(self, now_ns: int) -> None:
        """Nothing to do: the market goes on whether somebody listens or not."""

    def take(self, now_ns: int, limit: int) -> np.ndarray:
        if not len(self._buffer) and self.market.next_ns <= now_ns:
            block = self.market.block()
            self._buffer.fill(self._bars.push(block) if self.with_bars else block)
        return self._buffer.take(now_ns, limit)


class RecordedSource:
    """A recording, from its begin when the first subscriber comes; ``speed`` 1 is real time, 0 as fast as it goes.

    Venue times stay those of the recording.
    """

    with_bars = True

    def __init__(self, recording: Recording, symbols: tuple[str, ...], speed: float) -> None:
        self.symbols = symbols
        self.paced = speed > 0
        self.description = recording.description
        self.finished = False
        self._speed = speed
        self._chunks: Iterator[np.ndarray] = iter(recording)
        self._bars = BarMaker(len(symbols))
        self._buffer = _Buffer()
        self._started_ns: int | None = None
        self._first_ns: int | None = None

    def start(self, now_ns: int) -> None:
        self._started_ns = now_ns

    def take(self, now_ns: int, limit: int) -> np.ndarray:
        if self._started_ns is not None and not len(self._buffer):
            self._refill()
        return self._buffer.take(self._due(now_ns), limit)

    def _due(self, now_ns: int) -> float:
        if self._started_ns is None or self._first_ns is None:
            return -1.0
        return self._first_ns + (now_ns - self._started_ns) * self._speed if self.paced else float("inf")

    def _refill(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            self.finished = True
            return
        if self._first_ns is None:
            self._first_ns = int(chunk["ts_recv_ns"][0])
        self._buffer.fill(self._bars.push(chunk) if self.with_bars else chunk)


def open_source(
    config: SimulatorConfig,
    now_ns: int,
    market: Callable[[SimulatorConfig, int], LiveMarket] = SyntheticMarket,
) -> Source:
    """What ``config.source`` names: "synthetic", which is ``market``, or recorded files, comma between.

    Raises RecordingError.
    """
    if config.source == SYNTHETIC:
        return SyntheticSource(config, market(config, now_ns))
    instruments = InstrumentTable.private(RECORDED_SYMBOLS_MAX)
    recording = open_recording([path.strip() for path in config.source.split(",")], instruments)
    return RecordedSource(recording, tuple(instruments.symbols()), config.speed)
