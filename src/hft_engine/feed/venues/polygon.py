"""Polygon.io, since October 2025 also Massive.com: what to say to it, and what its status messages mean.

The wire, with sources: the official client (massive-com/client-python, client-go) and transcripts of live
sessions. Nothing here keeps state.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.events import Status
from hft_engine.feed.venues.base import Meaning, Verdict
from hft_engine.feed.venues.polygon_hosts import address, delayed_url, host_problem
from hft_engine.instruments import InstrumentTable

if TYPE_CHECKING:  # kernels, which a supervisor that asks a venue for its rules does without
    from hft_engine.feed.decode import FrameDecoder

PAIRS_PER_MESSAGE_MAX = 500  # keeps a subscribe message of long option symbols under 16 KiB
_SUBSCRIBED = "subscribed to: "
_UNSUBSCRIBED = "unsubscribed to: "


class _Action(msgspec.Struct):
    action: str
    params: str


class Polygon:
    """Stocks; see ``venues.base.Venue``."""

    name = "polygon"
    venue_id = 1
    transport = "websocket"
    greets = True
    authenticates = True
    acknowledges = True
    answers_pings = True
    silence_max_ms = 0
    pairs_max = 0
    scans = True
    market = "stocks"
    channels: tuple[str, ...] = ("T", "Q", "A", "AM", "FMV", "LULD")

    def url(self, config: FeedConfig) -> str:
        return config.url or address("socket", self.market)

    def delayed_url(self, config: FeedConfig) -> str | None:
        """``feed.delayed_url``, or the vendor's own host of delayed data beside the vendor's host of this address."""
        return config.delayed_url or delayed_url(self.url(config))

    def pairs(self, config: FeedConfig) -> tuple[str, ...]:
        """What to subscribe to, as ``channel.symbol``, each once: repeated pairs are not acknowledged."""
        wanted = (f"{channel}.{symbol.strip()}" for channel in config.channels for symbol in config.symbols)
        return tuple(dict.fromkeys(wanted))

    def problem(self, config: FeedConfig) -> str | None:
        """Why this configuration cannot work, with the remedy, or None."""
        if not config.api_key:
            return "feed.api_key is empty: set POLYGON_API_KEY (or MASSIVE_API_KEY) in the environment or in .env"
        if not self.pairs(config):
            return (
                "nothing to subscribe to: feed.channels or feed.symbols is empty; name at least one of each"
            )
        absent = [channel for channel in config.channels if channel not in self.channels]
        if absent:
            return f"feed.channels: {self.name} has no {absent[0]}; it has {', '.join(self.channels)}"
        return host_problem(self.url(config), config.channels)

    def decoder(self, instruments: InstrumentTable, config: FeedConfig) -> "FrameDecoder":
        from hft_engine.feed.decode import FrameDecoder

        return FrameDecoder(instruments, self.venue_id, config.frame_bytes_max)

    def auth_text(self, api_key: str) -> str:
        return _text("auth", api_key)

    def subscribe_texts(self, pairs: Iterable[str]) -> list[str]:
        """Subscribe messages for ``pairs``, a bounded number of pairs in each."""
        return _texts("subscribe", list(pairs))

    def unsubscribe_texts(self, pairs: Iterable[str]) -> list[str]:
        """As ``subscribe_texts``, to end subscriptions."""
        return _texts("unsubscribe", list(pairs))

    def verdict(self, status: Status) -> Verdict:
        """What a status message means. Unknown ones are OTHER, never an error."""
        if status.status == "success":
            return _acknowledgement(status.message)
        if status.status == "error":
            return _error(status.message)
        return _BY_STATUS.get(status.status, Verdict(Meaning.OTHER))


_WRONG_KEY = Verdict(
    Meaning.REFUSED,
    advice="the venue does not accept the API key; check POLYGON_API_KEY (or MASSIVE_API_KEY) in the "
    "environment or .env, and that the plan includes websocket access to this market",
)
_BY_STATUS = {
    "connected": Verdict(Meaning.GREETED),
    "auth_success": Verdict(Meaning.AUTHENTICATED),
    "auth_failed": _WRONG_KEY,
    "auth_timeout": Verdict(Meaning.AUTH_TIMEOUT),
    "max_connections": Verdict(
        Meaning.CONNECTION_CAP,
        advice="another program uses the account's only connection (real-time and delayed hosts share it); "
        "stop it, or ask the venue for more connections",
    ),
}


def _texts(action: str, pairs: list[str]) -> list[str]:
    starts = range(0, len(pairs), PAIRS_PER_MESSAGE_MAX)
    return [_text(action, ",".join(pairs[i : i + PAIRS_PER_MESSAGE_MAX])) for i in starts]


def _text(action: str, params: str) -> str:
    return msgspec.json.encode(_Action(action, params)).decode()


def _acknowledgement(message: str) -> Verdict:
    if message.startswith(_UNSUBSCRIBED):
        return Verdict(Meaning.UNSUBSCRIBED, message.removeprefix(_UNSUBSCRIBED).strip())
    if message.startswith(_SUBSCRIBED):
        return Verdict(Meaning.SUBSCRIBED, message.removeprefix(_SUBSCRIBED).strip())
    return Verdict(Meaning.OTHER)


def _error(message: str) -> Verdict:
    lowered = message.lower()
    if "authentication failed" in lowered:  # how 2021's servers said auth_failed
        return _WRONG_KEY
    if "access real-time data" in lowered:
        return Verdict(
            Meaning.DELAYED_ONLY,
            advice="the plan has no real-time data: set feed.url to wss://delayed.polygon.io/stocks, sign "
            "the exchange agreements in the dashboard, or change the plan",
        )
    if "not authorized" in lowered:
        return Verdict(
            Meaning.NOT_AUTHORIZED,
            advice="the plan lacks a requested channel, the venue does not say which; see feed.channels",
        )
    if "subscription limit" in lowered:
        return Verdict(
            Meaning.LIMIT_REACHED,
            advice="the whole request was refused; name fewer symbols in feed.symbols",
        )
    return Verdict(Meaning.OTHER)
