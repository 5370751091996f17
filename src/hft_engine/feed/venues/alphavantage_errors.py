"""What Alpha Vantage means by an answer that is none: ``Error Message``, ``Note``, ``Information``, an empty quote.

All come as HTTP 200. One variant of ``Information`` prints the API key. Texts as quoted in public repositories
(the project's data has them); the words looked for are those that all variants share.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

MASK = "***"
SECOND_S, MINUTE_S, HOUR_S = 1, 60, 3_600
_KEYS = ("Error Message", "Note", "Information")
_PRINTED_KEY = re.compile(r"(API key as )\S+", re.IGNORECASE)
_TEXT_MAX = 500


class Trouble(NamedTuple):
    """``kind`` is one of those below; the others as in ``polled.Pause``."""

    kind: str
    text: str
    pause_s: int = 0
    pair_rests: bool = False


KEY, CALL, SYMBOL, PREMIUM, DAY_LIMIT, MINUTE_LIMIT, SECOND_LIMIT, OTHER = (
    "key refused",
    "bad call",
    "unknown symbol",
    "premium endpoint",
    "daily limit",
    "limit per minute",
    "limit per second",
    "message",
)


def trouble_of(body: Mapping[str, object], symbol: str) -> Trouble | None:
    """What is wrong with an answer to a request for ``symbol``; None for one that holds data."""
    if "Global Quote" in body and not (isinstance(body["Global Quote"], Mapping) and body["Global Quote"]):
        return Trouble(SYMBOL, f"no quote for {symbol}: Alpha Vantage does not know it", pair_rests=True)
    key = next((key for key in _KEYS if key in body), None)
    if key is None:
        return None
    text = _PRINTED_KEY.sub(rf"\g<1>{MASK}", str(body[key]))[:_TEXT_MAX]
    return _error(text, symbol) if key == "Error Message" else _limit(text, symbol)


def _error(text: str, symbol: str) -> Trouble:
    if "apikey" in text.lower():
        return Trouble(KEY, text, pause_s=HOUR_S)
    return Trouble(CALL, f"{symbol}: {text}", pair_rests=True)


def _limit(text: str, symbol: str) -> Trouble:
    lowered = text.lower()
    # The order matters: the text about the burst mentions the day's limit and premium endpoints too.
    if "per second" in lowered and "sparingly" in lowered:
        return Trouble(SECOND_LIMIT, text, pause_s=2 * SECOND_S)
    if "calls per minute" in lowered or "requests per minute" in lowered:
        return Trouble(MINUTE_LIMIT, text, pause_s=MINUTE_S)
    if "per day" in lowered:
        return Trouble(DAY_LIMIT, text, pause_s=HOUR_S)
    if "premium endpoint" in lowered:
        return Trouble(PREMIUM, f"{symbol}: {text}", pair_rests=True)
    return Trouble(OTHER, f"{symbol}: {text}", pair_rests=True)
