"""The feed: reads the venue's socket, decodes, publishes ticks. It never waits, and nobody can make it wait.

Plain messages go from the socket to the ring in compiled code (``feed.wire``); what that leaves - the session, control
frames, messages the scanner refuses - is ``tend``'s.
"""

import time
from random import Random

import msgspec
import numpy as np

from hft_engine.feed import duty, subscriptions, wire
from hft_engine.feed.decode import FrameDecoder
from hft_engine.feed.duty import TickStage
from hft_engine.feed.events import Status
from hft_engine.feed.frames import FrameReader
from hft_engine.feed.quarantine import Quarantine
from hft_engine.feed.scanner import Scanner
from hft_engine.feed.session import Action, Close, Connect, Fatal, FeedState, Ping, Report, Send, Session
from hft_engine.feed.transport import Connection, Dialer, TransportError, place
from hft_engine.feed.venues import VENUE_IDS
from hft_engine.feed.venues.base import Venue
from hft_engine.feed.venues.polygon import Polygon
from hft_engine.feed.wire import Wire
from hft_engine.runtime.actor import ActorContext, BaseActor, ControlError, FatalError
from hft_engine.runtime.chain import NativeCall
from hft_engine.runtime.messages import Subscribe, Unsubscribe

__all__ = ["FeedActor", "warm"]

FRAMES_MAX = 64  # messages that Python takes at a time
WORK_NS_MAX = 800_000  # and for how long; one message over it still leaves the cycle near a millisecond
SYNC_NS = 10_000_000  # counters are at most this stale under load
REFUSAL_EVERY_NS = 60_000_000_000  # refused events are counted each, one is told with its reason
JOIN_S = 0.2  # for a dialer's thread at stop; it is a daemon and may outlive us by its time-outs

VENUES: dict[str, type[Venue]] = {"polygon": Polygon}
_ANNOUNCED = (FeedState.CONNECTING, FeedState.AUTHENTICATING, FeedState.SUBSCRIBING, FeedState.STOPPED)


def warm() -> None:
    """Compile (or load from the cache) the feed's kernels, with the types of a live run."""
    duty.warm()
    wire.warm()


