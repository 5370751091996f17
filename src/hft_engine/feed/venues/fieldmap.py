"""The language of field maps: a venue's messages described as data, read from YAML. docs/feeds.md explains it.

A *path* leads into a frame's JSON: keys and list indices joined by dots, ``data.k.x`` or ``1.0`` or ``-2``. It starts
at the event; with a leading ``/`` at the frame.
"""

from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml
from msgspec import Struct

SHIPPED = resources.files("hft_engine.feed.venues") / "maps"
Unit = Literal["s", "ms", "us", "ns", "iso", "auto"]
Scalar = str | int | float | bool | None
TICKS = ("trade", "quote", "second_bar", "minute_bar", "day_bar", "fair_value")
Make = Literal[
    "trade",
    "quote",
    "second_bar",
    "minute_bar",
    "day_bar",
    "fair_value",
    "subscribed",
    "unsubscribed",
    "greeted",
    "authenticated",
    "error",  # told to the user
    "refused",  # ends the feed: the same configuration cannot work
    "nothing",  # known and not used
    "heartbeat",
]
_BAR = (("symbol", "start", "open", "high", "low", "close", "volume"), ("vwap",))
# What is made -> (fields that must be there, fields that may).
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "trade": (("symbol", "price", "size"), ("time", "sequence", "id", "side")),
    "quote": (("symbol", "bid", "ask"), ("bid_size", "ask_size", "time", "sequence")),
    "second_bar": _BAR,
    "minute_bar": _BAR,
    "day_bar": _BAR,
    "fair_value": (("symbol", "price"), ("time",)),
}


class MapError(ValueError):
    """The map cannot be used; the text names file and key and says why."""


class _Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Field(_Part, frozen=True):
    """Where a value is. ``pattern``: a regular expression whose group is the symbol. ``buy``, ``sell``: what the
    side's value is when the aggressor bought or sold."""

    path: str
    pattern: str | None = None
    buy: Scalar = None
    sell: Scalar = None


class Rule(_Part, frozen=True):
    """What to make of a frame. The first rule whose ``kind``, ``has`` and ``when`` all fit is used.

    ``kind``   pattern (``*@trade``) for the frame's kind, see FieldMap.kind
    ``has``    a path that must be there
    ``when``   path -> the value, or list of values, that must be there
    ``event``  path of the event; ``each``: path of the list of events. Neither: the frame is the event
    ``only``   as ``when``, of the event; others are known and not used
    """

    make: Make
    kind: str | None = None
    has: str | None = None
    when: dict[str, Scalar | list[Scalar]] = {}
    event: str = ""
    each: str | None = None
    only: dict[str, Scalar | list[Scalar]] = {}
    fields: dict[str, str | Field] = {}
    time_unit: Unit | None = None
    pair: str | None = None  # of subscribed, unsubscribed: template over paths of the event
    text: str | None = None  # of error, refused: path of what the venue says


class Request(_Part, frozen=True):
    """A message to send, with ``{pairs}``, ``{symbols}``, ``{channel}``, ``{pair}`` or ``{symbol}`` in it."""

    message: dict[str, Any]
    per_message: int = 100  # pairs or symbols in one message


class FieldMap(_Part, frozen=True):
    """``kind``: paths, of which the first that is there holds the text that tells frames apart."""

    url: str  # may hold {api_key}
    channels: dict[str, str]  # ours -> the venue's
    subscribe: Request
    unsubscribe: Request
    kind: list[str]
    frames: list[Rule]
    pair: str = "{channel}.{symbol}"  # also {symbol_lower}
    time_unit: Unit = "auto"
    venue_id: int = 10
    pairs_max: int = 0  # per connection; 0 = no limit known
    greets: bool = False
    auth: dict[str, Any] | None = None  # message with {api_key}
    acknowledges: bool = False
    answers_pings: bool = True
    silence_max_ms: int = 0


def shipped_maps() -> tuple[str, ...]:
    """Names that ``feed.map`` may say besides a file."""
    files = (Path(entry.name) for entry in SHIPPED.iterdir())
    return tuple(sorted(file.stem for file in files if file.suffix == ".yaml"))


def load_map(name_or_path: str) -> FieldMap:
    """A shipped map, or the file's. Raises MapError."""
    if name_or_path in shipped_maps():
        return parse_map((SHIPPED / f"{name_or_path}.yaml").read_text(), name_or_path)
    try:
        text = Path(name_or_path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise MapError(
            f"feed.map: {name_or_path} is neither a file that can be read ({error}) nor one of "
            f"{', '.join(shipped_maps())}"
        ) from None
    return parse_map(text, name_or_path)


def parse_map(text: str, source: str) -> FieldMap:
    """The map in a YAML text; ``source`` names it in errors. Raises MapError."""
    try:
        found = msgspec.convert(yaml.safe_load(text), FieldMap)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise MapError(f"{source}: {error}") from None
    for i, rule in enumerate(found.frames):
        _check(rule, f"{source}: frames[{i}]")
    return found


def _check(rule: Rule, where: str) -> None:
    required, optional = FIELDS.get(rule.make, ((), ()))
    for name in required:
        if name not in rule.fields:
            raise MapError(f"{where}.fields.{name} is missing; a {rule.make} needs {', '.join(required)}")
    for name in rule.fields:
        if name not in (*required, *optional):
            known = ", ".join((*required, *optional)) or "none"
            raise MapError(f"{where}.fields.{name}: a {rule.make} has no such field; known: {known}")
    if rule.make in ("subscribed", "unsubscribed") and not rule.pair:
        raise MapError(f"{where}.pair is missing: which subscription was confirmed?")
