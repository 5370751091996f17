"""Models that are swapped in while ticks flow: read and made ready on a thread beside them, one after the other.

Only the switch itself, between two records, is done by the thread that predicts. What has to reach the disk does so on
a second thread, while the next model is read. Both are made before the process takes its place on the hot cores, so
they stay where ZeroMQ's threads are; they give the interpreter's lock back quickly.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar

from hft_engine.inference.errors import ModelError
from hft_engine.runtime.actor import ControlError

LOCK_S = 0.0002  # the interpreter's lock goes to who waits for it after so long
Told = dict[str, object]
_T = TypeVar("_T")


class Swaps(Generic[_T]):
    """``prepare`` and ``settle`` run on threads, ``switch`` where ``tend`` is called.

    ``switch`` takes what ``prepare`` made and returns the reply, which is given when ``settle``, which takes both, has
    returned. The first two refuse with ModelError or ControlError; ``refused`` is called then.
    """

    def __init__(
        self,
        prepare: Callable[[Path], _T],
        switch: Callable[[_T], Told],
        settle: Callable[[_T, Told], None],
        refused: Callable[[], None],
        log: logging.Logger,
    ) -> None:
        self._prepare, self._switch, self._settle, self._refused = prepare, switch, settle, refused
        self._log = log
        self._waiting: deque[tuple[Path, Future[Told]]] = deque()
        self._current: tuple[Future[_T], Future[Told]] | None = None
        self._reader, self._disk = ThreadPoolExecutor(1, "swap"), ThreadPoolExecutor(1, "swap-disk")
        for pool in (self._reader, self._disk):
            pool.submit(sys.setswitchinterval, LOCK_S)  # the thread is made now

    def ask(self, path: Path) -> Future[Told]:
        """The reply to come: ControlError where the model is refused."""
        reply: Future[Told] = Future()
        self._waiting.append((path, reply))
        self._begin()
        return reply

    def tend(self) -> None:
        """Switch to what is ready."""
        if self._current is None or not self._current[0].done():
            return
        (ready, reply), self._current = self._current, None
        try:
            prepared = ready.result()
            told = self._switch(prepared)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, the model in use stays
            self._refuse(reply, error)
        else:
            self._disk.submit(self._finish, prepared, reply, told)
        self._begin()

    def close(self) -> None:
        """Nothing more is prepared; who still waits is told so."""
        self._reader.shutdown(wait=True, cancel_futures=True)
        self._disk.shutdown(wait=True)
        waiting = [reply for _, reply in self._waiting] + ([self._current[1]] if self._current else [])
        for reply in waiting:
            reply.set_exception(ControlError("the engine stops; the model in use stays"))

    def _begin(self) -> None:
        if self._current is None and self._waiting:
            path, reply = self._waiting.popleft()
            self._current = self._reader.submit(self._prepare, path), reply

    def _finish(self, prepared: _T, reply: Future[Told], told: Told) -> None:
        try:
            self._settle(prepared, told)
        except OSError as error:
            self._log.error("a swap is made, but not yet safe on the disk: %s", error)
        reply.set_result(told)

    def _refuse(self, reply: Future[Told], error: Exception) -> None:
        self._refused()
        if not isinstance(error, ModelError | ControlError):
            self._log.error("a model could not be swapped in", exc_info=error)
        reply.set_exception(ControlError(f"{error} (the model in use stays)"))
