"""The control plane's messages: msgspec Structs in MessagePack. Never a tick."""

import msgspec


class ControlError(RuntimeError):
    """A command was refused or not answered; the text says why."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Stop in order and leave."""


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Are you there? The reply's payload is the role."""


class SetLogLevel(msgspec.Struct, frozen=True, tag=True):
    level: str


class SwapModel(msgspec.Struct, frozen=True, tag=True):
    """Use another model from the next record on; refused when it does not fit."""

    path: str


class Subscribe(msgspec.Struct, frozen=True, tag=True):
    symbols: tuple[str, ...]
    line: str = ""  # of the feed; empty: main


class Unsubscribe(msgspec.Struct, frozen=True, tag=True):
    symbols: tuple[str, ...]
    line: str = ""


class SetConfig(msgspec.Struct, frozen=True, tag=True):
    """Other values of keys that may change live (``config.live``), all of them or none, from the next record on."""

    changes: dict[str, float | int]


class Event(msgspec.Struct, frozen=True, tag=True):
    """A fact that happened. ``ts_ns`` UTC nanoseconds."""

    ts_ns: int
    role: str
    kind: str
    text: str
    sequence: int = -1  # given by the supervisor


class Publish(msgspec.Struct, frozen=True, tag=True):
    """To the publisher: tell the world."""

    event: Event


class Restart(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: kill the process of a role and start it again."""

    role: str


Body = Stop | Ping | SetLogLevel | SwapModel | Subscribe | Unsubscribe | SetConfig | Event | Publish | Restart


class Command(msgspec.Struct, frozen=True, tag=True):
    """``target``: a role, or empty for the supervisor."""

    id: int
    body: Body
    target: str = ""


class Reply(msgspec.Struct, frozen=True, tag=True):
    id: int
    ok: bool
    error: str = ""
    payload: object = None


Message = Command | Reply | Event

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    return _encoder.encode(message)


def decode(raw: bytes) -> Message:
    """Raises msgspec.MsgspecError for anything that is not a Message."""
    return _decoder.decode(raw)
