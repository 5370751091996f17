"""What Finnhub sends to a webhook of yours: a POST whose header ``X-Finnhub-Secret`` proves who sent it."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.request import Request, urlopen

import msgspec

TIMEOUT_S = 5.0  # an answer that takes longer counts as none


def post_event(url: str, secret: str, event: str, data: Sequence[Mapping[str, Any]]) -> int:
    """The HTTP status of the receiver's answer. Raises OSError where there is none, or it is an error."""
    request = Request(
        url,
        msgspec.json.encode({"event": event, "data": list(data)}),
        {"Content-Type": "application/json", "X-Finnhub-Secret": secret},
    )
    with urlopen(request, timeout=TIMEOUT_S) as answer:
        return int(answer.status)
