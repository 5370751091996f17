"""Copies of every role's histograms, taken now and then, so that a view can tell what was counted in the last minute.

The supervisor takes them: what a record costs its stage does not change. A copy is a small file in the run directory
(only the buckets that are not zero), complete or not there.
"""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.shm.counters import Stats
from hft_engine.shm.histogram_view import HISTOGRAM_WORDS

PERIOD_S = 10.0
KEPT = 8  # the oldest is always more than a minute old
_PATTERN = "latency-{}.snapshot"


class Snapshot(msgspec.Struct, frozen=True):
    """``histograms``: by "role/name", int64[2, n]: the words that are not zero and what they hold."""

    taken_ns: int  # CLOCK_MONOTONIC
    histograms: dict[str, bytes]

    def counts(self, name: str) -> np.ndarray:
        """int64[HISTOGRAM_WORDS]; empty of a histogram that was not there yet."""
        counts = np.zeros(HISTOGRAM_WORDS, np.int64)
        places, values = np.frombuffer(self.histograms.get(name, b""), np.int64).reshape(2, -1)
        counts[places] = values
        return counts


class Snapshots:
    """The writing side. ``take_due`` may be called as often as one likes."""

    def __init__(self, run_dir: Path, roles: Sequence[str]) -> None:
        self._run_dir = run_dir
        self._stats = {role: Stats.attach(run_dir / f"{role}.stats", writable=False) for role in roles}
        self._taken = 0
        self._due_s = time.monotonic() + PERIOD_S

    def take_due(self) -> None:
        """Take one, once a period."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + PERIOD_S
            self.take(time.monotonic_ns())

    def take(self, now_ns: int) -> None:
        """Take one now. On a full file system none is taken: the view then says of how long it speaks."""
        found = {
            f"{role}/{name}": _packed(stats.histogram(name))
            for role, stats in self._stats.items()
            for name in stats.histogram_names
        }
        path = self._run_dir / _PATTERN.format(self._taken % KEPT)
        draft = path.with_suffix(".new")
        try:
            draft.write_bytes(msgspec.msgpack.encode(Snapshot(now_ns, found)))
            draft.replace(path)
            self._taken += 1
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()


def read_snapshots(run_dir: Path) -> list[Snapshot]:
    """What there is, oldest first."""
    found = []
    for slot in range(KEPT):
        with contextlib.suppress(FileNotFoundError):
            raw = (run_dir / _PATTERN.format(slot)).read_bytes()
            found.append(msgspec.msgpack.decode(raw, type=Snapshot))
    return sorted(found, key=lambda snapshot: snapshot.taken_ns)


def _packed(counts: np.ndarray) -> bytes:
    frozen = counts.copy()
    places = np.flatnonzero(frozen)
    return np.stack([places, frozen[places]]).astype(np.int64).tobytes()
