"""Alpha Vantage: REST, so it is polled; a pair is a function and a symbol. What to ask for, what its answers mean."""

from collections.abc import Iterable

import msgspec

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.events import Status
from hft_engine.feed.venues.alphavantage_decode import DAILY, INTRADAY, QUOTE, AlphaVantageDecoder
from hft_engine.feed.venues.alphavantage_errors import (
    CALL,
    DAY_LIMIT,
    KEY,
    MINUTE_LIMIT,
    PREMIUM,
    SECOND_LIMIT,
    SYMBOL,
    Trouble,
    trouble_of,
)
from hft_engine.feed.venues.base import Meaning, Verdict
from hft_engine.feed.venues.polled import Query, request_text
from hft_engine.instruments import InstrumentTable

TOLD_BYTES_MAX = 2_000  # longer parts of an answer are data
FUNCTIONS = {"T": QUOTE, "AM": INTRADAY, "D": DAILY}  # by our channel
_EXTRA = {INTRADAY: {"interval": "1min", "outputsize": "compact"}, DAILY: {"outputsize": "compact"}}


class AlphaVantage:
    """See ``venues.base.Venue`` and ``venues.polled.PolledVenue``."""

    name = "alphavantage"
    venue_id = 4
    transport = "polling"
    greets = False
    authenticates = False
    acknowledges = False
    answers_pings = True  # the poller does
    silence_max_ms = 0
    pairs_max = 0
    scans = False
    address = "https://www.alphavantage.co/query"

    def url(self, config: FeedConfig) -> str:
        """Without the key: ``query`` adds it."""
        return config.url or self.address

    def delayed_url(self, config: FeedConfig) -> str | None:
        return config.delayed_url

    def pairs(self, config: FeedConfig) -> tuple[str, ...]:
        functions = (FUNCTIONS[channel] for channel in config.channels if channel in FUNCTIONS)
        wanted = (f"{function}.{symbol.strip()}" for function in functions for symbol in config.symbols)
        return tuple(dict.fromkeys(wanted))

    def problem(self, config: FeedConfig) -> str | None:
        if not config.api_key:
            return "feed.api_key is empty: set ALPHAVANTAGE_API_KEY in the environment or in .env"
        for channel in config.channels:
            if channel not in FUNCTIONS:
                return (
                    f"feed.channels: alphavantage has no {channel}; it has T (quotes' last price), AM (minute bars) "
                    "and D (day bars)"
                )
        if not config.symbols or "*" in config.symbols:
            return "feed.symbols: alphavantage wants each symbol named, such as IBM"
        return None

    def auth_text(self, api_key: str) -> str:
        return ""

    def subscribe_texts(self, pairs: Iterable[str]) -> list[str]:
        return [request_text("subscribe", pairs)]

    def unsubscribe_texts(self, pairs: Iterable[str]) -> list[str]:
        return [request_text("unsubscribe", pairs)]

    def verdict(self, status: Status) -> Verdict:
        return _VERDICTS.get(status.status, Verdict(Meaning.OTHER))

    def decoder(self, instruments: InstrumentTable, config: FeedConfig) -> AlphaVantageDecoder:
        stamp = config.poll.bar_stamp
        return AlphaVantageDecoder(instruments, self.venue_id, config.frame_bytes_max, stamp)

    # ---- polling

    def query(self, pair: str, config: FeedConfig) -> Query:
        function, _, symbol = pair.partition(".")
        asked = {"function": function, "symbol": symbol, **_EXTRA.get(function, {})}
        return Query(self.url(config), {**asked, "apikey": config.api_key})

    def message(self, pair: str, body: bytes) -> bytes:
        function, _, symbol = pair.partition(".")
        head = msgspec.json.encode({"function": function, "symbol": symbol})[:-1]
        return head + b',"body":' + body + b"}"

    def trouble(self, pair: str, body: bytes) -> Trouble | None:
        try:
            parsed = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            parts = {key: bytes(raw) for key, raw in parsed.items()}
            told = {
                key: msgspec.json.decode(part) for key, part in parts.items() if len(part) < TOLD_BYTES_MAX
            }
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None  # the decoder counts it
        return trouble_of(told, pair.partition(".")[2])


_VERDICTS = {
    KEY: Verdict(Meaning.REFUSED, advice="check ALPHAVANTAGE_API_KEY in the environment or in .env"),
    CALL: Verdict(
        Meaning.OTHER, advice="check the symbol in feed.symbols; it is asked for less and less often"
    ),
    SYMBOL: Verdict(Meaning.OTHER, advice="correct feed.symbols; it is asked for less and less often"),
    PREMIUM: Verdict(
        Meaning.NOT_AUTHORIZED,
        advice="the plan lacks this function; see feed.channels",
    ),
    DAY_LIMIT: Verdict(
        Meaning.OTHER,
        advice="the day's calls are used up, polling pauses for an hour at a time; set feed.poll.calls_per_day to "
        "what the plan allows",
    ),
    MINUTE_LIMIT: Verdict(
        Meaning.OTHER,
        advice="polling pauses for a minute; set feed.poll.calls_per_minute to what the plan allows",
    ),
    SECOND_LIMIT: Verdict(Meaning.OTHER, advice="polling pauses for two seconds"),
}
