"""The latch that stops new orders: on disk, so that it outlives every process; only a person takes it off.

<data_dir>/trading.latch            there: latched. JSON with the reason; one that cannot be read latches all the same
<data_dir>/trading.latch.reserve    a block kept free, into which the reason is written when the disk is full
"""

import contextlib
import os
import time
from pathlib import Path

import msgspec

from hft_engine.runtime.durable import sync_folder
from hft_engine.runtime.faultpoints import fault_point

LATCH_FILE = "trading.latch"
RESERVE_FILE = "trading.latch.reserve"
RESERVE_BYTES = 4_096  # one block: what a file system gives or refuses as a whole
REASON_CHARS_MAX = 900  # fits the reserve even where each is four bytes long
UNKNOWN = "latched, but the reason could not be written or read: look into the log of that time"


class LatchError(Exception):
    """The latch can be neither written nor taken off. The text says what, where, and the remedy."""


class LatchState(msgspec.Struct, frozen=True):
    """``since_ns``: UTC, 0 where unknown."""

    reason: str
    since_ns: int


class TradingLatch:
    """Any process may set it and any may ask; ``reason`` costs one ``stat`` while nothing changes."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / LATCH_FILE
        self._reserve = data_dir / RESERVE_FILE
        self._seen: tuple[int, int] | None = None  # inode and time of the file that ``_state`` was read from
        self._state = LatchState(UNKNOWN, 0)

    @property
    def path(self) -> Path:
        return self._path

    def reason(self) -> str | None:
        """Why no new order may go out, or None where trading is free."""
        state = self.state()
        return None if state is None else state.reason

    def state(self) -> LatchState | None:
        """Reason and time of the latch, None where it is off."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:  # what cannot be asked must not let an order through
            return LatchState(f"{self._path} cannot be read: {error.strerror}", 0)
        key = (stat.st_ino, stat.st_mtime_ns)
        if key != self._seen:
            self._state, self._seen = self._read(), key
        return self._state

    def prepare(self) -> None:
        """Keep a block free for the reason. Called at start; raises LatchError where the disk refuses."""
        try:
            fd = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise LatchError(
                f"{self._reserve}: {error.strerror}: make room, or set engine.data_dir"
            ) from error

    def latch(self, reason: str) -> None:
        """Stop new orders; durable when it returns. Latched already: the first reason stays.

        On a full disk the reserve takes the reason; without one, an empty file latches without a reason. Raises
        LatchError where not even that can be made.
        """
        if self.state() is not None:
            return
        text = msgspec.json.encode(LatchState(reason[:REASON_CHARS_MAX], time.time_ns()))
        try:
            self._write(text)
        except OSError:
            self._touch()

    def reset(self) -> None:
        """Take the latch off, durably. Fine where there is none. Raises LatchError."""
        try:
            self._path.unlink(missing_ok=True)
            sync_folder(self._path.parent)
        except OSError as error:
            raise LatchError(f"{self._path}: not taken off: {error.strerror}") from error
        with contextlib.suppress(LatchError):  # the disk may still be full: then the next start prepares
            self.prepare()

    def _read(self) -> LatchState:
        try:
            return msgspec.json.decode(self._path.read_bytes().rstrip(b"\0"), type=LatchState)
        except (OSError, msgspec.DecodeError):
            return LatchState(UNKNOWN, 0)

    def _write(self, text: bytes) -> None:
        # In place: the block is there already. What is half written stays under the reserve's name.
        fd = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fault_point("latch.write")
            os.pwrite(fd, text.ljust(RESERVE_BYTES, b"\0"), 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        fault_point("latch.rename")
        self._reserve.rename(self._path)
        fault_point("latch.sync")
        sync_folder(self._path.parent)

    def _touch(self) -> None:
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))
            sync_folder(self._path.parent)
        except OSError as error:
            raise LatchError(f"{self._path}: {error.strerror}: new orders cannot be latched off") from error
