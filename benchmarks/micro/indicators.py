"""Time of one tick through the indicator stage: ring in, all features of its instrument, bars, feature record out.

Beside it, in the same run, six indicators a price for each of 100 instruments: TA-Lib's stream handles and talipp,
called from Python, which is how one has them, and our kernel, called from compiled code, which is how the stage has it
and which computes 14 features more; and TA-Lib's functions asked anew over a window of 100 prices, as one does who
keeps no state. The values are compared. The stage does more than any of them: 46 features, bars, rings.

Then the stage again with 10 to 10,000 instruments that all do the same: 200 ticks a second each, in turn, so that every
tick finds another instrument's state than the tick before it. What of the difference is the machine's: the cache lines
that these ticks need of their rows, asked for ahead, read and written, and nothing else done.
"""

import functools
import time
from collections.abc import Callable

import numpy as np
from numba import njit

from benchmarks import harness, workload
from benchmarks.micro import indicator_peers as peers
from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators import step
from hft_engine.indicators.calls import prefetch_lines
from hft_engine.indicators.features import BUILT_IN_FEATURES
from hft_engine.indicators.stage import IndicatorStage
from hft_engine.indicators.state import STATE_DTYPE, WINDOW_MAX
from hft_engine.memory import LINE_BYTES, private_bytes
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, TICK_DTYPE, TickKind
from hft_engine.shm import histogram
from hft_engine.shm.ring import Ring

CHUNK = 256  # ticks handed over at once, as in the actor
WINDOW = 100
CROWDS = (10, 100, 1_000, 10_000)
CROWD_PERIOD_NS = 5_000_000  # between an instrument's ticks
CROWD_WARM = 120  # ticks of an instrument before it is timed: 40 trades, as much as its longest window
CROWD_CHUNK = 4_096
LINE_WORDS, ROW_WORDS = LINE_BYTES // 8, STATE_DTYPE.itemsize // 8
# Lines of a row: what every tick reads (its head, the values), what a trade reads and writes besides (builders, sums,
# logs), and seven of three windows of WINDOW_MAX doubles.
TICK_LINES, TRADE_LINES, WINDOW_LINES = 10, 12, 7
BARE_AHEAD = 8  # as the stage
TARGET_NS = 150.0
TOLERANCE = 1e-6  # of prices about 100: talipp seeds its ATR with one range more, which fades away


class Stage:
    """The stage on rings of its own."""

    def __init__(
        self,
        instruments: int,
        chunk: int = CHUNK,
        on_bars: bool = False,
        config: IndicatorConfig = workload.INDICATORS,
    ) -> None:
        self._ring = Ring.private("ticks", TICK_DTYPE, 4 * chunk, ("indicators",))
        self._features = Ring.private("features", FEATURE_DTYPE, 16_384)
        bars = Ring.private("bars", BAR_DTYPE, 16_384)
        for ring in (self._ring, self._features, bars):
            ring.slots.view(np.uint8).fill(0)  # an engine has touched its rings before the first tick
        self._counts, latencies = np.zeros(len(step.COUNTERS), np.int64), histogram.new_counts()
        self._stage = IndicatorStage(
            config,
            self._ring,
            0,
            self._features,
            bars,
            instruments,
            self._counts,
            latencies,
            CHUNK,
            on_bars,
        )

    def spend(self, rows: np.ndarray) -> int:
        """Nanoseconds for these ticks, without their way into the ring."""
        self._ring.publish_rows(rows)
        before = time.perf_counter_ns()
        while self._stage.run():
            pass
        return time.perf_counter_ns() - before

    @property
    def published(self) -> int:
        """Feature records."""
        return self._features.published

    def expect(self, ticks: int) -> None:
        """Raises RuntimeError unless so many ticks gave as many feature records."""
        done = int(self._counts[step.N_TICKS])
        if done != ticks or self._features.published != ticks:
            raise RuntimeError(f"{done} of {ticks} ticks gave {self._features.published} feature records")


def stage_ns(ticks: np.ndarray, rounds: int) -> float:
    """Nanoseconds a tick. Each round is the same market again, later, on an engine that has seen it before."""
    stage, ticks, spent = Stage(workload.INSTRUMENTS), ticks.copy(), 0
    _load_kernel(ticks[:1])
    length_ns = int(ticks["ts_venue_ns"][-1] - ticks["ts_venue_ns"][0]) + 1
    for _ in range(rounds):
        for start in range(0, len(ticks), CHUNK):
            spent += stage.spend(ticks[start : start + CHUNK])
        ticks["ts_venue_ns"] += length_ns
    stage.expect(rounds * len(ticks))
    return spent / (rounds * len(ticks))


