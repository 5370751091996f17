"""The venues by name. A package adds its own with an entry point in the group ``hft_engine.venues``."""

from collections.abc import Callable
from importlib.metadata import entry_points

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.venues.alphavantage import AlphaVantage
from hft_engine.feed.venues.base import Venue
from hft_engine.feed.venues.fieldmap import MapError
from hft_engine.feed.venues.finnhub import Finnhub
from hft_engine.feed.venues.generic import Generic
from hft_engine.feed.venues.polygon import Polygon
from hft_engine.feed.venues.polygon_options import PolygonOptions

GROUP = "hft_engine.venues"
_OURS: dict[str, Callable[[], Venue]] = {
    kind.name: kind for kind in (Polygon, PolygonOptions, Finnhub, AlphaVantage)
}


class UnknownVenueError(ValueError):
    """No venue has this name, or what describes it cannot be loaded; the text says which key, and what there is."""


def venue_names() -> tuple[str, ...]:
    """All that ``feed.venue`` may say."""
    return tuple(dict.fromkeys((*_OURS, Generic.name, *entry_points(group=GROUP).names)))


def venue_of(config: FeedConfig) -> Venue:
    """The venue that ``config`` means. Raises UnknownVenueError."""
    name = config.venue
    if name in _OURS:
        return _OURS[name]()
    if name == Generic.name:
        return _mapped(config)
    for entry in entry_points(group=GROUP, name=name):
        try:
            made: Venue = entry.load()()
        except Exception as error:  # another package's code
            raise UnknownVenueError(
                f"feed.venue: {name!r} of the package {entry.value} cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        return made
    raise UnknownVenueError(f"feed.venue: no venue is called {name!r}; known: {', '.join(venue_names())}")


def _mapped(config: FeedConfig) -> Venue:
    try:
        return Generic(config)
    except MapError as error:
        raise UnknownVenueError(str(error)) from None


__all__ = ["GROUP", "UnknownVenueError", "venue_names", "venue_of"]
