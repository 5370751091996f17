"""The states of a feed session, by number and name. Imported by views: nothing heavy here."""

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
