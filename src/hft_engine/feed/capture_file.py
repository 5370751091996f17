"""Raw capture files: the frames of a websocket as they came, with their receive stamps.

A file is a header, one line of JSON, then records: a head of 24 bytes (little-endian: ``ts_recv_ns`` int64 UTC,
``ts_mono_ns`` int64, payload length uint32, connection uint16, direction uint8, opcode uint8), then the payload. A
name that ends in ``.zst`` is one zstd stream of that, flushed as ``CaptureWriter.flush`` says: a reader of a file whose
writer died has everything up to there. The header's url has no query, where a key might be; a sent frame with a key
is the caller's to leave out.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

VERSION = 1
HEAD = struct.Struct("<qqIHBB")
PAYLOAD_BYTES_MAX = 64 << 20  # more is damage, not a frame
HEADER_BYTES_MAX = 65_536
CHUNK_BYTES = 1 << 20
ZSTD_SUFFIX = ".zst"
ZSTD_LEVEL = 3
TEXT, BINARY = 1, 2  # opcodes
_DIRECTIONS: tuple[Literal["received", "sent"], ...] = ("received", "sent")


class CaptureError(Exception):
    """A capture that cannot be read or written; the text names file and remedy."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    venue: str
    url: str  # without its query
    started_ns: int  # UTC
    format: str = "hft_engine raw capture"
    version: int = VERSION


class Frame(NamedTuple):
    ts_recv_ns: int  # UTC; of a sent one, when it was sent
    ts_mono_ns: int
    payload: bytes
    connection: int = 0  # counts the connections of the capture
    direction: Literal["received", "sent"] = "received"
    opcode: int = TEXT


def without_query(url: str) -> str:
    """The url as a header may show it."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


class CaptureWriter:
    """``with CaptureWriter(path, header) as capture: capture.write(frame)``. Raises CaptureError, OSError."""

    def __init__(self, path: Path, header: Header) -> None:
        if urlsplit(header.url).query:
            raise CaptureError(f"{path}: the url of a capture must not have a query, it may hold a key")
        self._file: IO[bytes] = path.open("xb")
        self._stream: Any = self._file
        if path.name.endswith(ZSTD_SUFFIX):
            self._stream = _zstandard(path).ZstdCompressor(ZSTD_LEVEL).stream_writer(self._file)
        self._stream.write(msgspec.json.encode(header) + b"\n")

    def write(self, frame: Frame) -> None:
        head = HEAD.pack(
            frame.ts_recv_ns,
            frame.ts_mono_ns,
            len(frame.payload),
            frame.connection,
            _DIRECTIONS.index(frame.direction),
            frame.opcode,
        )
        self._stream.write(head + frame.payload)

    def flush(self) -> None:
        """What was written can be read, whatever happens to this process."""
        if self._stream is not self._file:
            self._stream.flush()  # ends a block, not the frame
        self._file.flush()

    def close(self) -> None:
        self._stream.close()
        self._file.close()

    def __enter__(self) -> "CaptureWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Capture:
    """A capture file: ``header``, and iterated, as often as needed, its frames in order.

    A last record that is not whole ends it: ``cut_bytes`` then says how much of one there was. Raises CaptureError
    for what is no capture.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut_bytes = 0
        with _open(path) as file:
            self.header = self._read_header(file)

    def __iter__(self) -> Iterator[Frame]:
        with _open(self.path) as file, _damage_named(self.path):
            self._read_header(file)
            while head := file.read(HEAD.size):
                if len(head) < HEAD.size:
                    self.cut_bytes = len(head)
                    return
                recv, mono, size, connection, direction, opcode = HEAD.unpack(head)
                if size > PAYLOAD_BYTES_MAX or direction >= len(_DIRECTIONS):
                    raise CaptureError(f"{self.path}: damaged: no frame has a head like {head.hex()}")
                payload = file.read(size)
                if len(payload) < size:
                    self.cut_bytes = HEAD.size + len(payload)
                    return
                yield Frame(recv, mono, payload, connection, _DIRECTIONS[direction], opcode)

    def _read_header(self, file: IO[bytes]) -> Header:
        with _damage_named(self.path):
            line = file.readline(HEADER_BYTES_MAX)
        try:
            header = msgspec.json.decode(line, type=Header)
        except msgspec.MsgspecError as error:
            raise CaptureError(f"{self.path}: not a raw capture: {error}") from error
        if header.version != VERSION:
            raise CaptureError(
                f"{self.path}: a capture of version {header.version}, this program reads {VERSION}"
            )
        return header


def _open(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed where the name says so."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror or error}") from error
    if not path.name.endswith(ZSTD_SUFFIX):
        return file
    stream = _zstandard(path).ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return io.BufferedReader(stream, CHUNK_BYTES)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """zstandard's error becomes ours."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.startswith("zstandard"):
            raise CaptureError(f"{path}: damaged, or no zstd file: {error}") from error
        raise


def _zstandard(path: Path) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise CaptureError(
            f"{path}: needs zstandard: pip install 'hft-engine[zstd]', or a name without .zst"
        ) from error
    return zstandard
