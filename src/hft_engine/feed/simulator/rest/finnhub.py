"""The simulated Finnhub REST: the latest quote, and refusals in the vendor's words."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from hft_engine.feed.simulator.rest.front import Answer, Asked, RefusalError, json_of
from hft_engine.feed.simulator.rest.past import Past
from hft_engine.feed.simulator.rest.polygon_bars import Bars
from hft_engine.feed.simulator.venue import Venue

NO_ACCESS = "You don't have access to this resource."
BASES = ("/api/v1/", "/api/v1//")  # the vendor's own client says the second
ERRORS = {
    401: "Invalid API key.",
    403: NO_ACCESS,
    429: "API limit reached. Please try again later. Remaining Limit: 0",
}


class FinnhubRest:
    """See ``front.Vendor``."""

    def __init__(self, venue: Venue) -> None:
        assert venue.history is not None
        self._venue = venue
        self._history = venue.history
        self._bars = Bars(venue.history, Past(venue.history), venue.conduct)
        answers = {"quote": self._quote, "stock/candle": self._premium}
        self.endpoints: Mapping[str, Callable[[Asked], Answer]] = {
            base + name: answer for name, answer in answers.items() for base in BASES
        }

    def admit(self, asked: Asked) -> None:
        key = asked.query.get("token") or asked.headers.get("x-finnhub-token", "")
        if key != self._venue.config.api_key:
            self._venue.counts.auth_failures += 1
            raise self.failure(401, empty=False)
        if not self._venue.conduct.options.rest_in_plan:
            raise self.failure(403, empty=False)

    def failure(self, status: int, empty: bool) -> RefusalError:
        text = ERRORS.get(status)
        body = b"" if empty or text is None else msgspec.json.encode({"error": text})
        return RefusalError(status, body)

    def unknown(self, path: str) -> RefusalError:
        return self.failure(404, empty=True)

    def _premium(self, asked: Asked) -> Answer:
        """In no free plan."""
        raise self.failure(403, empty=False)

    def _quote(self, asked: Asked) -> Answer:
        symbol = asked.query.get("symbol", "")
        today, before = self._bars.today(symbol), self._bars.yesterday(symbol)
        if today is None:  # as of an unknown symbol
            return json_of({"c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0, "pc": 0, "t": 0})
        close = before.close if before is not None else today.open
        change = today.close - close
        found: dict[str, Any] = {
            "c": today.close, "d": round(change, 4), "dp": round(100 * change / close, 4), "h": today.high,
            "l": today.low, "o": today.open, "pc": close, "t": self._history.now_ns // 1_000_000_000,
        }  # fmt: skip
        return json_of(found)
