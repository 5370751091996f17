"""Notifications of live trading: signals, errors, status. Collected, and sent in one message every so often.

A channel that is slow or away costs nobody anything: a thread of its own sends, what waits is bounded, and what gives
way is counted.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum

from hft_engine.live.mail import MailError

LINES_MAX = 500  # that wait; the oldest give way
STOP_S = 12.0  # for the last message; beyond the channel's own time-out
RETRY_S_MIN = 30.0  # after a message that was not sent, whatever the throttle says

Send = Callable[[str, str], None]  # subject, body; raises MailError


class Kind(StrEnum):
    """What a line is of; the values are the words of a message's subject."""

    SIGNAL = "signal"
    ERROR = "error"
    STATUS = "status"


class Notifications:
    """At most one message in ``throttle_s``: the first line goes at once, what comes meanwhile goes with the next.

    ``sent``, ``failed``: messages; ``dropped``: lines that gave way.
    """

    def __init__(
        self, send: Send, throttle_s: float, log: logging.Logger, retry_s: float = RETRY_S_MIN
    ) -> None:
        self._send, self._throttle_s, self._log = send, throttle_s, log
        self._retry_s = max(throttle_s, retry_s)
        self.sent = self.failed = self.dropped = 0
        self._told = ""
        self._lines: deque[tuple[Kind, str]] = deque()
        self._due = 0.0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="live-notifications", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, kind: Kind, text: str) -> None:
        """From any thread; never waits for the channel."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        with self._changed:
            if len(self._lines) == LINES_MAX:
                self._lines.popleft()
                self.dropped += 1
            self._lines.append((kind, f"{stamp} UTC  {kind}: {text}"))
            self._changed.notify()

    def stop(self) -> None:
        """What waits goes now, if the channel takes it."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(STOP_S)
        if self._lines or self.failed:
            self._log.warning(
                "notifications: %d sent, %d failed, %d lines not sent",
                self.sent,
                self.failed,
                len(self._lines),
            )

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and not self._is_due():
                    self._changed.wait(max(0.0, self._due - time.monotonic()) if self._lines else None)
                lines, self._lines = self._lines, deque()
                stopping, dropped = self._stopping, self.dropped
            if lines:
                self._deliver(lines, dropped)
            if stopping:
                return

    def _is_due(self) -> bool:
        return bool(self._lines) and time.monotonic() >= self._due

    def _deliver(self, lines: deque[tuple[Kind, str]], dropped: int) -> None:
        counted = Counter(kind for kind, _ in lines)
        words = (f"{counted[kind]} {kind}" for kind in Kind if counted[kind])
        gone = f"\n{dropped} older lines gave way.\n" if dropped else ""
        try:
            self._send(
                f"live trading: {', '.join(words)}", "\n".join(text for _, text in lines) + f"\n{gone}"
            )
        except MailError as error:
            self._keep(lines)
            self.failed += 1
            self._due = time.monotonic() + self._retry_s
            if str(error) != self._told:  # each kind of failure once, not every half a minute
                self._told = str(error)
                self._log.error("a notification was not sent: %s", error)
        else:
            self.sent += 1
            self._told = ""
            self._due = time.monotonic() + self._throttle_s

    def _keep(self, lines: deque[tuple[Kind, str]]) -> None:
        """Lines that were not sent go before those that came meanwhile."""
        with self._changed:
            lines.extend(self._lines)
            while len(lines) > LINES_MAX:
                lines.popleft()
                self.dropped += 1
            self._lines = lines
