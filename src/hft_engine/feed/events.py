"""Polygon's stocks events as they stand in a frame: the fields we use, with the venue's own short names.

Every field may be missing. Fields not named here are skipped by the parser, whatever they hold. The unit of a
time is told by its magnitude (``to_ns``): the venue mixes milli-, micro- and nanoseconds between channels.

Fields stand in the order in which the venue was seen to send them, those it seldom sends at the end: the parser looks
for a key from where it found the last one.
"""

import msgspec
from msgspec import Struct

NAN = float("nan")
MS_MIN = 100_000_000_000  # 1e11 ms, 1e14 us and 1e17 ns are all 3 March 1973
US_MIN = 100_000_000_000_000
NS_MIN = 100_000_000_000_000_000


def to_ns(stamp: int) -> int:
    """A venue's stamp in UTC nanoseconds, its unit told by its magnitude."""
    if stamp >= NS_MIN:
        return stamp
    if stamp >= US_MIN:
        return stamp * 1_000
    if stamp >= MS_MIN:
        return stamp * 1_000_000
    return stamp * 1_000_000_000


class Trade(Struct, tag_field="ev", tag="T", gc=False):
    """``ds`` is the size as decimal text: exact where ``s`` is cut to whole shares."""

    sym: str = ""
    i: int | str = 0
    x: int = 0
    p: float = NAN
    s: float = NAN
    c: tuple[int, ...] | None = None
    t: int = 0
    q: int = 0
    z: int = 0
    ds: str | None = None


class Quote(Struct, tag_field="ev", tag="Q", gc=False, rename={"as_": "as"}):
    """A side without price, or with price 0, is an empty side."""

    sym: str = ""
    c: int | None = None
    bx: int = 0
    ax: int = 0
    bp: float | None = None
    ap: float | None = None
    bs: float = NAN
    as_: float = NAN
    t: int = 0
    q: int = 0
    z: int = 0
    i: tuple[int, ...] | None = None


class _Aggregate(Struct, tag_field="ev", gc=False):
    """``dv`` and ``dav`` are ``v`` and ``av`` as decimal text; ``s`` and ``e`` bound the window."""

    sym: str = ""
    v: float = NAN
    av: float = NAN
    op: float = NAN
    vw: float = NAN
    o: float = NAN
    c: float = NAN
    h: float = NAN
    l: float = NAN  # noqa: E741 - the venue's name
    a: float = NAN
    s: int = 0
    e: int = 0
    dv: str | None = None
    dav: str | None = None
    otc: bool = False


class SecondBar(_Aggregate, tag="A", gc=False):
    pass


class MinuteBar(_Aggregate, tag="AM", gc=False):
    pass


class FairValue(Struct, tag_field="ev", tag="FMV", gc=False):
    sym: str = ""
    fmv: float = NAN
    t: int = 0


class PriceBand(Struct, tag_field="ev", tag="LULD", gc=False):
    """The symbol is in ``T``, alone among the stocks channels we use."""

    T: str = ""
    h: float = NAN
    l: float = NAN  # noqa: E741 - the venue's name
    i: tuple[int, ...] | None = None
    z: int = 0
    t: int = 0
    q: int = 0


class Status(Struct, tag_field="ev", tag="status", gc=False):
    """What the venue says about the session itself."""

    status: str = ""
    message: str = ""


class Imbalance(Struct, tag_field="ev", tag="NOI", gc=False):
    """Recognised and not used."""


class LastValue(Struct, tag_field="ev", tag="LV", gc=False):
    """Recognised and not used."""


class IndexValue(Struct, tag_field="ev", tag="V", gc=False):
    """Recognised and not used."""


class Tag(Struct):
    """Only the kind of an event, to tell an unknown kind from a spoilt event."""

    ev: str


Event = (
    Trade
    | Quote
    | SecondBar
    | MinuteBar
    | FairValue
    | PriceBand
    | Status
    | Imbalance
    | LastValue
    | IndexValue
)
EVENT_TYPES = (
    Trade,
    Quote,
    SecondBar,
    MinuteBar,
    FairValue,
    PriceBand,
    Status,
    Imbalance,
    LastValue,
    IndexValue,
)
EVENT_TAGS = frozenset(msgspec.inspect.type_info(kind).tag for kind in EVENT_TYPES)  # type: ignore[attr-defined]
