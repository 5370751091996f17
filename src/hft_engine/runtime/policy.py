"""When a process is started again (Erlang's ``one_for_one`` with a limit), and when it is taken for hung."""

from collections import deque
from collections.abc import Callable


class RestartPolicy:
    """At most ``restarts_max`` restarts in any ``window_s``; the next one is refused, for good."""

    def __init__(self, restarts_max: int, window_s: float) -> None:
        self._max = restarts_max
        self._window_s = window_s
        self._times: deque[float] = deque()
        self.latched = False
        self.total = 0

    def allow(self, now_s: float) -> bool:
        """Whether a process that died at ``now_s`` (monotonic) may be started again."""
        while self._times and now_s - self._times[0] > self._window_s:
            self._times.popleft()
        if self.latched or len(self._times) >= self._max:
            self.latched = True
            return False
        self._times.append(now_s)
        self.total += 1
        return True


class HangPolicy:
    """A process is hung that was silent for ``limit_s`` and not waiting for the disk meanwhile.

    A kill would wait for the same disk, and so would whoever is started in its place. After ``patience_s`` of silence
    it is hung whatever it waits for. ``look_s``: from this silence on it is looked at what it waits for.
    """

    def __init__(self, look_s: float, limit_s: float, patience_s: float) -> None:
        self._look_s, self._limit_s, self._patience_s = look_s, limit_s, patience_s
        self._seen_waiting_s = float("-inf")
        self.waits = False  # silent for longer than the limit, for the disk

    def is_hung(self, now_s: float, silent_s: float, waits_for_disk: Callable[[], bool]) -> bool:
        """``now_s``: monotonic. To be asked more often than ``look_s``."""
        if silent_s > self._look_s and waits_for_disk():
            self._seen_waiting_s = now_s
        self.waits = self._limit_s < silent_s <= self._patience_s
        if self.waits and now_s - self._seen_waiting_s <= self._limit_s:
            return False
        self.waits = False
        return silent_s > self._limit_s
