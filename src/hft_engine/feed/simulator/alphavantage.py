"""The simulated Alpha Vantage: a venue without a websocket, whose market goes on from the first request on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.venue import Venue

if TYPE_CHECKING:
    from hft_engine.feed.simulator.rest.front import Vendor as RestVendor


class AlphaVantageVenue(Venue):
    path = None

    def encoder(self, symbols: Sequence[str], options: VenueOptions) -> Encoder:
        return Encoder(symbols, options)  # of events that nobody can subscribe to

    def note_client(self) -> None:
        self.stream()
        super().note_client()

    def rest_side(self) -> "RestVendor":
        from hft_engine.feed.simulator.rest.alphavantage import AlphaVantageRest

        return AlphaVantageRest(self)
