"""Texts and messages with ``{names}`` in them."""

import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"\{([^{}]*)\}")


def template(text: str) -> tuple[list[str], list[str]]:
    """("a{b}c{d}") -> (["a", "c", ""], ["b", "d"]): pieces, one more than names, and names."""
    parts = _NAME.split(text)
    return parts[::2], parts[1::2]


def names(message: Any) -> set[str]:
    """All names in a message."""
    if isinstance(message, str):
        return set(_NAME.findall(message))
    if isinstance(message, Mapping):
        return set().union(*(names(value) for value in message.values()))
    if isinstance(message, list):
        return set().union(*(names(value) for value in message))
    return set()


def filled(message: Any, values: Mapping[str, Any]) -> Any:
    """``message`` with values for names. Text that is nothing but a name becomes the value itself, a list say."""
    if isinstance(message, Mapping):
        return {key: filled(value, values) for key, value in message.items()}
    if isinstance(message, list):
        return [filled(value, values) for value in message]
    if not isinstance(message, str):
        return message
    whole = _NAME.fullmatch(message)
    if whole is not None and whole[1] in values:
        return values[whole[1]]
    return _NAME.sub(lambda found: str(values.get(found[1], found[0])), message)
