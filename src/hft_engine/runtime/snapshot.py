"""Taking a checkpoint while the state moves on: copy on write by rows, a few at a time between duty cycles.

``begin`` names a moment, between two duty cycles: facts (positions, sequences) are written then. From there on a
kernel calls ``keep_row`` for a row before it first changes it, and ``tend`` copies some of the others every few
milliseconds; when each row has been copied once, the checkpoint is complete, and it is the state of that moment.
So no pause is longer than a few rows' copies, whatever the size of the state. Outside a checkpoint it costs the look
at one word.

``control`` int64[CONTROL_WORDS], ``marks`` int64[rows]: of the actor's own memory; the kernel takes both.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.runtime import rundir
from hft_engine.runtime.checkpoint import SUFFIX, Checkpoint, CheckpointFile, Column, restore
from hft_engine.runtime.faultpoints import fault_point
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.counters import Counter
from hft_engine.words import copy_bytes

COLUMNS_MAX = 3
(EPOCH, _ROWS, _NEXT, _TARGET, _ROW_BYTES, _COLUMNS, _COLUMN_0) = range(
    7
)  # EPOCH 0: no checkpoint is being taken
CONTROL_WORDS = _COLUMN_0 + 2 * COLUMNS_MAX  # of each column its address and the bytes of a row
STEP_NS_MAX = 50_000  # a step ends after this, and the row in work: a tick that comes meanwhile waits as long
STEP_EVERY_NS = 2_000_000  # between two steps at least
COUNTERS = ("checkpoints", "checkpoints_failed", "checkpoint_step_ns_max")


@kernel(forceinline=True)
def keep_row(control: np.ndarray, marks: np.ndarray, row: int) -> bool:
    """Call it before row ``row`` changes, where ``control[EPOCH]`` is not 0. Whether it had to be copied."""
    if row >= control[_ROWS] or marks[row] == control[EPOCH]:
        return False
    marks[row] = control[EPOCH]
    target = control[_TARGET] + row * control[_ROW_BYTES]
    for column in range(control[_COLUMNS]):
        size = control[_COLUMN_0 + 2 * column + 1]
        copy_bytes(target, control[_COLUMN_0 + 2 * column] + row * size, size)
        target += size
    return True


@kernel(cache=True)
def sweep(control: np.ndarray, marks: np.ndarray, limit_ns: int) -> int:
    """Copy rows that nobody has kept yet, at least one, for ``limit_ns``. Returns how many are left to look at."""
    row = control[_NEXT]
    until_ns: int = mono_ns() + limit_ns
    while row < control[_ROWS]:
        copied = keep_row(control, marks, row)
        row += 1
        if copied and mono_ns() >= until_ns:
            break
    control[_NEXT] = row
    return control[_ROWS] - row


class Snapshots:
    """The checkpoints of one actor. Without a file (replay in one process, tests) everything here does nothing.

    ``columns``: the arrays that make a row, at most COLUMNS_MAX. ``rows``: how many rows are in use now. ``facts``
    writes what else there is to know into int64[FACTS].
    """

    def __init__(
        self,
        file: CheckpointFile | None,
        columns: Sequence[Column],
        rows: Callable[[], int],
        facts: Callable[[np.ndarray], None],
        interval_ms: int,
        counters: Sequence[Counter],
    ) -> None:
        self.control = np.zeros(CONTROL_WORDS, np.int64)
        self.marks = np.zeros(file.rows_max if file else 1, np.int64)
        self._file, self._columns, self._rows, self._facts = file, columns, rows, facts
        self._interval_ns = interval_ms * 1_000_000
        self._due_ns = time.monotonic_ns() + self._interval_ns
        self._buffer = 0
        self._epoch = 0
        self._counters = counters
        if file is not None:
            self._describe(file)

    def restore(self) -> Checkpoint | None:
        """The newest complete checkpoint, its rows put back; None where there is none."""
        newest = self._file.newest() if self._file else None
        if newest is not None:
            restore(newest, self._columns)
        return newest

    def tend(self) -> None:
        """Between two duty cycles: one step, if one is due."""
        if self._interval_ns and self._file is not None and (now_ns := time.monotonic_ns()) >= self._due_ns:
            self._due_ns = now_ns + STEP_EVERY_NS
            try:
                self._step(self._file)
            except OSError:
                self._give_up()
            spent_ns = time.monotonic_ns() - now_ns
            if spent_ns > self._counters[2].value:
                self._counters[2].set(spent_ns)

    def complete(self) -> None:
        """A whole checkpoint of the present moment: at an ordered stop."""
        if self._file is None:
            return
        try:
            self.control[EPOCH] = 0
            while not self._begin(self._file):
                pass
            while not self._swept(self._file):
                pass
        except OSError:
            self._give_up()

    def _step(self, file: CheckpointFile) -> None:
        if not self.control[EPOCH]:
            self._begin(file)
        elif self._swept(file):
            self._due_ns = time.monotonic_ns() + self._interval_ns

    def _begin(self, file: CheckpointFile) -> bool:
        """Whether there is room for it yet; rows are reserved a few at a time."""
        rows = self._rows()
        if not file.reserve(rows):
            return False
        self._buffer, facts, address = file.begin(rows)
        self._facts(facts)
        fault_point("checkpoint.facts")
        self._epoch += 1
        self.control[_ROWS], self.control[_NEXT], self.control[_TARGET] = rows, 0, address
        self.control[EPOCH] = self._epoch
        return True

    def _swept(self, file: CheckpointFile) -> bool:
        left = sweep(self.control, self.marks, STEP_NS_MAX)
        fault_point("checkpoint.rows")
        if left:
            return False
        self.control[EPOCH] = 0
        file.commit(self._buffer)
        self._counters[0].add()
        return True

    def _give_up(self) -> None:
        self._counters[1].add()
        self._due_ns = time.monotonic_ns() + 10 * self._interval_ns

    def _describe(self, file: CheckpointFile) -> None:
        self.control[_ROW_BYTES], self.control[_COLUMNS] = file.row_bytes, len(self._columns)
        for i, column in enumerate(self._columns):
            place = column.array.ctypes.data, column.row_bytes
            self.control[_COLUMN_0 + 2 * i : _COLUMN_0 + 2 * i + 2] = place


def file_of(
    run_dir: Path, role: str, key: int, columns: Sequence[Column], rows_max: int
) -> CheckpointFile | None:
    """The role's file where there is a run directory; None where rings and state die with this process."""
    if not (run_dir / rundir.LOCK).exists():
        return None
    row_bytes = sum(column.row_bytes for column in columns)
    return CheckpointFile.open(run_dir / f"{role}{SUFFIX}", key, row_bytes, rows_max)


def warm() -> None:
    """Compile (or load) the sweep."""
    sweep(np.zeros(CONTROL_WORDS, np.int64), np.zeros(1, np.int64), 1)
