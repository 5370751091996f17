"""The latest records of each ticker: written by the feed's thread, read by any."""

import threading
from collections import deque

from hft_engine.api.schema import Record, RecordType

KEPT_MAX = 100_000  # of one ticker and type: memory is bounded by it times the tickers


class Recent:
    """``kept``: records of each ticker and type, the oldest goes first."""

    def __init__(self, kept: int) -> None:
        if not 1 <= kept <= KEPT_MAX:
            raise ValueError(f"window of {kept} records: 1 to {KEPT_MAX}")
        self._kept = kept
        self._lock = threading.Lock()
        self._records: dict[tuple[str, RecordType], deque[Record]] = {}

    def add(self, kind: RecordType, record: Record) -> None:
        key = record.ticker, kind
        with self._lock:
            if key not in self._records:
                self._records[key] = deque(maxlen=self._kept)
            self._records[key].append(record)

    def latest(self, ticker: str, kind: RecordType) -> Record | None:
        with self._lock:
            found = self._records.get((ticker, kind))
            return found[-1] if found else None

    def last(self, ticker: str, kind: RecordType, limit: int | None = None) -> list[Record]:
        """Oldest first."""
        with self._lock:
            found = list(self._records.get((ticker, kind), ()))
        return found if limit is None else found[max(len(found) - limit, 0) :]
