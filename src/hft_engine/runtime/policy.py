"""Restart policy: Erlang's ``one_for_one`` with a limit, as a pure function of times."""

from collections import deque


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
