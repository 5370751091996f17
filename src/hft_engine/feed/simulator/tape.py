"""Raw captures as a source: the recorded frames themselves, byte for byte, at the pace at which they once came."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hft_engine.feed.capture_file import ZSTD_SUFFIX, Capture, CaptureError, Frame
from hft_engine.feed.recorded import RecordingError
from hft_engine.feed.simulator.scenario import Step
from hft_engine.feed.simulator.session import Session

CAPTURE_SUFFIXES = (".capture", f".capture{ZSTD_SUFFIX}")
STATUS_MARK = b'"ev":"status"'  # of frames that are the venue's answers, not data


class Tape:
    """The received data frames of a capture; see ``source.Source`` for ``paced``, ``finished``, ``start``.

    ``speed`` 1 is real time, 0 as fast as it goes. Raises RecordingError.
    """

    symbols: tuple[str, ...] = ()

    def __init__(self, path: Path, speed: float) -> None:
        try:
            self._capture = Capture(path)
        except CaptureError as error:
            raise RecordingError(str(error)) from error
        self.paced = speed > 0
        self.finished = False
        self.description = f"{path}: raw capture of {self._capture.header.venue}"
        self._speed = speed
        self._frames: Iterator[Frame] = iter(self._capture)
        self._next: Frame | None = None
        self._started_ns = self._first_ns = 0

    def start(self, now_ns: int) -> None:
        self._started_ns = now_ns
        self._advance()
        if self._next is not None:
            self._first_ns = self._next.ts_recv_ns

    def _advance(self) -> None:
        self._next = next((frame for frame in self._frames if _is_data(frame)), None)
        self.finished = self._next is None

    def frames(self, now_ns: int, limit: int) -> list[bytes]:
        """The next frames due at ``now_ns``, at most ``limit``."""
        due_ns = self._first_ns + (now_ns - self._started_ns) * self._speed if self.paced else float("inf")
        found: list[bytes] = []
        while self._next is not None and self._next.ts_recv_ns <= due_ns and len(found) < limit:
            found.append(self._next.payload)
            self._advance()
        return found


def _is_data(frame: Frame) -> bool:
    return frame.direction == "received" and STATUS_MARK not in frame.payload


def is_capture(name: str) -> bool:
    return name.endswith(CAPTURE_SUFFIXES)


class TapeFlow:
    """In place of ``flow.TickFlow``: every connection that has subscribed to something gets every frame.

    A scenario's faults on ticks do nothing here: frames are not looked into.
    """

    def __init__(self, tape: Tape) -> None:
        self.source = tape
        self.ticks_due = 0  # frames

    def begin(self, step: Step) -> None:
        """Nothing of this kind can be done to frames."""

    def end(self, step: Step) -> None:
        """As ``begin``."""

    def rebuild(self, sessions: Iterable[Session]) -> None:
        """Who has subscribed to anything gets everything."""

    def pump(self, now_ns: int, ticks_max: int, sessions: Sequence[Session]) -> int:
        frames = self.source.frames(now_ns, ticks_max)
        for frame in frames:
            for session in sessions:
                if session.pairs:
                    session.outbox.put(frame)
        self.ticks_due += len(frames)
        return len(frames)
