"""From the socket to the tick ring without Python: read, stamp, cut websocket frames, scan, publish.

What is plain in every respect - a whole text frame that the scanner takes - never meets the interpreter. Anything else
(control frames, fragments, text the scanner refuses, an error) stays where it is, first in the stream, and BLOCKED
asks for Python, which takes it in its turn: the order of messages is kept.

Where more comes than the machine takes, the rest waits in the socket and at the venue, and everything is later and
later, until the venue hangs up. With ``feed.shed_after_ms`` a socket that has not been found empty for so long is
emptied without decoding: market data are counted and left out, all else is heeded.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray

from hft_engine.feed.decode import FrameDecoder
from hft_engine.feed.frames import GUARD_BYTES, HEADER_BYTES, READ_BYTES, FrameReader, StreamWord
from hft_engine.feed.scan_text import REFUSED, byte_at
from hft_engine.feed.scanner import Scanner, leave_out, scan
from hft_engine.instruments import InstrumentTable
from hft_engine.kernel import kernel
from hft_engine.records import TICK_DTYPE
from hft_engine.runtime.chain import ATTENTION, NativeCall, entry
from hft_engine.shm.clock import mono_ns, utc_ns
from hft_engine.shm.histogram import new_counts
from hft_engine.shm.ring import Ring
from hft_engine.shm.syscalls import receive_now, wait_readable
from hft_engine.wiring import wire, wired

(
    _BEGIN,
    _END,
    _FRAGMENTED,
    _FD,
    _BLOCKED,
    _ERROR,
    _DRAINED,
    _TS_RECV,
    _TS_MONO,
    _BYTES_READ,
    _FULL_SINCE,
    _SHEDS,
) = (int(word) for word in StreamWord)
_SCANNER, _BUFFER, _WORDS, _OPTIONS = range(4)
_CAPACITY, _LIMIT, _SCANS, _ENCRYPTED, _SHED_AFTER = range(5)  # options; the last in ns, 0 never
_WHOLE_TEXT = 0x81
_EAGAIN, _EINTR = 11, 4
# A pass: its text and rows lie in a second-level cache until the stages behind have had them. Not one: what waits in
# the socket is late already, and what waits at the venue nobody counts.
READS_MAX = 4
_INCOMPLETE, _NOT_PLAIN = -1, -2


@kernel()
def _payload(buffer: np.ndarray, begin: int, end: int, limit: int) -> tuple[int, int]:
    """(place, length) of the first frame's payload; as length INCOMPLETE, or NOT_PLAIN for what Python must judge."""
    if end - begin < HEADER_BYTES:
        return 0, _INCOMPLETE
    length, place = byte_at(buffer, begin + 1), begin + HEADER_BYTES
    if length > 127:
        return 0, _NOT_PLAIN  # masked
    if length >= 126:
        extra = 2 if length == 126 else 8
        if end - place < extra:
            return 0, _INCOMPLETE
        length = 0
        for i in range(extra):
            length = length << 8 | byte_at(buffer, place + i)
        place += extra
        if not 0 <= length <= limit:
            return 0, _NOT_PLAIN
    if place + length > end:
        return 0, _INCOMPLETE
    return place, length if byte_at(buffer, begin) == _WHOLE_TEXT and length <= limit else _NOT_PLAIN


@kernel()
def _drain(wiring: np.ndarray) -> int:
    """Take the messages that lie in the buffer, up to the first that is not plain. Returns how many."""
    words, options = wired(wiring, _WORDS, np.int64), wired(wiring, _OPTIONS, np.int64)
    buffer, scanner = wired(wiring, _BUFFER, np.uint8), wired(wiring, _SCANNER, np.int64)
    taken = 0
    while words[_BEGIN] < words[_END]:
        place, length = _payload(buffer, words[_BEGIN], words[_END], options[_LIMIT])
        if length == _INCOMPLETE:
            break
        if length == _NOT_PLAIN or options[_SCANS] == 0 or words[_FRAGMENTED] != 0:
            words[_BLOCKED] = 1
            break
        text = buffer[place : place + length]
        if words[_SHEDS] != 0 and leave_out(scanner, text, words[_TS_MONO]) != REFUSED:
            pass
        elif scan(scanner, text, words[_TS_RECV], words[_TS_MONO]) == REFUSED:
            words[_BLOCKED] = 1
            break
        words[_BEGIN] = place + length
        taken += 1
    return taken


@kernel()
def _make_room(words: np.ndarray, buffer: np.ndarray, capacity: int) -> int:
    """Bytes that may be read now, at the end of the unread ones."""
    begin, end = words[_BEGIN], words[_END]
    if begin == end:
        words[_BEGIN] = words[_END] = end = 0
    elif capacity - end < READ_BYTES:
        for i in range(end - begin):
            buffer[i] = buffer[begin + i]
        words[_BEGIN], words[_END] = 0, end - begin
        end -= begin
    return min(READ_BYTES, capacity - end)


@kernel(inline="always")
def _look_behind(words: np.ndarray, empty: bool, shed_after_ns: int) -> None:
    """After a read: whether it left the socket empty, and if not, for how long none has."""
    if empty:
        words[_FULL_SINCE] = words[_SHEDS] = 0
    elif words[_FULL_SINCE] == 0:
        words[_FULL_SINCE] = words[_TS_MONO]
    elif shed_after_ns > 0 and words[_TS_MONO] - words[_FULL_SINCE] > shed_after_ns:
        words[_SHEDS] = 1


