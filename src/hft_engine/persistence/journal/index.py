"""The index beside a closed segment: what it holds, and where in it a sequence or a time is.

    index = magic 8 | crc u32 (CRC-32C of the rest) | ``IndexFile`` in MessagePack

It only saves reading: where it is missing, does not fit or is damaged, it is made again from the segment.
"""

from pathlib import Path

import google_crc32c
import msgspec

from hft_engine.persistence.journal.durable import write_whole
from hft_engine.persistence.journal.format import CRC
from hft_engine.persistence.journal.session import index_path
from hft_engine.persistence.journal.tally import SegmentSums

INDEX_MAGIC = b"HFTJIDX\n"
INDEX_VERSION = 1


class IndexFile(msgspec.Struct, frozen=True, kw_only=True):
    """``segment_bytes``: length of the segment that it was made of, not compressed."""

    version: int
    segment_bytes: int
    sums: SegmentSums


def write_index(segment: Path, sums: SegmentSums) -> None:
    """Of a segment that ended in order. Raises OSError."""
    body = msgspec.msgpack.encode(IndexFile(version=INDEX_VERSION, segment_bytes=sums.valid_bytes, sums=sums))
    data = INDEX_MAGIC + CRC.pack(google_crc32c.value(body)) + body
    write_whole(index_path(segment), data, "journal.index")


def read_index(segment: Path, segment_bytes: int) -> SegmentSums | None:
    """What the index of a segment of that length says; None where there is none that fits."""
    try:
        data = index_path(segment).read_bytes()
    except OSError:
        return None
    start = len(INDEX_MAGIC) + CRC.size
    body = data[start:]
    if not data.startswith(INDEX_MAGIC) or len(data) < start:
        return None
    if CRC.unpack_from(data, len(INDEX_MAGIC))[0] != google_crc32c.value(body):
        return None
    try:
        index = msgspec.msgpack.decode(body, type=IndexFile)
    except msgspec.DecodeError:
        return None
    fits = index.version == INDEX_VERSION and index.segment_bytes == segment_bytes
    return index.sums if fits else None
