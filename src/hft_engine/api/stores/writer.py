"""``StoreWriter``: from the feed's thread into a store, without ever waiting for it."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any

from hft_engine.api.schema import Record, RecordType
from hft_engine.api.stores.store import Arrival, Store, StoreError
from hft_engine.config.schema import ReconnectConfig
from hft_engine.feed.backoff import Backoff

# A server of ours, not a vendor that counts attempts: sooner than the feed's own.
AGAIN = ReconnectConfig(immediate=False, initial_ms=250, cap_ms=5_000)
TOLD_EVERY_S = 60.0  # that records gave way
STOP_S = 10.0  # for what still waits when the collector stops


class StoreWriter:
    """``put`` on the feed's thread; a thread of its own writes. At most ``waiting_max`` records wait: then the oldest
    gives way, counted (``dropped``).
    """

    def __init__(self, store: Store, waiting_max: int) -> None:
        self.store = store
        self.problem = ""
        self.stored = self.dropped = self.failures = 0
        self.log = logging.getLogger(f"hft_engine.api.stores.{store.name}")
        self._waiting_max = waiting_max
        self._waiting: deque[Arrival] = deque()
        self._batch: Sequence[Arrival] = ()  # in the store's hands
        self._is_open = False
        self._last_id = 0
        self._told_dropped, self._told_s = 0, -TOLD_EVERY_S
        self._backoff = Backoff(AGAIN, Random())
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, kind: RecordType, record: Record) -> None:
        self._last_id = max(self._last_id + 1, time.time_ns() // 1_000)
        self._waiting.append(Arrival(self._last_id, kind, record))
        if len(self._waiting) > self._waiting_max:
            with suppress(IndexError):  # the writer was quicker
                self._waiting.popleft()
                self.dropped += 1

    def start(self) -> None:
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name=f"store-{self.store.name}", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Writes what waits, where that can be done in time; what is left counts as dropped. ``start`` goes on."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stop.set()
        thread.join(timeout_s)
        left = len(self._batch) + len(self._waiting)
        if left:
            self._waiting.clear()
            self.dropped += left
            self.log.warning("%s: stopped, %d records were not stored", self.store.place, left)

    def stats(self) -> dict[str, Any]:
        """``place, state`` (open, closed), ``problem, stored, dropped, waiting, failures``."""
        return {
            "place": self.store.place,
            "state": "open" if self._is_open else "closed",
            "problem": self.problem,
            "stored": self.stored,
            "dropped": self.dropped,
            "waiting": len(self._waiting) + len(self._batch),
            "failures": self.failures,
        }

    # ---- the thread

    def _run(self) -> None:
        wait_s = 0.0
        try:
            while not self._stop.wait(wait_s):
                wait_s = self._turn()
            self._turn()  # what came since
        except Exception as error:  # what ends the writer has to be known to its owner
            self.problem = f"{self.store.place}: the writer broke: {type(error).__name__}: {error}"
            self.log.exception("the writer broke")
        self._close()

    def _turn(self) -> float:
        """Writes all there is. Returns for how long to wait then."""
        try:
            if not self._is_open:
                self.store.open()
                self._opened()
            while self._take():
                self.store.write(self._batch)
                self.stored += len(self._batch)
                self._batch = ()
        except StoreError as error:
            self._failed(str(error))
            return self._backoff.delay_ms() / 1e3
        self._backoff.reset()
        self._tell_dropped()
        return self.store.every_s

    def _take(self) -> Sequence[Arrival]:
        """The batch that failed, else the next."""
        if not self._batch:
            batch: list[Arrival] = []
            with suppress(IndexError):
                while len(batch) < self.store.batch_max:
                    batch.append(self._waiting.popleft())
            self._batch = batch
        return self._batch

    def _opened(self) -> None:
        self._is_open = True
        if self.problem:
            self.log.info("%s: stores again", self.store.place)
            self.problem = ""

    def _failed(self, text: str) -> None:
        self._close()
        self.failures += 1
        if not self.problem:  # once, until it works again
            self.log.warning("%s; the feed goes on, and it is tried again", text)
        self.problem = text

    def _close(self) -> None:
        self._is_open = False
        self.store.close()

    def _tell_dropped(self) -> None:
        new, now_s = self.dropped - self._told_dropped, time.monotonic()
        if new and now_s - self._told_s >= TOLD_EVERY_S:
            self._told_dropped, self._told_s = self.dropped, now_s
            text = "%s: %d records were not stored: more than %d waited (waiting_max)"
            self.log.warning(text, self.store.place, new, self._waiting_max)
