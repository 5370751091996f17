"""What the poller has to know of a venue that is asked instead of listened to."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import msgspec

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.venues.base import Venue


class Query(NamedTuple):
    """An HTTP GET. ``parameters`` may hold the key: never log them."""

    url: str
    parameters: dict[str, str]


class Pause(Protocol):
    """What an answer asks of us: nothing for ``pause_s``; ``pair_rests``: this pair rarely, until it is answered."""

    @property
    def pause_s(self) -> int: ...
    @property
    def pair_rests(self) -> bool: ...


class PolledVenue(Venue, Protocol):
    """A venue whose ``transport`` is "polling". Its subscribe texts are ``request_text``'s."""

    def query(self, pair: str, config: FeedConfig) -> Query:
        """How to ask for a pair."""
        ...

    def message(self, pair: str, body: bytes) -> bytes:
        """The decoder's message of an answer."""
        ...

    def trouble(self, pair: str, body: bytes) -> Pause | None:
        """What is wrong with an answer, as far as it concerns when to ask again. Never raises."""
        ...


class Request(msgspec.Struct):
    """What the session says to the poller."""

    action: str
    pairs: list[str]


def request_text(action: str, pairs: Iterable[str]) -> str:
    return msgspec.json.encode(Request(action, list(pairs))).decode()
