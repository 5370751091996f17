"""The indicators actor: tick ring in, feature ring and bar ring out. All the work is ``stage.duty``'s."""

import numpy as np

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators import step
from hft_engine.indicators.extension import ExtensionError
from hft_engine.indicators.features import FeatureError
from hft_engine.indicators.resume import resume
from hft_engine.indicators.stage import IndicatorStage
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, TICK_DTYPE, TickKind
from hft_engine.runtime.actor import ActorContext, BaseActor, FatalError
from hft_engine.runtime.chain import NativeCall
from hft_engine.shm import histogram
from hft_engine.shm.ring import Ring

# A duty cycle, under a millisecond: more than the feed reads in one turn, so that in a process with it what an overload
# costs is features, of which the next is as good, and not ticks, without which bars are wrong.
TICKS_MAX = 8_192


class IndicatorsActor(BaseActor):
    """One feature record for every trade and quote, one bar record for every bar that is final."""

    role = "indicators"
    counters = step.COUNTERS
    histograms = ("indicators",)

    def on_start(self, ctx: ActorContext) -> None:
        """Raises FatalError for a configuration or an extension that cannot be used."""
        try:
            self._stage = IndicatorStage(
                ctx.config.indicators,
                ctx.ring("ticks"),
                ctx.reader("ticks"),
                ctx.ring("features"),
                ctx.ring("bars"),
                ctx.instruments.capacity,
                ctx.counter_array(),
                ctx.histogram("indicators"),
                TICKS_MAX,
                ctx.config.inference.evaluate == "bars",
            )
        except (FeatureError, ExtensionError, ValueError) as error:
            raise FatalError(str(error)) from error
        again = resume(self._stage, ctx.ring("ticks"), ctx.reader("ticks"), ctx.ring("features"))
        if again:
            ctx.event("resumed", f"indicators were rebuilt from the last {again} ticks in the ring")
        ctx.log.info("feature set of %d, hash %s", len(self._stage.schema), self._stage.schema.hash[:16])

    def do_work(self) -> int:
        return self._stage.run()

    def native(self) -> NativeCall:
        return self._stage.native()


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
