"""Field paths, times and numbers of a field map, compiled to plain functions.

A getter is called with (event, frame) and raises MISSING where nothing is.
"""

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from hft_engine.feed.events import to_ns
from hft_engine.feed.venues.fieldmap import Field, Scalar, Unit

Getter = Callable[[Any, Any], Any]
MISSING = (KeyError, IndexError, TypeError, ValueError)
SYMBOLS_KEPT_MAX = 100_000  # that a pattern found
_INDEX = re.compile(r"-?\d+")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)?")
_DIGITS: dict[str, int] = {"s": 9, "ms": 6, "us": 3, "ns": 0}


def getter(path: str) -> Getter:
    """What is at ``path``."""
    rooted = path.startswith("/")
    steps: list[Any] = [int(s) if _INDEX.fullmatch(s) else s for s in path.lstrip("/").split(".") if s]
    if not rooted and len(steps) == 1 and isinstance(steps[0], str):
        return _key(steps[0])

    def get(event: Any, frame: Any) -> Any:
        found = frame if rooted else event
        for step in steps:
            # Text can be indexed too, and would give its letters.
            if type(found) is not (list if type(step) is int else dict):
                raise TypeError("not there")
            found = found[step]
        return found

    return get


def _key(name: str) -> Getter:
    def get(event: Any, _frame: Any) -> Any:
        return event[name]

    return get


def optional(get: Getter, default: Any) -> Getter:
    """``default`` where nothing is, or null."""

    def maybe(event: Any, frame: Any) -> Any:
        try:
            found = get(event, frame)
        except (KeyError, IndexError, TypeError):
            return default
        return default if found is None else found

    return maybe


def condition(wanted: dict[str, Scalar | list[Scalar]]) -> Callable[[Any, Any], bool] | None:
    """Whether all paths hold one of their values; None where nothing is asked for."""
    if not wanted:
        return None
    checks = [(optional(getter(path), None), _values(value)) for path, value in wanted.items()]

    def holds(event: Any, frame: Any) -> bool:
        return all(any(_same(get(event, frame), value) for value in values) for get, values in checks)

    return holds


def _values(value: Scalar | list[Scalar]) -> list[Scalar]:
    return value if isinstance(value, list) else [value]


def _same(found: Any, value: Scalar) -> bool:
    return found == value and isinstance(found, bool) == isinstance(value, bool)  # 1 is not true


def number(get: Getter) -> Getter:
    """A finite float of a number or its text."""

    def convert(event: Any, frame: Any) -> float:
        found = get(event, frame)
        if type(found) is str or type(found) is float or type(found) is int:
            value = float(found)
            if math.isfinite(value):
                return value
        raise ValueError(f"{found!r} is no number")

    return convert


def optional_number(get: Getter) -> Getter:
    """As ``number``; NaN where nothing is, null or empty text."""
    convert = number(get)
    maybe = optional(get, "")

    def convert_if_any(event: Any, frame: Any) -> float:
        return math.nan if maybe(event, frame) == "" else float(convert(event, frame))

    return convert_if_any


def whole(get: Getter) -> Getter:
    """An integer or its text; 0 for anything else: not every venue's ids are numbers."""
    maybe = optional(get, 0)

    def convert(event: Any, frame: Any) -> int:
        try:
            found = int(maybe(event, frame))
        except (ValueError, TypeError, OverflowError):
            return 0
        return found if -(2**63) <= found < 2**63 else 0

    return convert


def side(get: Getter, field: Field) -> Getter:
    """1: the aggressor bought, -1: sold, 0: not said."""
    maybe = optional(get, None)

    def convert(event: Any, frame: Any) -> int:
        found = maybe(event, frame)
        if found is None:
            return 0
        return _same(found, field.buy) - _same(found, field.sell)

    return convert


def symbol(get: Getter, pattern: str | None) -> Getter:
    """Text, or what the group of ``pattern`` finds in it."""
    if pattern is None:
        return _text(get)
    search, known = re.compile(pattern).search, dict[str, str]()

    def convert(event: Any, frame: Any) -> str:
        text = get(event, frame)
        found = known.get(text)
        if found is None:
            match = search(text)
            if match is None:
                raise ValueError(f"{text!r} does not fit {pattern!r}")
            found = match[1]
            if len(known) < SYMBOLS_KEPT_MAX:
                known[text] = found
        return found

    return convert


def _text(get: Getter) -> Getter:
    def convert(event: Any, frame: Any) -> str:
        found = get(event, frame)
        if type(found) is not str:
            raise TypeError(f"{found!r} is no text")
        return found

    return convert


def time_ns(get: Getter, unit: Unit) -> Getter:
    """UTC nanoseconds above 0."""
    if unit == "iso":
        convert = _iso_ns
    elif unit == "auto":
        convert = _told_by_magnitude
    else:
        digits = _DIGITS[unit]
        factor = 10**digits

        def convert(found: Any) -> int:
            return found * factor if type(found) is int else _scaled(found, digits)

    def positive(event: Any, frame: Any) -> int:
        found = convert(get(event, frame))
        if found <= 0:
            raise ValueError("a time must be above 0")
        return found

    return positive


def time_if_any_ns(get: Getter, unit: Unit) -> Getter:
    """As ``time_ns``; 0 where nothing is, or null."""
    convert, maybe = time_ns(get, unit), optional(get, None)

    def convert_if_any(event: Any, frame: Any) -> int:
        return 0 if maybe(event, frame) is None else int(convert(event, frame))

    return convert_if_any


def _told_by_magnitude(found: Any) -> int:
    if type(found) is int or type(found) is str:
        return to_ns(int(found))
    raise TypeError(f"{found!r} is no time")


def _scaled(found: Any, digits: int) -> int:
    # A float is taken by its text too: that is what the venue sent, to the last digit.
    if type(found) is not str and type(found) is not float:
        raise TypeError(f"{found!r} is no time")
    before, _, after = (found if type(found) is str else repr(found)).partition(".")
    if after and not after.isdecimal():
        raise ValueError(f"{found!r} is no time")
    return int(before) * 10**digits + int(after[:digits].ljust(digits, "0") or 0)


def _iso_ns(found: Any) -> int:
    match = _MOMENT.fullmatch(found) if type(found) is str else None
    if match is None:
        raise ValueError(f"{found!r} is no ISO 8601 time")
    seconds, fraction, zone = match.groups()
    moment = datetime.fromisoformat(seconds + (zone or "Z"))
    return int(moment.timestamp()) * 1_000_000_000 + int((fraction or "0")[:9].ljust(9, "0"))
