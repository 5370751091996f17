"""The publisher: the signals ring and the supervisor's events, out to programs outside. See ``wire``."""

from typing import TYPE_CHECKING

import numpy as np

from hft_engine.publisher.events import EventFile
from hft_engine.publisher.wire import SOCKET_NAME, TOPIC_EVENT, TOPIC_SIGNAL, frames, signal_message
from hft_engine.records import SIGNAL_DTYPE
from hft_engine.runtime.actor import ActorContext, BaseActor, FatalError
from hft_engine.runtime.messages import Event, Publish
from hft_engine.shm import layout
from hft_engine.shm.ring import Ring

if TYPE_CHECKING:
    from hft_engine.publisher.socket import Outlets

BATCH = 64  # signals a duty cycle: encoding and sending one takes several microseconds


class PublisherActor(BaseActor):
    """Reads ``signals``. ``next_sequence`` outlives a death, so that the next life sends what this one had not."""

    role = "publisher"
    counters = ("signals", "events", "congested", "subscriptions", "next_sequence")
    histograms = ()

    def on_start(self, ctx: ActorContext) -> None:
        """Raises FatalError where a socket cannot be opened."""
        self._ctx = ctx
        self._ring = ctx.ring("signals")
        self._reader = ctx.reader("signals")
        self._scratch = np.zeros(min(BATCH, self._ring.capacity), SIGNAL_DTYPE)
        self._rules = tuple(rule.name for rule in ctx.config.signals.rules)
        self._signals, self._events = ctx.counter("signals"), ctx.counter("events")
        self._congested = ctx.counter("congested")
        self._subscriptions = ctx.counter("subscriptions")
        self._next_sequence = ctx.counter("next_sequence")
        self._outlets = _open(ctx)
        self._file = EventFile(ctx.run_dir)
        self._congested_before = self._congested.value
        for outlet in self._outlets.outlets:
            ctx.log.info("publishing at %s", outlet.address)
        self._send(missed(self._ring, self._next_sequence.value, self._ring.position(self._reader)))

    def do_work(self) -> int:
        handled = self._outlets.serve()
        count = self._ring.poll(self._reader, self._scratch, len(self._scratch))
        if count:
            self._send(self._scratch[:count])
        if count or handled:
            self._congested.set(self._congested_before + self._outlets.congested)
            self._subscriptions.set(self._outlets.subscriptions)
        return count + handled

    def on_control(self, message: object) -> object:
        """Publish(event): tell the world."""
        if not isinstance(message, Publish):
            return super().on_control(message)
        self._tell(message.event)
        return None

    def on_stop(self) -> None:
        self._file.close()
        self._outlets.close()

    def _send(self, rows: np.ndarray) -> None:
        if not self._outlets.subscriptions:  # nobody listens: nothing is encoded
            self._pass_over(rows)
            return
        for row in rows:
            sequence = int(row["sequence"])
            symbol = self._ctx.instruments.symbol_of(int(row["instrument_id"]))
            body = signal_message(row, symbol, self._rules[row["reason"]], self._ctx.run_id)
            self._outlets.send(frames(TOPIC_SIGNAL, sequence, body))
            self._next_sequence.set(sequence + 1)
            self._signals.add()

    def _pass_over(self, rows: np.ndarray) -> None:
        if len(rows):
            self._next_sequence.set(int(rows[-1]["sequence"]) + 1)
            self._signals.add(len(rows))

    def _tell(self, event: Event) -> None:
        self._file.append(event)
        self._outlets.send(frames(TOPIC_EVENT, event.sequence, event))
        self._events.add()


def missed(signals: Ring, first: int, end: int) -> np.ndarray:
    """Signals ``first`` to ``end`` (exclusive) that are still in the ring: polled by a life that died then."""
    first = max(first, end - signals.capacity)
    rows = signals.slots[np.arange(first, max(first, end)) & (signals.capacity - 1)]
    oldest = int(signals.head[layout.W_INTENT]) - signals.capacity
    return rows[max(oldest - first, 0) :]


def _open(ctx: ActorContext) -> "Outlets":
    # Only here: a process that must stay free of ZeroMQ may import this module.
    from hft_engine.publisher.socket import Outlets, PublishError

    try:
        return Outlets(ctx.run_dir / SOCKET_NAME, ctx.config.publisher)
    except PublishError as error:
        raise FatalError(str(error)) from None
