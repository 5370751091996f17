"""A venue described by a field map (``feed.map``): what to say to it, and what its answers mean."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from urllib.parse import quote

import msgspec

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.events import Status
from hft_engine.feed.venues.base import Meaning, Verdict
from hft_engine.feed.venues.fieldmap import FieldMap, MapError, Request, load_map, shipped_maps
from hft_engine.feed.venues.generic_decode import GenericDecoder
from hft_engine.feed.venues.templates import filled, names, template
from hft_engine.instruments import InstrumentTable

_MEANINGS = {
    "subscribed": Meaning.SUBSCRIBED,
    "unsubscribed": Meaning.UNSUBSCRIBED,
    "greeted": Meaning.GREETED,
    "authenticated": Meaning.AUTHENTICATED,
    "refused": Meaning.REFUSED,
}


class Generic:
    """See ``venues.base.Venue``. Raises MapError."""

    name = "generic"
    transport = "websocket"
    scans = False

    def __init__(self, config: FeedConfig) -> None:
        if config.map is None:
            raise MapError(f"feed.map: name a file, or one of {', '.join(shipped_maps())}")
        self._map = found = load_map(config.map)
        self.venue_id = found.venue_id
        self.greets = found.greets
        self.authenticates = found.auth is not None
        self.acknowledges = found.acknowledges
        self.answers_pings = found.answers_pings
        self.silence_max_ms = found.silence_max_ms
        self.pairs_max = found.pairs_max
        self._parts = _pair_pattern(found)

    def url(self, config: FeedConfig) -> str:
        return str(filled(config.url or self._map.url, {"api_key": quote(config.api_key, safe="")}))

    def delayed_url(self, config: FeedConfig) -> str | None:
        return config.delayed_url

    def pairs(self, config: FeedConfig) -> tuple[str, ...]:
        wanted = (
            str(
                filled(self._map.pair, {"channel": channel, "symbol": symbol, "symbol_lower": symbol.lower()})
            )
            for channel in (self._map.channels[c] for c in config.channels if c in self._map.channels)
            for symbol in (symbol.strip() for symbol in config.symbols)
        )
        return tuple(dict.fromkeys(wanted))

    def problem(self, config: FeedConfig) -> str | None:
        for channel in config.channels:
            if channel not in self._map.channels:
                return f"feed.channels: the map {config.map} has no {channel}; it has {', '.join(self._map.channels)}"
        if not config.symbols or "*" in config.symbols:
            return "feed.symbols: name each symbol as the venue does"
        if "api_key" in names(self._map.url) | names(self._map.auth) and not config.api_key:
            return f"feed.api_key is empty, and the map {config.map} needs it"
        return None

    def auth_text(self, api_key: str) -> str:
        return _encoded(filled(self._map.auth, {"api_key": api_key}))

    def subscribe_texts(self, pairs: Iterable[str]) -> list[str]:
        return list(self._texts(self._map.subscribe, list(pairs)))

    def unsubscribe_texts(self, pairs: Iterable[str]) -> list[str]:
        return list(self._texts(self._map.unsubscribe, list(pairs)))

    def verdict(self, status: Status) -> Verdict:
        meaning = _MEANINGS.get(status.status, Meaning.OTHER)
        if meaning is Meaning.REFUSED:
            return Verdict(meaning, advice="the map says that trying again cannot help")
        confirmed = meaning in (Meaning.SUBSCRIBED, Meaning.UNSUBSCRIBED)
        return Verdict(meaning, subject=status.message if confirmed else "")

    def decoder(self, instruments: InstrumentTable, config: FeedConfig) -> GenericDecoder:
        return GenericDecoder(self._map, instruments, config.frame_bytes_max)

    def _texts(self, request: Request, pairs: list[str]) -> Iterator[str]:
        """One message a pair, a number of symbols of one channel, or a number of pairs: by what the message names."""
        wanted = names(request.message)
        if wanted & {"pair", "symbol"}:
            for pair in pairs:
                channel, symbol = self._split(pair)
                yield _encoded(filled(request.message, {"pair": pair, "channel": channel, "symbol": symbol}))
        elif "symbols" in wanted:
            for channel, group in groupby(map(self._split, pairs), key=lambda parts: parts[0]):
                for symbols in _chunks([symbol for _, symbol in group], request.per_message):
                    yield _encoded(filled(request.message, {"channel": channel, "symbols": symbols}))
        else:
            for chunk in _chunks(pairs, request.per_message):
                yield _encoded(filled(request.message, {"pairs": chunk}))

    def _split(self, pair: str) -> tuple[str, str]:
        found = self._parts.fullmatch(pair)
        assert found is not None, pair  # it was made by the same template
        return found["channel"], found["symbol"]


def _pair_pattern(field_map: FieldMap) -> re.Pattern[str]:
    channels = "|".join(re.escape(channel) for channel in field_map.channels.values())
    groups = {
        "channel": f"(?P<channel>{channels})",
        "symbol": "(?P<symbol>.+)",
        "symbol_lower": "(?P<symbol>.+)",
    }
    pieces, places = template(field_map.pair)
    parts = zip(pieces, [*places, ""], strict=True)
    return re.compile("".join(re.escape(piece) + groups.get(place, "") for piece, place in parts))


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _encoded(message: object) -> str:
    return msgspec.json.encode(message).decode()
