"""When a market is open: the seam to a calendar. Outside its session silence is no fault.

``always``                          never closed: crypto, a demo
``09:30-16:00 America/New_York``    Monday to Friday, by wall clock; knows no holiday
``XNYS``                            an exchange of ``exchange_calendars``, with its holidays and half days
"""

import re
import warnings
from datetime import UTC, datetime, time, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NEVER_NS = (1 << 63) - 1
_WALL_CLOCK = re.compile(r"^(\d\d):(\d\d)-(\d\d):(\d\d) (\S+)$")
_SATURDAY = 5


class HoursError(ValueError):
    """The session of the configuration cannot be used; the text says what to do."""


class Hours(Protocol):
    def at(self, utc_ns: int) -> tuple[bool, int]:
        """Whether the market is open, and when that changes: UTC ns."""
        ...


class Always:
    def at(self, utc_ns: int) -> tuple[bool, int]:
        return True, NEVER_NS


class WallClock:
    """The same hours on every working day of a time zone."""

    def __init__(self, opens: time, closes: time, zone: ZoneInfo) -> None:
        self._opens, self._closes, self._zone = opens, closes, zone

    def at(self, utc_ns: int) -> tuple[bool, int]:
        now = _moment(utc_ns).astimezone(self._zone)
        is_working_day = now.weekday() < _SATURDAY
        wall = now.time().replace(tzinfo=None)
        if is_working_day and self._opens <= wall < self._closes:
            return True, self._stamp(now, self._closes)
        day = now if wall < self._opens else now + timedelta(days=1)
        while day.weekday() >= _SATURDAY:
            day += timedelta(days=1)
        return False, self._stamp(day, self._opens)

    def _stamp(self, day: datetime, wall: time) -> int:
        return int(datetime.combine(day.date(), wall, self._zone).timestamp()) * 1_000_000_000


class Exchange:
    """Sessions of an ``exchange_calendars`` calendar; beyond its end it is closed."""

    def __init__(self, calendar: Any) -> None:
        self._opens = calendar.opens.to_numpy("datetime64[ns]").astype("int64")
        self._closes = calendar.closes.to_numpy("datetime64[ns]").astype("int64")

    def at(self, utc_ns: int) -> tuple[bool, int]:
        i = int(self._closes.searchsorted(utc_ns, "right"))
        if i == len(self._closes):
            return False, NEVER_NS
        is_open = bool(self._opens[i] <= utc_ns)
        return is_open, int(self._closes[i] if is_open else self._opens[i])


def hours_of(text: str) -> Hours:
    """The hours that ``feed.health.session`` names. Raises HoursError."""
    if text == "always":
        return Always()
    wall = _WALL_CLOCK.match(text)
    return _wall_clock(text, wall) if wall else _exchange(text)


def _wall_clock(text: str, match: re.Match[str]) -> Hours:
    try:
        opens, closes = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
        zone = ZoneInfo(match[5])
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise HoursError(
            f"feed.health.session: {text!r}: {error}; such as 09:30-16:00 America/New_York"
        ) from None
    if opens >= closes:
        raise HoursError(f"feed.health.session: {text!r} must open before it closes, on one day")
    return WallClock(opens, closes, zone)


def _exchange(name: str) -> Hours:
    try:
        import exchange_calendars
    except ImportError:
        raise HoursError(
            f"feed.health.session: {name!r} needs a calendar: pip install 'hft-engine[calendar]'; without one give "
            "hours, such as 09:30-16:00 America/New_York, or always"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library's, about pandas to come
            return Exchange(exchange_calendars.get_calendar(name))
    except exchange_calendars.errors.InvalidCalendarName:
        raise HoursError(
            f"feed.health.session: no exchange {name!r}: give its ISO 10383 code, such as XNYS or XNAS"
        ) from None


def _moment(utc_ns: int) -> datetime:
    return datetime.fromtimestamp(utc_ns // 1_000_000_000, UTC)
