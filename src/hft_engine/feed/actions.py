"""What a session wants to be done; whoever owns the connection carries it out, in order."""

import msgspec


class Connect(msgspec.Struct, frozen=True):
    """Open a connection; answer with ``opened`` or ``closed``."""


class Send(msgspec.Struct, frozen=True):
    """Send a text message. It may hold the key: never log it."""

    text: str

    def __repr__(self) -> str:
        return "Send(...)"


class Ping(msgspec.Struct, frozen=True):
    """Send a ping frame; answer with ``pong`` when its pong comes."""


class Close(msgspec.Struct, frozen=True):
    """Drop the connection."""


class Fatal(msgspec.Struct, frozen=True):
    """The feed cannot work; ``reason`` says why and what to do. Nothing follows."""

    reason: str


class Report(msgspec.Struct, frozen=True):
    """A fact for people. ``fault``: something is not as it should be."""

    text: str
    fault: bool = False


Action = Connect | Send | Ping | Close | Fatal | Report
