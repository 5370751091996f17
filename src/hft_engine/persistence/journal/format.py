"""The bytes of a journal segment: header page, blocks, checksums. Nothing here touches a file.

    segment  = header, block, block, ...                          all integers little-endian
    header   = magic 8 | version u32 | header_bytes u32 | metadata_bytes u32 | record_bytes u32 | segment i64
               | first_sequence i64 | created_ns i64 | dtype_hash 32 | crc u32 | metadata (JSON) | zeros
    block    = magic 4 | kind u32 | payload_bytes u32 | count u32 | first_sequence i64 | reserved u32
               | crc u32 | payload

``header_bytes`` is a multiple of a page. A crc is the CRC-32C of everything else in its header or block.
``metadata`` is ``metadata.SegmentMetadata``.

    kind          payload                                       count        first_sequence
    TICKS         count records of ``TICK_DTYPE``               records      of the first record
    INSTRUMENTS   JSON list of symbols, ids from first_id on    symbols      first_id
    HOLE          from i64, to i64: [from, to) was lapped       to - from    from
    END           nothing: the segment was closed in order      0            of the next record
    SIGNALS       count records of ``SIGNAL_DTYPE``             records      of the first signal

Version 1 had no SIGNALS and less metadata; it is read as well. A closed segment may be kept in zstd frames
(``zstd_file.py``): decompressed it is these very bytes, and every offset means the same.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

import google_crc32c
import msgspec
import numpy as np

from hft_engine.persistence.journal.metadata import SegmentMetadata, dtype_hash
from hft_engine.records import SIGNAL_DTYPE, TICK_DTYPE

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
SEGMENT_MAGIC = b"HFTJRNL\n"
BLOCK_MAGIC = b"HFTB"
SEGMENT_SUFFIX = ".hftj"
PAGE_BYTES = 4096
HEADER = struct.Struct("<8sIIIIqqq32sI")
BLOCK = struct.Struct("<4sIIIqII")
HOLE = struct.Struct("<qq")
CRC = struct.Struct("<I")
BLOCK_RECORDS_MAX = 4_096  # half a megabyte: the largest write, and the most that a torn block costs

PAYLOAD_BYTES_MAX = 1 << 24  # a length beyond it is damage; 100,000 symbols of 40 bytes fit four times
assert BLOCK_RECORDS_MAX * TICK_DTYPE.itemsize <= PAYLOAD_BYTES_MAX
assert HEADER.size <= PAGE_BYTES and BLOCK.size == 32


class JournalError(Exception):
    """A journal cannot be read, written or repaired. The text says what, where, and the remedy."""


class BlockKind(IntEnum):
    TICKS = 1
    INSTRUMENTS = 2
    HOLE = 3
    END = 4
    SIGNALS = 5


_KINDS = frozenset(int(kind) for kind in BlockKind)
_RECORD_BYTES = {BlockKind.TICKS: TICK_DTYPE.itemsize, BlockKind.SIGNALS: SIGNAL_DTYPE.itemsize}


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    segment: int
    first_sequence: int
    created_ns: int  # UTC
    dtype_hash: bytes
    metadata: SegmentMetadata
    header_bytes: int


@dataclass(frozen=True, slots=True)
class Block:
    """One valid block. ``offset`` is where it starts in its file."""

    offset: int
    kind: BlockKind
    count: int
    first_sequence: int
    payload: bytes

    @property
    def end(self) -> int:
        return self.offset + BLOCK.size + len(self.payload)

    def ticks(self) -> np.ndarray:
        """``count`` records of ``TICK_DTYPE``, read only."""
        return np.frombuffer(self.payload, TICK_DTYPE)

    def signals(self) -> np.ndarray:
        """``count`` records of ``SIGNAL_DTYPE``, read only."""
        return np.frombuffer(self.payload, SIGNAL_DTYPE)

    def symbols(self) -> list[str]:
        return msgspec.json.decode(self.payload, type=list[str])

    def hole(self) -> tuple[int, int]:
        first, end = HOLE.unpack(self.payload)
        return first, end


TICK_DTYPE_HASH = dtype_hash(TICK_DTYPE)


def encode_header(segment: int, first_sequence: int, created_ns: int, metadata: SegmentMetadata) -> bytes:
    """The header pages of a segment of ticks."""
    text = msgspec.json.encode(metadata)
    header_bytes = -(-(HEADER.size + len(text)) // PAGE_BYTES) * PAGE_BYTES
    fields = (SEGMENT_MAGIC, FORMAT_VERSION, header_bytes, len(text), TICK_DTYPE.itemsize, segment)
    fixed = HEADER.pack(*fields, first_sequence, created_ns, TICK_DTYPE_HASH, 0)[: -CRC.size]
    rest = text.ljust(header_bytes - HEADER.size, b"\0")
    return fixed + CRC.pack(google_crc32c.value(fixed + rest)) + rest


def header_bytes_of(start: bytes) -> int | None:
    """How long the header claims to be, from its first bytes; None where they are too few or damaged."""
    if len(start) < HEADER.size or not start.startswith(SEGMENT_MAGIC):
        return None
    return int(HEADER.unpack_from(start)[2])


def decode_header(raw: bytes) -> SegmentHeader | None:
    """The header; None where its checksum fails. Raises JournalError for another version or layout."""
    _, version, header_bytes, text_bytes, _, *numbers, layout, crc = HEADER.unpack_from(raw)
    segment, first_sequence, created_ns = numbers
    rest = raw[HEADER.size :]
    if google_crc32c.value(raw[: HEADER.size - CRC.size] + rest) != crc:
        return None
    if version not in READABLE_VERSIONS:
        raise JournalError(
            f"journal format {version}, this program reads {READABLE_VERSIONS[0]} to {READABLE_VERSIONS[-1]}; "
            "use the version that wrote it"
        )
    metadata = msgspec.json.decode(rest[:text_bytes], type=SegmentMetadata)
    if layout != TICK_DTYPE_HASH:
        raise JournalError(
            f"its ticks have another layout than this program's; use version {metadata.code_version}"
        )
    return SegmentHeader(segment, first_sequence, created_ns, layout, metadata, header_bytes)


def encode_head(kind: BlockKind, count: int, first_sequence: int, payload: bytes = b"") -> bytes:
    """The header of a block; the block is it and ``payload``."""
    fields = BLOCK.pack(BLOCK_MAGIC, kind, len(payload), count, first_sequence, 0, 0)[: -CRC.size]
    return fields + CRC.pack(google_crc32c.extend(google_crc32c.value(fields), payload))


def ticks_payload(rows: np.ndarray) -> bytes:
    # numpy drops a dtype's padding in concatenate and the like; nobody could read such a block.
    assert rows.itemsize == TICK_DTYPE.itemsize, rows.dtype
    return rows.tobytes()


def signals_payload(rows: np.ndarray) -> bytes:
    assert rows.itemsize == SIGNAL_DTYPE.itemsize, rows.dtype
    return rows.tobytes()


def payload_bytes_of(head: bytes) -> int | None:
    """How long the payload behind a block header is; None where ``head`` is not a whole, plausible one."""
    if len(head) < BLOCK.size or not head.startswith(BLOCK_MAGIC):
        return None
    length = int(BLOCK.unpack(head)[2])
    return length if length <= PAYLOAD_BYTES_MAX else None


def decode_block(offset: int, head: bytes, payload: bytes) -> Block | None:
    """The block, or None where checksum, kind or sizes do not agree."""
    _, kind, length, count, first_sequence, _, crc = BLOCK.unpack(head)
    if length != len(payload):
        return None
    if google_crc32c.extend(google_crc32c.value(head[: -CRC.size]), payload) != crc:
        return None
    if kind not in _KINDS or (kind in _RECORD_BYTES and length != count * _RECORD_BYTES[kind]):
        return None
    return Block(offset, BlockKind(kind), count, first_sequence, payload)
