"""The memory of the indicators: one row an instrument, all of it plain bytes, so a checkpoint is a copy.

``STATE_DTYPE`` row:  header | second, minute, tick bar being built | values | tick basis | bar basis | sizes
Fields that one trade touches stand together; the long windows are rings of ``WINDOW_MAX`` of which one trade
touches a few cache lines. A row of zeros is a new instrument.

``clock`` int64[CLOCK_WORDS + instruments_max]: event time of the whole run, then per instrument the event time
at which its earliest open bar is due (NEVER_NS without one): contiguous, so that looking for due bars is one
fast pass.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.features import EXTENSIONS_MAX, check_periods, groups_of
from hft_engine.memory import LINE_BYTES, private_bytes
from hft_engine.records import FEATURES_MAX, BarKind

WINDOW_MAX = 128  # upper limit of config ``Period``; a power of two
LOGS_MAX = 32  # log prices kept for the returns; a power of two above the longest, 20
NEVER_NS = np.iinfo(np.int64).max
SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS

# A rolling sum (and sum of squares) of deviations from ``anchor``; ``peak``: largest sum of squares since both were
# last computed afresh; ``left``: updates until that happens again.
ROLLING_DTYPE = np.dtype(
    [("anchor", "<f8"), ("sum", "<f8"), ("squares", "<f8"), ("peak", "<f8"), ("left", "<i8")]
)

PRICES_DTYPE = np.dtype(
    [
        ("count", "<i8"),  # prices seen
        ("last", "<f8"),
        ("ema_fast", "<f8"),
        ("ema_slow", "<f8"),
        ("macd_fast", "<f8"),  # the fast EMA that starts with the slow one
        ("macd_signal", "<f8"),
        ("gain", "<f8"),
        ("loss", "<f8"),
        ("sma", ROLLING_DTYPE),
        ("bollinger", ROLLING_DTYPE),
        ("volatility", ROLLING_DTYPE),
        ("logs", "<f8", (LOGS_MAX,)),
        ("prices", "<f8", (WINDOW_MAX,)),
        ("returns", "<f8", (WINDOW_MAX,)),
    ]
)

BUILDER_DTYPE = np.dtype(
    [
        ("start_ns", "<i8"),
        ("end_ns", "<i8"),  # exclusive; 0 = no window is open
        ("closed_ns", "<i8"),  # end of the last window that was closed
        ("prints", "<i8"),  # prints that moved the price
        ("trade_count", "<i8"),
        ("late_count", "<i8"),
        ("gapped", "<i8"),  # 1: data are missing in the window
        ("first_ns", "<i8"),  # event times of open and close
        ("last_ns", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<f8"),
        ("notional", "<f8"),
    ]
)


def _whole_lines(fields: list[Any]) -> np.dtype:
    """The record of these fields, filled up to whole cache lines."""
    left = -np.dtype(fields).itemsize % LINE_BYTES
    return np.dtype([*fields, ("_pad", "u1", (left,))])


STATE_DTYPE = _whole_lines(
    [
        ("seen", "<i8"),  # trades and quotes
        ("last_tick_ns", "<i8"),
        ("session", "<i8"),  # day number of the VWAP session
        ("last_price", "<f8"),
        ("mid", "<f8"),
        ("vwap_notional", "<f8"),
        ("vwap_volume", "<f8"),
        ("sizes_count", "<i8"),
        ("new_bar", "<i8"),  # 1: a bar has come into the features since the last feature record
        ("unfit", "<i8"),  # TickFlag.UNFIT while the data are not to be acted on, else 0
        ("hole", "<i8"),  # 1: data are missing from here on, so of every bar that begins
        ("values", "<f8", (FEATURES_MAX,)),
        ("second", BUILDER_DTYPE),
        ("minute", BUILDER_DTYPE),
        ("ticks", BUILDER_DTYPE),
        ("tick", PRICES_DTYPE),
        ("bar", PRICES_DTYPE),
        ("atr", "<f8"),
        ("atr_count", "<i8"),
        ("atr_close", "<f8"),
        ("sizes_rolling", ROLLING_DTYPE),
        ("sizes", "<f8", (WINDOW_MAX,)),
        ("second_before", BUILDER_DTYPE),  # as they were closed, for what comes late
        ("minute_before", BUILDER_DTYPE),
    ]
)

# The parameters as kernels read them; ``calls``: addresses of compiled extensions, ``call_offset``: first double of
# each in a row of the extension state, ``call_shared``: of what all instruments share, in the whole extension state.
PARAMETERS_DTYPE = np.dtype(
    [
        ("bar_kind", "<i8"),  # BarKind that feeds bar_*
        ("ticks_per_bar", "<i8"),
        ("late_after_ns", "<i8"),
        ("session_start_ns", "<i8"),
        ("sma", "<i8"),
        ("ema_fast", "<i8"),
        ("ema_slow", "<i8"),
        ("macd_signal", "<i8"),
        ("rsi", "<i8"),
        ("bollinger", "<i8"),
        ("bollinger_width", "<f8"),
        ("atr", "<i8"),
        ("volatility", "<i8"),
        ("size_window", "<i8"),
        ("tick_groups", "<i8"),  # see ``features``: what is computed of trades
        ("bar_groups", "<i8"),
        ("on_bars", "<i8"),  # 1: a feature record only where ``new_bar`` says so
        ("patience", "<i8"),  # ticks: while no more wait, the stage takes few at once; see ``stage``
        ("call_count", "<i8"),
        ("extension_doubles", "<i8"),  # of one instrument
        ("calls", "<i8", (EXTENSIONS_MAX,)),
        ("call_offset", "<i8", (EXTENSIONS_MAX,)),
        ("call_shared", "<i8", (EXTENSIONS_MAX,)),
    ]
)

# head of ``clock``
C_WATERMARK, C_SCAN_AT, C_SCAN_NEXT, C_INSTRUMENTS = range(4)
CLOCK_WORDS = 8

_BAR_KINDS = {"second": BarKind.SECOND, "minute": BarKind.MINUTE, "ticks": BarKind.TICKS}


@dataclass(frozen=True)
class IndicatorState:
    """All that a run of the indicators remembers; copy the first three arrays and you have a checkpoint."""

    rows: np.ndarray  # STATE_DTYPE[instruments]
    clock: np.ndarray  # int64[CLOCK_WORDS + instruments]
    extensions: np.ndarray  # float64: a row of all extensions an instrument, then what the instruments share
    shared: np.ndarray  # float64: a view of that last part


def new_state(instruments: int, extension_doubles: int = 0, shared_doubles: int = 0) -> IndicatorState:
    """A state in which nothing has been seen. Pages of instruments that never tick are never touched."""
    clock = np.full(CLOCK_WORDS + instruments, NEVER_NS, np.int64)
    clock[:CLOCK_WORDS] = 0
    rows = private_bytes(instruments * STATE_DTYPE.itemsize).view(STATE_DTYPE)
    first_shared = instruments * extension_doubles
    extensions = np.zeros(max(1, first_shared + shared_doubles))
    return IndicatorState(rows, clock, extensions, extensions[first_shared : first_shared + shared_doubles])


def parameters_of(config: IndicatorConfig) -> np.ndarray:
    """``PARAMETERS_DTYPE[1]`` of a configuration, without extensions. Raises FeatureError."""
    check_periods(config)
    parameters = np.zeros(1, PARAMETERS_DTYPE)
    for name in (
        "ticks_per_bar",
        "sma",
        "ema_fast",
        "ema_slow",
        "macd_signal",
        "rsi",
        "bollinger",
        "bollinger_width",
        "atr",
        "volatility",
        "size_window",
    ):
        parameters[0][name] = getattr(config, name)
    parameters[0]["tick_groups"], parameters[0]["bar_groups"] = groups_of(config)
    parameters[0]["bar_kind"] = _BAR_KINDS[config.bar]
    parameters[0]["late_after_ns"] = config.late_after_ms * 1_000_000
    hours, minutes = config.session_start_utc.split(":")
    parameters[0]["session_start_ns"] = (int(hours) * 60 + int(minutes)) * 60 * SECOND_NS
    return parameters
