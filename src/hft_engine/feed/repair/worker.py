"""A thread that asks: never more often than allowed, not at all while the vendor is down, never again when refused."""

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple

from hft_engine.feed.repair.plan import Request
from hft_engine.feed.repair.rest import AgainError, Aggregate, FailedError, RefusedError

CIRCUIT_FAILURES = 5  # requests in a row that failed, each after its own attempts: then a pause
CIRCUIT_PAUSE_S = 60.0
JOIN_S = 0.2  # it is a daemon: a call under way may outlive the actor by its time-out


class Bucket:
    """A token bucket: ``rate`` calls a second, as many at once; ``clock`` counts seconds."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate, self._clock = rate, clock
        self._tokens = self._most = max(rate, 1.0)
        self._filled_s = clock()

    def wait_s(self) -> float:
        """Take a token; returns how long to wait before it may be used."""
        now_s = self._clock()
        self._tokens = min(self._most, self._tokens + (now_s - self._filled_s) * self._rate)
        self._filled_s = now_s
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)


class Circuit:
    """A circuit breaker (Nygard, "Release It!"): after some failures in a row a pause, then one try."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._until_s = 0.0

    def wait_s(self) -> float:
        """Until the next try may be made."""
        return max(0.0, self._until_s - self._clock())

    def note(self, worked: bool) -> bool:
        """How a try ended. True when this opened the circuit."""
        self._failures = 0 if worked else self._failures + 1
        if self._failures < CIRCUIT_FAILURES:
            return False
        self._until_s = self._clock() + CIRCUIT_PAUSE_S
        return self._failures == CIRCUIT_FAILURES


class Answer(NamedTuple):
    """``bars`` None: it failed, ``trouble`` says why; ``again``: it may be asked again; ``refused``: nothing may."""

    request: Request
    bars: list[Aggregate] | None
    trouble: str = ""
    again: bool = False
    refused: bool = False


class Worker:
    """``fetch(symbol, request)`` runs in the thread. ``ask`` and ``answers`` never wait."""

    def __init__(self, fetch: Callable[[str, Request], list[Aggregate]], calls_per_s: float) -> None:
        self._fetch = fetch
        self._requests: SimpleQueue[tuple[str, Request] | None] = SimpleQueue()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._bucket = Bucket(calls_per_s, time.monotonic)
        self._circuit = Circuit(time.monotonic)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="repair", daemon=True)
        self._thread.start()

    def ask(self, symbol: str, request: Request) -> None:
        self._requests.put((symbol, request))

    def answers(self) -> list[Answer]:
        """Those that came since the last time."""
        found = []
        while True:
            try:
                found.append(self._answers.get_nowait())
            except Empty:
                return found

    def stop(self) -> None:
        self._stopping.set()
        self._requests.put(None)
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        while (asked := self._requests.get()) is not None and not self._stopping.is_set():
            if self._stopping.wait(max(self._bucket.wait_s(), self._circuit.wait_s())):
                return
            self._answers.put(self._answer(*asked))

    def _answer(self, symbol: str, request: Request) -> Answer:
        try:
            bars = self._fetch(symbol, request)
        except RefusedError as error:
            return Answer(request, None, str(error), refused=True)
        except FailedError as error:
            return Answer(request, None, str(error))
        except AgainError as error:
            opened = self._circuit.note(worked=False)
            pause = f"; a pause of {CIRCUIT_PAUSE_S:.0f} s" if opened else ""
            return Answer(request, None, f"{error}{pause}", again=True)
        self._circuit.note(worked=True)
        return Answer(request, bars)
