"""How many calls a provider lets us make: at most so many in any window of so long. No clock, no waiting."""

from collections import deque
from collections.abc import Sequence


class CallBudget:
    """``limits``: (calls, window in ns), all of which hold for any window, wherever it begins.

    Exact where a token bucket is not: that lets twice its capacity through around a refill, and a provider whose whole
    day is 25 calls counts them.
    """

    def __init__(self, limits: Sequence[tuple[int, int]]) -> None:
        self._windows = [(deque[int](maxlen=calls), per_ns) for calls, per_ns in limits]

    def wait_ns(self, now_ns: int) -> int:
        """How long until a call may be made; 0: now."""
        waits = (made[0] + per_ns - now_ns for made, per_ns in self._windows if len(made) == made.maxlen)
        return max(0, *waits, 0)

    def take(self, now_ns: int) -> None:
        """A call is made now."""
        for made, _ in self._windows:
            made.append(now_ns)
