"""What changed the course of a session besides its ticks: one crash-safe file a role, in the session's directory.

    events-<role>.jsonl     crc32c, 8 hex digits | space | JSON of a SessionEvent | newline

An actor records an event before it acts on it, with the tick sequence from which on it holds; so whoever replays the
ticks can do the same at the same place, and so can the actor's next life. A line is one O_APPEND write: a process that
dies leaves it whole or cut short, and a line that was cut short was never acted on.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import msgspec

from hft_engine.runtime.faultpoints import fault_point

EventKind = Literal[
    "start",
    "resume",
    "reconnect",
    "subscription",
    "model_swap",
    "config_change",
    "lap",
    "conflation",
    "late_drop",
    "backfill",
    "latch",
    "latch_reset",
]
DURABLE: frozenset[str] = frozenset(
    {"resume", "model_swap", "config_change", "subscription", "latch", "latch_reset"}
)
_PREFIX, _SUFFIX = "events-", ".jsonl"
_CRC_DIGITS = 8
_CUT = b"#\n"  # ends a line that was cut short; not even one that lacks only its newline becomes whole by it


class SessionEvent(msgspec.Struct, frozen=True):
    """``sequence``: of the tick (``source_sequence``) from which on it holds. ``ts_ns`` UTC. ``data``: as its kind."""

    role: str
    kind: EventKind
    sequence: int
    ts_ns: int
    data: dict[str, Any] = {}


class Damage(msgspec.Struct, frozen=True):
    """Bytes of an event file that are no event: a write that a death cut short, or a damaged disk."""

    path: str
    offset: int
    length: int

    def __str__(self) -> str:
        return f"{self.path}: {self.length} bytes at {self.offset} are no whole event; they are ignored"


class EventLog:
    """The writer of one role's events. ``directory`` is made when the first event comes."""

    def __init__(self, directory: Path, role: str) -> None:
        self.path = event_path(directory, role)
        self._role = role
        self._fd = -1

    def record(
        self, kind: EventKind, sequence: int, data: dict[str, Any] | None = None, sync: bool = True
    ) -> SessionEvent:
        """Append one event. Raises OSError where it cannot be written: then do not act on it.

        ``sync``: one of ``DURABLE`` is on the disk when this returns; else it outlives the process, and the machine
        only from the next ``sync`` on.
        """
        event = SessionEvent(self._role, kind, sequence, time.time_ns(), data or {})
        if self._fd < 0:
            self._fd = self._open()
        fault_point("events.append")
        line = encode_event(event)
        written = os.write(self._fd, line)
        if written != len(line):
            os.write(self._fd, _CUT)
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes were written")
        if kind in DURABLE and sync:
            self.sync()
        fault_point("events.appended")
        return event

    def sync(self) -> None:
        """All that was recorded is on the disk. Raises OSError."""
        if self._fd >= 0:
            os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:  # it is its actor's until the end, and a process may have had many actors
        self.close()

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            os.write(fd, _CUT)  # a predecessor died inside its last line
        return fd


def event_path(directory: Path, role: str) -> Path:
    return directory / f"{_PREFIX}{role}{_SUFFIX}"


def encode_event(event: SessionEvent) -> bytes:
    """The event's line."""
    text = msgspec.json.encode(event)
    return b"%08x %s\n" % (google_crc32c.value(text), text)


def read_events(directory: Path, role: str) -> tuple[list[SessionEvent], list[Damage]]:
    """A role's events in the order they were recorded, and what in the file is none. No file: no events."""
    path = event_path(directory, role)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return [], []
    events, damages, offset = [], [], 0
    for line in raw.splitlines(keepends=True):
        event = _decode_event(line)
        if event is not None:
            events.append(event)
        elif line.strip():
            damages.append(Damage(str(path), offset, len(line)))
        offset += len(line)
    return events, damages


def read_session(directory: Path) -> tuple[list[SessionEvent], list[Damage]]:
    """The events of all roles, by the sequence from which on they hold, then by role; and what is damaged."""
    events: list[SessionEvent] = []
    damages: list[Damage] = []
    for path in sorted(directory.glob(f"{_PREFIX}*{_SUFFIX}")):
        found, bad = read_events(directory, path.name[len(_PREFIX) : -len(_SUFFIX)])
        events += found
        damages += bad
    return sorted(events, key=lambda event: event.sequence), damages


def of_kinds(events: Iterable[SessionEvent], *kinds: EventKind) -> list[SessionEvent]:
    return [event for event in events if event.kind in kinds]


def _decode_event(line: bytes) -> SessionEvent | None:
    checksum, space, text = line.partition(b" ")
    if not (space and line.endswith(b"\n") and len(checksum) == _CRC_DIGITS):
        return None
    text = text[:-1]
    if checksum != b"%08x" % google_crc32c.value(text):
        return None
    try:
        return msgspec.json.decode(text, type=SessionEvent)
    except msgspec.MsgspecError:
        return None


__all__ = [
    "DURABLE",
    "Damage",
    "EventKind",
    "EventLog",
    "SessionEvent",
    "encode_event",
    "event_path",
    "of_kinds",
    "read_events",
    "read_session",
]
