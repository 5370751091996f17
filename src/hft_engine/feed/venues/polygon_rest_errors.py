"""What an answer of Polygon's REST interface means that is none: its words are in ``error``, ``message`` or nowhere."""

from typing import NamedTuple

import msgspec


class RestRefusal(NamedTuple):
    """``again``: a later try of the same may help. ``text`` is the vendor's, ``advice`` ours, for people."""

    status: int
    again: bool
    text: str
    advice: str


class _Body(msgspec.Struct):
    status: str = ""
    error: str = ""
    message: str = ""
    request_id: str = ""


_BODY = msgspec.json.Decoder(_Body)
_ADVICE = {
    401: "check POLYGON_API_KEY (or MASSIVE_API_KEY) in the environment or in .env",
    403: "the plan does not include these data, or not yet; see https://polygon.io/pricing",
    404: "the vendor has no such data: check symbol and date",
    429: "too many calls for the plan: fewer a minute",
}
_AGAIN = frozenset(
    {408, 413, 429, 499, 500, 502, 503, 504}
)  # what the official client tries again, and time-outs


def rest_refusal(status: int, body: bytes) -> RestRefusal | None:
    """The meaning of an answer, or None where it is data. Never raises."""
    if status == 200:
        return None
    try:
        found = _BODY.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = _Body()  # 429 came without a body, proxies answer in HTML
    advice = _ADVICE.get(status, "the vendor's side; it is tried again later" if status in _AGAIN else "")
    return RestRefusal(status, status in _AGAIN, found.error or found.message, advice)
