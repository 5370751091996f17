"""The indicators actor: tick ring in, feature ring and bar ring out. All the work is ``stage.duty``'s."""

import time

import numpy as np

from hft_engine.config.schema import Config, IndicatorConfig
from hft_engine.indicators import step
from hft_engine.indicators.extension import ExtensionError, source_hashes
from hft_engine.indicators.features import FeatureError
from hft_engine.indicators.resume import Resumed, Resumption, write_facts
from hft_engine.indicators.stage import IndicatorStage
from hft_engine.indicators.state import C_INSTRUMENTS, STATE_DTYPE
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, TICK_DTYPE, TickKind
from hft_engine.runtime import snapshot
from hft_engine.runtime.actor import ActorContext, BaseActor, FatalError
from hft_engine.runtime.chain import NativeCall
from hft_engine.runtime.checkpoint import key_of
from hft_engine.runtime.history import TickHistory
from hft_engine.runtime.laps import LapRecord
from hft_engine.runtime.schedule import Schedule
from hft_engine.runtime.session_events import of_kinds
from hft_engine.runtime.snapshot import Snapshots
from hft_engine.shm import histogram
from hft_engine.shm.ring import Ring

# A duty cycle, under a millisecond: more than the feed reads in one turn, so that in a process with it no tick is lost.
TICKS_MAX = 8_192
PATIENCE_SHARE = (
    8  # of the tick ring may wait, 50 ms at 600,000 ticks/s, before the stage runs ahead of the model
)


class IndicatorsActor(BaseActor):
    """One feature record for every trade and quote, one bar record for every bar that is final."""

    role = "indicators"
    counters = (*step.COUNTERS, *snapshot.COUNTERS)
    histograms = ("indicators",)

    def on_start(self, ctx: ActorContext) -> None:
        """Raises FatalError for a configuration or an extension that cannot be used."""
        self._ctx = ctx
        self._ticks, self._features, self._bars = (ctx.ring(name) for name in ("ticks", "features", "bars"))
        self._reader = ctx.reader("ticks")
        self._schedule = Schedule()
        self._schedule.skip_missed(ctx, self._ticks.name)
        self._stage = self._make_stage()
        self._stage.follow(
            self._schedule
        )  # a tick that an earlier life did not see is not seen by its successor
        self._snapshots = self._make_snapshots()
        self._resume()
        self._stage.take_snapshots(self._snapshots.control, self._snapshots.marks)
        self._laps = LapRecord(ctx, self._ticks, self._reader)
        if not of_kinds(ctx.recorded(), "start"):
            sources = source_hashes(ctx.config.indicators.extensions)
            facts = {"features": self._stage.schema.hash, "extensions": sources}
            ctx.record("start", self._ticks.position(self._reader), facts)
        ctx.log.info("feature set of %d, hash %s", len(self._stage.schema), self._stage.schema.hash[:16])

    def do_work(self) -> int:
        done = self._stage.run()
        self.tend()
        return done

    def native(self) -> NativeCall:
        return self._stage.native()

    def glance(self) -> None:
        self._laps.tend()

    def tend(self) -> None:
        self._snapshots.tend()
        self._laps.tend()
        if self._schedule.asked:
            self._schedule.reach()

    def on_stop(self) -> None:
        self._snapshots.complete()
        self._laps.tend()

    def _make_stage(self) -> IndicatorStage:
        ctx = self._ctx
        try:
            return IndicatorStage(
                ctx.config.indicators,
                self._ticks,
                self._reader,
                self._features,
                self._bars,
                ctx.instruments.capacity,
                ctx.counter_array(),
                ctx.histogram("indicators"),
                TICKS_MAX,
                ctx.config.inference.evaluate == "bars",
                self._patience(),
            )
        except (FeatureError, ExtensionError, ValueError) as error:
            raise FatalError(str(error)) from error

    def _patience(self) -> int:
        """None where what piles up is to be conflated: it must pile up as features then."""
        conflates = self._ctx.config.inference.conflate_above > 0
        return 0 if conflates else self._ticks.capacity // PATIENCE_SHARE

    def _make_snapshots(self) -> Snapshots:
        ctx, stage = self._ctx, self._stage
        columns, rows_max = stage.columns, ctx.instruments.capacity
        return Snapshots(
            snapshot.file_of(ctx.run_dir, self.role, state_key(ctx.config), columns, rows_max),
            columns,
            lambda: int(stage.state.clock[C_INSTRUMENTS]),
            lambda facts: write_facts(facts, stage, self._ticks, self._reader, self._features, self._bars),
            ctx.config.checkpoints.memory_ms,
            [ctx.counter(name) for name in snapshot.COUNTERS],
        )

    def _resume(self) -> None:
        started_s = time.monotonic()
        rings = self._ticks, self._features, self._bars
        history = TickHistory(self._ticks, self._ctx.open_ticks)
        resumed = Resumption(self._stage, rings, self._reader, history).run(self._snapshots.restore())
        if resumed.lost:
            self._snapshots.complete()  # from the older one on, a next life would miss a different part of the past
        if resumed != Resumed():
            self._tell(resumed, time.monotonic() - started_s)

    def _tell(self, resumed: Resumed, seconds: float) -> None:
        ctx = self._ctx
        for first, end in resumed.lost:
            ctx.event("ticks_lost", f"ticks {first} to {end - 1} are neither in the ring nor in the journal")
            ctx.record("lap", first, {"ring": "ticks", "from": first, "to": end, "out": True})
        text = (
            f"from the checkpoint on {resumed.again} ticks once more, {resumed.repaired} of a batch cut short"
        )
        ctx.event("resumed", f"{text}, {resumed.backlog} from the journal; {seconds * 1e3:.0f} ms")


def state_key(config: Config) -> int:
    """Of a checkpoint: it fits only this layout of the state and this configuration."""
    return key_of(STATE_DTYPE.descr, config.indicators, config.inference.evaluate)


def warm() -> None:
    """Compile the stage's kernel, or load it from the cache."""
    ticks = Ring.private("ticks", TICK_DTYPE, 8, ("indicators",))
    features = Ring.private("features", FEATURE_DTYPE, 8)
    bars = Ring.private("bars", BAR_DTYPE, 16)
    counts = np.zeros(len(step.COUNTERS), np.int64)
    stage = IndicatorStage(
        IndicatorConfig(), ticks, 0, features, bars, 1, counts, histogram.new_counts(), ticks_max=1
    )
    row = np.zeros(1, TICK_DTYPE)
    row["kind"], row["price"] = int(TickKind.TRADE), 1.0
    ticks.publish_rows(row)
    stage.run()
    stage.native()
    snapshot.warm()
