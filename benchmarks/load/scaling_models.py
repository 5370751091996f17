"""One feature record through 1 to 16 models in turn, in compiled code: what each further model costs.

Every model has 100 trees x 31 leaves of its own, trained on labels of its own, and every record is another row, so that
neither the caches nor the branch predictor can know the answer. What bends the line is the size of the tables beside
the caches that the machine says it has.
"""

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numba import njit

from benchmarks import harness, machine, plot, workload
from benchmarks.harness import medians
from hft_engine.inference.lightgbm_text import parse_model
from hft_engine.inference.tables import COLUMN_DTYPE, HEADER_DTYPE, NODE_DTYPE, Tables, build_tables
from hft_engine.inference.trees import evaluate
from hft_engine.shm.clock import mono_ns
from hft_engine.wiring import wire, wired

MODELS = (1, 2, 4, 8, 16)
_TABLES = 6  # arrays of a model


@njit(nogil=True, cache=True)
def _each_record(
    wiring: np.ndarray, models: int, rows: np.ndarray, out: np.ndarray, spent: np.ndarray
) -> None:
    """Every row through the first ``models`` models; ``spent`` gets the ns of each, ``out`` the outputs of each."""
    for i in range(len(rows)):
        started: int = mono_ns()
        for m in range(models):
            first = m * _TABLES
            header, columns = wired(wiring, first, HEADER_DTYPE), wired(wiring, first + 1, COLUMN_DTYPE)
            nodes, bits = wired(wiring, first + 2, NODE_DTYPE), wired(wiring, first + 3, np.uint32)
            points, row = wired(wiring, first + 4, np.float64), wired(wiring, first + 5, np.float64)
            evaluate(header, columns, nodes, bits, points, row, rows[i], out[i, m])
        spent[i] = mono_ns() - started


class Shelf:
    """Models side by side in memory, wired once."""

    def __init__(self, models: Sequence[Tables]) -> None:
        self.models = models
        arrays = [(t.header, t.columns, t.nodes, t.bits, t.points, t.row) for t in models]
        self._arrays = [array for tables in arrays for array in tables]
        self._wiring = wire(self._arrays)

    @property
    def bytes_each(self) -> int:
        """Of a model's tables, on average."""
        return sum(array.nbytes for array in self._arrays) // len(self.models)

    def run(self, models: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``rows`` through the first ``models``: (ns int64[rows], outputs float64[rows, models])."""
        out, spent = np.zeros((len(rows), models, 1)), np.zeros(len(rows), np.int64)
        _each_record(self._wiring, models, rows, out, spent)
        return spent, out[:, :, 0]

    def record_ns(self, models: int, rows: np.ndarray) -> float:
        """The median record's ns."""
        return float(np.median(self.run(models, rows)[0]))


def trained(count: int, rows: np.ndarray) -> Shelf:
    """So many models of the usual size, each of labels of its own."""
    with tempfile.TemporaryDirectory(prefix="hft_bench-") as directory:
        texts = [workload.train_model(Path(directory) / f"{i}.txt", rows, seed=i) for i in range(count)]
    ensembles = [parse_model(text.encode(), "benchmark model") for text in texts]
    return Shelf([build_tables(ensemble, range(rows.shape[1])) for ensemble in ensembles])


def panel(report: harness.Report, records: int) -> plot.Panel:
    """Figures and picture of a record's time as models grow."""
    report.progress(f"training {MODELS[-1]} models ...")
    rows = workload.model_rows(records)
    shelf = trained(MODELS[-1], rows)
    shelf.run(1, rows[:100])  # compiled
    runs = report.interleave({f"{n} models": functools.partial(shelf.record_ns, n, rows) for n in MODELS})
    each = {n: [ns / n for ns in runs[f"{n} models"]] for n in MODELS}
    one = "1 model", each[1]
    for n in MODELS:
        report.add(f"scaling_{n}_models_record_ns", runs[f"{n} models"], "ns", one)
        report.add(f"scaling_{n}_models_each_ns", each[n], "ns", one)
    report.note(
        f"scaling: {len(rows):,} records, models of {workload.TREES} trees; {sizes(shelf.bytes_each)}"
    )
    line = plot.Line("each model", MODELS, medians(list(each.values())), dots=True)
    return plot.Panel("ns a model", "models that see each record", [line])


def sizes(bytes_each: int) -> str:
    """How many models' tables fit where."""
    caches = machine.caches()
    fits = [f"{name} ({size >> 10:,} KiB) holds {size / bytes_each:.1f}" for name, size in caches.items()]
    return f"a model's tables are {bytes_each / 1024:.0f} KiB: {', '.join(fits) or 'the caches are unknown'}."
