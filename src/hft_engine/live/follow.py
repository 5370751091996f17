"""Follows the signals of the run that this process supervises: those inside market hours are handed on."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from hft_engine.engine import Run
from hft_engine.feed.health.hours import Hours
from hft_engine.feed.states import FEED_STATES
from hft_engine.live.notify import Kind
from hft_engine.publisher.wire import SignalMessage
from hft_engine.runtime.run_record import read_faults
from hft_engine.views.run import RunView
from hft_engine.views.tail import messages

POLL_S = 0.05
BATCH = 1_000
JOIN_S = 5.0
ERRORS_S = 1.0  # between two looks at the run's errors
ERRORS_MAX = 1_000  # different ones that are told of a run

Signal = dict[str, Any]
Notify = Callable[[Kind, str], None]


def signal_of(message: SignalMessage) -> Signal:
    """``ticker``, ``signal`` (buy, sell), ``confidence`` 0..1, ``price``; and ``reason``, ``timestamp`` (UTC ms)."""
    return {
        "ticker": message.symbol,
        "signal": message.side,
        "confidence": message.strength,
        "price": message.price,
        "reason": message.reason,
        "timestamp": message.ts_venue_ns // 1_000_000,
    }


class Follower:
    """``handle`` gets each signal whose tick lies inside ``hours``; ``handed``, ``held_back``: how many do and do not.

    A report goes to ``log`` every ``report_s``. ``notify`` gets it every ``status_s`` (0: never), and each error of the
    run once.
    """

    def __init__(
        self,
        hours: Hours,
        handle: Callable[[Signal], None],
        log: logging.Logger,
        report_s: float,
        notify: Notify = lambda kind, text: None,
    ) -> None:
        self._hours, self._handle, self._log = hours, handle, log
        self._report_s, self._notify = report_s, notify
        self.status_s = 0.0
        self._known: set[str] = set()  # errors that were told
        self.handed = self.held_back = self.missed = 0
        self._position = 0
        self._state = ""
        self._stop = threading.Event()
        self._view: RunView | None = None
        self._thread = threading.Thread(target=self._run, name="live-follower", daemon=True)

    def ready(self, run: Run) -> None:
        self._view = RunView(run.directory.path)
        self._thread.start()

    def ended(self, run: Run) -> None:
        """All actors have stopped: what they published at last is handed on too."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        if self._view is not None:
            self._take(self._view)
            self._tell_errors(self._view)
            self._log.info("%s", self._report(self._view))

    def _run(self) -> None:
        view = self._view
        assert view is not None
        rounds, errors, status = (
            max(1, round(every_s / POLL_S)) for every_s in (self._report_s, ERRORS_S, self.status_s)
        )
        number = 0
        while not self._stop.wait(POLL_S):
            self._take(view)
            self._tell_state(view)
            number += 1
            if number % rounds == 0:
                self._log.info("%s", self._report(view))
            if number % errors == 0:
                self._tell_errors(view)
            if self.status_s and number % status == 0:
                self._notify(Kind.STATUS, self._report(view))

    def _take(self, view: RunView) -> None:
        while True:
            first, rows = view.rings["signals"].read(self._position, BATCH)
            self.missed += first - self._position
            self._position = first + len(rows)
            for message in messages(view, rows):
                self._judge(message)
            if not len(rows):
                return

    def _judge(self, message: SignalMessage) -> None:
        is_open, _ = self._hours.at(message.ts_venue_ns)
        if not is_open:
            self.held_back += 1
            self._log.debug("outside market hours: %s %s", message.symbol, message.side)
            return
        self.handed += 1
        try:
            self._handle(signal_of(message))
        except Exception:  # noqa: BLE001 - a user's code; the next signal comes all the same
            self._log.exception("the handler of a signal failed")

    def _tell_state(self, view: RunView) -> None:
        state = FEED_STATES[view.counters("feed").get("state", 0)]
        if state != self._state:
            self._log.info("feed: %s", state)
            self._state = state

    def _tell_errors(self, view: RunView) -> None:
        faults, _ = read_faults(view.run_dir)
        for fault in faults:
            if fault.text not in self._known and len(self._known) < ERRORS_MAX:
                self._known.add(fault.text)
                self._notify(Kind.ERROR, f"{fault.role}: {fault.text}")

    def _report(self, view: RunView) -> str:
        counted = view.counters("feed")
        facts = f"{counted.get('events', 0)} events, {counted.get('losses', 0)} connections lost"
        signals = f"{self.handed} signals, {self.held_back} outside market hours"
        weak = view.counters("signals").get("weak", 0)
        return f"feed {self._state or 'starting'}: {facts}; {signals}, {weak} below the threshold"
