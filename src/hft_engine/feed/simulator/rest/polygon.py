"""The simulated Polygon REST: who may ask, what errors look like, and which endpoint answers what."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import msgspec

from hft_engine.feed.simulator.history import History
from hft_engine.feed.simulator.rest.front import Answer, Asked, Budget, RefusalError, json_of
from hft_engine.feed.simulator.rest.past import Past
from hft_engine.feed.simulator.rest.polygon_bars import Bars
from hft_engine.feed.simulator.rest.polygon_indicators import Indicators
from hft_engine.feed.simulator.rest.polygon_reference import Reference
from hft_engine.feed.simulator.rest.polygon_snapshots import Snapshots
from hft_engine.feed.simulator.rest.polygon_ticks import Ticks
from hft_engine.feed.simulator.rest.queries import EntitlementError, NoDataError, QueryError
from hft_engine.feed.simulator.venue import Venue

NOT_ENTITLED = "You are not entitled to this data. Please upgrade your plan at https://polygon.io/pricing"
TOO_MANY = (
    "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue. "
    "https://polygon.io/pricing"
)
Body = dict[str, Any]


class PolygonRest:
    """See ``front.Vendor``."""

    def __init__(self, venue: Venue) -> None:
        assert venue.history is not None
        self._venue = venue
        self._numbers = count(1)
        self._budget = Budget(venue.conduct.options.rest_calls_per_minute, 60.0)
        self.endpoints: Mapping[str, Callable[[Asked], Answer]] = {
            path: self._answering(answer) for path, answer in _endpoints(venue, venue.history).items()
        }

    def admit(self, asked: Asked) -> None:
        key = asked.headers.get("authorization", "").removeprefix("Bearer ") or asked.query.get("apiKey", "")
        if not key:
            raise self._error(401, error="API Key was not provided")
        if key != self._venue.config.api_key:
            self._venue.counts.auth_failures += 1
            raise self._error(401, error="Unknown API Key")
        if not self._venue.conduct.options.rest_in_plan:
            raise self._error(403, message=NOT_ENTITLED)
        if not self._budget.spend():
            raise self.failure(429, empty=False)

    def failure(self, status: int, empty: bool) -> RefusalError:
        if empty:
            return RefusalError(status, b"")
        match status:
            case 401:
                return self._error(status, error="Unknown API Key")
            case 403:
                return self._error(status, message=NOT_ENTITLED)
            case 404:
                return self._error(status, message="Data not found.")
            case 429:
                return self._error(status, error=TOO_MANY)
        return self._error(status, error="Internal server error")  # nobody has quoted the vendor's text

    def unknown(self, path: str) -> RefusalError:
        return self._error(404, message="Data not found.")

    def _answering(self, answer: Callable[[Asked], Body]) -> Callable[[Asked], Answer]:
        def respond(asked: Asked) -> Answer:
            try:
                body = answer(asked)
            except EntitlementError as error:
                raise self._error(403, message=str(error) or NOT_ENTITLED) from error
            except NoDataError as error:
                raise self._error(404, message="Data not found.") from error
            except QueryError as error:
                raise self._error(400, error=str(error)) from error
            if isinstance(body, dict):
                real_time = self._venue.conduct.options.realtime_in_plan
                body = {"status": "OK" if real_time else "DELAYED", "request_id": self._request_id(), **body}
            return json_of(body)

        return respond

    def _request_id(self) -> str:
        return f"{next(self._numbers):032x}"

    def _error(self, status: int, **text: str) -> RefusalError:
        word = {403: "NOT_AUTHORIZED", 404: "NOT_FOUND"}.get(status, "ERROR")
        return RefusalError(
            status, msgspec.json.encode({"status": word, "request_id": self._request_id(), **text})
        )


def _endpoints(venue: Venue, history: History) -> dict[str, Callable[[Asked], Any]]:
    past = Past(history)
    bars = Bars(history, past, venue.conduct)
    ticks = Ticks(history, venue.conduct)
    reference = Reference(venue.source, history)
    snapshots = Snapshots(venue.source, history, bars, venue.conduct)
    indicators = Indicators(bars)
    stocks = "/v2/snapshot/locale/us/markets/stocks/tickers"
    return {
        "/v2/aggs/ticker/{ticker}/prev": bars.previous,
        "/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{from}/{to}": bars.range,
        "/v1/open-close/{ticker}/{date}": bars.open_close,
        "/v3/trades/{ticker}": ticks.trades,
        "/v3/quotes/{ticker}": ticks.quotes,
        "/v3/reference/options/contracts": reference.contracts,
        "/v3/reference/splits": reference.splits,
        "/vX/reference/financials": reference.financials,
        "/v1/marketstatus/now": reference.market_now,
        "/v1/marketstatus/upcoming": reference.market_upcoming,
        stocks: snapshots.stocks,
        stocks + "/{ticker}": snapshots.stock,
        "/v3/snapshot/options/{underlying}": snapshots.chain,
        "/v3/snapshot/options/{underlying}/{contract}": snapshots.contract,
        "/v1/indicators/{name}/{ticker}": indicators.values,
    }
