"""A running engine seen from outside, many times a second: where every reader stands, memory, and every signal.

Read-only: it takes no part in the engine and slows nobody but by the core time it needs.
"""

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.load.engine_run import EngineRun
from hft_engine.shm import layout
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring_file import RingView
from hft_engine.topology import DTYPES

PERIOD_S = 0.02
MEMORY_EVERY = 10  # looks
PAGE_BYTES = 4096
HOT = ("indicators", "inference", "signals")  # the readers on the way from tick to signal


@dataclass(frozen=True)
class Reader:
    """A reader of a ring at one instant, in records since the start of the run."""

    ring: str
    role: str
    published: int
    seen: int
    lapped: int
    position: int

    @property
    def lag(self) -> int:
        return max(0, self.published - self.position)

    @property
    def unaccounted(self) -> int:
        """Records neither seen, nor counted as lapped, nor waiting: 0, unless the reader moved during the look."""
        return self.position - self.seen - self.lapped


@dataclass(frozen=True)
class Look:
    """The engine at one instant. Memory: of its actors' processes, MB, at most MEMORY_EVERY looks old.

    ``taken``: ticks of the venue on the ring, and those that were shed or repeated others; the feed's own, which tell
    of the data's health, are none.
    """

    ns: int
    sent: int
    taken: int
    readers: tuple[Reader, ...]
    private_mb: float
    shared_mb: float
    shed: int = 0

    def lost(self, roles: tuple[str, ...] = HOT) -> int:
        return self.shed + sum(reader.lapped for reader in self.readers if reader.role in roles)

    def lag(self, roles: tuple[str, ...] = HOT) -> int:
        return sum(reader.lag for reader in self.readers if reader.role in roles)

    @property
    def slowest(self) -> Reader:
        """Who has most of its ring before it."""
        return max(self.readers, key=lambda reader: reader.lag)


def _memory(pids: list[int]) -> tuple[float, float]:
    """(private, shared) resident megabytes; a page that several processes share counts for the one with most."""
    private, shared = 0, 0
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/statm").read_text().split()
        except FileNotFoundError:  # it ended, and another took its place
            continue
        _, resident, common, *_ = map(int, words)
        private += resident - common
        shared = max(shared, common)
    return private * PAGE_BYTES / 1e6, shared * PAGE_BYTES / 1e6


@dataclass
class Watch:
    """Looks and signals of an engine, gathered by a thread between ``__enter__`` and ``__exit__``."""

    engine: EngineRun
    sent: np.ndarray  # one word: ticks that the load has sent
    looks: list[Look] = field(default_factory=list)

    def __enter__(self) -> "Watch":
        entries = self.engine.manifest.rings
        self._views = {
            entry.name: RingView(self.engine.directory / entry.file, DTYPES[entry.dtype]) for entry in entries
        }
        self._feed = Stats.attach(self.engine.directory / "feed.stats", writable=False)
        self._pids = [process.pid for process in self.engine.processes().values()]
        self._mb = _memory(self._pids)
        self._signals = self.engine.signals()
        self._parts: list[np.ndarray] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> Look:
        """The engine now. Each reader's words are read before its ring's end."""
        readers = []
        for ring, view in self._views.items():
            for i, role in enumerate(view.roles):
                words = view.reader_words(i).copy()
                seen, lapped = int(words[layout.R_SEEN]), int(words[layout.R_LAPPED])
                reader = Reader(ring, role, view.published, seen, lapped, int(words[layout.R_POSITION]))
                readers.append(reader)
        counters = self._feed.counters()
        # Of ticks that are alike in the same millisecond, what lies between them may have been shed: then one is left.
        not_on_ring = counters["shed"] + counters["duplicates"]
        taken = self._views["ticks"].published - counters["health_ticks"] + not_on_ring
        return Look(
            time.monotonic_ns(), int(self.sent[0]), taken, tuple(readers), *self._mb, counters["shed"]
        )

    def signals(self) -> np.ndarray:
        """All signals so far (SIGNAL_DTYPE), by the venue's ticks."""
        with self._lock:
            self._read()
            return np.concatenate(self._parts)

    def _run(self) -> None:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # this thread alone: off the stages' core
        while not self._stop.wait(PERIOD_S):
            if len(self.looks) % MEMORY_EVERY == 0:
                self._mb = _memory(self._pids)
            self.looks.append(self.look())
            with self._lock:
                self._read()

    def _read(self) -> None:
        self._parts.append(self._signals.read())
