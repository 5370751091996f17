"""What one tick does to one instrument: bars, indicators, extensions, and the feature record that comes of it.

Pure: a function of the state, the parameters and the tick. ``row`` is a STATE_DTYPE, ``p`` a PARAMETERS_DTYPE,
``tick`` a TICK_DTYPE record; ``counts`` int64 in the order of ``COUNTERS``.
"""

import math
from typing import Any

import numpy as np

from hft_engine.indicators.bars import add_trade, is_backfill, take_health, write_backfill
from hft_engine.indicators.calls import LINE_BYTES, call_extension, prefetch_lines
from hft_engine.indicators.features import BUILT_IN_FEATURES
from hft_engine.indicators.kernels import (
    TICK_BASE,
    add_price,
    add_quote,
    add_size,
    add_time,
    add_to_vwap,
    put_vwap_deviation,
    start_row,
)
from hft_engine.indicators.state import C_INSTRUMENTS, PRICES_DTYPE, STATE_DTYPE, WINDOW_MAX
from hft_engine.kernel import kernel
from hft_engine.records import TICK_DTYPE, TickFlag, TickKind
from hft_engine.words import copy_values

COUNTERS = (
    "ticks",  # read from the ring
    "features",  # records published
    "bars",  # records published
    "late_trades",  # prints of a second or a minute whose bar was closed already
    "ineligible_trades",  # prints whose conditions forbid them to move the price
    "condition_unknown",  # of these, prints with a condition code outside the table
    "bad_trades",  # prints without a positive finite price: they move nothing
    "instrument_out_of_range",  # ticks of an instrument id that the state has no row for: skipped
    "unfit_features",  # records published while the instrument's data were not to be acted on
    "backfilled_bars",  # bars asked for afterwards that were published as revisions
)
(
    N_TICKS,
    N_FEATURES,
    N_BARS,
    _N_LATE,
    _N_INELIGIBLE,
    _N_UNKNOWN,
    _N_BAD,
    N_OUT_OF_RANGE,
    N_UNFIT,
    _N_BACKFILLED,
) = range(len(COUNTERS))

