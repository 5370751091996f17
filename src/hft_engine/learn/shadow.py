"""The shadow: candidates and the live model on the rows of the running engine, and what the gate decides, carried out.

The actor takes rows off the rings; what may take long (labels, scores, registry, commands) is done by one thread beside
it, the ``Umpire``, so that the duty cycle goes on. A scoring that hangs stops the duty cycle or lasts too long: the
process dies, the supervisor starts it again, and the candidate it was about is refused at the second time.
"""

import queue
import resource
import threading
import time

import numpy as np

from hft_engine.learn.samples import Samples
from hft_engine.learn.umpire import Told, Umpire
from hft_engine.learn.window import RowPicker, RowWindow
from hft_engine.models.registry import Registry
from hft_engine.runtime.actor import ActorContext, BaseActor

ROWS_MAX = 20_000  # that are scored on: enough for the slowest labels of many instruments
BATCH = 1_024  # records copied at once: half a megabyte, half a millisecond
EVERY_S = 0.1  # the rings are looked at, sooner where much waits
JUDGE_EVERY_S = 1.0
JUDGE_LIMIT_S = 60.0  # a round of scoring that takes longer hangs


class ShadowActor(BaseActor):
    """Never gates; what it missed is counted, and the rows begin afresh behind the gap."""

    role = "shadow"
    counters = ("rows", "rounds", "blocks", "promoted", "refused", "rolled_back", "gaps", "swaps_refused")

    def on_start(self, ctx: ActorContext) -> None:
        self._ctx = ctx
        limit = ctx.config.learning.memory_mb << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        self._features, self._bars = ctx.ring("features"), ctx.ring("bars")
        self._readers = ctx.reader("features"), ctx.reader("bars")
        self._scratch = [np.zeros(BATCH, ring.dtype) for ring in (self._features, self._bars)]
        indicators = ctx.config.indicators
        self._picker = RowPicker(indicators, ctx.instruments.capacity)
        self._window = RowWindow(indicators, ctx.instruments.symbol_of, ROWS_MAX)
        self._lapped = self._laps()
        self._told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self._umpire = Umpire(
            ctx.config, ctx.feature_schema, Registry(ctx.data_dir / "models"), ctx.run_dir, self._told.put
        )
        self._round: threading.Thread | None = None
        self._round_s = self._poll_s = 0.0
        self._failure: BaseException | None = None

    def do_work(self) -> int:
        now_s = time.monotonic()
        crowded = self._features.lag(self._readers[0]) > self._features.capacity // 8
        if now_s - self._poll_s < EVERY_S and not crowded:
            return 0
        self._poll_s = now_s
        work = self._collect()
        self._say()
        self._judge(now_s)
        return work

    def _collect(self) -> int:
        features = self._polled(0)
        bars = self._polled(1)  # afterwards: a bar is published before the features with it
        if self._laps() != self._lapped:
            self._ctx.counter("gaps").add()
            self._lapped = self._laps()
            self._window.clear()
        rows = self._picker.pick(features, bars)
        self._window.add(rows, bars)
        self._ctx.counter("rows").add(len(rows))
        return len(features) + len(bars)

    def _polled(self, which: int) -> np.ndarray:
        ring, reader, scratch = (
            (self._features, self._bars)[which],
            self._readers[which],
            self._scratch[which],
        )
        parts = []
        for _ in range(ring.capacity // BATCH):
            count = ring.poll(reader, scratch, BATCH)
            parts.append(scratch[:count].copy())
            if count < BATCH:
                break
        return np.concatenate(parts)

    def _laps(self) -> int:
        return self._features.lapped(self._readers[0]) + self._bars.lapped(self._readers[1])

    def _say(self) -> None:
        while not self._told.empty():
            told = self._told.get()
            if told.counter:
                self._ctx.counter(told.counter).add(told.count)
            if told.text:
                self._ctx.event(told.kind, told.text, fault=told.fault)

    def _judge(self, now_s: float) -> None:
        """Begins a round where none runs. Raises what a round failed with, RuntimeError where it hangs."""
        if self._failure is not None:
            raise self._failure
        if self._round is not None and self._round.is_alive():
            if now_s - self._round_s > JUDGE_LIMIT_S:
                raise RuntimeError(f"scoring hangs: {self._umpire.doing} for more than {JUDGE_LIMIT_S:.0f} s")
            return
        if now_s - self._round_s >= JUDGE_EVERY_S:
            self._round_s = now_s
            samples = self._window.samples("the running engine")
            self._round = threading.Thread(
                target=self._run_round, args=(samples,), name="umpire", daemon=True
            )
            self._round.start()

    def _run_round(self, samples: Samples | None) -> None:
        try:
            self._umpire.round(samples)
            self._ctx.counter("rounds").add()
        except Exception as error:  # noqa: BLE001 - a thread's failure is its process's, which is told it
            self._failure = error
