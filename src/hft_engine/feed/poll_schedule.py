"""Which request of a polled venue is made next, and when: no clock, no thread. Times are CLOCK_MONOTONIC ns."""

from collections.abc import Iterable, Sequence

from hft_engine.feed.budget import CallBudget


class PollSchedule:
    """Each pair every ``every_ns``, those that waited longest first, all within ``budget``."""

    def __init__(self, every_ns: int, budget: CallBudget) -> None:
        self._every_ns = every_ns
        self._budget = budget
        self._due_ns: dict[str, int] = {}
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

    def put_off(self, pair: str, until_ns: int) -> None:
        """The pair is not due before."""
        if pair in self._due_ns:
            self._due_ns[pair] = max(self._due_ns[pair], until_ns)

    def pause(self, until_ns: int) -> None:
        """Nothing is due before."""
        self._paused_until_ns = max(self._paused_until_ns, until_ns)
