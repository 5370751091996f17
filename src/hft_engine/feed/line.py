"""A line of the feed: one session with one venue, over one connection at a time, and the decoder of its messages.

Plain messages go from the socket to the ring in compiled code (``feed.wire``); what that leaves - the session, control
frames, messages the scanner refuses - is ``tend``'s. A line never waits.
"""

import time
from random import Random
from typing import Protocol

from hft_engine.config.lines import MAIN
from hft_engine.config.schema import FeedConfig
from hft_engine.feed.actions import Action, Close, Connect, Fatal, Ping, Report, Send
from hft_engine.feed.arbiter import NO_SOURCE, Source
from hft_engine.feed.dialing import DIALERS, Link, Opening
from hft_engine.feed.duty import TickStage
from hft_engine.feed.events import Status
from hft_engine.feed.frames import FrameReader
from hft_engine.feed.masking import Mask
from hft_engine.feed.quarantine import Quarantine
from hft_engine.feed.scanner import Scanner
from hft_engine.feed.session import FeedState, Session
from hft_engine.feed.transport import TransportError, UpgradeRefusedError, place
from hft_engine.feed.venues import venue_of
from hft_engine.feed.wire import Wire
from hft_engine.runtime.actor import ActorContext, FatalError

FRAMES_MAX = 64  # messages that Python takes at a time
WORK_NS_MAX = 800_000  # and for how long; one message over it still leaves the cycle near a millisecond
REFUSAL_EVERY_NS = 60_000_000_000  # refused events are counted each, one is told with its reason
SHED_EVERY_NS = 10_000_000_000  # between two words about events that were left out
JOIN_S = 0.2  # for a dialer's thread at stop; it is a daemon and may outlive us by its time-outs

COUNTED = (  # what ``Line.counts`` gives
    "frames",
    "bytes",
    "events",
    "rejected",
    "frames_rejected",
    "unknown_events",
    "ignored_events",
    "unknown_conditions",
    "duplicates",
    "acks",
    "quiets",
    "losses",
    "reconnects",
    "gaps",
    "gap_ms",
    "second_copies",
    "repeated_copies",
    "shed",
)
_ANNOUNCED = (FeedState.CONNECTING, FeedState.AUTHENTICATING, FeedState.SUBSCRIBING, FeedState.STOPPED)


