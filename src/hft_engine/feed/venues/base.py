"""What the session has to know of a venue: what to say to it, and what its answers mean."""

from collections.abc import Iterable
from enum import Enum, auto
from typing import NamedTuple, Protocol

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.events import Status


class Meaning(Enum):
    """What a status message means for the session."""

    GREETED = auto()
    AUTHENTICATED = auto()
    SUBSCRIBED = auto()
    UNSUBSCRIBED = auto()
    REFUSED = auto()  # trying again with the same configuration cannot help
    NOT_AUTHORIZED = auto()  # some channel of the request; the venue does not say which
    LIMIT_REACHED = auto()  # the whole request was refused; earlier subscriptions stay
    CONNECTION_CAP = auto()
    AUTH_TIMEOUT = auto()
    OTHER = auto()


class Verdict(NamedTuple):
    """``subject`` is the pair of an acknowledgement; ``advice`` is for people."""

    meaning: Meaning
    subject: str = ""
    advice: str = ""


class Venue(Protocol):
    """Stateless. A *pair* is what one subscription and its acknowledgement name, such as ``T.AAPL``."""

    name: str
    greets: bool  # it speaks first
    authenticates: bool  # it wants a message with the key
    acknowledges: bool  # it confirms each pair

    def pairs(self, config: FeedConfig) -> tuple[str, ...]: ...
    def problem(self, config: FeedConfig) -> str | None: ...
    def auth_text(self, api_key: str) -> str: ...
    def subscribe_texts(self, pairs: Iterable[str]) -> list[str]: ...
    def unsubscribe_texts(self, pairs: Iterable[str]) -> list[str]: ...
    def verdict(self, status: Status) -> Verdict: ...