@kernel()
def _read(words: np.ndarray, buffer: np.ndarray, capacity: int, shed_after_ns: int) -> bool:
    space = _make_room(words, buffer, capacity)
    count = receive_now(words[_FD], buffer.ctypes.data + words[_END], space)
    if count <= 0:
        if count not in (-_EAGAIN, -_EINTR):
            words[_ERROR], words[_BLOCKED] = -count if count < 0 else -1, 1
        _look_behind(words, True, shed_after_ns)
        return False
    words[_TS_RECV], words[_TS_MONO] = utc_ns(), mono_ns()
    words[_END] += count
    words[_BYTES_READ] += count
    words[_DRAINED] = count < space
    _look_behind(words, count < space, shed_after_ns)
    return True


@kernel()
def pump(wiring: np.ndarray, reads: int) -> int:
    """Take what the buffer holds, or what up to ``reads`` reads of the socket bring. Returns messages taken, or
    ATTENTION.

    ``wiring``: the scanner's wiring, the stream's buffer and words, options.
    """
    words, options = wired(wiring, _WORDS, np.int64), wired(wiring, _OPTIONS, np.int64)
    if words[_BLOCKED] != 0:
        return ATTENTION
    if reads == 0:
        return _drain(wiring)
    if words[_FD] < 0:
        return 0
    if options[_ENCRYPTED] != 0:
        words[_BLOCKED] = wait_readable(words[_FD], 0)
        return ATTENTION if words[_BLOCKED] != 0 else 0
    if words[_DRAINED] != 0:
        words[_DRAINED] = 0
        return 0
    taken = 0
    buffer, shed_after_ns = wired(wiring, _BUFFER, np.uint8), options[_SHED_AFTER]
    while reads > 0 and _read(words, buffer, options[_CAPACITY], shed_after_ns):
        taken += _drain(wiring)
        reads = 0 if words[_DRAINED] != 0 or words[_BLOCKED] != 0 else reads - 1
    return taken


@kernel()
def pump_all(wirings: np.ndarray, reads: int) -> int:
    """``pump`` of several connections in turn; ``wirings``: theirs, wired. Returns messages taken, or ATTENTION."""
    taken, attention = 0, False
    for i in range(len(wirings) >> 1):
        done = pump(wired(wirings, i, np.int64), reads)
        attention |= done == ATTENTION
        taken += max(done, 0)
    return ATTENTION if attention else taken


def _call(wirings: Any, words: int, reader: int, argument: int) -> int:
    return pump_all(carray(wirings, (words,)), argument)


@functools.cache
def native_entry() -> Any:
    """The stage's C function, for ``runtime.chain``: of one connection or several."""
    return entry(_call)


class Wire:
    """A connection bound to a scanner. ``call``: for ``runtime.chain``; it waits on the socket.

    ``shed_after_ns``: a socket that was not empty for so long is emptied, its market data left out; 0 never.
    """

    def __init__(
        self, scanner: Scanner, frames: FrameReader, encrypted: bool, scans: bool, shed_after_ns: int = 0
    ) -> None:
        capacity = len(frames.buffer) - GUARD_BYTES
        options = np.array([capacity, frames.limit, scans, encrypted, shed_after_ns], np.int64)
        self._words = frames.words.data
        self._shed_after_ns = shed_after_ns
        self._scanner = scanner  # its arrays are in the wiring
        self._arrays = (scanner.wiring, frames.buffer, frames.words, options)
        self.wiring = wire(self._arrays)
        self.call = _call_of([self], int(frames.words[_FD]))

    @property
    def blocked(self) -> bool:
        """Whether what comes next is Python's to take."""
        return self._words[_BLOCKED] != 0

    def block(self) -> None:
        """What comes next is Python's to take."""
        self._words[_BLOCKED] = 1

    @property
    def sheds(self) -> bool:
        """Whether what comes next is left out, if it is market data."""
        return self._words[_SHEDS] != 0

    def look_behind(self, empty: bool) -> None:
        """After a read of the socket by Python: whether it held nothing more."""
        words = self._words
        if empty:
            words[_FULL_SINCE] = words[_SHEDS] = 0
        elif words[_FULL_SINCE] == 0:
            words[_FULL_SINCE] = words[_TS_MONO]
        elif 0 < self._shed_after_ns < words[_TS_MONO] - words[_FULL_SINCE]:
            words[_SHEDS] = 1

    def unblock(self) -> int:
        """Python has taken its part: go on with what lies in the buffer. Returns messages taken."""
        self._words[_BLOCKED] = 0
        return max(0, self.call.run(0))

    def pump(self) -> int:
        """What is in the socket, up to READS_MAX reads, from Python. Returns messages taken."""
        return max(0, self.call.run())


class Wires:
    """Several connections as one stage. ``call``: for ``runtime.chain``; it waits on all their sockets."""

    def __init__(self, wires: Sequence[Wire], fd: int) -> None:
        self._wires = tuple(wires)  # their arrays are in the wiring
        self.call = _call_of(self._wires, fd)

    def pump(self) -> int:
        """What is in the sockets, from Python. Returns messages taken."""
        return max(0, self.call.run())


def _call_of(wires: Sequence[Wire], fd: int) -> NativeCall:
    return NativeCall(native_entry().address, wire([each.wiring for each in wires]), 0, READS_MAX, fd)


def warm() -> None:
    """Compile (or load from the cache) the kernels, with the types of a live run."""
    decoder = FrameDecoder(InstrumentTable.private(2), 0, 64)
    scanner = Scanner(Ring.private("warm", TICK_DTYPE, 8), decoder, 0, new_counts())
    Wire(scanner, FrameReader(64), encrypted=False, scans=True).pump()
