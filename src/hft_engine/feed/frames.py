"""Websocket frames out of a byte stream (RFC 6455, server to client): an incremental parser, no socket.

Bytes may arrive cut anywhere: what is incomplete stays until the rest has come, so a peer that stalls inside a
frame costs nothing but its silence. One read may hold many frames, which then cost no system call each.
"""

from enum import IntEnum

HEADER_BYTES = 2
CONTROL_BYTES_MAX = 125  # RFC 6455, 5.5
COMPACT_AT_BYTES = 65_536  # consumed bytes are dropped from the buffer in pieces of this size


class Opcode(IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_OPCODES = frozenset(int(opcode) for opcode in Opcode)
_TEXT = int(Opcode.TEXT)  # plain integers on the way of every message: an enumeration's are slow to reach
_CLOSE = int(Opcode.CLOSE)  # this and higher ones are control frames
_WHOLE_TEXT = 0x80 | int(Opcode.TEXT)  # first byte of nearly every frame that comes


class FrameError(Exception):
    """The peer breaks the protocol, or sends more in one message than allowed."""


def _only_payload(chunk: bytes, limit: int) -> bytes | None:
    """The payload of a chunk that is exactly one whole text message, short or medium, unmasked; else None."""
    size = len(chunk)
    if size < HEADER_BYTES or chunk[0] != _WHOLE_TEXT:
        return None
    length, start = chunk[1], HEADER_BYTES
    if length == 126 and size >= 4:
        length, start = chunk[2] << 8 | chunk[3], 4
    return chunk[start:] if size == start + length and length <= limit and chunk[1] < 127 else None


class FrameReader:
    """Feed it bytes, take messages. ``message_bytes_max`` bounds a message, whole or in fragments."""

    def __init__(self, message_bytes_max: int) -> None:
        self._limit = message_bytes_max
        self._buffer = bytearray()
        self._at = 0  # first byte not consumed
        self._whole: bytes | None = None  # a message that came alone in its read
        self._fragments: list[bytes] | None = None
        self._fragments_opcode = 0
        self._fragments_bytes = 0

    def feed(self, chunk: bytes) -> None:
        # What a venue mostly sends, one whole text message a read, is not copied twice.
        if self._whole is None and not self._buffer and self._fragments is None:
            self._whole = _only_payload(chunk, self._limit)
            if self._whole is not None:
                return
        self._buffer += chunk

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not complete."""
        return len(self._buffer) - self._at

    def next(self) -> tuple[int, bytes] | None:
        """The next whole message as (opcode, payload), or None until more bytes come. Raises FrameError."""
        whole = self._whole
        if whole is not None:
            self._whole = None
            return _TEXT, whole
        while (frame := self._next_frame()) is not None:
            first, payload = frame
            if first == _WHOLE_TEXT and self._fragments is None:
                return _TEXT, payload
            message = self._join(first & 0x80, first & 0x0F, payload)
            if message is not None:
                return message
        return None

    def _next_frame(self) -> tuple[int, bytes] | None:
        # (first byte of the header, payload)
        buffer, at = self._buffer, self._at
        available = len(buffer) - at
        if available < HEADER_BYTES:
            return None
        first, length = buffer[at], buffer[at + 1]
        start = at + HEADER_BYTES
        if length > CONTROL_BYTES_MAX:
            extra = {126: 2, 127: 8}.get(length)
            if extra is None:
                raise FrameError("the peer masks its frames, which a server must not do")
            if available < HEADER_BYTES + extra:
                return None
            length = int.from_bytes(buffer[start : start + extra], "big")
            start += extra
        if first != _WHOLE_TEXT or length > self._limit:
            self._check(first, length)
        end = start + length
        if end > len(buffer):
            return None
        payload = bytes(buffer[start:end])
        self._consume(end)
        return first, payload

    def _check(self, first: int, length: int) -> None:
        opcode = first & 0x0F
        if first & 0x70:
            raise FrameError("a frame uses an extension that was not agreed on")
        if opcode >= _CLOSE and (length > CONTROL_BYTES_MAX or not first & 0x80):
            raise FrameError("a control frame is too long or fragmented")
        if opcode not in _OPCODES:
            raise FrameError(f"opcode {opcode} is not defined")
        if length + self._fragments_bytes > self._limit:
            raise FrameError(
                f"a message of {length + self._fragments_bytes} bytes is over the limit of {self._limit} "
                "(feed.frame_bytes_max)"
            )

    def _consume(self, end: int) -> None:
        if end == len(self._buffer):
            self._buffer.clear()
            self._at = 0
        elif end >= COMPACT_AT_BYTES:
            del self._buffer[:end]
            self._at = 0
        else:
            self._at = end

    def _join(self, final: int, opcode: int, payload: bytes) -> tuple[int, bytes] | None:
        if opcode >= _CLOSE:
            return opcode, payload  # control frames may come between fragments
        if (opcode == Opcode.CONTINUATION) != (self._fragments is not None):
            raise FrameError("a fragment is out of place")
        if self._fragments is None:
            self._fragments = []
            self._fragments_opcode = opcode
        self._fragments.append(payload)
        self._fragments_bytes += max(len(payload), 1)  # empty fragments take memory as well
        if not final:
            return None
        message = self._fragments_opcode, b"".join(self._fragments)
        self._fragments = None
        self._fragments_bytes = 0
        return message
