"""Segments: named files of fixed size mapped by every process of a run.

Files in a run directory, not ``multiprocessing.shared_memory``: its resource tracker unlinks a segment when any
process that attached to it exits (cpython issue 82300). The supervisor creates and removes; the others attach.
"""

import mmap
import os
from pathlib import Path
from types import TracebackType

import numpy as np

from hft_engine.shm import layout


class SegmentError(RuntimeError):
    """A segment cannot be made, or is not what it should be."""


class Segment:
    """``words``: int64[] over the whole file. Views stay valid as long as anything refers to them."""

    def __init__(self, path: Path, buffer: mmap.mmap) -> None:
        self.path = path
        self._buffer = buffer
        self.words = np.frombuffer(buffer, np.int64)

    @classmethod
    def create(cls, path: Path, size: int) -> "Segment":
        """A new zeroed file whose every page is reserved: a full /dev/shm is an error now, not a SIGBUS later."""
        size = -(-size // layout.PAGE_BYTES) * layout.PAGE_BYTES
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, size)
                return cls(path, mmap.mmap(fd, size))
            finally:
                os.close(fd)
        except OSError as error:
            path.unlink(missing_ok=True)
            free = os.statvfs(path.parent)
            raise SegmentError(
                f"cannot reserve {size / 1e6:.1f} MB for {path}: {error.strerror} "
                f"({free.f_bavail * free.f_frsize / 1e6:.1f} MB free); "
                "make rings.* smaller, or point engine.run_root at a larger memory file system"
            ) from error

    @classmethod
    def attach(cls, path: Path, writable: bool = True) -> "Segment":
        """Map an existing file. A view maps it read-only."""
        try:
            fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
            try:
                if not writable:
                    return cls(path, mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
                # Populated now: no page fault on the way of a record.
                return cls(path, mmap.mmap(fd, 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE))
            finally:
                os.close(fd)
        except (OSError, ValueError) as error:
            raise SegmentError(f"cannot map {path}: {error}; is the engine running?") from error

    def expect(self, dtype: np.dtype) -> None:
        """Refuse a file that is not a segment of this dtype written by this layout version."""
        words = self.words
        if words[layout.W_MAGIC] != layout.MAGIC:
            raise SegmentError(f"{self.path} is no hft_engine segment (or is only half made)")
        if words[layout.W_VERSION] != layout.LAYOUT_VERSION or words[layout.W_DTYPE] != layout.dtype_hash(
            dtype
        ):
            raise SegmentError(
                f"{self.path} was made by another version of hft_engine; stop the running engine and start again"
            )

    def array(self, dtype: np.dtype, count: int, offset: int) -> np.ndarray:
        """``count`` records at byte ``offset``."""
        return self.words.view(np.uint8)[offset : offset + count * dtype.itemsize].view(dtype)

    def __enter__(self) -> "Segment":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self.words
        try:
            self._buffer.close()
        except BufferError:
            return  # somebody still looks at it; the mapping goes when they do
