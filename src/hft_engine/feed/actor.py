"""The feed: drives its lines and counts what they do. It never waits, and nobody can make it wait."""

import time
from collections.abc import Callable

import msgspec
import numpy as np

from hft_engine.feed import duty, subscriptions, wire
from hft_engine.feed.health import monitor, watch
from hft_engine.feed.health.watch import HealthWatch
from hft_engine.feed.line import FRAMES_MAX, Line
from hft_engine.feed.quarantine import Quarantine
from hft_engine.feed.venues import UnknownVenueError
from hft_engine.runtime.actor import ActorContext, BaseActor, ControlError, FatalError
from hft_engine.runtime.chain import NativeCall
from hft_engine.runtime.messages import Subscribe, Unsubscribe

__all__ = ["COUNTED", "FRAMES_MAX", "FeedActor", "warm"]

SYNC_NS = 10_000_000  # counters are at most this stale under load
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
)
_PRESENT = ("state", "acks_missing", "last_frame_mono_ns", *watch.PRESENT)


def warm() -> None:
    """Compile (or load from the cache) the feed's kernels, with the types of a live run."""
    duty.warm()
    wire.warm()
    monitor.warm()


class FeedActor(BaseActor):
    """Writer of the ``ticks`` ring. Counter ``state`` indexes FEED_STATES, ``last_frame_mono_ns`` is a time."""

    role = "feed"
    counters = (*_PRESENT, *COUNTED, "quarantined", "quarantine_dropped", *watch.COUNTED)
    histograms = ("feed", "venue_to_socket")

    def on_start(self, ctx: ActorContext) -> None:
        config = ctx.config.feed
        self._ctx = ctx
        self._counters = ctx.counter_array()
        self._base = self._counters.copy()  # what an earlier life of this role counted
        self._base[: len(_PRESENT)] = 0
        self._synced = 0  # messages that the counters know of
        self._sync_due_ns = 0
        path = ctx.data_dir / "quarantine" / f"{ctx.run_id}.jsonl"
        self._quarantine = Quarantine(path, config.quarantine_bytes_max)
        self._ticks = ctx.ring("ticks")
        symbols = subscriptions.in_force(config.symbols, ctx.recorded())
        asked = msgspec.structs.replace(config, symbols=symbols)
        last_frame_ns = int(self._counters[self.counters.index("last_frame_mono_ns")])
        try:
            self._line = Line(asked, ctx, self._quarantine, last_frame_ns)
        except UnknownVenueError as error:
            raise FatalError(f"feed.venue: {error}") from None
        self._health = HealthWatch(ctx, self._ticks, [self._line.venue_id])
        self._drive(self._line.start)

    def do_work(self) -> int:
        before = self._line.messages
        self._line.wire.pump()
        self.tend()
        return self._line.messages - before

    def native(self) -> NativeCall:
        return self._line.wire.call

    def tend(self) -> None:
        line = self._line
        self._drive(line.tend)
        self.more = line.more
        now_ns = time.monotonic_ns()
        self._health.tend([self._line], now_ns)
        if now_ns >= self._sync_due_ns and (
            self._health.dirty or line.dirty or line.messages != self._synced
        ):
            self._sync(now_ns)

    def on_control(self, message: object) -> object:
        """``Subscribe``, ``Unsubscribe``: the reply names the symbols in force from the next connection's tick on."""
        present = self._line.session.symbols
        match message:
            case Subscribe(symbols):
                return self._subscribe(subscriptions.with_added(present, symbols, self._ctx.instruments))
            case Unsubscribe(symbols):
                return self._subscribe(subscriptions.without(present, symbols))
        return super().on_control(message)

    def on_stop(self) -> None:
        self._line.stop()
        self._health.stop()
        self._sync(time.monotonic_ns())

    def wait_fd(self) -> int | None:
        return self._line.fileno()

    def _drive(self, step: Callable[[], None]) -> None:
        try:
            step()
        except FatalError:
            self._sync(time.monotonic_ns())  # what is told of the end includes its state
            raise

    def _subscribe(self, symbols: tuple[str, ...]) -> dict[str, object]:
        sequence, before = self._ticks.published, self._line.session.symbols
        if not self._ctx.record("subscription", sequence, {"symbols": symbols}):
            raise ControlError("the change cannot be recorded, so it was not made; is the disk full?")
        self._line.change(symbols)
        self._health.subscribed(before, symbols)
        self._ctx.event("subscription", f"from tick {sequence} on: {', '.join(symbols) or 'nothing'}")
        return {"symbols": list(symbols), "sequence": sequence}

    def _sync(self, now_ns: int) -> None:
        """Counters to shared memory, in the order of ``counters``."""
        line, session, quarantine = self._line, self._line.session, self._quarantine
        present = (int(session.state), session.acks_missing, line.last_frame_ns, *self._health.present())
        counted = (*present, *line.counts(), quarantine.kept, quarantine.dropped, *self._health.counted())
        self._counters[:] = self._base + np.array(counted, np.int64)
        line.dirty = self._health.dirty = False
        self._synced = line.messages
        self._sync_due_ns = now_ns + SYNC_NS
