"""The collector: keeps what a replay publishes, for whoever compares it afterwards.

signals.bin       every signal, SIGNAL_DTYPE
predictions.bin   PREDICTION_DTYPE of the ticks that were asked for
features.json     checksums of every feature, one for WINDOW_RECORDS records in a row
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import google_crc32c
import msgspec
import numpy as np

from hft_engine.records import PREDICTION_DTYPE, SIGNAL_DTYPE
from hft_engine.runtime.actor import ActorContext, BaseActor

SIGNALS, PREDICTIONS, FEATURES = "signals.bin", "predictions.bin", "features.json"
WINDOW_RECORDS = 4_096
BATCH_RECORDS = 2_048


class Tap(Protocol):
    """What is done with the records of one ring."""

    def take(self, rows: np.ndarray) -> None: ...
    def close(self) -> None: ...


class _Whole:
    """Every record into a file."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")

    def take(self, rows: np.ndarray) -> None:
        self._file.write(rows.tobytes())

    def close(self) -> None:
        self._file.close()


class _OfTicks(_Whole):
    """Records caused by certain ticks into a file."""

    def __init__(self, path: Path, ticks: Sequence[int]) -> None:
        super().__init__(path)
        self._ticks = np.array(sorted(ticks), np.int64)

    def take(self, rows: np.ndarray) -> None:
        sources = rows["source_sequence"]
        low, high = np.searchsorted(self._ticks, (sources[0], sources[-1] + 1))
        if low < high:
            super().take(rows[np.isin(sources, self._ticks[low:high])])


class _Checksums:
    """CRC-32C of each feature's bytes over windows of records."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path, self._names = path, names
        self._waiting: list[np.ndarray] = []
        self._count = 0
        self._windows: list[list[int]] = []

    def take(self, rows: np.ndarray) -> None:
        values = rows["values"][:, : len(self._names)]
        while len(values):
            part = values[: WINDOW_RECORDS - self._count]
            self._waiting.append(part.copy())
            self._count += len(part)
            values = values[len(part) :]
            if self._count == WINDOW_RECORDS:
                self._end_window()

    def close(self) -> None:
        if self._count:
            self._end_window()
        self._path.write_bytes(msgspec.json.encode({"names": list(self._names), "windows": self._windows}))

    def _end_window(self) -> None:
        columns = np.concatenate(self._waiting).T
        self._windows.append([google_crc32c.value(column.tobytes()) for column in columns])
        self._waiting, self._count = [], 0


class CollectorActor(BaseActor):
    """Reads ``rings``; what it makes of each lies in ``directory`` when it has stopped."""

    role = "collector"
    counters = ("records",)

    def __init__(self, rings: Sequence[str], directory: str, ticks: Sequence[int] = ()) -> None:
        self._rings, self._directory, self._wanted = rings, Path(directory), ticks

    def on_start(self, ctx: ActorContext) -> None:
        self._records = ctx.counter("records")
        self._inlets: list[tuple[Any, int, np.ndarray, Tap]] = []
        for name in self._rings:
            ring = ctx.ring(name)
            scratch = np.zeros(min(BATCH_RECORDS, ring.capacity // 2), ring.dtype)
            self._inlets.append((ring, ctx.reader(name), scratch, self._tap(ctx, name)))

    def do_work(self) -> int:
        work = 0
        for ring, reader, scratch, tap in self._inlets:
            count = ring.poll(reader, scratch, len(scratch))
            if count:
                tap.take(scratch[:count])
            work += count
        self._records.add(work)
        return work

    def on_stop(self) -> None:
        while self.do_work():
            pass
        for *_, tap in self._inlets:
            tap.close()

    def _tap(self, ctx: ActorContext, ring: str) -> Tap:
        if ring == "signals":
            return _Whole(self._directory / SIGNALS)
        if ring == "predictions":
            return _OfTicks(self._directory / PREDICTIONS, self._wanted)
        return _Checksums(self._directory / FEATURES, ctx.feature_schema.names)


def collected_signals(directory: Path) -> np.ndarray:
    """SIGNAL_DTYPE records of a replay, in order."""
    return np.fromfile(directory / SIGNALS, SIGNAL_DTYPE)


def collected_predictions(directory: Path) -> np.ndarray:
    """PREDICTION_DTYPE records of the ticks that were asked for, in order."""
    return np.fromfile(directory / PREDICTIONS, PREDICTION_DTYPE)


def unequal_features(first: Path, second: Path) -> list[tuple[str, int]]:
    """Features that two replays of one session do not agree on: (name, first record of the window it began in)."""
    one, other = (msgspec.json.decode((path / FEATURES).read_bytes()) for path in (first, second))
    found: dict[str, int] = {}
    for window, (left, right) in enumerate(zip(one["windows"], other["windows"], strict=False)):
        for name, a, b in zip(one["names"], left, right, strict=True):
            if a != b:
                found.setdefault(name, window * WINDOW_RECORDS)
    return list(found.items())
