"""What flows through a venue: ticks of a source, or frames of a capture, into the outboxes of who asked for them."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from hft_engine.feed.simulator.bars import BarMaker
from hft_engine.feed.simulator.faults import StreamFaults
from hft_engine.feed.simulator.history import History
from hft_engine.feed.simulator.market_faults import ContiguousNumbers, Halts
from hft_engine.feed.simulator.routes import Routes
from hft_engine.feed.simulator.scenario import Halt, Scenario, Step, StreamStep
from hft_engine.feed.simulator.session import Session
from hft_engine.feed.simulator.source import Paced, Source
from hft_engine.feed.simulator.truth import Truth


class Encoding(Protocol):
    def encode(self, ticks: np.ndarray) -> list[bytes]:
        """One event of the vendor's wire per tick, in order."""


class Flow(Protocol):
    """``ticks_due`` counts what was due to somebody: a scenario's ``after_ticks``."""

    ticks_due: int

    @property
    def source(self) -> Paced: ...
    def begin(self, step: Step) -> None: ...
    def end(self, step: Step) -> None: ...
    def rebuild(self, sessions: Iterable[Session]) -> None:
        """Subscriptions have changed."""

    def pump(self, now_ns: int, ticks_max: int, sessions: Sequence[Session]) -> int:
        """Puts what is due into the outboxes; returns how much the source had."""


class Market:
    """The market as the venue publishes it: halts, bars and numbers, all before anything can be lost of it."""

    def __init__(self, symbols: Sequence[str], scenario: Scenario) -> None:
        self.halts = Halts(symbols)
        self._bars = BarMaker(len(symbols)) if any(isinstance(s, Halt) for s in scenario.steps) else None
        self._numbers = ContiguousNumbers(len(symbols)) if scenario.sequence == "contiguous" else None

    @property
    def makes_bars(self) -> bool:
        """The source must not: trades that a halt takes out would be in them."""
        return self._bars is not None

    def publish(self, ticks: np.ndarray) -> np.ndarray:
        if self._bars is not None:
            ticks = self._bars.push(self.halts.apply(ticks))
        return ticks if self._numbers is None else self._numbers.number(ticks)


class TickFlow:
    """``source`` -> market (where the scenario changes it) -> history -> faults -> events -> outboxes.

    Without history there is no REST, without truth there are no faults: then nothing is done that a healthy venue
    does not need.
    """

    def __init__(
        self,
        source: Source,
        encoder: Encoding,
        scenario: Scenario,
        history: History | None = None,
        truth: Truth | None = None,
    ) -> None:
        self.ticks_due = 0
        self._source = source
        self._truth = truth
        self._history = history
        self._encoder = encoder
        self._routes = Routes(source.symbols)
        changed = scenario.steps or scenario.sequence == "contiguous"
        self._market = Market(source.symbols, scenario) if changed else None
        self._faults = StreamFaults(source.symbols, scenario.seed, truth) if truth is not None else None
        source.with_bars = self._market is None or not self._market.makes_bars

    @property
    def source(self) -> Source:
        return self._source

    def begin(self, step: Step) -> None:
        self._change(step, True)

    def end(self, step: Step) -> None:
        self._change(step, False)

    def _change(self, step: Step, begin: bool) -> None:
        if isinstance(step, Halt):
            if self._market is None or not self._market.makes_bars:
                raise ValueError(
                    "a halt must be among the scenario's steps: bars are made without its trades"
                )
            (self._market.halts.begin if begin else self._market.halts.end)(step)
        if self._faults is not None and isinstance(step, StreamStep):
            (self._faults.begin if begin else self._faults.end)(step)

    def rebuild(self, sessions: Iterable[Session]) -> None:
        self._routes.rebuild(sessions)

    def pump(self, now_ns: int, ticks_max: int, sessions: Sequence[Session]) -> int:
        ticks = self._source.take(now_ns, ticks_max)
        due = len(ticks)
        if self._market is not None:
            ticks = self._market.publish(ticks)
        if self._history is not None:
            self._history.append(ticks)
        wanted = self._routes.select(ticks) if due and sessions else ticks[:0]
        if self._faults is not None:
            wanted = self._strike(ticks, wanted, now_ns)
        if len(wanted):
            self._put(wanted, sessions)
        return due

    def _put(self, wanted: np.ndarray, sessions: Sequence[Session]) -> None:
        events = self._encoder.encode(wanted)
        if len(sessions) == 1 and self._faults is None:  # whatever is wanted it wants
            sessions[0].outbox.extend(events)
            return
        keys = zip(wanted["kind"].tolist(), wanted["instrument_id"].tolist(), strict=True)
        unheard = []  # a fault kept them back until nobody was there
        for row, (key, event) in enumerate(zip(keys, events, strict=True)):
            receivers = self._routes.receivers(*key)
            for session in receivers:
                session.outbox.put(event)
            if not receivers:
                unheard.append(row)
        if self._truth is not None:
            self._truth.note("unheard", wanted[unheard])

    def _strike(self, ticks: np.ndarray, wanted: np.ndarray, now_ns: int) -> np.ndarray:
        assert self._faults is not None and self._truth is not None
        unheard = self._routes.unheard(ticks)
        self.ticks_due += len(wanted)
        self._truth.publish(len(wanted) + len(unheard))
        self._truth.note("unheard", unheard)
        return self._faults.apply(wanted, now_ns)