_TRADE, _QUOTE, _HEALTH = int(TickKind.TRADE), int(TickKind.QUOTE), int(TickKind.HEALTH)
_UNKNOWN = int(TickFlag.CONDITION_UNKNOWN)
_NO_PRICE = int(TickFlag.NO_PRICE_UPDATE) | _UNKNOWN
_NO_VOLUME = int(TickFlag.NO_VOLUME_UPDATE)
_FIRST_EXTENSION = len(BUILT_IN_FEATURES)
_ROW_BYTES = STATE_DTYPE.itemsize
_FIELDS: Any = STATE_DTYPE.fields
_VALUES_BYTE = int(_FIELDS["values"][1])
_PRICES: Any = PRICES_DTYPE.fields
_TICK_BYTE = int(_FIELDS["tick"][1])
_PRICES_BYTE, _RETURNS_BYTE = _TICK_BYTE + int(_PRICES["prices"][1]), _TICK_BYTE + int(_PRICES["returns"][1])
_SIZES_BYTE = int(_FIELDS["sizes"][1])
_QUOTE_LINES = -(-int(_FIELDS["second"][1]) // LINE_BYTES)  # head and values
_TRADE_LINES = -(-_PRICES_BYTE // LINE_BYTES) - _QUOTE_LINES  # and builders, sums, logs
_WINDOW_MASK = WINDOW_MAX - 1
_TICK_BYTES = TICK_DTYPE.itemsize
_DOUBLE_BYTES = 8


@kernel(forceinline=True)
def gives_features(tick: Any) -> bool:
    """Trades and quotes do; the venue's own bars, fair values and price bands pass by."""
    return tick.kind == _TRADE or tick.kind == _QUOTE


@kernel()
def tells_of_data(tick: Any) -> bool:
    """What is no market event but about them: their health, and bars that were missing."""
    return tick.kind == _HEALTH or is_backfill(tick)


@kernel()
def take_told(row: Any, tick: Any, clock: np.ndarray, bars: np.ndarray, at: int, counts: np.ndarray) -> int:
    """Such a tick into its instrument. Returns how many bars it wrote, from sequence ``at`` on. Event time stands."""
    if row.seen == 0:
        start_row(row)
        clock[C_INSTRUMENTS] = max(clock[C_INSTRUMENTS], tick.instrument_id + 1)
    if tick.kind == _HEALTH:
        take_health(row, tick)
        return 0
    write_backfill(row, tick, bars, at)
    counts[_N_BACKFILLED] += 1
    return 1


@kernel(forceinline=True)
def _moves_price(tick: Any, good: bool, counts: np.ndarray) -> bool:
    if tick.flags & _NO_PRICE:
        counts[_N_INELIGIBLE] += 1
        if tick.flags & _UNKNOWN:
            counts[_N_UNKNOWN] += 1
        return False
    return good


@kernel(forceinline=True)
def _indicators_of_trade(row: Any, tick: Any, p: Any, moves_price: bool, adds_volume: bool) -> None:
    if adds_volume:
        add_size(row, tick.size, p)
    if not moves_price:
        return
    row.last_price = tick.price
    if adds_volume:
        add_to_vwap(row, tick.price, tick.size, tick.ts_venue_ns, p)
    put_vwap_deviation(row, tick.price)
    if p.tick_groups:
        add_price(row.tick, tick.price, p, p.tick_groups, row.values, TICK_BASE)


@kernel(forceinline=True)
def _take_trade(
    row: Any, tick: Any, p: Any, clock: np.ndarray, bars: np.ndarray, at: int, counts: np.ndarray
) -> int:
    good = 0.0 < tick.price < math.inf
    if not good:
        counts[_N_BAD] += 1
    moves_price = _moves_price(tick, good, counts)
    adds_volume = good and not tick.flags & _NO_VOLUME and 0.0 <= tick.size < math.inf
    written, late, late_minute = add_trade(row, tick, p, moves_price, adds_volume, clock, bars, at)
    if late or late_minute:
        counts[_N_LATE] += 1
    if not late:
        _indicators_of_trade(row, tick, p, moves_price, adds_volume)
    return written


@kernel()
def fetch_ahead(state: np.ndarray, tick: Any) -> None:
    """Ask for what ``tick`` will touch of its instrument's row, some ticks before it is taken."""
    if 0 <= tick.instrument_id < len(state):
        row = state.ctypes.data + tick.instrument_id * _ROW_BYTES
        prefetch_lines(row, _QUOTE_LINES)
        if tick.kind == _TRADE:
            prefetch_lines(row + _QUOTE_LINES * LINE_BYTES, _TRADE_LINES)


@kernel()
def fetch_windows(state: np.ndarray, tick: Any, p: Any) -> None:
    """The same for the windows of a trade, whose places the row itself says: after ``fetch_ahead``."""
    if tick.kind == _TRADE and 0 <= tick.instrument_id < len(state):
        row: Any = state[tick.instrument_id]
        start = state.ctypes.data + tick.instrument_id * _ROW_BYTES
        count = row.tick.count
        for back in (0, p.sma, p.bollinger):
            prefetch_lines(start + _PRICES_BYTE + ((count - back) & _WINDOW_MASK) * _DOUBLE_BYTES, 1)
        for back in (1, 1 + p.volatility):
            prefetch_lines(start + _RETURNS_BYTE + ((count - back) & _WINDOW_MASK) * _DOUBLE_BYTES, 1)
        for back in (0, p.size_window):
            at = (row.sizes_count - back) & _WINDOW_MASK
            prefetch_lines(start + _SIZES_BYTE + at * _DOUBLE_BYTES, 1)


@kernel(forceinline=True)
def take(
    row: Any, tick: Any, p: Any, clock: np.ndarray, bars: np.ndarray, at: int, counts: np.ndarray
) -> int:
    """A trade or quote into its instrument. Returns how many bars it closed, written from sequence ``at`` on."""
    if row.seen == 0:
        start_row(row)
        clock[C_INSTRUMENTS] = max(clock[C_INSTRUMENTS], tick.instrument_id + 1)
    add_time(row, tick.ts_venue_ns)
    if tick.kind == _TRADE:
        return _take_trade(row, tick, p, clock, bars, at, counts)
    add_quote(row, tick.bid, tick.ask, tick.bid_size, tick.ask_size)
    return 0


@kernel()
def run_extensions(
    state: np.ndarray, extensions: np.ndarray, p: Any, instrument: int, ticks: np.ndarray, i: int
) -> None:
    """Every extension on tick ``ticks[i]``; each value goes into its own slot, in order."""
    own = extensions.ctypes.data + instrument * p.extension_doubles * _DOUBLE_BYTES
    values = state.ctypes.data + instrument * _ROW_BYTES + _VALUES_BYTE
    tick = ticks.ctypes.data + i * _TICK_BYTES
    for k in range(p.call_count):
        shared = extensions.ctypes.data + p.call_shared[k] * _DOUBLE_BYTES
        value = call_extension(p.calls[k], own + p.call_offset[k] * _DOUBLE_BYTES, tick, values, shared)
        state[instrument].values[_FIRST_EXTENSION + k] = value


@kernel(forceinline=True)
def write_features(row: Any, tick: Any, out: Any) -> None:
    """The instrument's feature vector as the record that ``tick`` caused; its sequence and stamp are the ring's."""
    out.source_sequence = tick.sequence
    out.ts_venue_ns = tick.ts_venue_ns
    out.ts_recv_ns = tick.ts_recv_ns
    out.ts_mono_ns = tick.ts_mono_ns
    out.ts_tick_ns = tick.ts_publish_ns
    out.instrument_id = tick.instrument_id
    out.kind = tick.kind
    out.flags = tick.flags | row.unfit
    out.venue_id = tick.venue_id
    out.price = row.last_price if row.last_price == row.last_price else row.mid
    copy_values(out.values, row.values)
