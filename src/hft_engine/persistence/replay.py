"""The replay actor: takes the feed's place on the tick ring and plays what was recorded."""

import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from hft_engine.instruments import InstrumentTable, InstrumentTableFullError
from hft_engine.persistence.journal import JournalError
from hft_engine.persistence.pace import Pace
from hft_engine.persistence.replay_stage import ReplayStage
from hft_engine.runtime.actor import ActorContext, BaseActor, FatalError

OpenSource = Callable[[InstrumentTable], Iterable[np.ndarray]]

BATCH_TICKS = 4_096  # half a megabyte: a few hundred microseconds


class ReplayActor(BaseActor):
    """Plays the chunks (``TICK_DTYPE``, any order of stamps) of a source in their order, none lost.

    ``open_source`` gets the run's instrument table, registers its symbols there and returns the chunks; if what
    it returns has an attribute ``count`` (ticks in all), ``progress_permille`` follows it. ``refusals`` are the
    errors of the source that are told to the user as they are. ``speed``: see ``Pace``.

    ``ts_recv_ns`` and ``ts_venue_ns`` stay as recorded; ``ts_mono_ns`` is the clock at the publish, from where
    latency is measured: there is no socket, so the hop to the visible tick is 0. On a gating ring it takes the room
    there is; on another it would lap slow readers.
    Restarted, it goes on behind what the ring already has: tick i of the source is sequence i.
    """

    role = "replay"
    counters = ("ticks", "finished", "progress_permille", "began_mono_ns")

    def __init__(
        self, open_source: OpenSource, speed: float = 0.0, refusals: tuple[type[Exception], ...] = ()
    ) -> None:
        self._open_source = open_source
        self._refusals: tuple[type[Exception], ...] = (
            JournalError,
            InstrumentTableFullError,
            OSError,
            *refusals,
        )
        self._pace = Pace(speed)

    def on_start(self, ctx: ActorContext) -> None:
        """Raises FatalError where the source cannot be used."""
        self._ring = ctx.ring("ticks")
        self._log = ctx.log
        self._ticks = ctx.counter("ticks")
        self._finished = ctx.counter("finished")
        self._progress = ctx.counter("progress_permille")
        self._began = ctx.counter("began_mono_ns")
        self._stage = ReplayStage(self._ring)
        self._batch_max = min(BATCH_TICKS, self._ring.capacity // 2)
        self._chunk_ticks = 0
        self._offset = 0
        self._open(ctx.instruments)
        self._begin(time.monotonic_ns())
        self._skip(self._ring.published)

    @property
    def finished(self) -> bool:
        """Whether the last tick of the source is on the ring."""
        return bool(self._finished.value)

    def do_work(self) -> int:
        if self._offset == self._chunk_ticks and not self._load():
            return 0
        now_ns = time.monotonic_ns()
        room = min(self._ring.room(), self._batch_max, self._chunk_ticks - self._offset)
        count = self._pace.due(self._offset, room, now_ns)
        if count:
            self._publish(count, now_ns)
        return count

    def _open(self, instruments: InstrumentTable) -> None:
        try:
            source = self._open_source(instruments)
        except self._refusals as error:
            raise FatalError(str(error)) from error
        self._total = int(getattr(source, "count", 0))
        self._chunks: Iterator[np.ndarray] = iter(source)
        self._finished.set(0)

    def _load(self) -> bool:
        """Make the next chunk the current one; False at the end of the source."""
        try:
            chunk = next((c for c in self._chunks if len(c)), None)
        except self._refusals as error:
            raise FatalError(str(error)) from error
        if chunk is None:
            self._finish()
            return False
        self._pace.load(chunk)
        self._stage.load(chunk)
        self._chunk_ticks, self._offset = len(chunk), 0
        return True

    def _skip(self, count: int) -> None:
        while count and self._load():
            self._offset = min(count, self._chunk_ticks)
            count -= self._offset

    def _begin(self, now_ns: int) -> None:
        """Until the first tick is out, the replay begins now: what the time that it took is counted from."""
        if not self._ring.published:
            self._began.set(now_ns)

    def _publish(self, count: int, now_ns: int) -> None:
        self._begin(now_ns)
        self._ticks.add(self._stage.publish(self._offset, self._offset + count, now_ns))
        self._offset += count
        if self._total:
            self._progress.set(self._ring.published * 1_000 // self._total)

    def _finish(self) -> None:
        if not self.finished:
            self._finished.set(1)
            self._progress.set(1_000)
            self._log.info("replay finished: %d ticks", self._ticks.value)
