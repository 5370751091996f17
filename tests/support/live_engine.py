"""The engine's own actors, from the socket to the signal, in this process: a live feed, driven by hand."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from hft_engine import inline
from hft_engine.config.schema import (
    Config,
    EngineConfig,
    FeedConfig,
    IndicatorConfig,
    RingsConfig,
    RuleConfig,
    SignalsConfig,
)
from hft_engine.feed.line import Line
from hft_engine.feed.line_table import read_lines
from hft_engine.feed.states import FEED_STATES
from hft_engine.records import HealthState, TickFlag, TickKind
from hft_engine.shm.ring import Ring

TICKS_MAX = 1 << 18  # of a test: the ring is never lapped, so it is its own record
NAP_S = 0.0005
QUIET_CYCLES = 300
LAPPED = "the test makes more records than its ring holds"
_STEP = 1e-6


def _rule(name: str, side: str, sign: float) -> RuleConfig:
    when = "above" if sign > 0 else "below"
    return RuleConfig(
        name=name, feature="tick_return_1", side=side, when=when, enter=sign * _STEP, release=-sign * _STEP,
        full=sign * 1e-3,
    )  # fmt: skip


# Nearly every trade that moves the price gives a signal.
RULES = (_rule("uptick", "buy", 1.0), _rule("downtick", "sell", -1.0))


def configuration(feed: FeedConfig, directory: Path, instruments_max: int = 64) -> Config:
    return Config(
        engine=EngineConfig(
            layout="inline",
            data_dir=str(directory / "data"),
            log_dir=str(directory / "logs"),
            instruments_max=instruments_max,
        ),
        feed=feed,
        indicators=IndicatorConfig(late_after_ms=0),
        signals=SignalsConfig(cooldown_ms=0, rules=RULES),
        rings=RingsConfig(ticks=TICKS_MAX, signals=TICKS_MAX),
    )


class _Told(logging.Handler):
    """What this thread logs: engines in other threads have the same loggers."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.texts.append(record.getMessage())


class LiveEngine:
    """``told``: what the feed told people."""

    def __init__(self, config: Config, persistence: bool = False) -> None:
        self._log = logging.getLogger("hft.feed")
        self._log.setLevel(logging.INFO)
        self._handler = _Told()
        self._log.addHandler(self._handler)
        self.told = self._handler.texts
        self._parts = inline.make(replace(config, simulator=None), "feed", persistence, {})
        self.instruments = self._parts.instruments
        self._looked = 0  # ticks whose health is in _states
        self._states: set[str] = set()

    def cycle(self) -> None:
        """One turn of every actor. Raises FatalError when the feed cannot work."""
        if not self._parts.runner.sweep():
            time.sleep(NAP_S)

    def until(self, condition: Callable[[], object], what: str, timeout_s: float = 40.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not within {timeout_s} s: {what}; state {self.state}, told {self.told}, counted {self._counted()}"
                )
            self.cycle()

    def for_s(self, seconds: float, unless: Callable[[], object] = lambda: False) -> None:
        """Or until ``unless`` holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not unless():
            self.cycle()

    def until_quiet(self, quiet_s: float = 0.7) -> None:
        """Until nothing has come for so long: the counters are up to a quarter of a second old, and so is health.

        And for so many cycles: on a busy machine there are few of them in that time, and who sends has none either.
        """
        seen, since, cycles = -1, 0.0, 0
        while cycles < QUIET_CYCLES or time.monotonic() - since < quiet_s:
            if seen != self.count("frames"):
                seen, since, cycles = self.count("frames"), time.monotonic(), 0
            self.cycle()
            cycles += 1

    @property
    def state(self) -> str:
        return FEED_STATES[self._parts.stats["feed"].counters()["state"]]

    def count(self, name: str, role: str = "feed") -> int:
        return int(self._parts.stats[role].counters()[name])

    def _counted(self) -> dict[str, int]:
        return {name: int(count) for name, count in self._parts.stats["feed"].counters().items() if count}

    def lines(self) -> dict[str, dict[str, int]]:
        """The feed's table of lines: name -> its counts."""
        rows = read_lines(self._parts.stats["feed"].table)
        return {row["name"].decode(): {name: row[name] for name in row.dtype.names} for row in rows}

    def feed_lines(self) -> dict[str, Line]:
        return {line.name: line for line in self._parts.actors["feed"].lines}  # type: ignore[attr-defined]

    def ticks(self) -> np.ndarray:
        """TICK_DTYPE[n]: all that were ever on the ring, HEALTH ticks too, in its order."""
        return _all(self._parts.rings["ticks"])

    def ticks_count(self) -> int:
        return int(self._parts.rings["ticks"].published)

    def health_states(self) -> set[str]:
        """Those that some instrument was ever in. A look takes the ticks since the one before: of a condition that is
        asked for at every cycle the engine has to have time left.
        """
        ring, first = self._parts.rings["ticks"], self._looked
        self._looked = ring.published
        assert self._looked <= ring.capacity, LAPPED
        new = ring.slots[first : self._looked]
        told = new["health_state"][new["kind"] == TickKind.HEALTH]
        self._states |= {HealthState(int(state)).name for state in np.unique(told)}
        return self._states

    def signals_count(self) -> int:
        return int(self._parts.rings["signals"].published)

    def signals(self) -> np.ndarray:
        return _all(self._parts.rings["signals"])

    def stop(self) -> None:
        try:
            self._parts.runner.stop()
        finally:
            self._log.removeHandler(self._handler)


def _all(ring: Ring) -> np.ndarray:
    assert ring.published <= ring.capacity, LAPPED
    rows: np.ndarray = ring.slots[: ring.published].copy()
    return rows


@contextmanager
def running(config: Config, persistence: bool = False) -> Iterator[LiveEngine]:
    engine = LiveEngine(config, persistence)
    try:
        yield engine
    finally:
        engine.stop()


def of_the_venue(ticks: np.ndarray) -> np.ndarray:
    return ticks[ticks["kind"] != TickKind.HEALTH]


def unfit_signals(ticks: np.ndarray, signals: np.ndarray) -> list[int]:
    """Sequences of signals whose instrument was STALE, GAPPED or HALTED at the tick that caused them."""
    told = ticks[ticks["kind"] == TickKind.HEALTH]
    found: list[int] = []
    for instrument in np.unique(told["instrument_id"]):
        rows = told[told["instrument_id"] == instrument]
        mine = signals[signals["instrument_id"] == instrument]
        last = np.searchsorted(rows["sequence"], mine["source_sequence"]) - 1
        unfit = (last >= 0) & ((rows["flags"][last] & TickFlag.UNFIT) != 0)
        found += mine["sequence"][unfit].tolist()
    return found
