"""Days as the vendors count them: from midnight to midnight in New York."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

EASTERN = ZoneInfo("America/New_York")


def time_of(ts_ns: int) -> datetime:
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).astimezone(EASTERN)


def day_of(ts_ns: int) -> date:
    return time_of(ts_ns).date()


def midnight_ns(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=EASTERN).timestamp()) * 1_000_000_000


def days_of(ts_ns: np.ndarray) -> tuple[list[date], np.ndarray]:
    """(days, index): ``ts_ns[i]`` (not empty) falls on ``days[index[i]]``; days are without a hole."""
    first, last = day_of(int(ts_ns.min())), day_of(int(ts_ns.max()))
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return days, np.searchsorted([midnight_ns(day) for day in days], ts_ns, side="right") - 1
