"""Pages as the vendor has them: ``next_url`` on the vendor's own host, its query one opaque cursor."""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

HOST = "https://api.polygon.io"  # whatever host was asked: a client must not follow it blindly
AFTER = "ap"


def next_url(path: str, query: Mapping[str, str], after: str) -> str:
    """Where the page after the one that ended at ``after`` is; no key is in it."""
    wanted = {name: value for name, value in query.items() if name not in ("apiKey", "cursor", AFTER)}
    cursor = urlsafe_b64encode(urlencode({**wanted, AFTER: after}).encode()).decode().rstrip("=")
    return f"{HOST}{path}?cursor={cursor}"


def unfold(query: Mapping[str, str]) -> dict[str, str]:
    """The query, or the one that its cursor holds. Raises ValueError for a cursor that is none of ours."""
    cursor = query.get("cursor")
    if cursor is None:
        return dict(query)
    return dict(
        parse_qsl(
            b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode(), strict_parsing=True
        )
    )
