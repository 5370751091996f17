"""What the feed has to know of a venue: what to say to it, what its answers mean, how its messages become ticks."""

from collections.abc import Iterable
from enum import Enum, auto
from typing import NamedTuple, Protocol

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.decoder import Decoder
from hft_engine.feed.events import Status
from hft_engine.instruments import InstrumentTable


class Meaning(Enum):
    """What a status message means for the session."""

    GREETED = auto()
    AUTHENTICATED = auto()
    SUBSCRIBED = auto()
    UNSUBSCRIBED = auto()
    REFUSED = auto()  # trying again with the same configuration cannot help
    DELAYED_ONLY = auto()  # the plan has delayed data only: refused here, not at ``delayed_url``
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
    """Stateless. A *pair* is what one subscription and its acknowledgement name, such as ``T.AAPL``.

    ``name`` is what ``feed.venue`` says, and the name of its entry point in the group ``hft_engine.venues``.
    """

    name: str
    venue_id: int  # what a tick's ``venue_id`` holds: 1 to 999 ours, 1000 to 65535 other packages'
    transport: str  # how its messages come, a name in ``feed.dialing.DIALERS``
    greets: bool  # it speaks first
    authenticates: bool  # it wants a message with the key
    acknowledges: bool  # it confirms each pair
    answers_pings: bool  # silence can be asked about; else ``silence_max_ms`` alone ends it
    silence_max_ms: int  # without any message for so long it is dead; 0 = feed.dead_after_ms and pings tell
    pairs_max: int  # symbols that one connection may hold; 0 = no limit known
    scans: bool  # its frames are those of the compiled scanner

    def url(self, config: FeedConfig) -> str:
        """Where to connect to. It may hold the key: never log it."""
        ...

    def delayed_url(self, config: FeedConfig) -> str | None:
        """Where the same data come later, for plans without real-time data; None where there is no such place."""
        ...

    def pairs(self, config: FeedConfig) -> tuple[str, ...]: ...
    def problem(self, config: FeedConfig) -> str | None:
        """Why this configuration cannot work, with the remedy, or None."""
        ...

    def auth_text(self, api_key: str) -> str: ...
    def subscribe_texts(self, pairs: Iterable[str]) -> list[str]: ...
    def unsubscribe_texts(self, pairs: Iterable[str]) -> list[str]: ...
    def verdict(self, status: Status) -> Verdict: ...
    def decoder(self, instruments: InstrumentTable, config: FeedConfig) -> Decoder: ...
