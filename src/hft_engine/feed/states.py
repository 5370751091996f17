"""The states of a feed session, by number and name. Imported by views: nothing heavy here."""

from collections.abc import Iterable
from enum import IntEnum


class FeedState(IntEnum):
    """QUIET: silent, but a ping is under way or answered. DEAD: neither data nor pong, being closed."""

    CONNECTING = 0
    AUTHENTICATING = 1
    SUBSCRIBING = 2
    LIVE = 3
    QUIET = 4
    DEAD = 5
    BACKOFF = 6
    FAILED = 7
    STOPPED = 8


FEED_STATES: tuple[str, ...] = tuple(state.name.lower() for state in FeedState)

# How far each is from data, the nearest first.
_NEARNESS = (
    FeedState.LIVE,
    FeedState.QUIET,
    FeedState.SUBSCRIBING,
    FeedState.AUTHENTICATING,
    FeedState.CONNECTING,
    FeedState.BACKOFF,
    FeedState.DEAD,
    FeedState.STOPPED,
    FeedState.FAILED,
)


def best(states: Iterable[FeedState]) -> FeedState:
    """Of lines that stand in for each other."""
    return min(states, key=_NEARNESS.index)


def worst(states: Iterable[FeedState]) -> FeedState:
    """Of lines that are all needed. QUIET beside LIVE is LIVE: a thin market beside a busy one is no trouble."""
    found = sorted(states, key=_NEARNESS.index)
    return found[0] if found[-1] is FeedState.QUIET else found[-1]
