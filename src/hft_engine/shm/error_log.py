"""The distinct-error log: what went wrong in a role, each kind of fault once, with how often, first and last.

A segment of fixed size that one process writes and any may read, also when the writer hangs or is dead; after a
restart the role's next process writes on. Laid out as Agrona's DistinctErrorLog:

    word 0-7   identity (``layout``)      word 16  DROPPED: observations of faults there was no room for
    byte 4096  entries, one after the other, each on a word boundary:
               LENGTH of the text, bytes (stored last: 0 = nothing follows)   COUNT   FIRST_NS   LAST_NS (UTC)
               LEVEL (as of ``logging``)   KEY   then the text, UTF-8

Two faults are the same when their texts are, numbers aside: "pid 17 ended" and "pid 23 ended" count as one. No lock:
one writer, and a reader needs nothing but LENGTH before the rest.
"""

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hft_engine.shm import layout
from hft_engine.shm.segment import Segment, SegmentError

ERROR_LOG_BYTES = 32_768
TEXT_BYTES_MAX = 1_200  # so that one long traceback does not take the room of twenty faults
_DROPPED = 16
_ENTRIES_BYTE = layout.PAGE_BYTES
_LENGTH, _COUNT, _FIRST_NS, _LAST_NS, _LEVEL, _KEY = range(6)
_HEAD_WORDS = 6
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d[\d,._]*", re.IGNORECASE)


class Fault(NamedTuple):
    """One distinct fault. Times: UTC nanoseconds."""

    level: int
    observations: int
    first_ns: int
    last_ns: int
    text: str


def key_of(level: int, text: str) -> int:
    """A positive int63 that texts share which differ in numbers only."""
    plain = f"{level} {_NUMBERS.sub('#', text)}"
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "little") >> 1


class ErrorLog:
    """The writing side, of one process at a time."""

    def __init__(self, words: np.ndarray) -> None:
        self._words = words
        self._places = {int(words[place + _KEY]): place for place in _places(words)}
        last = max(self._places.values(), default=0)
        self._end = _after(words, last) if last else _ENTRIES_BYTE // layout.WORD

    @staticmethod
    def create(path: Path) -> None:
        """A new, empty log. Raises SegmentError."""
        with Segment.create(path, ERROR_LOG_BYTES) as segment:
            segment.words[layout.W_VERSION] = layout.LAYOUT_VERSION
            segment.words[layout.W_MAGIC] = layout.MAGIC

    @classmethod
    def attach(cls, path: Path) -> "ErrorLog":
        """Go on where an earlier process of the role stopped. Raises SegmentError."""
        return cls(_open(path, writable=True))

    @classmethod
    def private(cls) -> "ErrorLog":
        return cls(np.zeros(ERROR_LOG_BYTES // layout.WORD, np.int64))

    def record(self, level: int, text: str, now_ns: int | None = None) -> None:
        """One observation of the fault that ``text`` tells of. Never raises for want of room: that is counted."""
        now_ns = time.time_ns() if now_ns is None else now_ns
        key = key_of(level, text)
        place = self._places.get(key)
        if place is None:
            self._append(level, key, text, now_ns)
            return
        self._words[place + _LAST_NS] = now_ns
        self._words[place + _COUNT] += 1

    def faults(self) -> list[Fault]:
        return list(_faults(self._words))

    @property
    def dropped(self) -> int:
        return int(self._words[_DROPPED])

    def _append(self, level: int, key: int, text: str, now_ns: int) -> None:
        raw = text.encode("utf-8", "replace")[:TEXT_BYTES_MAX] or b"?"
        place, size = self._end, _HEAD_WORDS + _words_of(len(raw))
        if place + size > len(self._words):
            self._words[_DROPPED] += 1
            return
        start = (place + _HEAD_WORDS) * layout.WORD
        self._words.view(np.uint8)[start : start + len(raw)] = np.frombuffer(raw, np.uint8)
        self._words[place + _COUNT : place + _HEAD_WORDS] = 1, now_ns, now_ns, level, key
        self._words[place + _LENGTH] = len(raw)
        self._places[key] = place
        self._end = place + size


def read_error_log(path: Path) -> tuple[list[Fault], int]:
    """(distinct faults in the order they came, observations dropped) of a role. Raises SegmentError."""
    words = _open(path, writable=False)
    return list(_faults(words)), int(words[_DROPPED])


def _open(path: Path, writable: bool) -> np.ndarray:
    words = Segment.attach(path, writable).words
    if words[layout.W_MAGIC] != layout.MAGIC or len(words) * layout.WORD < ERROR_LOG_BYTES:
        raise SegmentError(f"{path} is no error log of hft_engine")
    return words


def _words_of(size: int) -> int:
    return -(-size // layout.WORD)


def _after(words: np.ndarray, place: int) -> int:
    return place + _HEAD_WORDS + _words_of(int(words[place + _LENGTH]))


def _places(words: np.ndarray) -> Iterator[int]:
    """Where entries begin; ends at the first that is not complete or cannot be one."""
    place = _ENTRIES_BYTE // layout.WORD
    while place + _HEAD_WORDS < len(words):
        if not 0 < int(words[place + _LENGTH]) <= TEXT_BYTES_MAX or _after(words, place) > len(words):
            return
        yield place
        place = _after(words, place)


def _faults(words: np.ndarray) -> Iterator[Fault]:
    raw = words.view(np.uint8)
    for place in _places(words):
        start = (place + _HEAD_WORDS) * layout.WORD
        text = raw[start : start + int(words[place + _LENGTH])].tobytes().decode("utf-8", "replace")
        count, first_ns, last_ns, level = (int(word) for word in words[place + _COUNT : place + _KEY])
        yield Fault(level, count, first_ns, last_ns, text)
