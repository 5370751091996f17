"""Time of one tick through the indicator stage: ring in, all features of its instrument, bars, feature record out.

Beside it, in the same run: TA-Lib asked anew for six of the indicators over a window of 100 prices, as one does who
keeps no state.
"""

import time

import numpy as np

from benchmarks import harness, workload
from hft_engine.indicators import step
from hft_engine.indicators.features import BUILT_IN_FEATURES
from hft_engine.indicators.stage import IndicatorStage
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, TICK_DTYPE
from hft_engine.shm import histogram
from hft_engine.shm.ring import Ring

CHUNK = 256  # ticks handed over at once, as in the actor
WINDOW = 100


def stage_ns(ticks: np.ndarray, rounds: int) -> float:
    """Nanoseconds a tick. Each round is the same day again, on an engine that has seen it before."""
    ring = Ring.private("ticks", TICK_DTYPE, 4 * CHUNK, ("indicators",))
    features = Ring.private("features", FEATURE_DTYPE, 16_384)
    bars = Ring.private("bars", BAR_DTYPE, 16_384)
    counts, latencies = np.zeros(len(step.COUNTERS), np.int64), histogram.new_counts()
    stage = IndicatorStage(
        workload.INDICATORS, ring, 0, features, bars, workload.INSTRUMENTS, counts, latencies, CHUNK
    )
    spent = 0
    for start in (start for _ in range(rounds) for start in range(0, len(ticks), CHUNK)):
        ring.publish_rows(ticks[start : start + CHUNK])
        before = time.perf_counter_ns()
        while stage.run():
            pass
        spent += time.perf_counter_ns() - before
    done = int(counts[step.N_TICKS])
    if done != rounds * len(ticks) or features.published != done:
        raise RuntimeError(f"{done} ticks gave {features.published} feature records")
    return spent / done


def talib_ns(prices: np.ndarray, sizes: np.ndarray, count: int) -> float:
    """Nanoseconds a tick of SMA, EMA, RSI, MACD, Bollinger, ATR over the last WINDOW prices, calls included."""
    import talib

    high, low = prices * 1.0001, prices * 0.9999
    started = time.perf_counter_ns()
    for i in range(WINDOW, WINDOW + count):
        window = prices[i - WINDOW : i]
        talib.SMA(window, 20)
        talib.EMA(window, 12)
        talib.RSI(window, 14)
        talib.MACD(window, 12, 26, 9)
        talib.BBANDS(window, 20)
        talib.ATR(high[i - WINDOW : i], low[i - WINDOW : i], window, 14)
    return (time.perf_counter_ns() - started) / count


def main() -> int:
    report = harness.Report("indicators", harness.options(__doc__ or ""))
    _, ticks = workload.market_ticks(report.opts.count(200_000, 50_000))
    rounds = report.opts.count(5, 2)
    report.sense_jitter()
    ours = report.measure("the stage", lambda: stage_ns(ticks, rounds))
    reference = None
    try:
        prices = np.cumsum(np.random.default_rng(1).normal(0.0, 0.01, 5_000)) + 100.0
        peer = report.measure("TA-Lib", lambda: talib_ns(prices, prices, report.opts.count(4_000, 2_000)))
        reference = ("TA-Lib, six indicators over 100 prices", peer)
    except ImportError:
        report.note("TA-Lib is not installed (extra: test); no reference for the indicators.")
    report.sense_jitter()
    trades = float(np.mean(ticks["kind"] == 1))
    report.add("indicators_per_tick_ns", ours, "ns", reference)
    report.note(
        f"indicators: {len(ticks):,} ticks, {trades:.0%} trades, of {workload.INSTRUMENTS} instruments; "
        f"{len(BUILT_IN_FEATURES)} features a record, ring in and out and the histogram included."
    )
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