def _load_kernel(tick: np.ndarray) -> None:
    """Compile the stage, or load it from the cache: not a cost of a tick."""
    Stage(workload.INSTRUMENTS).spend(tick)


class Crowd:
    """A stage with so many instruments that all have the same trades and quotes, in turn."""

    def __init__(self, instruments: int, pattern: np.ndarray) -> None:
        self._instruments, self._pattern = instruments, pattern
        self._stage = Stage(instruments, CROWD_CHUNK)
        self._taken = 0
        self.run(CROWD_WARM * instruments)

    def run(self, count: int) -> float:
        """Nanoseconds a tick of the next ``count``."""
        spent = 0
        for start in range(self._taken, self._taken + count, CROWD_CHUNK):
            spent += self._stage.spend(self._ticks(start, min(CROWD_CHUNK, self._taken + count - start)))
        self._taken += count
        self._stage.expect(self._taken)
        return spent / count

    def _ticks(self, first: int, count: int) -> np.ndarray:
        turn, instrument = np.divmod(np.arange(first, first + count), self._instruments)
        ticks = self._pattern[turn % len(self._pattern)]
        ticks["instrument_id"] = instrument
        in_turn_ns = instrument * CROWD_PERIOD_NS // self._instruments
        ticks["ts_venue_ns"] = workload.START_NS + turn * CROWD_PERIOD_NS + in_turn_ns
        return ticks


