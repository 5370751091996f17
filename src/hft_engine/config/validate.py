"""Plain data against the schema: every problem, each with its key path, what is allowed and the nearest name.

``msgspec`` alone stops at the first problem and cannot name the key of a mapping; it stays the authority:
what passes here is still converted by it.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import inspect

from hft_engine.config.schema import Config
from hft_engine.config.url_secrets import without_secrets

SCHEMA = inspect.type_info(Config)
SECRETS = frozenset({"feed.api_key", "simulator.api_key", "publisher.curve_secret_key"})
_LINES_SECRET = "feed.lines.NAME.api_key"
_LINE_KEY = re.compile(r"feed\.lines\.[^.]+\.api_key")


class Problem(NamedTuple):
    path: str  # "signals.rules[0].enter"
    text: str  # what is wrong and the remedy


def secret_in(path: str) -> str | None:
    """The key path of the secret that is at ``path`` or above it."""
    line_key = _LINE_KEY.match(path)
    return line_key[0] if line_key else next((secret for secret in SECRETS if path.startswith(secret)), None)


def secret_within(path: str, text: str) -> str | None:
    """The key path of a secret that ``text``, a whole section written out, sets at or below ``path``."""
    for secret in (_LINES_SECRET, *sorted(SECRETS)):
        section, _, key = secret.rpartition(".")
        is_line = secret == _LINES_SECRET and path.startswith("feed.lines")
        if key in text and (is_line or section == path or section.startswith(f"{path}.")):
            return secret
    return None


def problems(data: Any) -> list[Problem]:
    """All problems of ``data`` as a whole configuration."""
    return list(_check(data, SCHEMA, ""))


def type_at(path: str) -> inspect.Type | None:
    """The schema's type of a dotted key path, or None where there is no such key."""
    found: inspect.Type | None = SCHEMA
    for part in path.split("."):
        found = _below(required(found), part) if found is not None else None
    return found


def suggest(word: str, known: Iterable[str]) -> str:
    """'; did you mean x?' with the nearest known word and, where they are few, all of them."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"{meant or ';'} known: {', '.join(names)}"


def describe(kind: inspect.Type) -> str:
    """What the schema allows, in words."""
    if isinstance(kind, inspect.UnionType):
        return " or ".join(
            describe(t) for t in sorted(kind.types, key=lambda t: isinstance(t, inspect.NoneType))
        )
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(str(v) for v in kind.values)}"
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        noun = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
        return noun + "".join(f" {sign} {limit:,}" for sign, limit, _ in _bounds(kind))
    if isinstance(kind, inspect.StrType):
        return "text" + (f" matching {kind.pattern}" if kind.pattern else "")
    if isinstance(kind, inspect.VarTupleType):
        return f"a list [..] of {describe(kind.item_type)}"
    names = {inspect.BoolType: "true or false", inspect.NoneType: "null"}
    return names.get(type(kind), "a mapping of keys")


def required(kind: inspect.Type) -> inspect.Type:
    """``kind`` without "or null"."""
    if isinstance(kind, inspect.UnionType):
        return next(t for t in kind.types if not isinstance(t, inspect.NoneType))
    return kind


def _below(kind: inspect.Type, part: str) -> inspect.Type | None:
    if isinstance(kind, inspect.StructType):
        return next((f.type for f in kind.fields if f.encode_name == part), None)
    return kind.value_type if isinstance(kind, inspect.DictType) else None


def _check(value: Any, kind: inspect.Type, path: str) -> Iterator[Problem]:
    if isinstance(kind, inspect.UnionType):
        if value is not None:
            yield from _check(value, required(kind), path)
    elif isinstance(kind, inspect.StructType):
        yield from _check_struct(value, kind, path)
    elif isinstance(kind, inspect.DictType):
        yield from _check_dict(value, kind, path)
    elif isinstance(kind, inspect.VarTupleType):
        yield from _check_list(value, kind, path)
    elif not _is_allowed(value, kind):
        yield Problem(path, f"must be {describe(kind)}, not {_shown(value, path)}{_hint(value, kind)}")


def _check_struct(value: Any, kind: inspect.StructType, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(path, f"must be a section with keys below it, not {_shown(value, path)}")
        return
    fields = {f.encode_name: f for f in kind.fields}
    for key, below in value.items():
        if key not in fields:
            yield Problem(_join(path, key), f"unknown key{suggest(str(key), fields)}")
        else:
            yield from _check(below, fields[key].type, _join(path, key))
    for name, field in fields.items():
        if field.required and name not in value:
            yield Problem(_join(path, name), f"is missing; give {describe(field.type)}")


def _check_dict(value: Any, kind: inspect.DictType, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(path, f"must be a mapping of names, not {_shown(value, path)}")
        return
    for key, below in value.items():
        if isinstance(key, str):
            yield from _check(below, kind.value_type, _join(path, key))
        else:
            yield Problem(path, f"key {key!r} must be text; put it in quotes")


def _check_list(value: Any, kind: inspect.VarTupleType, path: str) -> Iterator[Problem]:
    if not isinstance(value, list | tuple):
        yield Problem(path, f"must be {describe(kind)}, not {_shown(value, path)}; write it as [a, b]")
        return
    for i, item in enumerate(value):
        yield from _check(item, kind.item_type, f"{path}[{i}]")


def _is_allowed(value: Any, kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.LiteralType):
        return isinstance(value, str) and value in kind.values
    if isinstance(kind, inspect.StrType):
        return isinstance(value, str) and (kind.pattern is None or re.search(kind.pattern, value) is not None)
    if isinstance(kind, inspect.BoolType):
        return isinstance(value, bool)
    if not isinstance(kind, inspect.IntType | inspect.FloatType) or isinstance(value, bool):
        return False
    numbers = int if isinstance(kind, inspect.IntType) else int | float
    return isinstance(value, numbers) and math.isfinite(value) and all(ok(value) for *_, ok in _bounds(kind))


def _bounds(kind: inspect.IntType | inspect.FloatType) -> Iterator[tuple[str, float, Any]]:
    if kind.gt is not None:
        yield ">", kind.gt, lambda v, limit=kind.gt: v > limit
    if kind.ge is not None:
        yield ">=", kind.ge, lambda v, limit=kind.ge: v >= limit
    if kind.lt is not None:
        yield "<", kind.lt, lambda v, limit=kind.lt: v < limit
    if kind.le is not None:
        yield "<=", kind.le, lambda v, limit=kind.le: v <= limit


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _shown(value: Any, path: str) -> str:
    """The offending value, short; never a secret."""
    if secret_in(path):
        return f"a {type(value).__name__}"
    text = "null" if value is None else without_secrets(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _hint(value: Any, kind: inspect.Type) -> str:
    if isinstance(kind, inspect.LiteralType) and isinstance(value, str):
        near = difflib.get_close_matches(value.lower(), [str(v).lower() for v in kind.values], n=1)
        return "".join(f"; did you mean {v}?" for v in kind.values if [str(v).lower()] == near)
    if isinstance(kind, inspect.StrType) and not isinstance(value, str):
        return "; put it in quotes"  # YAML reads 17:30 as 1050 and 1234 as a number
    if isinstance(kind, inspect.IntType | inspect.FloatType) and isinstance(value, str):
        return "; write a number without quotes or unit"
    return ""
