"""``/v3/trades`` and ``/v3/quotes``: the published ticks themselves, page by page."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hft_engine.feed.conditions import unpack
from hft_engine.feed.simulator.conduct import Conduct
from hft_engine.feed.simulator.history import History
from hft_engine.feed.simulator.rest.front import Asked
from hft_engine.feed.simulator.rest.paging import AFTER, next_url
from hft_engine.feed.simulator.rest.queries import EntitlementError, choice, number, opened, times_allowed
from hft_engine.records import TickKind

LIMIT, LIMIT_MAX = 1_000, 50_000


class Ticks:
    def __init__(self, history: History, conduct: Conduct) -> None:
        self._history, self._conduct = history, conduct

    def trades(self, asked: Asked) -> dict[str, Any]:
        return self._page(asked, TickKind.TRADE, _trade)

    def quotes(self, asked: Asked) -> dict[str, Any]:
        if not self._conduct.options.quotes_in_plan:
            raise EntitlementError
        return self._page(asked, TickKind.QUOTE, _quote)

    def _page(
        self, asked: Asked, kind: TickKind, show: Callable[[np.void], dict[str, Any]]
    ) -> dict[str, Any]:
        query = opened(asked.query)
        limit = number(query, "limit", LIMIT, LIMIT_MAX)
        backwards = choice(query, "order", "desc", ("asc", "desc")) == "desc"
        allowed = times_allowed(query, "timestamp", 1)
        numbers, ticks = self._history.numbered(asked.names["ticker"], kind)
        if backwards:
            numbers, ticks = numbers[::-1], ticks[::-1]
        if AFTER in query:
            behind = numbers < int(query[AFTER]) if backwards else numbers > int(query[AFTER])
            numbers, ticks = numbers[behind], ticks[behind]
        rows = [row for row, ts_ns in enumerate(ticks["ts_venue_ns"].tolist()) if allowed(ts_ns)]
        body: dict[str, Any] = {"results": [show(ticks[row]) for row in rows[:limit]]}
        if len(rows) > limit:
            body["next_url"] = next_url(asked.path, query, str(numbers[rows[limit - 1]]))
        return body


def _common(tick: np.void) -> dict[str, Any]:
    ts_ns = int(tick["ts_venue_ns"])
    found: dict[str, Any] = {
        "sip_timestamp": ts_ns,
        "participant_timestamp": ts_ns,
        "sequence_number": int(tick["venue_sequence"]),
    }
    if codes := unpack(int(tick["conditions"])):
        found["conditions"] = codes
    if tick["tape"]:  # options have none
        found["tape"] = int(tick["tape"])
    return found


def _trade(tick: np.void) -> dict[str, Any]:
    size = float(tick["size"])
    return {
        **_common(tick),
        "exchange": int(tick["exchange"]),
        "id": str(tick["trade_id"]),
        "price": float(tick["price"]),
        "size": int(size) if size.is_integer() else size,
        "decimal_size": repr(size),
    }


def _quote(tick: np.void) -> dict[str, Any]:
    return {
        **_common(tick),
        "ask_exchange": int(tick["exchange_ask"]),
        "ask_price": float(tick["ask"]),
        "ask_size": float(tick["ask_size"]),
        "bid_exchange": int(tick["exchange"]),
        "bid_price": float(tick["bid"]),
        "bid_size": float(tick["bid_size"]),
    }