@njit(nogil=True)
def _bare_pass(words, first, count, instruments):  # type: ignore[no-untyped-def]
    base, window, windows = words.ctypes.data, WINDOW_MAX // LINE_WORDS, TICK_LINES + TRADE_LINES
    for i in range(first, first + count):
        ahead = i + BARE_AHEAD
        row = base + ahead % instruments * ROW_WORDS * 8
        prefetch_lines(row, TICK_LINES)
        if ahead // instruments % 3 == 0:
            prefetch_lines(row + TICK_LINES * LINE_BYTES, TRADE_LINES)
            for k in range(WINDOW_LINES):
                line = windows + k % 3 * window + (ahead // instruments // LINE_WORDS + k) % window
                prefetch_lines(row + line * LINE_BYTES, 1)
        at = i % instruments * ROW_WORDS
        total = 1
        for line in range(TICK_LINES):
            total += words[at + line * LINE_WORDS]
        words[at] = words[at + LINE_WORDS] = total
        if i // instruments % 3 == 0:
            for line in range(TICK_LINES, TICK_LINES + TRADE_LINES):
                words[at + line * LINE_WORDS] += total
            for k in range(WINDOW_LINES):
                line = windows + k % 3 * window + (i // instruments // LINE_WORDS + k) % window
                words[at + line * LINE_WORDS] += total


class Bare:
    """The cache lines that a crowd's ticks need of their rows, and nothing done with them."""

    def __init__(self, instruments: int) -> None:
        self._instruments, self._taken = instruments, 0
        self._words = private_bytes(instruments * STATE_DTYPE.itemsize).view(np.int64)
        self.run(CROWD_WARM * instruments)

    def run(self, count: int) -> float:
        """Nanoseconds a tick of the next ``count``."""
        before = time.perf_counter_ns()
        _bare_pass(self._words, self._taken, count, self._instruments)
        self._taken += count
        return (time.perf_counter_ns() - before) / count


def crowd_pattern(count: int) -> np.ndarray:
    """Ticks of one instrument: a trade, two quotes, and so on, so that any stretch has the same share of each."""
    _, ticks = workload.market_ticks(2 * count, instruments=1)
    trades, quotes = (
        np.flatnonzero(ticks["kind"] == TickKind.TRADE),
        np.flatnonzero(ticks["kind"] == TickKind.QUOTE),
    )
    whole = min(len(trades), len(quotes) // 2)
    order = np.column_stack([trades[:whole], quotes[: 2 * whole].reshape(whole, 2)])
    pattern: np.ndarray = ticks[order.ravel()]
    return pattern


def talib_ns(prices: np.ndarray, count: int) -> float:
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


def six_indicators(report: harness.Report, steps: int) -> None:
    """The peers that keep a state, beside our kernel."""
    prices = peers.walks(steps, workload.INSTRUMENTS)
    peers.ours(prices[: peers.HISTORY + 1])  # compiles
    few = prices[: peers.HISTORY + max(1, steps // 20)]
    makers: dict[str, Callable[[], Callable[[], peers.Updates]]] = {
        "ours": lambda: functools.partial(peers.ours, prices),
        "TA-Lib stream handles": lambda: _tried(peers.talib_handles, prices),
        "talipp": lambda: _tried(peers.talipp, few),
    }
    runs = report.interleave(report.gather(makers))
    ns = {name: [run.ns for run in several] for name, several in runs.items()}
    for name, several in runs.items():
        given = few if name == "talipp" else prices
        _compare(name, several[0].last, peers.ours(given).last)
    reference = next(((name, ns[name]) for name in ns if name != "ours"), None)
    report.add("indicators_six_per_price_ns", ns["ours"], "ns", reference)
    for name in (name for name in ns if name != "ours"):
        slug = name.lower().replace("-", "").replace(" ", "_")
        report.add(f"indicators_{slug}_ns", ns[name], "ns", ("ours, six and more", ns["ours"]))


def _tried(peer: Callable[[np.ndarray], peers.Updates], prices: np.ndarray) -> Callable[[], peers.Updates]:
    peer(prices[: peers.HISTORY + 1, :1])  # raises where it is not installed
    return functools.partial(peer, prices)


def _compare(name: str, values: np.ndarray, ours: np.ndarray) -> None:
    worst = float(np.abs(values - ours).max())
    if not worst <= TOLERANCE:
        raise RuntimeError(f"{name} differs from ours by up to {worst}: what is fast must be right first")


def crowds(report: harness.Report, ticks: int) -> None:
    """Cost a tick as instruments grow."""
    pattern = crowd_pattern(3_000)
    report.progress("warming the crowds ...")
    made = {count: Crowd(count, pattern) for count in CROWDS}
    bare = {count: Bare(count) for count in (CROWDS[0], CROWDS[-1])}
    runs = report.interleave(
        {f"{count:,}": functools.partial(made[count].run, ticks) for count in CROWDS}
        | {f"{count:,}, bare": functools.partial(bare[count].run, ticks) for count in bare}
    )
    fewest = (f"{CROWDS[0]} instruments", runs[f"{CROWDS[0]:,}"])
    for count in CROWDS:
        limit = 1.3 * harness.Measured(tuple(fewest[1])).median if count == CROWDS[-1] else None
        report.add(
            f"indicators_per_tick_{count}_instruments_ns", runs[f"{count:,}"], "ns", fewest, target=limit
        )
    few, many = (runs[f"{count:,}, bare"] for count in bare)
    report.add(
        f"indicators_bare_lines_{CROWDS[-1]}_instruments_ns", many, "ns", (f"the same, {CROWDS[0]}", few)
    )


def asked_anew(report: harness.Report, count: int) -> tuple[str, list[float]] | None:
    """TA-Lib's functions over a window; None where it is not installed."""
    prices = np.cumsum(np.random.default_rng(1).normal(0.0, 0.01, 5_000)) + 100.0
    try:
        return "TA-Lib, six indicators over 100 prices", report.measure(
            "TA-Lib", lambda: talib_ns(prices, count)
        )
    except ImportError:
        return None  # named as left out with its stream handles


def main() -> int:
    report = harness.Report("indicators", harness.options(__doc__ or ""))
    _, ticks = workload.market_ticks(report.opts.count(200_000, 50_000))
    rounds = report.opts.count(5, 2)
    report.sense_jitter()
    ours = report.measure("the stage", lambda: stage_ns(ticks, rounds))
    report.add(
        "indicators_per_tick_ns", ours, "ns", asked_anew(report, report.opts.count(4_000, 2_000)), TARGET_NS
    )
    six_indicators(report, report.opts.count(1_000, 200))
    crowds(report, report.opts.count(300_000, 100_000))
    report.sense_jitter()
    trades = float(np.mean(ticks["kind"] == TickKind.TRADE))
    report.note(
        f"indicators: {len(ticks):,} ticks, {trades:.0%} trades, of {workload.INSTRUMENTS} instruments; "
        f"{len(BUILT_IN_FEATURES)} features a record, ring in and out and the histogram included."
    )
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
