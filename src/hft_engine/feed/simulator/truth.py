"""What really became of every tick that a client had asked for, so that a test can demand it of the client's counts.

Once a pair (channel, symbol) was subscribed to: ``published`` ticks of it are what was due. Of these

* ``lost``         a scenario's mute, loss or missing kept back;
* ``unheard``      were due while no connection had the pair;
* ``undelivered``  waited for a connection when it ended, or were in the half of a frame that never came;
* the rest was sent. ``duplicated`` and ``reordered`` are among what was sent: a duplicate is one more than was
  published, a reordered tick came after a later one of its pair.

What became of connections is told beside it: when each came, was let in, was struck by the scenario, was over; and how
many TCP connections to us were ever open at once, by the operating system's word.
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import IO, Literal, NamedTuple

import msgspec
import numpy as np

from hft_engine.feed.simulator.encode import CHANNELS
from hft_engine.records import TICK_DTYPE, TickKind, join_ticks

KEPT_TICKS_MAX = 2_000_000  # 256 MB; what comes later is only counted, and written
KEPT_CONTACTS_MAX = 100_000  # what comes later is only written

# A websocket asked for; refused before it was one; let in; struck by a step of the scenario; over.
Fortune = Literal["came", "refused", "admitted", "struck", "ended"]


class Contact(NamedTuple):
    """What became of a connection, and when: CLOCK_MONOTONIC ns. ``number`` counts those that came, from 1."""

    fortune: Fortune
    number: int
    mono_ns: int


class Truth:
    """``counts`` by fate. ``ticks_of(fate)``: the ticks themselves, but for ``published`` and ``undelivered``.
    ``contacts``: in order of time; ``open_max``: connections at the same time.

    ``file``: each tick that was not sent as it should have been, and each contact, becomes a line of JSON there, the
    totals the last.
    """

    def __init__(self, symbols: Sequence[str], file: IO[bytes] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.undelivered: list[bytes] = []  # events as they would have been on the wire
        self.contacts: list[Contact] = []
        self.open_max = 0
        self._symbols = symbols
        self._file = file
        self._ticks: dict[str, list[np.ndarray]] = {}
        self._room = KEPT_TICKS_MAX

    def publish(self, count: int) -> None:
        self.counts["published"] += count

    def note(self, fate: str, ticks: np.ndarray) -> None:
        if not len(ticks):
            return
        self.counts[fate] += len(ticks)
        kept = ticks[: self._room]
        self._room -= len(kept)
        self._ticks.setdefault(fate, []).append(kept.copy())
        if self._file is not None:
            self._write(fate, ticks)

    def note_undelivered(self, events: Sequence[bytes]) -> None:
        self.counts["undelivered"] += len(events)
        self.undelivered += events
        if self._file is not None:
            for event in events:
                self._line({"fate": "undelivered", "event": msgspec.Raw(event)})

    def note_contact(self, fortune: Fortune, number: int) -> None:
        contact = Contact(fortune, number, time.monotonic_ns())
        if len(self.contacts) < KEPT_CONTACTS_MAX:
            self.contacts.append(contact)
        if self._file is not None:
            self._line({"connection": number, "contact": fortune, "mono_ns": contact.mono_ns})

    def note_open(self, connections: int) -> None:
        self.open_max = max(self.open_max, connections)

    def ticks_of(self, fate: str) -> np.ndarray:
        parts = self._ticks.get(fate)
        return join_ticks(parts) if parts else np.zeros(0, TICK_DTYPE)

    def close(self) -> None:
        """Writes the totals."""
        if self._file is not None:
            self._line({"totals": dict(self.counts), "open_max": self.open_max})

    def _write(self, fate: str, ticks: np.ndarray) -> None:
        names = ("kind", "instrument_id", "venue_sequence", "ts_venue_ns")
        for kind, who, number, ts in zip(*(ticks[name].tolist() for name in names), strict=True):
            pair = {"channel": CHANNELS[TickKind(kind)], "symbol": self._symbols[who]}
            self._line({"fate": fate, **pair, "sequence": number, "ts_venue_ns": ts})

    def _line(self, fact: dict[str, object]) -> None:
        assert self._file is not None
        self._file.write(msgspec.json.encode(fact) + b"\n")
        self._file.flush()
