"""Indicators without an engine: the very stage that runs live, over arrays. For training, research and tests."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators import step
from hft_engine.indicators.kernels import add_bar, add_to_vwap, put_vwap_deviation, start_row
from hft_engine.indicators.stage import IndicatorStage
from hft_engine.indicators.state import new_state, parameters_of
from hft_engine.kernel import kernel
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, FEATURES_MAX, TICK_DTYPE
from hft_engine.shm import histogram
from hft_engine.shm.ring import Ring

_CHUNK = 4096  # ticks a pass: large enough that Python costs nothing, small enough to stay in the cache
_BARS_CAPACITY = 16_384


@dataclass(frozen=True)
class Computed:
    """``features`` FEATURE_DTYPE[n], ``bars`` BAR_DTYPE[m], in the order of a live run; ``counters`` by name.

    ``ts_publish_ns`` is 0 in both: nothing was published.
    """

    features: np.ndarray
    bars: np.ndarray
    counters: dict[str, int]


class OfflineIndicators:
    """Feed ticks piece by piece: the same bytes come out however they are cut.

    ``on_bars``: features only where ``inference.evaluate: bars`` would have them, at an instrument's first trade or
    quote with a new bar.
    """

    def __init__(
        self, config: IndicatorConfig, instruments: int, ticks_max: int = 256, on_bars: bool = False
    ) -> None:
        self._ticks = Ring.private("ticks", TICK_DTYPE, _CHUNK * 2, ("indicators",), gating=True)
        self._features = Ring.private("features", FEATURE_DTYPE, _CHUNK * 2, ("offline",), gating=True)
        self._bars = Ring.private("bars", BAR_DTYPE, _BARS_CAPACITY, ("offline",), gating=True)
        self._counts = np.zeros(len(step.COUNTERS), np.int64)
        self._stage = IndicatorStage(
            config,
            self._ticks,
            0,
            self._features,
            self._bars,
            instruments,
            self._counts,
            histogram.new_counts(),
            ticks_max,
            on_bars,
        )
        self.schema = self._stage.schema

    def feed(self, ticks: np.ndarray) -> Computed:
        """Take TICK_DTYPE rows in; returns what they caused. ``sequence`` is given afresh, from 0 on.

        Raises ValueError for another dtype.
        """
        if ticks.dtype != TICK_DTYPE:
            raise ValueError(
                "ticks must be records.TICK_DTYPE; np.concatenate lays its overlapping fields out anew: "
                "join them with records.join_ticks"
            )
        features: list[np.ndarray] = []
        bars: list[np.ndarray] = []
        for start in range(0, len(ticks), _CHUNK):
            self._ticks.publish_rows(ticks[start : start + _CHUNK].copy())
            while self._ticks.lag(0):
                self._stage.run()
                features.append(_drain(self._features))
                bars.append(_drain(self._bars))
        counters = dict(zip(step.COUNTERS, self._counts.tolist(), strict=True))
        return Computed(_joined(features, FEATURE_DTYPE), _joined(bars, BAR_DTYPE), counters)


def compute(
    ticks: np.ndarray, config: IndicatorConfig, instruments: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(FEATURE_DTYPE[n], BAR_DTYPE[m]) of ``ticks`` (TICK_DTYPE, in order of arrival), from a fresh state.

    ``instruments``: rows of state, by default what the ids in ``ticks`` need. Bars still open at the end are not
    written, as they would not be live. Raises FeatureError, ExtensionError.
    """
    if instruments is None:
        instruments = int(ticks["instrument_id"].max(initial=0)) + 1
    computed = OfflineIndicators(config, instruments).feed(ticks)
    return computed.features, computed.bars


def features_of_bars(
    open_: np.ndarray,
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    volume: np.ndarray,
    ts_ns: np.ndarray,
    config: IndicatorConfig,
) -> np.ndarray:
    """Features after each bar of one instrument: float64[n, FEATURES_MAX], columns as ``feature_schema(config)``.

    For training on bars: the ``bar_*`` slots hold what the engine would hold after such a bar, and VWAP that of the
    bars' typical prices (high + low + close) / 3. Slots that need trades or quotes, and extensions, are NaN.
    ``ts_ns``: UTC nanoseconds of each bar. ``open_`` moves no feature and is taken for completeness.
    """
    columns = [np.ascontiguousarray(column, np.float64) for column in (open_, high, low, close, volume)]
    stamps = np.ascontiguousarray(ts_ns, np.int64)
    if len({len(stamps), *(len(column) for column in columns)}) != 1:
        raise ValueError("features_of_bars: the columns differ in length")
    values = np.full((len(stamps), FEATURES_MAX), np.nan)
    table = np.column_stack(columns)
    _bars_into(values, table, stamps, new_state(1).rows, parameters_of(config))
    return values


@kernel(cache=True)
def _bars_into(
    values: np.ndarray, table: np.ndarray, stamps: np.ndarray, state: np.ndarray, parameters: np.ndarray
) -> None:
    p: Any = parameters[0]
    row: Any = state[0]
    start_row(row)
    for i in range(len(stamps)):
        high, low, close, volume = table[i, 1], table[i, 2], table[i, 3], table[i, 4]
        if close > 0.0:
            add_bar(row, high, low, close, p)
            add_to_vwap(row, (high + low + close) / 3.0, volume, stamps[i], p)
            put_vwap_deviation(row, close)
        for k in range(FEATURES_MAX):
            values[i, k] = row.values[k]


def _drain(ring: Ring) -> np.ndarray:
    rows = np.zeros(ring.lag(0), ring.dtype)
    ring.poll(0, rows, len(rows))
    rows["ts_publish_ns"] = 0
    return rows


def _joined(parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
