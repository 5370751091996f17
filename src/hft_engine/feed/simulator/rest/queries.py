"""Parameters of a Polygon request, as the vendor reads them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, TypeVar

from hft_engine.feed.simulator.eastern import midnight_ns
from hft_engine.feed.simulator.rest.paging import AFTER, next_url, unfold

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "": lambda a, b: a == b,
    ".gte": lambda a, b: a >= b,
    ".gt": lambda a, b: a > b,
    ".lte": lambda a, b: a <= b,
    ".lt": lambda a, b: a < b,
}
MS = 1_000_000
Item = TypeVar("Item")


class QueryError(Exception):
    """A parameter that is none; the text names it."""


class EntitlementError(Exception):
    """The plan does not have it; the text, if any, is the vendor's."""


class NoDataError(Exception):
    """There are no such data."""


def opened(query: Mapping[str, str]) -> dict[str, str]:
    """The query, its cursor unfolded."""
    try:
        return unfold(query)
    except ValueError as error:
        raise QueryError("invalid cursor") from error


def number(query: Mapping[str, str], name: str, default: int, highest: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise QueryError(f"{name}: {text!r} is no number from 1 to {highest}")
    return min(int(text), highest)


def choice(query: Mapping[str, str], name: str, default: str, of: Sequence[str]) -> str:
    text = query.get(name, default)
    if text not in of:
        raise QueryError(f"{name}: {text!r} is none of {', '.join(of)}")
    return text


def flag(query: Mapping[str, str], name: str, default: bool) -> bool:
    return choice(query, name, "true" if default else "false", ("true", "false")) == "true"


def day(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise QueryError(f"{name}: {text!r} is no date like 2026-01-31") from error


def time_ns(text: str, name: str, unit_ns: int, end_of_day: bool = False) -> int:
    """A date (its begin in New York, or its last instant) or a number of ``unit_ns``."""
    if text.removeprefix("-").isdecimal():
        return int(text) * unit_ns
    found = day(text, name)
    return midnight_ns(found + timedelta(days=1)) - 1 if end_of_day else midnight_ns(found)


def times_allowed(query: Mapping[str, str], name: str, unit_ns: int) -> Callable[[int], bool]:
    """The filter that ``name``, ``name.gte``, ... make; a plain date is that whole day."""
    wanted: list[tuple[Callable[[Any, Any], bool], int]] = []
    for suffix, compare in COMPARISONS.items():
        text = query.get(name + suffix)
        if text is None:
            continue
        if suffix == "" and not text.isdecimal():
            wanted.append((COMPARISONS[".gte"], time_ns(text, name, unit_ns)))
            wanted.append((COMPARISONS[".lte"], time_ns(text, name, unit_ns, end_of_day=True)))
        else:
            wanted.append((compare, time_ns(text, name + suffix, unit_ns, suffix in (".gt", ".lte"))))
    return lambda ts_ns: all(compare(ts_ns, limit) for compare, limit in wanted)


def values_allowed(query: Mapping[str, str], name: str, of: Callable[[str], Any]) -> Callable[[Any], bool]:
    """The filter that ``name``, ``name.gte``, ... make, their values read by ``of``."""
    try:
        wanted = [
            (compare, of(query[name + suffix]))
            for suffix, compare in COMPARISONS.items()
            if name + suffix in query
        ]
    except ValueError as error:
        raise QueryError(f"{name}: not readable") from error
    return lambda value: all(compare(value, limit) for compare, limit in wanted)


def page(
    items: Sequence[Item], path: str, query: Mapping[str, str], limit: int, mark: Callable[[Item], str]
) -> tuple[Sequence[Item], dict[str, str]]:
    """The first ``limit`` of ``items`` behind the query's cursor, and the body's ``next_url`` if there are more.

    ``mark`` names an item for the cursor; the item named there must still be among ``items``.
    """
    start = 0
    if AFTER in query:
        marks = [mark(item) for item in items]
        if query[AFTER] not in marks:
            raise QueryError("invalid cursor")
        start = marks.index(query[AFTER]) + 1
    shown = items[start : start + limit]
    more = start + limit < len(items)
    return shown, {"next_url": next_url(path, query, mark(shown[-1]))} if more else {}
