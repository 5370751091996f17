"""A closed segment in zstd frames, read as if it were not compressed.

    file = frame, frame, ..., seek table                          the "seekable format" of zstd's own contrib folder
    seek table = 0x184D2A5E u32 | bytes of the rest u32 | (frame bytes u32, content bytes u32) a frame
                 | frames u32 | descriptor u8 = 0 | 0x8F92EAB1 u32

``zstd -d`` gives the segment back: to it the seek table is a frame to skip. A frame that does not decompress reads as
zeros, which no checksum of a block holds for: damage in it shows like damage in a plain segment.
"""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from hft_engine.persistence.journal.format import JournalError

FRAME_BYTES = 1 << 20  # content of a frame: what one read of a block at most decompresses twice
LEVEL = 3  # zstd's default
_HEAD = struct.Struct("<II")
_FOOT = struct.Struct("<IBI")
_ENTRY_DTYPE = np.dtype([("frame", "<u4"), ("content", "<u4")])
_TABLE_MAGIC, _SEEKABLE_MAGIC = 0x184D2A5E, 0x8F92EAB1


def zstandard(wanted: str) -> Any:
    """The library; raises JournalError, naming the extra, where it is not installed. ``wanted``: for what."""
    try:
        import zstandard as library
    except ImportError:
        raise JournalError(f"{wanted} needs zstandard: pip install 'hft-engine[zstd]'") from None
    return library


def open_segment(path: Path) -> BinaryIO:
    """A segment for reading, compressed or not. Raises OSError, JournalError."""
    if not path.name.endswith(".zst"):
        try:
            return path.open("rb")
        except FileNotFoundError:
            path = path.with_name(path.name + ".zst")  # compressed since its name was read
            if not path.exists():
                raise
    return cast(BinaryIO, SeekableZstd(path))


def size_of(file: BinaryIO) -> int:
    """How long the segment is, not compressed."""
    return file.size if isinstance(file, SeekableZstd) else disk_bytes_of(file)


def disk_bytes_of(file: BinaryIO) -> int:
    """How long the file is."""
    return os.fstat(file.fileno()).st_size


def compress(source: BinaryIO, target: BinaryIO, on_frame: Callable[[], None] = lambda: None) -> None:
    """All of ``source`` into frames and a seek table. ``on_frame`` is called after each frame."""
    compressor = zstandard("a compressed journal").ZstdCompressor(
        level=LEVEL, write_checksum=True, write_content_size=True
    )
    sizes = []
    while content := source.read(FRAME_BYTES):
        frame = compressor.compress(content)
        target.write(frame)
        sizes.append((len(frame), len(content)))
        on_frame()
    table = np.array(sizes, _ENTRY_DTYPE).tobytes()
    target.write(_HEAD.pack(_TABLE_MAGIC, len(table) + _FOOT.size))
    target.write(table + _FOOT.pack(len(sizes), 0, _SEEKABLE_MAGIC))


class SeekableZstd(io.RawIOBase):
    """The content of a file that ``compress`` made; ``size`` bytes. Raises OSError, JournalError."""

    def __init__(self, path: Path) -> None:
        self._decompressor = zstandard(f"{path}: a compressed segment").ZstdDecompressor()
        self._file = path.open("rb")
        try:
            table = _read_table(path, self._file)
        except BaseException:
            self._file.close()
            raise
        self._frames = np.concatenate([[0], np.cumsum(table["frame"], dtype=np.int64)])
        self._contents = np.concatenate([[0], np.cumsum(table["content"], dtype=np.int64)])
        self.size = int(self._contents[-1])
        self._position = 0
        self._cached, self._content = -1, b""

    def fileno(self) -> int:
        return self._file.fileno()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        end = self.size if size < 0 else min(self._position + size, self.size)
        parts = []
        while self._position < end:
            frame = int(np.searchsorted(self._contents, self._position, "right")) - 1
            start = int(self._contents[frame])
            part = self._frame(frame)[self._position - start : end - start]
            self._position += len(part)
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _frame(self, number: int) -> bytes:
        if number != self._cached:
            self._file.seek(int(self._frames[number]))
            data = self._file.read(int(self._frames[number + 1] - self._frames[number]))
            self._content = self._decompress(data, int(np.diff(self._contents)[number]))
            self._cached = number
        return self._content

    def _decompress(self, data: bytes, size: int) -> bytes:
        try:
            content: bytes = self._decompressor.decompress(data, max_output_size=size)
        except Exception as error:
            if type(error).__name__ != "ZstdError":
                raise
            content = b""
        return content if len(content) == size else bytes(size)


def _read_table(path: Path, file: BinaryIO) -> np.ndarray:
    """ENTRY_DTYPE of every frame. Raises JournalError where the table is damaged or missing."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(size - _FOOT.size, 0))
    foot = file.read(_FOOT.size)
    if len(foot) == _FOOT.size:
        frames, descriptor, magic = _FOOT.unpack(foot)
        table_bytes = frames * _ENTRY_DTYPE.itemsize
        start = size - _FOOT.size - table_bytes
        if magic == _SEEKABLE_MAGIC and not descriptor and start >= _HEAD.size:
            file.seek(start)
            table = np.frombuffer(file.read(table_bytes), _ENTRY_DTYPE)
            if int(table["frame"].sum(dtype=np.int64)) == start - _HEAD.size:
                return table
    plain = path.name.removesuffix(".zst")
    raise JournalError(
        f"{path}: its seek table is damaged or cut off. Get the segment back with `zstd -d -o {plain} {path.name}` "
        f"in its folder, then `hft journal check {path.with_name(plain)}`"
    )
