"""The ways from frames to ticks, set side by side: compiled code gives the very rows of Python, or does nothing.

``Pair`` takes a frame down three ways - every event in Python, the decoder with its compiled half, the scanner first -
and raises DifferenceError where they part. ``Line`` is the compiled way from a socket, for a stream of many frames.
"""

import socket
from collections.abc import Sequence

import numpy as np

from hft_engine.feed.decode import FrameDecoder
from hft_engine.feed.duty import TickStage
from hft_engine.feed.events import Event, Status
from hft_engine.feed.frames import FrameReader, Opcode, StreamWord
from hft_engine.feed.packed_rows import PackedRows
from hft_engine.feed.scan_text import REFUSED
from hft_engine.feed.scanner import Scanner
from hft_engine.feed.wire import Wire
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE, TickKind
from hft_engine.shm.histogram import new_counts
from hft_engine.shm.ring import Ring, as_words

RECV_NS, MONO_NS, VENUE_ID = 1_700_000_000_000_000_001, 77, 3
FRAME_BYTES_MAX = 100_000
INSTRUMENTS_MAX = 64
COUNTERS = (
    "duplicates", "events", "frames_rejected", "ignored_events", "rejected", "unknown_conditions", "unknown_events",
)  # fmt: skip
_KIND_WORD = TICK_DTYPE.fields["kind"][1] // 8  # type: ignore[index]
_KIND_SHIFT = 8 * (TICK_DTYPE.fields["kind"][1] % 8)  # type: ignore[index]
SOCKET_STAMPS = ("ts_recv_ns", "ts_mono_ns")
_STAMP_WORDS = {name: TICK_DTYPE.fields[name][1] // 8 for name in SOCKET_STAMPS}  # type: ignore[index]
_PUBLISH_WORD = TICK_DTYPE.fields["ts_publish_ns"][1] // 8  # type: ignore[index]


class DifferenceError(AssertionError):
    """The ways part at ``frame``; the text says in what."""

    def __init__(self, what: str, frame: bytes) -> None:
        super().__init__(f"{what}: {frame!r}")
        self.what, self.frame = what, frame


class StreamDifferenceError(DifferenceError):
    """A whole stream went another way off a socket than through the decoder: no single frame is known."""

    def __init__(self, what: str) -> None:
        super().__init__(what, b"")


class WatchedRows(PackedRows):
    """A decoder's compiled half, in the place of its own. ``taken``: whether it took the last frame.

    Raises DifferenceError if it refused one and yet changed more than staging rows.
    """

    def __init__(self, decoder: FrameDecoder, works: bool) -> None:
        super().__init__(decoder, VENUE_ID)
        self._decoder, self._works = decoder, works
        self.taken = False

    def take(self, events: Sequence[Event], ts_recv_ns: int, ts_mono_ns: int) -> int:
        if not self._works:
            return REFUSED
        recent = self._decoder.repeats.recent
        before = recent.copy()
        count = super().take(events, ts_recv_ns, ts_mono_ns)
        self.taken = count != REFUSED
        if not self.taken and not np.array_equal(before, recent):
            raise DifferenceError(
                "the decoder's compiled half refused a frame and left something behind", b""
            )
        return count


class Side:
    """A decoder, with or without its compiled half, with or without a scanner before it, and the ring it fills."""

    def __init__(self, scanned: bool, capacity: int = 1024, packs: bool = True) -> None:
        self.ring = Ring.private("ticks", TICK_DTYPE, capacity)
        self.decoder = FrameDecoder(InstrumentTable.private(INSTRUMENTS_MAX), VENUE_ID, FRAME_BYTES_MAX)
        self.packed = self.decoder._packed = WatchedRows(self.decoder, packs)
        self.latency, self.delay = new_counts(), new_counts()
        self.stage = TickStage(self.ring, self.decoder.rows, self.latency, self.delay)
        self.scanner: Scanner | None = None
        if scanned:
            self.scanner = Scanner(self.ring, self.decoder, VENUE_ID, self.latency, self.delay)

    def take(self, frame: bytes) -> bool:
        """Handle a frame as the actor does; True when the scanner took it. Raises DifferenceError for a scanner that
        refused it and yet did something."""
        if self.scanner is not None:
            before = self.footprint()
            if self.scanner.publish(frame, RECV_NS, MONO_NS) != REFUSED:
                return True
            if self.footprint() != before:
                raise DifferenceError("the scanner refused a frame and left something behind", frame)
        self.decode(frame)
        return False

    def decode(self, frame: bytes) -> None:
        """The general way."""
        self.stage.publish(self.decoder.decode(frame, RECV_NS, MONO_NS), MONO_NS)

    def footprint(self) -> tuple[object, ...]:
        """Everything that a scanner may change but its staging rows."""
        decoder, scanner = self.decoder, self.scanner
        assert scanner is not None
        return (
            self.ring.head.tobytes(),
            self.ring.slots.tobytes(),
            decoder.repeats.recent.tobytes(),
            self.latency[:4].tobytes(),  # how many values and their sum
            self.delay[:4].tobytes(),
            (
                scanner.events,
                scanner.duplicates,
                scanner.messages,
                scanner.message_bytes,
                scanner.last_mono_ns,
            ),
        )

    def state(self) -> tuple[object, ...]:
        """What both ways must agree on after each frame, rows apart."""
        decoder, scanner = self.decoder, self.scanner
        counts = [getattr(decoder, name) for name in COUNTERS]
        if scanner is not None:
            counts[0] += scanner.duplicates
            counts[1] += scanner.events
        recent = decoder.repeats.recent.tobytes()
        return self.ring.published, counts, recent, len(decoder.ids), len(decoder.unknown_names)

    def rows(self, begin: int, end: int, without: tuple[str, ...] = ()) -> bytes:
        """The ticks published from ``begin`` on, as far as the ring still has them, without the stamps that the clock
        gave them when they were published, and ``without`` these of their socket."""
        begin = max(begin, end - self.ring.capacity)
        words = as_words(self.ring.slots)[np.arange(begin, end) & (self.ring.capacity - 1)]
        kinds = (words[:, _KIND_WORD] >> _KIND_SHIFT) & 0xFF
        stamped = (kinds == TickKind.TRADE) | (kinds == TickKind.QUOTE)
        assert (words[stamped, _PUBLISH_WORD] > 0).all()
        words[stamped, _PUBLISH_WORD] = 0
        for name in without:
            words[:, _STAMP_WORDS[name]] = 0
        return bytes(words)


def said(decoder: FrameDecoder) -> tuple[list[str], list[Status]]:
    """What a decoder found in the last frame beside ticks."""
    return decoder.reasons, decoder.statuses


class Pair:
    """The same frames with every event in Python, through the decoder alone, and through the scanner first.

    ``packed``: frames that the decoder's compiled half took.
    """

    def __init__(self, capacity: int = 1024, history: int | None = None) -> None:
        """``history``: ticks that the first way's ring keeps, where these are to be more."""
        self.each = Side(False, history or capacity, packs=False)
        self.alone, self.scanned = Side(False, capacity), Side(True, capacity)
        self.packed = 0

    def take(self, frame: bytes | str) -> bool:
        """A frame down all ways; whether the scanner took it. Raises DifferenceError."""
        frame = frame.encode() if isinstance(frame, str) else frame
        each, alone, scanned = self.each, self.alone, self.scanned
        begin = each.ring.published
        each.take(frame)
        alone.take(frame)
        self._compare(alone, "the decoder", begin, frame)
        taken = scanned.take(frame)
        self._compare(scanned, "the scanner", begin, frame)
        if taken and (each.decoder.reasons or each.decoder.statuses):
            raise DifferenceError("the scanner took what is not for it", frame)
        for other in (alone,) if taken else (alone, scanned):
            if said(each.decoder) != said(other.decoder):
                raise DifferenceError("the reasons or the statuses differ", frame)
        self.packed += alone.packed.taken
        return taken

    def _compare(self, other: Side, name: str, begin: int, frame: bytes) -> None:
        each = self.each
        if each.state() != other.state():
            raise DifferenceError(
                f"{each.state()} by every event in Python, {other.state()} by {name}", frame
            )
        end = each.ring.published
        begin = max(begin, end - other.ring.capacity)
        if end > begin and each.rows(begin, end) != other.rows(begin, end):
            raise DifferenceError(f"the rows by {name} differ", frame)

    def compare_stream(self, line: "Line") -> None:
        """Every frame that was taken here came off ``line`` as well. Raises StreamDifferenceError."""
        if self.each.state() != line.state():
            raise StreamDifferenceError(f"{self.each.state()} by Python, {line.state()} off the socket")
        end = line.ring.published
        begin = max(0, end - min(self.each.ring.capacity, line.ring.capacity))
        if self.each.rows(begin, end, SOCKET_STAMPS) != line.rows(begin, end, SOCKET_STAMPS):
            raise StreamDifferenceError("the rows off the socket differ")
        if line.frames.pending_bytes:
            raise StreamDifferenceError(f"{line.frames.pending_bytes} bytes are left of the stream")

    def teach(self, *frames: bytes | str) -> "Pair":
        """Frames that come before: their symbols are known from then on."""
        for frame in frames:
            self.take(frame)
        return self


class Line(Side):
    """The engine's end of a socket: compiled code reads, the decoder takes what that leaves. Close it."""

    def __init__(self, capacity: int = 4096, scans: bool = True, shed_after_ns: int = 0) -> None:
        super().__init__(True, capacity)
        assert self.scanner is not None
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.frames = FrameReader(FRAME_BYTES_MAX)
        self.frames.words[StreamWord.FD] = self.ours.fileno()
        self.wire = Wire(self.scanner, self.frames, False, scans, shed_after_ns)
        self.controls: list[bytes] = []

    def take_turn(self) -> None:
        """What the actor does in a cycle."""
        self.wire.pump()
        while self.wire.blocked and not self.frames.words[StreamWord.ERROR]:
            message = self.frames.next()
            if message is not None and message[0] < Opcode.CLOSE:
                self.decode(message[1])
            elif message is not None:
                self.controls.append(message[1])
            self.wire.unblock()

    def receive(self, piece: bytes) -> None:
        """Bytes come out of the socket in one read, and everything in them is handled."""
        self.theirs.sendall(piece)
        self.frames.words[StreamWord.DRAINED] = (
            0  # else the turn after a short read does not look at the socket
        )
        self.take_turn()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()