class Tap(Protocol):
    """Sees what goes over a line's connections, the key masked; of data only what Python takes (``feed.scanner``)."""

    def opened(self) -> None: ...
    def received(self, message: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None: ...
    def sent(self, message: bytes) -> None: ...


class Line:
    """Writes the ``ticks`` ring in turn with the other lines of its actor.

    ``config``: the line's own, its symbols those in force. ``source``: its part in the arbitration with lines that
    bring the same ticks. ``last_data_ns``: CLOCK_MONOTONIC when the line before this one in the same place saw data
    last, 0 for none: its silence until now is a gap too.
    """

    def __init__(
        self,
        name: str,
        config: FeedConfig,
        ctx: ActorContext,
        quarantine: Quarantine,
        source: Source | None = None,
        last_data_ns: int = 0,
    ) -> None:
        self.name = name
        self.source = source
        self._ctx = ctx
        self._config = config
        self._venue = venue = venue_of(config)
        self._quarantine = quarantine
        self._mask = Mask(config.api_key, venue.url(config), venue.delayed_url(config))
        self._frames = self._bytes = 0  # that Python took
        self._heard = 0  # messages that the session knows of
        self._refusal_due_ns = 0
        self._state: FeedState | None = None
        self._connection: Link | None = None
        self._dialer: Opening | None = None
        self.decoder = venue.decoder(ctx.instruments, config)
        self._ticks = ticks = ctx.ring("ticks")
        histograms = ctx.histogram("feed"), ctx.histogram("venue_to_socket")
        arbiter = NO_SOURCE if source is None else source.wiring
        self._stage = TickStage(ticks, self.decoder.rows, *histograms, arbiter)
        self.scanner = Scanner(ticks, self.decoder, venue.venue_id, *histograms, arbiter)
        self._left_out = 0  # of the decoder's rows, because another line had brought them
        self._shed = self._shed_told = 0  # events that its owner, and people, know of
        self._shed_due_ns = 0
        self.wire = self._no_wire = Wire(self.scanner, FrameReader(0), encrypted=False, scans=False)
        self._last_frame_ns = last_data_ns
        # Jitter must differ between programs that lose the venue together: seeded by the system.
        self.session = Session(venue, config, Random(), last_data_ns or None)
        self._reconnects = 0  # of the session, recorded
        self._connected_at = ticks.published  # sequence of the first tick that this connection may bring
        self.dirty = False  # something besides messages changed since the owner took the counts
        self.more = False  # there is more to take than the socket tells
        self.tap: Tap | None = None

    # ---- what its owner drives

    def start(self) -> None:
        self._apply(self.session.start(time.monotonic_ns()))

    def tend(self) -> None:
        """What is left to Python. Raises FatalError when the session has failed for good."""
        try:
            if self._connection is not None:
                self._serve(self._connection)
            elif self._dialer is not None:
                self._take_connection(self._dialer)
        except TransportError as error:
            self._lose(error)
        actions = self.session.tick(time.monotonic_ns())  # after the socket was read: no silence lies there
        if actions:
            self._apply(actions)

    def change(self, symbols: tuple[str, ...]) -> None:
        """From now on subscribe to exactly these symbols."""
        self._apply(self.session.change(time.monotonic_ns(), symbols))
        self.dirty = True

    def stop(self) -> None:
        self._apply(self.session.stop())
        if self._dialer is not None:
            self._dialer.abandon()
            self._dialer.join(JOIN_S)

    def fileno(self) -> int | None:
        """What to wait on for input."""
        return None if self._connection is None else self._connection.fileno()

    # ---- what its owner knows of it

    @property
    def venue_id(self) -> int:
        return self._venue.venue_id

    @property
    def is_live(self) -> bool:
        """Whether what the venue sends comes in."""
        return self.session.state in (FeedState.LIVE, FeedState.QUIET)

    def instrument_ids(self) -> set[int]:
        """What it brings: what it is subscribed to, and what came."""
        asked = (self.decoder.instruments.find(symbol) for symbol in self.session.symbols)
        return {found for found in asked if found is not None} | set(self.decoder.ids.values())

    def has_shed(self) -> bool:
        """Whether events were left out since the last time, and what comes now is taken again."""
        shed = self.scanner.left_out
        if shed == self._shed or self.wire.sheds:
            return False
        self._shed = shed
        now_ns = time.monotonic_ns()
        if now_ns >= self._shed_due_ns:
            self._shed_due_ns = now_ns + SHED_EVERY_NS
            more = f"for {self._config.shed_after_ms} ms more came than this machine takes"
            self._tell(f"{more}: {shed - self._shed_told:,} events were left out", fault=True)
            self._shed_told = shed
        return True

    # ---- what its owner counts

    @property
    def messages(self) -> int:
        """Messages handled, by compiled code and by Python."""
        return self._frames + self.scanner.messages

    @property
    def message_bytes(self) -> int:
        return self._bytes + self.scanner.message_bytes

    @property
    def last_frame_ns(self) -> int:
        """CLOCK_MONOTONIC of the last message, 0 before any."""
        return max(self._last_frame_ns, self.scanner.last_mono_ns)

    def counts(self) -> tuple[int, ...]:
        """In the order of COUNTED."""
        decoder, scanner, session, source = self.decoder, self.scanner, self.session, self.source
        return (
            self.messages,
            self.message_bytes,
            decoder.events - self._left_out + scanner.events,
            decoder.rejected,
            decoder.frames_rejected,
            decoder.unknown_events,
            decoder.ignored_events,
            decoder.unknown_conditions,
            decoder.duplicates + scanner.duplicates,
            session.acks,
            session.quiets,
            session.losses,
            session.reconnects,
            session.gaps,
            session.gap_ns_total // 1_000_000,
            0 if source is None else source.second,
            0 if source is None else source.repeated,
            scanner.left_out,
        )

    # ---- messages

    def _serve(self, connection: Link) -> None:
        """Take what compiled code left, in its order; tell the session of signs of life."""
        controls, left = connection.controls, FRAMES_MAX
        deadline_ns = time.monotonic_ns() + WORK_NS_MAX
        while left > 0 and connection is self._connection:
            if self.wire.blocked:
                message = connection.next_message()
                if message is not None:
                    self._handle(connection, message)
            elif not connection.encrypted:
                break  # a plain socket is read by compiled code
            else:
                found = connection.read()
                self.wire.look_behind(empty=not found)
                if not found:
                    break
            self.wire.unblock()
            left = left - 1 if time.monotonic_ns() < deadline_ns else 0
        if connection is self._connection:
            if left <= 0:
                self.wire.block()  # there may be more
            connection.check()
            if self.messages != self._heard:
                # Not the frame's stamp: a pause of our own while more waits in the socket is no silence of theirs.
                self.session.data(time.monotonic_ns())
                self._heard = self.messages
            connection.flush()
            if connection.controls != controls:
                self.session.pong(connection.ts_mono_ns)
        self.more = self.wire.blocked

    def _handle(self, connection: Link, message: bytes) -> None:
        ts_recv_ns, ts_mono_ns = connection.ts_recv_ns, connection.ts_mono_ns
        if self.tap is not None:
            self.tap.received(self._mask.data(message), ts_recv_ns, ts_mono_ns)
        count = self.decoder.decode(message, ts_recv_ns, ts_mono_ns)
        if count:
            self._left_out += count - self._stage.publish(count, ts_mono_ns)
        self.session.data(ts_mono_ns)
        self._last_frame_ns = ts_mono_ns
        self._frames += 1
        self._bytes += len(message)
        self._heed(message, ts_recv_ns, ts_mono_ns)

    def _heed(self, message: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
        """What the decoder found beside ticks."""
        decoder = self.decoder
        if decoder.reasons:
            self._keep(message, ts_recv_ns)
        if decoder.statuses:
            self._hear(decoder.statuses, ts_mono_ns)

    def _hear(self, statuses: list[Status], now_ns: int) -> None:
        for status in list(statuses):
            self._apply(self.session.status(now_ns, status))

    def _keep(self, message: bytes, ts_recv_ns: int) -> None:
        known_trouble = self._quarantine.trouble
        reasons = [self._mask.text(reason) for reason in self.decoder.reasons]
        self._quarantine.keep(self._mask.data(message), ts_recv_ns, reasons)
        if self._quarantine.trouble != known_trouble:
            self._tell(f"quarantine: {self._quarantine.trouble}", fault=True)
        now_ns = time.monotonic_ns()
        if now_ns >= self._refusal_due_ns:
            self._refusal_due_ns = now_ns + REFUSAL_EVERY_NS
            kept = self._quarantine.path
            self._tell(
                f"an event was refused: {reasons[0]}; such are counted, and kept in {kept}", fault=True
            )

    # ---- connection

    def _take_connection(self, dialer: Opening) -> None:
        connection = dialer.result()
        if connection is not None:
            self._dialer = None
            self._connection = connection
            if self.tap is not None:
                self.tap.opened()
            scans = self._venue.scans and self._config.scanner
            shed_after_ns = self._config.shed_after_ms * 1_000_000
            self.wire = Wire(self.scanner, connection.frames, connection.encrypted, scans, shed_after_ns)
            self._apply(self.session.opened(time.monotonic_ns()))

    def _apply(self, actions: list[Action]) -> None:
        try:
            for action in actions:
                self._carry_out(action)
        except TransportError as error:
            self._lose(error)
        self._announce()

    def _carry_out(self, action: Action) -> None:
        match action:
            case Connect():
                self._dialer = DIALERS[self._venue.transport](self._venue, self.session.config)
            case Close():
                self.hang_up()
            case Report(text, fault):
                self._tell(text, fault)
            case Fatal(reason):
                self.hang_up()
                self._announce()
                raise FatalError(self._mask.text(f"the feed cannot work: {self._label}{reason}"))
            case Send(text) if self._connection is not None:
                if self.tap is not None:
                    self.tap.sent(self._mask.text(text).encode())
                self._connection.send(text)
            case Ping() if self._connection is not None:
                self._connection.ping()

    def _lose(self, error: TransportError) -> None:
        self.hang_up()
        now_ns = time.monotonic_ns()
        if isinstance(error, UpgradeRefusedError) and (error.for_good or error.too_many):
            self._apply(self.session.refused(now_ns, str(error), error.for_good))
        else:
            self._apply(self.session.closed(now_ns, str(error)))

    def hang_up(self) -> None:
        """Drop the connection, or the attempt at one."""
        if self._dialer is not None:
            self._dialer.abandon()
            self._dialer = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self.wire = self._no_wire
            if self.source is not None:
                self.source.leave()

    # ---- what is told

    def _announce(self) -> None:
        state = self.session.state
        if state is self._state:
            return
        self._state = state
        self.dirty = True
        self._record_connection(state)
        if state in _ANNOUNCED:
            self._tell(f"{state.name.lower()}: {place(self._venue.url(self.session.config))}")

    def _record_connection(self, state: FeedState) -> None:
        if state is FeedState.SUBSCRIBING:
            self._connected_at = self._ticks.published
        elif self.session.reconnects > self._reconnects:
            self._reconnects = self.session.reconnects
            gap = self.session.last_gap
            gap_ms = (gap.end_ns - gap.start_ns) // 1_000_000 if gap is not None else 0
            self._ctx.record("reconnect", self._connected_at, {"gap_ms": gap_ms, "line": self.name})

    def _tell(self, text: str, fault: bool = False) -> None:
        self._ctx.event("feed", self._label + self._mask.text(text), fault)

    @property
    def _label(self) -> str:
        return "" if self.name == MAIN else f"{self.name}: "  # most feeds have one line
