"""Polygon's hosts under both of its names, as data: which feed each serves, and which is its 15 minutes later twin.

Polygon.io became Massive.com in October 2025: both domains take the same keys. Provisioned as of September 2026 are
the stems below; others that clients list have no certificate.
"""

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

DOMAINS = ("polygon.io", "massive.com")
MARKETS = ("stocks", "options", "indices", "forex", "crypto", "futures")


class Host(NamedTuple):
    """``stem`` + "." + a domain is the host's name. ``delayed``: the stem of the same feed 15 minutes later, or ""."""

    stem: str
    realtime: bool
    business: bool
    delayed: str
    plan: str  # for people


HOSTS = (
    Host("socket", True, False, "delayed", "real-time data of an individual plan"),
    Host("delayed", False, False, "", "15 minutes late: no Q, no LULD"),
    Host("business", True, True, "delayed-business", "business plans: FMV too"),
    Host("delayed-business", False, True, "", "business plans, 15 minutes late"),
    Host("polyfeed", True, True, "", "business plans"),
    Host("polyfeedplus", True, True, "", "business plans"),
    Host("starterfeed", True, True, "", "business plans"),
    Host("nasdaqfeed", True, True, "", "business plans: Nasdaq Basic"),
)
REALTIME_ONLY = ("Q", "LULD")
BUSINESS_ONLY = ("FMV",)
_BY_STEM = {host.stem: host for host in HOSTS}


def address(stem: str, market: str, domain: str = DOMAINS[0]) -> str:
    """Where a websocket connects to, ``wss://socket.polygon.io/stocks``."""
    return f"wss://{stem}.{domain}/{market}"


def host_of(url: str) -> Host | None:
    """The vendor's host that ``url`` names, or None for another (a simulator, a proxy)."""
    stem, _, domain = (urlsplit(url).hostname or "").partition(".")
    return _BY_STEM.get(stem) if domain in DOMAINS else None


def host_problem(url: str, channels: Iterable[str]) -> str | None:
    """Why the vendor's host that ``url`` names does not have all of ``channels``, with the remedy, or None."""
    host = host_of(url)
    if host is None:
        return None
    for channel in channels:
        if channel in REALTIME_ONLY and not host.realtime:
            return (
                f"feed.channels: the delayed host {host.stem} has no {channel}; take it out, or set feed.url"
            )
        if channel in BUSINESS_ONLY and not host.business:
            return (
                f"feed.channels: {channel} comes from the business hosts only, not from {host.stem}; set feed.url to "
                f"{address('business', urlsplit(url).path.strip('/'))}, or take it out"
            )
    return None


def delayed_url(url: str) -> str | None:
    """The address of the same feed 15 minutes late, or None where there is none."""
    host = host_of(url)
    if host is None or not host.delayed:
        return None
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f"{host.stem}.", f"{host.delayed}.", 1)))
