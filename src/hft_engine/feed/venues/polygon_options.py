"""Polygon's options channels: the stocks protocol on another path, other rules for what may be subscribed to."""

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.option_symbol import parse_option_symbol
from hft_engine.feed.venues.polygon import Polygon

CHANNELS = ("T", "Q", "A", "AM", "FMV")


class PolygonOptions(Polygon):
    """``FMV`` comes from the business hosts only; quotes cannot be had for ``*``."""

    name = "polygon-options"
    venue_id = 2
    pairs_max = 1_000  # contracts held for Q or FMV; the documentation's figure, confirmed live in 2026
    market = "options"
    channels = CHANNELS

    def problem(self, config: FeedConfig) -> str | None:
        return super().problem(config) or _symbols_problem(config)


def _symbols_problem(config: FeedConfig) -> str | None:
    for symbol in config.symbols:
        if symbol.strip() == "*":
            if "Q" in config.channels:
                return (
                    'feed.symbols: option quotes cannot be had for "*"; name contracts, or take Q out of '
                    "feed.channels"
                )
            continue
        try:
            parse_option_symbol(symbol.strip())
        except ValueError as error:
            return f"feed.symbols: {error}"
    return None
