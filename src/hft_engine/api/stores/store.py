"""What a store is: a server that takes batches of records, and may be gone at any time."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from hft_engine.api.schema import Aggregate, FairMarketValue, Quote, Record, RecordType, Trade

RECORD_OF: dict[RecordType, type[Record]] = {
    RecordType.TRADE: Trade,
    RecordType.QUOTE: Quote,
    RecordType.FMV: FairMarketValue,
    **dict.fromkeys((RecordType.AGGREGATE, RecordType.SECOND, RecordType.DAY), Aggregate),
}


class StoreError(Exception):
    """The store cannot be reached, read or written. The text says which, why and what to do; it holds no password."""


class Arrival(NamedTuple):
    """``id``: when the record reached the collector, UTC microseconds, made larger where that was not later than the
    record before; so it tells records apart that are otherwise equal.
    """

    id: int
    kind: RecordType
    record: Record


class Store(Protocol):
    """Driven by one thread. Every method but ``close`` raises StoreError; after that it is closed and opened again.

    ``place``       which server, for people
    ``batch_max``   records a ``write``
    ``every_s``     between two looks for what there is to write
    """

    name: str
    batch_max: int
    every_s: float

    @property
    def place(self) -> str: ...

    def open(self) -> None: ...

    def write(self, batch: Sequence[Arrival]) -> None:
        """All or nothing; the same batch once more, because no answer came, stores nothing twice."""
        ...

    def close(self) -> None: ...
