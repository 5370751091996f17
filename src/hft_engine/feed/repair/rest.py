"""The vendor's aggregates over HTTP: ``/v2/aggs/ticker/{symbol}/range/1/{span}/{from}/{to}``, page by page.

Three things go wrong: ``RefusedError``, the key or the plan does not allow it, so nothing more need be asked;
``FailedError``, this cannot be had; ``AgainError``, it may be had later. No text holds the key, which is in a header.
"""

from urllib.parse import quote, urlsplit

import msgspec
import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from hft_engine.feed.repair.plan import Request
from hft_engine.feed.venues.polygon_rest_errors import RestRefusal, rest_refusal

PAGES_MAX = 20  # of one answer: a server that goes on and on is not waited for
BARS_A_PAGE = 50_000  # the vendor's own limit
_REFUSED = (401, 403)


class RefusedError(Exception):
    """Asking again cannot help; the text is the vendor's."""


class FailedError(Exception):
    """An answer that cannot be used."""


class AgainError(Exception):
    """No answer, or one that says: later."""


class Aggregate(msgspec.Struct, frozen=True):
    """One bar as the vendor sends it; ``t`` is its start in ms, ``n`` the number of its trades."""

    t: int
    o: float
    h: float
    l: float  # noqa: E741  # the vendor's name
    c: float
    v: float
    vw: float = float("nan")
    n: int = 0


class _Page(msgspec.Struct, frozen=True):
    results: list[Aggregate] = []
    next_url: str | None = None


_decode = msgspec.json.Decoder(_Page, strict=False).decode


class Aggregates:
    """A client of one vendor, for one thread."""

    def __init__(self, base_url: str, api_key: str, timeout_ms: int, attempts: int) -> None:
        self._base = base_url.rstrip("/")
        self._timeout_s = timeout_ms / 1e3
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {api_key}"
        self._retrying = Retrying(
            retry=retry_if_exception_type(AgainError),
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(multiplier=0.2, max=5.0),
            reraise=True,
        )

    def fetch(self, symbol: str, request: Request) -> list[Aggregate]:
        """The bars of the request, oldest first. Raises RefusedError, FailedError, AgainError."""
        start, end = request.start_ns // 1_000_000, request.end_ns // 1_000_000 - 1
        path = f"/v2/aggs/ticker/{quote(symbol, safe=':')}/range/1/{request.span}/{start}/{end}"
        url: str | None = f"{path}?adjusted=false&sort=asc&limit={BARS_A_PAGE}"
        found: list[Aggregate] = []
        pages = 0
        while url is not None and pages < PAGES_MAX:
            page = self._retrying(self._page, url)
            found += page.results
            url = _path_of(page.next_url)
            pages += 1
        return found

    def close(self) -> None:
        self._session.close()

    def _page(self, path: str) -> _Page:
        try:
            answer = self._session.get(self._base + path, timeout=self._timeout_s)
        except requests.RequestException as error:
            raise AgainError(f"{type(error).__name__} from {self._base}") from None
        refusal = rest_refusal(answer.status_code, answer.content)
        if refusal is not None:
            raise self._error(refusal)
        try:
            return _decode(answer.content)
        except (msgspec.MsgspecError, UnicodeError):
            raise FailedError("the answer is no list of bars") from None

    def _error(self, refusal: RestRefusal) -> Exception:
        answered = f"{self._base} answers {refusal.status}"
        if refusal.again:
            return AgainError(answered)
        if refusal.status in _REFUSED:
            return RefusedError(f"{refusal.text or answered}; {refusal.advice}")
        return FailedError(f"{answered}: {refusal.text or refusal.advice}")


def _path_of(url: str | None) -> str | None:
    """Path and query of the next page: it may name another host, and the key goes to ours only."""
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
