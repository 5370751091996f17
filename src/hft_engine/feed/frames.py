"""Websocket frames out of a byte stream (RFC 6455, server to client): an incremental parser, no socket.

Bytes may arrive cut anywhere: what is incomplete stays until the rest has come, so a peer that stalls inside a
frame costs nothing but its silence. One read may hold many frames, which then cost no system call each.

The bytes lie in an array that compiled code may read and fill as well (``feed.wire``): between calls, ``words`` says
where the unread ones begin and end.
"""

from enum import IntEnum

import numpy as np

HEADER_BYTES, HEADER_BYTES_MAX = 2, 10
CONTROL_BYTES_MAX = 125  # RFC 6455, 5.5
READ_BYTES = 65_536  # one read takes up to this; a burst is then one system call, not one a frame
GUARD_BYTES = 64  # zeros behind the buffer: compiled readers stop there


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


class StreamWord(IntEnum):
    """Words that a stream shares with compiled code; times are UTC and CLOCK_MONOTONIC right after the last read."""

    BEGIN = 0  # of the bytes not consumed
    END = 1
    FRAGMENTED = 2  # 1 inside a message that comes in several frames
    FD = 3  # of the socket, -1 for none
    BLOCKED = 4  # 1: what comes next is not for compiled code
    ERROR = 5  # errno that ended the stream; -1 its end
    DRAINED = 6  # 1: the last read took all there was, another would be a system call for nothing
    TS_RECV_NS = 7
    TS_MONO_NS = 8
    BYTES_READ = 9
    FULL_SINCE_NS = 10  # CLOCK_MONOTONIC of the first read since the socket was last found empty; 0: it is
    SHEDS = 11  # 1: that was so long ago that what waits is left out


_BEGIN, _END, _FRAGMENTED = (int(word) for word in (StreamWord.BEGIN, StreamWord.END, StreamWord.FRAGMENTED))


class FrameReader:
    """Fill its ``space``, take messages. ``message_bytes_max`` bounds a message, whole or in fragments.

    ``buffer`` uint8[], ``words`` int64[StreamWord].
    """

    def __init__(self, message_bytes_max: int) -> None:
        self.limit = message_bytes_max
        self._capacity = message_bytes_max + READ_BYTES + 2 * HEADER_BYTES_MAX
        self.buffer = np.zeros(self._capacity + GUARD_BYTES, np.uint8)
        self.words = np.zeros(len(StreamWord), np.int64)
        self.words[StreamWord.FD] = -1
        self._bytes = self.buffer.data  # Python's own integers, at a third of the time
        self._words = self.words.data
        self._fragments: list[bytes] | None = None
        self._fragments_opcode = 0
        self._fragments_bytes = 0

    def space(self) -> memoryview:
        """Where the next bytes go, READ_BYTES at least once every message has been taken; then call ``filled``."""
        words = self._words
        begin, end = words[_BEGIN], words[_END]
        if begin == end:
            words[_BEGIN] = words[_END] = end = 0
        elif self._capacity - end < READ_BYTES:
            self.buffer[: end - begin] = self.buffer[begin:end].copy()
            words[_BEGIN], words[_END] = 0, end - begin
            end -= begin
        return self._bytes[end : min(end + READ_BYTES, self._capacity)]

    def filled(self, count: int) -> None:
        """So many bytes were put into ``space``."""
        self._words[_END] += count

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not complete."""
        return self._words[_END] - self._words[_BEGIN]

    def next(self) -> tuple[int, bytes] | None:
        """The next whole message as (opcode, payload), or None until more bytes come. Raises FrameError."""
        while (frame := self._next_frame()) is not None:
            first, payload = frame
            if first == _WHOLE_TEXT and self._fragments is None:
                return _TEXT, payload
            message = self._join(first & 0x80, first & 0x0F, payload)
            self._words[_FRAGMENTED] = self._fragments is not None
            if message is not None:
                return message
        return None

    def _next_frame(self) -> tuple[int, bytes] | None:
        # (first byte of the header, payload)
        buffer, at, stop = self._bytes, self._words[_BEGIN], self._words[_END]
        available = stop - at
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
        if first != _WHOLE_TEXT or length > self.limit:
            self._check(first, length)
        end = start + length
        if end > stop:
            return None
        self._words[_BEGIN] = end
        return first, bytes(buffer[start:end])

    def _check(self, first: int, length: int) -> None:
        opcode = first & 0x0F
        if first & 0x70:
            raise FrameError("a frame uses an extension that was not agreed on")
        if opcode >= _CLOSE and (length > CONTROL_BYTES_MAX or not first & 0x80):
            raise FrameError("a control frame is too long or fragmented")
        if opcode not in _OPCODES:
            raise FrameError(f"opcode {opcode} is not defined")
        if length + self._fragments_bytes > self.limit:
            raise FrameError(
                f"a message of {length + self._fragments_bytes} bytes is over the limit of {self.limit} "
                "(feed.frame_bytes_max)"
            )

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
