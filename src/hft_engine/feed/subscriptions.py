"""Which symbols the feed asks for, after a person changed them while it ran."""

from collections.abc import Iterable, Sequence

from hft_engine.config.lines import MAIN
from hft_engine.instruments import InstrumentTable
from hft_engine.records import SYMBOL_BYTES_MAX
from hft_engine.runtime.messages import ControlError
from hft_engine.runtime.session_events import SessionEvent, of_kinds

ALL = "*"


def in_force(configured: Sequence[str], events: Iterable[SessionEvent], line: str = MAIN) -> tuple[str, ...]:
    """The configured symbols of a line, or what the last recorded change made of them."""
    changes = [change for change in of_kinds(events, "subscription") if change.data.get("line", MAIN) == line]
    return tuple(changes[-1].data["symbols"]) if changes else tuple(configured)


def with_added(
    present: Sequence[str], wanted: Sequence[str], instruments: InstrumentTable
) -> tuple[str, ...]:
    """``present`` and ``wanted``. Raises ControlError for what cannot be a subscription or is none.

    Symbols may be named beside "*": to give that up afterwards. What the venue then sends twice is a duplicate.
    """
    _require_names(wanted)
    new = [symbol for symbol in dict.fromkeys(wanted) if symbol not in present]
    if not new:
        raise ControlError(f"{_listed(wanted)}: subscribed already")
    unknown = sum(instruments.find(symbol) is None for symbol in new if symbol != ALL)
    if len(instruments) + unknown > instruments.capacity:
        raise ControlError(
            f"no room for {unknown} more instruments: the table holds {instruments.capacity}; "
            "raise engine.instruments_max and start again"
        )
    return (*present, *new)


def without(present: Sequence[str], unwanted: Sequence[str]) -> tuple[str, ...]:
    """``present`` less ``unwanted``. Raises ControlError for a symbol that is not there."""
    _require_names(unwanted)
    missing = [symbol for symbol in unwanted if symbol not in present]
    if missing:
        raise ControlError(f"{_listed(missing)}: not subscribed; subscribed are {_listed(present)}")
    left = tuple(symbol for symbol in present if symbol not in unwanted)
    if not left:
        raise ControlError("at least one symbol must stay subscribed; `hft stop` ends the run")
    return left


def _require_names(symbols: Sequence[str]) -> None:
    if not symbols:
        raise ControlError("name at least one symbol")
    for symbol in symbols:
        if not 0 < len(symbol.encode()) <= SYMBOL_BYTES_MAX or symbol != symbol.strip() or "," in symbol:
            raise ControlError(
                f"{symbol!r} is no symbol: 1 to {SYMBOL_BYTES_MAX} bytes, no comma, no spaces around"
            )


def _listed(symbols: Sequence[str], limit: int = 10) -> str:
    more = len(symbols) - limit
    return (", ".join(symbols[:limit]) or "none") + (f" and {more} more" if more > 0 else "")
