"""Bars of the trades that were published, under the vendor's rules of what a print may do; see feed/conditions.py.

A print that may not move prices adds volume only; without one that may, a window has no bar. ``n`` and ``vw`` are
over the prints that add volume. Open and close go by the venue's time, whatever the order of publication.
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from hft_engine.feed.simulator.eastern import days_of, midnight_ns
from hft_engine.records import TickFlag

WIDTHS_NS = {"second": 10**9, "minute": 60 * 10**9, "hour": 3_600 * 10**9}
CALENDAR = ("day", "week", "month", "quarter", "year")
TIMESPANS = (*WIDTHS_NS, *CALENDAR)


class Bar(NamedTuple):
    """``start_ns`` UTC; ``vwap`` to four decimals, as the vendor has it."""

    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    prints: int


def aggregate(trades: np.ndarray, timespan: str, multiplier: int) -> list[Bar]:
    """TICK_DTYPE[n] of one instrument, as bars in order of time. ``timespan`` is one of TIMESPANS."""
    if not len(trades):
        return []
    trades = trades[np.argsort(trades["ts_venue_ns"], kind="stable")]
    starts, windows = _windows(trades["ts_venue_ns"], timespan, multiplier)
    moves = (trades["flags"] & TickFlag.NO_PRICE_UPDATE) == 0
    priced, at = trades["price"][moves], windows[moves]
    if not len(priced):
        return []
    first = np.flatnonzero(np.diff(at, prepend=-1))
    last = np.append(first[1:], len(at)) - 1
    shown = at[first]
    adds = (trades["flags"] & TickFlag.NO_VOLUME_UPDATE) == 0
    size, value = trades["size"][adds], trades["price"][adds] * trades["size"][adds]
    volume = np.bincount(windows[adds], size, len(starts))[shown]
    notional = np.bincount(windows[adds], value, len(starts))[shown]
    count = np.bincount(windows[adds], minlength=len(starts))[shown]
    vwap = np.round(notional / np.where(volume > 0, volume, 1.0), 4)
    columns = (
        np.asarray(starts, np.int64)[shown], priced[first], np.maximum.reduceat(priced, first),
        np.minimum.reduceat(priced, first), priced[last], volume, vwap, count,
    )  # fmt: skip
    return [Bar(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def _windows(ts_ns: np.ndarray, timespan: str, multiplier: int) -> tuple[Sequence[int], np.ndarray]:
    """(starts, index): the window of ``ts_ns[i]`` starts at ``starts[index[i]]``."""
    if timespan in WIDTHS_NS:
        width = WIDTHS_NS[timespan] * multiplier
        numbers, index = np.unique(ts_ns // width, return_inverse=True)
        return (numbers * width).tolist(), index
    days, index = days_of(ts_ns)
    keys = [period_of(day, timespan) for day in days]
    periods = sorted(set(keys))[::multiplier]
    of_day = (
        np.searchsorted([p.toordinal() for p in periods], [k.toordinal() for k in keys], side="right") - 1
    )
    return [midnight_ns(period) for period in periods], of_day[index]


def period_of(day: date, timespan: str) -> date:
    """The first day of the week (Sunday), month, ... that ``day`` is in."""
    match timespan:
        case "week":
            return date.fromordinal(day.toordinal() - (day.weekday() + 1) % 7)
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(day=1, month=3 * ((day.month - 1) // 3) + 1)
        case "year":
            return day.replace(day=1, month=1)
    return day


def merge(bars: Sequence[Bar], timespan: str, multiplier: int) -> list[Bar]:
    """Bars of days (in order) as bars of a longer ``timespan`` of the calendar."""
    if not bars:
        return []
    starts, index = _windows(np.array([bar.start_ns for bar in bars]), timespan, multiplier)
    groups: dict[int, list[Bar]] = {}
    for bar, number in zip(bars, index.tolist(), strict=True):
        groups.setdefault(number, []).append(bar)
    return [_join(starts[number], group) for number, group in groups.items()]


def _join(start_ns: int, group: Sequence[Bar]) -> Bar:
    volume = sum(bar.volume for bar in group)
    notional = sum(bar.volume * bar.vwap for bar in group)
    return Bar(
        start_ns,
        group[0].open,
        max(bar.high for bar in group),
        min(bar.low for bar in group),
        group[-1].close,
        volume,
        round(notional / volume, 4) if volume else 0.0,
        sum(bar.prints for bar in group),
    )
