"""Where what lies in Redis, and how a record looks there. PREFIX is ``redis.prefix``, TYPE a RecordType's value.

PREFIX:layout              this layout's number
PREFIX:latest:TYPE:TICKER  hash: the latest record's fields and ``id``
PREFIX:recent:TYPE:TICKER  sorted set of JSON objects, the same fields; score: ``id``. The newest ``cache.records``

Both go ``cache.ttl_seconds`` after the last record of that type and ticker. A sorted set and no stream: its members
carry their id, so a batch that is sent again is the same members again, and readers want the newest few, or those since
a time.
"""

from dataclasses import fields
from typing import Any

import msgspec

from hft_engine.api.schema import Record, RecordType
from hft_engine.api.stores.store import RECORD_OF, Arrival

LAYOUT = b"1"
_NAMES = {cls: tuple(field.name for field in fields(cls)) for cls in set(RECORD_OF.values())}
_LISTS = ("conditions",)  # JSON inside a hash, whose values are text
_ABSENT = b"null"


def layout_key(prefix: str) -> str:
    return f"{prefix}:layout"


def latest_key(prefix: str, kind: RecordType, ticker: str) -> str:
    return f"{prefix}:latest:{kind.value}:{ticker}"


def recent_key(prefix: str, kind: RecordType, ticker: str) -> str:
    return f"{prefix}:recent:{kind.value}:{ticker}"


def to_member(arrival: Arrival) -> bytes:
    return b'{"id":%d,%b' % (arrival.id, msgspec.json.encode(arrival.record)[1:])


def of_member(kind: RecordType, member: bytes) -> Record:
    return msgspec.json.decode(member, type=RECORD_OF[kind])


def to_hash(arrival: Arrival) -> dict[str, Any]:
    """Numbers as Python writes them, which loses nothing; what is None as ``null``."""
    plain = {name: _ABSENT if value is None else value for name, value in _plain(arrival.record).items()}
    return {"id": arrival.id, **plain} | {
        name: msgspec.json.encode(plain[name]) for name in _LISTS if name in plain
    }


def of_hash(kind: RecordType, found: dict[bytes, bytes]) -> Record:
    plain: dict[str, Any] = {name.decode(): value.decode() for name, value in found.items()}
    plain |= {name: msgspec.json.decode(plain[name]) for name in _LISTS if name in plain}
    return msgspec.convert(plain, RECORD_OF[kind], strict=False)


def _plain(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _NAMES[type(record)]}
