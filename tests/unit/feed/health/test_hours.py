"""When a market is open, by wall clock and by an exchange's calendar."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from hft_engine.feed.health.hours import HoursError, hours_of

NEW_YORK = ZoneInfo("America/New_York")


def ns(text: str) -> int:
    """A wall clock in New York."""
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("now", "is_open", "change"),
    [
        ("2023-11-20 09:29:59", False, "2023-11-20 09:30"),
        ("2023-11-20 09:30:00", True, "2023-11-20 16:00"),
        ("2023-11-20 16:00:00", False, "2023-11-21 09:30"),
        ("2023-11-17 17:00:00", False, "2023-11-20 09:30"),  # Friday to Monday
        ("2024-03-08 17:00:00", False, "2024-03-11 09:30"),  # over the change of the clocks
        ("2023-11-04 12:00:00", False, "2023-11-06 09:30"),
    ],
)
def test_wall_clock_hours_of_working_days(now: str, is_open: bool, change: str) -> None:
    assert hours_of("09:30-16:00 America/New_York").at(ns(now)) == (is_open, ns(change))


@pytest.mark.parametrize(
    ("now", "is_open", "change"),
    [
        ("2022-11-23 15:59", True, "2022-11-23 16:00"),
        ("2022-11-24 12:00", False, "2022-11-25 09:30"),  # Thanksgiving
        ("2022-11-25 12:59", True, "2022-11-25 13:00"),  # the half day after it
        ("2022-11-25 13:00", False, "2022-11-28 09:30"),
    ],
)
def test_an_exchanges_calendar_knows_holidays_and_half_days(now: str, is_open: bool, change: str) -> None:
    assert hours_of("XNYS").at(ns(now)) == (is_open, ns(change))


def test_always_is_always() -> None:
    assert hours_of("always").at(0)[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("XXXX", ["XXXX", "ISO 10383"]),
        ("16:00-09:30 America/New_York", ["before it closes"]),
        ("09:30-16:00 Atlantis", ["Atlantis", "such as"]),
        ("25:00-26:00 America/New_York", ["25:00", "such as"]),
    ],
)
def test_hours_that_cannot_be_used_are_refused_with_the_remedy(text: str, words: list[str]) -> None:
    with pytest.raises(HoursError) as refused:
        hours_of(text)
    assert all(word in str(refused.value) for word in ["feed.health.session", *words])