class FeedActor(BaseActor):
    """Writer of the ``ticks`` ring. Counter ``state`` indexes FEED_STATES, ``last_frame_mono_ns`` is a time."""

    role = "feed"
    counters = (
        "state",
        "acks_missing",
        "last_frame_mono_ns",
        "frames",
        "bytes",
        "events",
        "rejected",
        "frames_rejected",
        "unknown_events",
        "ignored_events",
        "unknown_conditions",
        "duplicates",
        "quarantined",
        "quarantine_dropped",
        "acks",
        "quiets",
        "losses",
        "reconnects",
        "gaps",
        "gap_ms",
    )
    histograms = ("feed", "venue_to_socket")

    def on_start(self, ctx: ActorContext) -> None:
        config = ctx.config.feed
        self._ctx = ctx
        self._config = config
        self._counters = ctx.counter_array()
        self._base = self._counters.copy()  # what an earlier life of this role counted
        self._base[:3] = 0
        self._frames = self._bytes = 0  # that Python took
        self._heard = self._synced = 0  # messages that the session and the counters know of
        self._sync_due_ns = self._refusal_due_ns = 0
        self._dirty = False
        self._state: FeedState | None = None
        self._connection: Connection | None = None
        self._dialer: Dialer | None = None
        self._decoder = FrameDecoder(ctx.instruments, VENUE_IDS[config.venue], config.frame_bytes_max)
        self._ticks = ticks = ctx.ring("ticks")
        histograms = [ctx.histogram(name) for name in self.histograms]
        self._stage = TickStage(ticks, self._decoder.rows, *histograms)
        self._scanner = Scanner(ticks, self._decoder, VENUE_IDS[config.venue], *histograms)
        self._wire = self._no_wire = Wire(self._scanner, FrameReader(0), encrypted=False, scans=False)
        path = ctx.data_dir / "quarantine" / f"{ctx.run_id}.jsonl"
        self._quarantine = Quarantine(path, config.quarantine_bytes_max)
        self._last_frame_ns = int(self._counters[self.counters.index("last_frame_mono_ns")])
        # Jitter must differ between programs that lose the venue together: seeded by the system.
        symbols = subscriptions.in_force(config.symbols, ctx.recorded())
        asked = msgspec.structs.replace(config, symbols=symbols)
        self._session = Session(VENUES[config.venue](), asked, Random(), self._last_frame_ns or None)
        self._reconnects = 0  # of the session, recorded
        self._connected_at = ticks.published  # sequence of the first tick that this connection may bring
        self._apply(self._session.start(time.monotonic_ns()))

    def do_work(self) -> int:
        before = self._messages
        self._wire.pump()
        self.tend()
        return self._messages - before

    def native(self) -> NativeCall:
        return self._wire.call

    def tend(self) -> None:
        try:
            if self._connection is not None:
                self._serve(self._connection)
            elif self._dialer is not None:
                self._take_connection(self._dialer)
        except TransportError as error:
            self._lose(str(error))
        now_ns = time.monotonic_ns()
        actions = self._session.tick(now_ns)  # after the socket was read: what lies there is no silence
        if actions:
            self._apply(actions)
        if now_ns >= self._sync_due_ns and (self._dirty or self._messages != self._synced):
            self._sync(now_ns)

    def on_control(self, message: object) -> object:
        """``Subscribe``, ``Unsubscribe``: the reply names the symbols in force from the next connection's tick on."""
        present = self._session.symbols
        match message:
            case Subscribe(symbols):
                return self._subscribe(subscriptions.with_added(present, symbols, self._ctx.instruments))
            case Unsubscribe(symbols):
                return self._subscribe(subscriptions.without(present, symbols))
        return super().on_control(message)

    def on_stop(self) -> None:
        self._apply(self._session.stop())
        if self._dialer is not None:
            self._dialer.abandon()
            self._dialer.join(JOIN_S)
        self._sync(time.monotonic_ns())

    def wait_fd(self) -> int | None:
        return None if self._connection is None else self._connection.fileno()

    def _subscribe(self, symbols: tuple[str, ...]) -> dict[str, object]:
        sequence = self._ticks.published
        if not self._ctx.record("subscription", sequence, {"symbols": symbols}):
            raise ControlError("the change cannot be recorded, so it was not made; is the disk full?")
        self._apply(self._session.change(symbols))
        self._ctx.event("subscription", f"from tick {sequence} on: {', '.join(symbols) or 'nothing'}")
        return {"symbols": list(symbols), "sequence": sequence}

    @property
    def _messages(self) -> int:
        """Messages handled, by compiled code and by Python."""
        return self._frames + self._scanner.messages

    def _serve(self, connection: Connection) -> None:
        """Take what compiled code left, in its order; tell the session of signs of life."""
        controls, left = connection.controls, FRAMES_MAX
        deadline_ns = time.monotonic_ns() + WORK_NS_MAX
        while left > 0 and connection is self._connection:
            if self._wire.blocked:
                message = connection.next_message()
                if message is not None:
                    self._handle(connection, message)
            elif not (connection.encrypted and connection.read()):
                break  # a plain socket is read by compiled code
            self._wire.unblock()
            left = left - 1 if time.monotonic_ns() < deadline_ns else 0
        if connection is self._connection:
            if left <= 0:
                self._wire.block()  # there may be more
            connection.check()
            if self._messages != self._heard:
                # Not the frame's stamp: a pause of our own while more waits in the socket is no silence of theirs.
                self._session.data(time.monotonic_ns())
                self._heard = self._messages
            connection.flush()
            if connection.controls != controls:
                self._session.pong(connection.ts_mono_ns)
        self.more = self._wire.blocked

    def _handle(self, connection: Connection, message: bytes) -> None:
        ts_recv_ns, ts_mono_ns = connection.ts_recv_ns, connection.ts_mono_ns
        count = self._decoder.decode(message, ts_recv_ns, ts_mono_ns)
        if count:
            self._stage.publish(count, ts_mono_ns)
        self._scanner.learn()
        self._session.data(ts_mono_ns)
        self._last_frame_ns = ts_mono_ns
        self._frames += 1
        self._bytes += len(message)
        self._heed(message, ts_recv_ns, ts_mono_ns)

    def _heed(self, message: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
        """What the decoder found beside ticks."""
        decoder = self._decoder
        if decoder.reasons:
            self._keep(message, ts_recv_ns)
        if decoder.statuses:
            self._hear(decoder.statuses, ts_mono_ns)

    def _hear(self, statuses: list[Status], now_ns: int) -> None:
        for status in list(statuses):
            self._apply(self._session.status(now_ns, status))

    def _keep(self, message: bytes, ts_recv_ns: int) -> None:
        known_trouble = self._quarantine.trouble
        self._quarantine.keep(message, ts_recv_ns, self._decoder.reasons)
        if self._quarantine.trouble != known_trouble:
            self._ctx.event("feed", f"quarantine: {self._quarantine.trouble}", fault=True)
        now_ns = time.monotonic_ns()
        if now_ns >= self._refusal_due_ns:
            self._refusal_due_ns = now_ns + REFUSAL_EVERY_NS
            reason, place_kept = self._decoder.reasons[0], self._quarantine.path
            self._ctx.event(
                "feed",
                f"an event was refused: {reason}; such are counted, and kept in {place_kept}",
                fault=True,
            )

    def _take_connection(self, dialer: Dialer) -> None:
        connection = dialer.result()
        if connection is not None:
            self._dialer = None
            self._connection = connection
            self._wire = Wire(self._scanner, connection.frames, connection.encrypted, self._config.scanner)
            self._apply(self._session.opened(time.monotonic_ns()))

    def _apply(self, actions: list[Action]) -> None:
        try:
            for action in actions:
                self._carry_out(action)
        except TransportError as error:
            self._lose(str(error))
        self._announce()

    def _carry_out(self, action: Action) -> None:
        match action:
            case Connect():
                config = self._config
                self._dialer = Dialer(config.url, config.connect_timeout_ms, config.frame_bytes_max)
            case Close():
                self._hang_up()
            case Report(text, fault):
                self._ctx.event("feed", text, fault)
            case Fatal(reason):
                self._fail(reason)
            case Send(text) if self._connection is not None:
                self._connection.send(text)
            case Ping() if self._connection is not None:
                self._connection.ping()

    def _lose(self, reason: str) -> None:
        self._hang_up()
        self._apply(self._session.closed(time.monotonic_ns(), reason))

    def _hang_up(self) -> None:
        if self._dialer is not None:
            self._dialer.abandon()
            self._dialer = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._wire = self._no_wire

    def _fail(self, reason: str) -> None:
        self._hang_up()
        self._sync(time.monotonic_ns())
        raise FatalError(f"the feed cannot work: {reason}")

    def _announce(self) -> None:
        state = self._session.state
        if state is self._state:
            return
        self._state = state
        self._dirty = True
        self._record_connection(state)
        if state in _ANNOUNCED:
            self._ctx.event("feed", f"{state.name.lower()}: {place(self._config.url)}")

    def _record_connection(self, state: FeedState) -> None:
        if state is FeedState.SUBSCRIBING:
            self._connected_at = self._ticks.published
        elif self._session.reconnects > self._reconnects:
            self._reconnects = self._session.reconnects
            gap = self._session.last_gap
            gap_ms = (gap.end_ns - gap.start_ns) // 1_000_000 if gap is not None else 0
            self._ctx.record("reconnect", self._connected_at, {"gap_ms": gap_ms})

    def _sync(self, now_ns: int) -> None:
        """Counters to shared memory, in the order of ``counters``."""
        decoder, scanner, session, quarantine = self._decoder, self._scanner, self._session, self._quarantine
        present = (
            int(session.state),
            session.acks_missing,
            max(self._last_frame_ns, scanner.last_mono_ns),
            self._messages,
            self._bytes + scanner.message_bytes,
            decoder.events + scanner.events,
            decoder.rejected,
            decoder.frames_rejected,
            decoder.unknown_events,
            decoder.ignored_events,
            decoder.unknown_conditions,
            decoder.duplicates + scanner.duplicates,
            quarantine.kept,
            quarantine.dropped,
            session.acks,
            session.quiets,
            session.losses,
            session.reconnects,
            session.gaps,
            session.gap_ns_total // 1_000_000,
        )
        self._counters[:] = self._base + np.array(present, np.int64)
        self._dirty = False
        self._synced = self._messages
        self._sync_due_ns = now_ns + SYNC_NS
