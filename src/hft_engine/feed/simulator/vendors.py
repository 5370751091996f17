"""Which vendors can be simulated, by the name that ``hft sim`` takes."""

from collections.abc import Callable
from typing import NamedTuple

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.alphavantage import AlphaVantageVenue
from hft_engine.feed.simulator.finnhub import FinnhubVenue
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.feed.simulator.options_market import OptionsMarket
from hft_engine.feed.simulator.polygon import PolygonVenue
from hft_engine.feed.simulator.polygon_options import PolygonOptionsVenue
from hft_engine.feed.simulator.source import LiveMarket
from hft_engine.feed.simulator.venue import Venue


class Vendor(NamedTuple):
    venue: type[Venue]
    market: Callable[[SimulatorConfig, int], LiveMarket]  # what is traded where no recording is


VENDORS = {
    "polygon": Vendor(PolygonVenue, SyntheticMarket),
    "polygon-options": Vendor(PolygonOptionsVenue, OptionsMarket),
    "finnhub": Vendor(FinnhubVenue, SyntheticMarket),
    "alphavantage": Vendor(AlphaVantageVenue, SyntheticMarket),
}
