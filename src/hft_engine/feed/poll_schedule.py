"""Which request of a polled venue is made next, and when: no clock, no thread. Times are CLOCK_MONOTONIC ns."""

from collections.abc import Iterable, Sequence

from hft_engine.feed.budget import CallBudget

REST_MIN_NS, REST_MAX_NS = 60_000_000_000, 3_600_000_000_000  # of a pair that there is no use in asking for


class PollSchedule:
    """Each pair every ``every_ns``, those that waited longest first, all within ``budget``."""

    def __init__(self, every_ns: int, budget: CallBudget) -> None:
        self._every_ns = every_ns
        self._budget = budget
        self._due_ns: dict[str, int] = {}
        self._rests: dict[str, int] = {}
        self._paused_until_ns = 0

    @property
    def pairs(self) -> Sequence[str]:
        return tuple(self._due_ns)

    def add(self, pairs: Iterable[str]) -> None:
        """They are due at once."""
        for pair in pairs:
            self._due_ns.setdefault(pair, 0)

    def remove(self, pairs: Iterable[str]) -> None:
        for pair in pairs:
            self._due_ns.pop(pair, None)
            self._rests.pop(pair, None)

    def next(self, now_ns: int) -> tuple[str | None, int]:
        """(pair to ask for now, 0), or (None, ns until there is one; -1: not before something is added)."""
        if not self._due_ns:
            return None, -1
        pair = min(self._due_ns, key=self._due_ns.__getitem__)
        wait_ns = max(self._due_ns[pair], self._paused_until_ns) - now_ns
        wait_ns = max(wait_ns, self._budget.wait_ns(now_ns))
        return (None, wait_ns) if wait_ns > 0 else (pair, 0)

    def asked(self, pair: str, now_ns: int) -> None:
        """The request goes out now; the pair is next due ``every_ns`` later."""
        self._budget.take(now_ns)
        if pair in self._due_ns:
            del self._due_ns[pair]  # to the end: of those due at the same time it is the last
            self._due_ns[pair] = now_ns + self._every_ns

    def rest(self, pair: str, now_ns: int) -> None:
        """Asking was no use: the pair waits, each time in a row twice as long."""
        if pair in self._due_ns:
            rests = self._rests[pair] = self._rests.get(pair, 0) + 1
            self._due_ns[pair] = now_ns + min(REST_MIN_NS << (rests - 1), REST_MAX_NS)

    def answered(self, pair: str) -> None:
        """The pair was answered: it rests no more."""
        self._rests.pop(pair, None)

    def pause(self, until_ns: int) -> None:
        """Nothing is due before."""
        self._paused_until_ns = max(self._paused_until_ns, until_ns)
