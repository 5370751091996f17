"""A sample of the feature vectors that were live, in the session's folder, for `hft parity` and `hft models drift`.

features.sample    a line of JSON (``Head``), then records of ``sample_dtype``

Which vectors is decided by a hash of their sequence: a subset that no period in the market can dodge, and the same one
after a restart. The ring is read from outside: the sampler is no reader of it, slows nobody and may be lapped.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.records import FEATURE_DTYPE
from hft_engine.runtime.actor import ActorContext
from hft_engine.shm import layout
from hft_engine.shm.ring_file import RingView

FILE = "features.sample"
RECORDS_A_CYCLE = 4_096  # 2.4 MB: copied in a millisecond
FLUSH_RECORDS = 1_024
_MB = 1_000_000
# Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014: the finalizer of SplitMix64
_GAMMA, _MIX_1, _MIX_2 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class SampleError(RuntimeError):
    """There is no such file, or it cannot be used; the text says why and what to do."""


class Head(msgspec.Struct, frozen=True):
    """``names``: features of a record's ``values``, in order; ``schema``: hash of the feature set; ``every``: one of
    so many vectors was taken."""

    names: tuple[str, ...]
    schema: str
    every: int


def sample_dtype(width: int) -> np.dtype:
    """A vector of ``width`` features as it is kept; ``price`` and stamps as in FEATURE_DTYPE."""
    return np.dtype(
        [
            ("sequence", "<i8"),
            ("source_sequence", "<i8"),  # the tick that caused it
            ("ts_venue_ns", "<i8"),
            ("instrument_id", "<i4"),
            ("flags", "<i4"),
            ("price", "<f8"),
            ("values", "<f8", (width,)),
        ]
    )


def is_taken(sequences: np.ndarray, every: int) -> np.ndarray:
    """bool[n]: which vectors belong to the sample, by their sequences (int64[n])."""
    z = (sequences.astype(np.uint64) + np.uint64(1)) * _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return np.asarray((z ^ (z >> np.uint64(31))) % np.uint64(every) == 0)


def records_of(features: np.ndarray, width: int) -> np.ndarray:
    """FEATURE_DTYPE rows as they are kept: ``sample_dtype(width)``."""
    rows = np.zeros(len(features), sample_dtype(width))
    for name in ("sequence", "source_sequence", "ts_venue_ns", "instrument_id", "flags", "price"):
        rows[name] = features[name]
    rows["values"] = features["values"][:, :width]
    return rows


class FeatureSampler:
    """``tend`` every duty cycle. Goes on where an earlier life stopped, if the ring still has it.

    ``persistence.feature_sample_mb`` bounds the file; what comes after it is not kept (event ``feature_sample_full``).
    """

    def __init__(self, ctx: ActorContext, session: Path) -> None:
        config = ctx.config.persistence
        self._ctx, self._every = ctx, config.feature_sample
        self._bytes_max = config.feature_sample_mb * _MB
        self._width = len(ctx.feature_schema.names)
        self._view = RingView(ctx.run_dir / "features.ring", FEATURE_DTYPE)
        self._taken, self._lapped = ctx.counter("sampled_features"), ctx.counter("lapped_features")
        session.mkdir(parents=True, exist_ok=True)
        self._fd, kept_to = self._open(session / FILE)
        self._position = max(kept_to, int(self._view.head[layout.W_START]))
        self._waiting: list[np.ndarray] = []
        self._ended = False

    def tend(self) -> int:
        """Take what is new; returns how many vectors it went past."""
        if self._ended:
            return 0
        first, rows = self._view.read(self._position, RECORDS_A_CYCLE)
        if first > self._position:
            self._lapped.add(first - self._position)
        passed, self._position = first + len(rows) - self._position, first + len(rows)
        chosen = rows[is_taken(rows["sequence"], self._every)]
        if len(chosen):
            self._waiting.append(records_of(chosen, self._width))
            self._taken.add(len(chosen))
        if sum(map(len, self._waiting)) >= FLUSH_RECORDS:
            self._flush()
        return passed

    def close(self) -> None:
        """Take what the ring still has, then close."""
        while self.tend():
            pass
        self._flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, path: Path) -> tuple[int, int]:
        """(file, one after the last vector kept). A record cut short by a crash is taken away."""
        head = msgspec.json.encode(
            Head(self._ctx.feature_schema.names, self._ctx.feature_schema.hash, self._every)
        )
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        if os.fstat(fd).st_size == 0:
            _write_all(fd, head + b"\n")
            return fd, 0
        _, kept = read_sample(path)
        end = _head_bytes(path) + kept.nbytes
        os.ftruncate(fd, end)
        return fd, int(kept["sequence"][-1]) + 1 if len(kept) else 0

    def _flush(self) -> None:
        rows, self._waiting = self._waiting, []
        if not rows or self._fd < 0:
            return
        try:
            data = np.concatenate(rows).tobytes()
            if os.fstat(self._fd).st_size + len(data) > self._bytes_max:
                self._end("feature_sample_full", "persistence.feature_sample_mb is reached")
            else:
                _write_all(self._fd, data)
        except OSError as error:
            self._end("feature_sample_failed", str(error.strerror))

    def _end(self, kind: str, why: str) -> None:
        self._ended = True
        self._ctx.event(kind, f"{FILE}: {why}; no more feature vectors are kept in this session")


def read_sample(path: Path) -> tuple[Head, np.ndarray]:
    """The head and the whole records, ``sample_dtype``, in order of their sequences. Raises SampleError."""
    try:
        with path.open("rb") as file:
            head = msgspec.json.decode(file.readline(), type=Head)
            data = file.read()
    except FileNotFoundError:
        raise SampleError(
            f"{path.parent.name} kept no feature vectors; set persistence.feature_sample (1: all, 100: one of a "
            "hundred) and record again"
        ) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise SampleError(
            f"{path} cannot be read: {error}; it is no sample of features, or damaged"
        ) from error
    dtype = sample_dtype(len(head.names))
    return head, np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)


def write_sample(path: Path, names: Sequence[str], schema: str, every: int, rows: np.ndarray) -> None:
    """A whole sample at once; ``rows`` of ``sample_dtype``."""
    head = Head(tuple(names), schema, every)
    path.write_bytes(msgspec.json.encode(head) + b"\n" + rows.tobytes())


def _head_bytes(path: Path) -> int:
    with path.open("rb") as file:
        return len(file.readline())


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
