"""Finnhub: what to say to it, and what its messages mean.

It neither greets nor confirms, the key is part of the address, and one message names one symbol. When nothing trades it
sends ``{"type":"ping"}`` about once a minute: a sign of life that wants no answer (answering does not prevent
disconnects: finnhub-js #21, Finnhub-API #520). Sources: wire traces in public repositories, issues of Finnhub-API,
a public note of its limits measured in October 2026.
"""

import hmac
from collections.abc import Iterable
from urllib.parse import quote

import msgspec

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.events import Status
from hft_engine.feed.venues.base import Meaning, Verdict
from hft_engine.feed.venues.finnhub_decode import ERROR, FinnhubDecoder
from hft_engine.instruments import InstrumentTable

WEBHOOK_HEADER = "X-Finnhub-Secret"  # on what Finnhub posts to you; never on a request of ours
CHANNEL = "T"  # all there is


class _Wish(msgspec.Struct):
    type: str
    symbol: str


class Finnhub:
    """See ``venues.base.Venue``. A pair is a symbol."""

    name = "finnhub"
    venue_id = 3
    transport = "websocket"
    greets = False
    authenticates = False  # the upgrade did
    acknowledges = False
    answers_pings = True
    silence_max_ms = 150_000  # a ping message comes every minute where nothing trades
    pairs_max = 0  # 50 on the free plan, and one connection a key: more connections would not help
    scans = False
    address = "wss://ws.finnhub.io"

    def url(self, config: FeedConfig) -> str:
        base = config.url or self.address
        return f"{base}{'&' if '?' in base else '?'}token={quote(config.api_key, safe='')}"

    def delayed_url(self, config: FeedConfig) -> str | None:
        return config.delayed_url

    def pairs(self, config: FeedConfig) -> tuple[str, ...]:
        return tuple(dict.fromkeys(venue_symbol(symbol.strip()) for symbol in config.symbols))

    def problem(self, config: FeedConfig) -> str | None:
        if not config.api_key:
            return "feed.api_key is empty: set FINNHUB_API_KEY in the environment or in .env"
        if CHANNEL not in config.channels:
            return f'feed.channels: finnhub has trades only; set it to ["{CHANNEL}"]'
        if not config.symbols or "*" in config.symbols:
            return "feed.symbols: finnhub wants each symbol named, such as AAPL or BINANCE:BTCUSDT"
        return None

    def auth_text(self, api_key: str) -> str:
        return ""

    def subscribe_texts(self, pairs: Iterable[str]) -> list[str]:
        return [_text("subscribe", pair) for pair in pairs]

    def unsubscribe_texts(self, pairs: Iterable[str]) -> list[str]:
        return [_text("unsubscribe", pair) for pair in pairs]

    def verdict(self, status: Status) -> Verdict:
        if status.status != ERROR:
            return Verdict(Meaning.OTHER)
        lowered = status.message.lower()
        return next((verdict for words, verdict in _ERRORS if words in lowered), Verdict(Meaning.OTHER))

    def decoder(self, instruments: InstrumentTable, config: FeedConfig) -> FinnhubDecoder:
        return FinnhubDecoder(instruments, self.venue_id, config.frame_bytes_max)


_ERRORS = (
    (
        "too many symbols",
        Verdict(
            Meaning.LIMIT_REACHED,
            advice="the plan's number of symbols is used up (about 50 on the free plan), the venue does not say "
            "which symbol it refused; name fewer in feed.symbols",
        ),
    ),
    (
        "invalid api key",
        Verdict(Meaning.REFUSED, advice="check FINNHUB_API_KEY in the environment or in .env"),
    ),
)


def venue_symbol(symbol: str) -> str:
    """Finnhub's name of a symbol: ``STOCK:X`` is ``X``, ``FOREX:USD/JPY`` is ``OANDA:USD_JPY``, others stay."""
    if symbol.startswith("STOCK:"):
        return symbol.removeprefix("STOCK:")
    if symbol.startswith("FOREX:"):
        return "OANDA:" + symbol.removeprefix("FOREX:").replace("/", "_")
    return symbol


def webhook_is_genuine(header: str | None, secret: str) -> bool:
    """Whether a webhook's ``X-Finnhub-Secret`` is yours. Answer such a request with 2xx at once, then work.

    Without a secret none is.
    """
    return header is not None and secret != "" and hmac.compare_digest(header.encode(), secret.encode())


def _text(kind: str, symbol: str) -> str:
    return msgspec.json.encode(_Wish(kind, symbol)).decode()
