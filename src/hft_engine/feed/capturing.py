"""``hft capture``: the feed as it is configured, but what its venues send goes into a file, frame by frame.

The lines are the engine's own, with their sessions, reconnects and shards; nobody reads their ticks. A line's key is in
no frame: where a venue repeats it, and in the message that sent it, stands ``***``.
"""

import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from hft_engine.config.lines import MAIN, line_configs
from hft_engine.config.schema import Config
from hft_engine.feed.actor import FeedActor, warm
from hft_engine.feed.alone import context_of
from hft_engine.feed.capture_file import TEXT, CaptureError, CaptureWriter, Frame, Header, without_query
from hft_engine.feed.simulator.tape import CAPTURE_SUFFIXES, is_capture
from hft_engine.feed.venues import venue_of
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.wait import FdWait, nap

FLUSH_EVERY_NS = 1_000_000_000  # what a power cut costs
FATE_EVENTS = ("feed", "subscription")  # of what the feed tells, what belongs on the screen

Say = Callable[[str], None]


class _Tap:
    """Of one line; its connections are numbered with those of all."""

    def __init__(self, capture: "Capturing") -> None:
        self._capture = capture
        self._connection = 0

    def opened(self) -> None:
        self._connection = self._capture.connections
        self._capture.connections += 1

    def received(self, message: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
        self._capture.write(Frame(ts_recv_ns, ts_mono_ns, message, self._connection, "received", TEXT))

    def sent(self, message: bytes) -> None:
        stamps = time.time_ns(), time.monotonic_ns()
        self._capture.write(Frame(*stamps, message, self._connection, "sent", TEXT))


class Capturing:
    """``frames``, ``bytes``, ``connections`` written so far. Raises CaptureError, OSError, FatalError."""

    def __init__(self, config: Config, path: Path, say: Say) -> None:
        if not is_capture(path.name):
            raise CaptureError(
                f"{path}: name it with {' or '.join(CAPTURE_SUFFIXES)}; by that it is known when it is played back"
            )
        self.frames = self.bytes = self.connections = 0
        self._flush_due_ns = 0
        warm()
        self._context = _context(config, say)
        self._writer = _open(path, self._context.config)
        self._feed = FeedActor()
        self._context.stats.declare(self._feed.counters, self._feed.histograms)
        try:
            self._feed.on_start(self._context)
            for line in self._feed.lines:
                line.tap = _Tap(self)
        except BaseException:
            self._writer.close()
            path.unlink()  # nothing is in it
            raise
        self._wait = FdWait("park")

    def run(self, stopped: Callable[[], bool], seconds: float = 0.0) -> None:
        """Until ``stopped`` says so, or so long (0: for ever)."""
        end_ns = time.monotonic_ns() + int(seconds * 1e9) if seconds else 1 << 62
        try:
            while not stopped() and (now_ns := time.monotonic_ns()) < end_ns:
                self._turn(now_ns)
        finally:
            self._feed.on_stop()
            self._writer.close()

    def _turn(self, now_ns: int) -> None:
        work = self._feed.do_work()
        if now_ns >= self._flush_due_ns:
            self._flush_due_ns = now_ns + FLUSH_EVERY_NS
            self._writer.flush()
        if work and self._feed.more:
            return
        fd = self._feed.wait_fd()
        if fd is None:
            nap()
        else:
            self._wait.idle(fd)

    def write(self, frame: Frame) -> None:
        self._writer.write(frame)
        self.frames += 1
        self.bytes += len(frame.payload)


def _open(path: Path, config: Config) -> CaptureWriter:
    main = line_configs(config.feed)[MAIN]
    url = without_query(venue_of(main).url(main))
    try:
        return CaptureWriter(path, Header(main.venue, url, time.time_ns()))
    except FileExistsError as error:
        raise CaptureError(f"{path}: is there already; name another, nothing is overwritten") from error


def _context(config: Config, say: Say) -> ActorContext:
    def emit(kind: str, text: str) -> None:
        if kind in FATE_EVENTS:
            say(f"{kind}: {text}")

    # Every message through Python: compiled code hands none out.
    return context_of(replace(config, feed=replace(config.feed, scanner=False)), "capture", emit)
