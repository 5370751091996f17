"""How a connection to a venue is opened: the venue's ``transport`` names an entry of DIALERS."""

from collections.abc import Callable
from typing import Protocol

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.frames import FrameReader
from hft_engine.feed.transport import Dialer
from hft_engine.feed.venues.base import Venue


class Link(Protocol):
    """An open connection; ``transport.Connection`` is the one over a websocket. Every method may raise TransportError
    but ``close``; none waits.

    ``frames``      holds what was read, and when (``StreamWord``); its word FD is what to wait on
    ``encrypted``   True: compiled code only waits for input and leaves reading to ``read``
    ``controls``    signs of life beside messages, counted
    """

    frames: FrameReader
    encrypted: bool
    controls: int

    def fileno(self) -> int: ...
    @property
    def ts_recv_ns(self) -> int: ...
    @property
    def ts_mono_ns(self) -> int: ...
    def read(self) -> bool:
        """Take what there is; False when there is nothing."""
        ...

    def next_message(self) -> bytes | None: ...
    def check(self) -> None: ...
    def send(self, text: str) -> None: ...
    def ping(self) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class Opening(Protocol):
    """An attempt to connect that goes on in the background; ``transport.Dialer`` is the one for websockets."""

    def result(self) -> Link | None:
        """The open connection, once; None while there is none. Raises TransportError when it failed."""
        ...

    def abandon(self) -> None: ...
    def join(self, timeout_s: float) -> None: ...


def _websocket(venue: Venue, config: FeedConfig) -> Dialer:
    return Dialer(venue.url(config), config.connect_timeout_ms, config.frame_bytes_max)


def _polling(venue: Venue, config: FeedConfig) -> Opening:
    from hft_engine.feed.poller import PollDialer  # its HTTP library is only loaded where somebody polls

    return PollDialer(venue, config)


DIALERS: dict[str, Callable[[Venue, FeedConfig], Opening]] = {"websocket": _websocket, "polling": _polling}

__all__ = ["DIALERS", "Link", "Opening"]
