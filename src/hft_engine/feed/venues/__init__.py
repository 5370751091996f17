"""The venues by name. A package adds its own with an entry point in the group ``hft_engine.venues``."""

from collections.abc import Callable
from importlib.metadata import entry_points

from hft_engine.feed.venues.base import Venue
from hft_engine.feed.venues.polygon import Polygon, PolygonOptions

GROUP = "hft_engine.venues"
_OURS: dict[str, Callable[[], Venue]] = {kind.name: kind for kind in (Polygon, PolygonOptions)}


class UnknownVenueError(ValueError):
    """No venue has this name, or the package that adds it cannot be loaded; the text says which there are."""


def venue_names() -> tuple[str, ...]:
    """All that ``feed.venue`` may say."""
    return tuple(dict.fromkeys((*_OURS, *entry_points(group=GROUP).names)))


def venue_named(name: str) -> Venue:
    """Raises UnknownVenueError."""
    if name in _OURS:
        return _OURS[name]()
    for entry in entry_points(group=GROUP, name=name):
        try:
            made: Venue = entry.load()()
        except Exception as error:  # another package's code
            raise UnknownVenueError(
                f"venue {name!r} of the package {entry.value} cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        return made
    raise UnknownVenueError(f"no venue is called {name!r}; known: {', '.join(venue_names())}")


__all__ = ["GROUP", "UnknownVenueError", "venue_named", "venue_names"]
