"""Which bars may be wrong, and what to ask for next. Pure: told the time, it knows no vendor.

Stretches are kept as whole windows of a span, merged where they touch, for each instrument and span. One request takes
all of an instrument that lies within WINDOWS_MAX windows: where calls are rare and losses many, it takes many at once.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

SPANS_NS = {"second": 1_000_000_000, "minute": 60_000_000_000}
WINDOWS_MAX = 5_000  # of one request: what one page of the answer holds
STRETCHES_MAX = 100_000  # of all instruments; what is more is dropped, and its bars stay as they are


class Request(NamedTuple):
    """Bars of [start_ns, end_ns); wanted are those that begin in ``stretches``."""

    instrument_id: int
    span: str
    start_ns: int
    end_ns: int
    stretches: tuple[tuple[int, int], ...]

    def wants(self, start_ns: int) -> bool:
        place = bisect_right(self.stretches, (start_ns, (1 << 63) - 1)) - 1
        return place >= 0 and start_ns < self.stretches[place][1]


class Plan:
    """``settle_ns``: a window is asked for so long after its end, when the vendor has its bar. ``dropped``: a count."""

    def __init__(self, spans: Iterable[str], settle_ns: int) -> None:
        self.dropped = 0
        self._spans = tuple(spans)
        self._settle_ns = settle_ns
        self._stretches: dict[tuple[int, str], list[tuple[int, int]]] = {}
        self._asked: dict[int, int] = {}  # requests under way, by instrument
        self._size = 0

    @property
    def pending(self) -> int:
        """Stretches not asked for yet."""
        return self._size

    def add(self, instrument_id: int, from_ns: int, to_ns: int) -> None:
        """Something between two stamps, both included, may be wrong."""
        for span in self._spans:
            length = SPANS_NS[span]
            self._insert((instrument_id, span), from_ns // length * length, (to_ns // length + 1) * length)

    def take(self, now_ns: int) -> Request | None:
        """The request whose windows ended first, if any has settled; it is under way from here on."""
        settled = [
            (stretches[0][0], key)
            for key, stretches in self._stretches.items()
            if stretches[0][0] + SPANS_NS[key[1]] + self._settle_ns <= now_ns
        ]
        if not settled:
            return None
        _, best = min(settled)
        request = self._cut(best, now_ns - self._settle_ns)
        self._asked[best[0]] = self._asked.get(best[0], 0) + 1
        return request

    def settle(self, request: Request) -> bool:
        """It was answered. Whether nothing of the instrument is suspect any more."""
        self._return(request)
        instrument_id = request.instrument_id
        left = any((instrument_id, span) in self._stretches for span in self._spans)
        return not left and instrument_id not in self._asked

    def put_back(self, request: Request) -> None:
        """It failed, and is to be asked again."""
        self._return(request)
        for start_ns, end_ns in request.stretches:
            self._insert((request.instrument_id, request.span), start_ns, end_ns)

    def clear(self) -> None:
        """Nobody will answer."""
        self._stretches.clear()
        self._size = 0

    def _return(self, request: Request) -> None:
        left = self._asked[request.instrument_id] - 1
        if left:
            self._asked[request.instrument_id] = left
        else:
            del self._asked[request.instrument_id]

    def _insert(self, key: tuple[int, str], start_ns: int, end_ns: int) -> None:
        stretches = self._stretches.setdefault(key, [])
        place = bisect_right(stretches, (start_ns, end_ns))
        first, last = place, place
        while first > 0 and stretches[first - 1][1] >= start_ns:
            first -= 1
        while last < len(stretches) and stretches[last][0] <= end_ns:
            last += 1
        touching = stretches[first:last]
        if not touching and self._size >= STRETCHES_MAX:
            self.dropped += 1
            if not stretches:
                del self._stretches[key]
            return
        merged = min([start_ns, *(s for s, _ in touching)]), max([end_ns, *(e for _, e in touching)])
        stretches[first:last] = [merged]
        self._size += 1 - len(touching)

    def _cut(self, key: tuple[int, str], settled_ns: int) -> Request:
        """Take off the front of an instrument's stretches what has settled and fits into one request."""
        stretches, length = self._stretches[key], SPANS_NS[key[1]]
        end_ns = min(settled_ns // length * length, stretches[0][0] + WINDOWS_MAX * length)
        taken = []
        while stretches and stretches[0][0] < end_ns:
            start, end = stretches.pop(0)
            self._size -= 1
            taken.append((start, min(end, end_ns)))
            if end > end_ns:
                stretches.insert(0, (end_ns, end))
                self._size += 1
                break
        if not stretches:
            del self._stretches[key]
        return Request(key[0], key[1], taken[0][0], taken[-1][1], tuple(taken))
