"""Time of one row through a model of 100 trees x 31 leaves over 30 features, row by row, 20,000 different rows.

Ours is the compiled traversal inside compiled code, as the stage calls it, two looks at the clock included. Beside
it: ``Booster.predict`` and LightGBM's C API in its fastest form (single row, fast configuration, through ctypes).
All outputs are compared: they must be equal to 1e-12.
"""

import ctypes
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from benchmarks import harness, workload
from hft_engine.inference.lightgbm_text import parse_model
from hft_engine.inference.tables import Tables, build_tables
from hft_engine.inference.trees import evaluate
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import new_counts, percentile, record

TOLERANCE = 1e-12
_FLOAT64, _ROW_MAJOR, _NORMAL = 1, 1, 0  # of c_api.h


@njit(nogil=True, cache=True)
def _each_row(header, columns, nodes, bits, row, values, out, latencies):  # type: ignore[no-untyped-def]
    for i in range(len(values)):
        started = mono_ns()
        evaluate(header, columns, nodes, bits, row, values[i], out[i])
        record(latencies, mono_ns() - started)


def compiled(tables: Tables, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(latencies, outputs) of our traversal."""
    out, latencies = np.zeros((len(rows), 1)), new_counts()
    arguments = (tables.header, tables.columns, tables.nodes, tables.bits, tables.row)
    _each_row(*arguments, rows[:1], out[:1], new_counts())
    _each_row(*arguments, rows, out, latencies)
    return latencies, out[:, 0]


def booster_predict(booster: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(ns of each row, outputs) of Booster.predict on one thread."""
    spent, out = np.zeros(len(rows)), np.zeros(len(rows))
    for i in range(len(rows)):
        started = time.perf_counter_ns()
        out[i] = booster.predict(rows[i : i + 1], num_threads=1)[0]
        spent[i] = time.perf_counter_ns() - started
    return spent, out


class FastConfig:
    """LightGBM's C API: one row at a time with everything prepared beforehand."""

    def __init__(self, model: Path, columns: int) -> None:
        from lightgbm import basic

        library: Any = vars(basic)["_LIB"]  # as it is loaded already

        self._library, self._check = library, basic._safe_call
        self._booster, self._config = ctypes.c_void_p(), ctypes.c_void_p()
        iterations = ctypes.c_int()
        name = ctypes.c_char_p(str(model).encode())
        self._check(
            library.LGBM_BoosterCreateFromModelfile(
                name, ctypes.byref(iterations), ctypes.byref(self._booster)
            )
        )
        self._check(
            library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._booster, _NORMAL, 0, -1, _FLOAT64, columns,
                ctypes.c_char_p(b"num_threads=1"), ctypes.byref(self._config),
            )
        )  # fmt: skip

    def run(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ns of each row, outputs)."""
        spent, out = np.zeros(len(rows)), np.zeros(len(rows))
        predict, length, result = (
            self._library.LGBM_BoosterPredictForMatSingleRowFast,
            ctypes.c_int64(),
            ctypes.c_double(),
        )
        arguments = ctypes.byref(length), ctypes.byref(result)
        address, step = rows.ctypes.data, rows.strides[0]
        for i in range(len(rows)):
            row = ctypes.c_void_p(address + i * step)
            started = time.perf_counter_ns()
            failed = predict(self._config, row, *arguments)
            spent[i] = time.perf_counter_ns() - started
            self._check(failed)
            out[i] = result.value
        return spent, out

    def close(self) -> None:
        self._library.LGBM_FastConfigFree(self._config)
        self._library.LGBM_BoosterFree(self._booster)


def main() -> int:
    import lightgbm

    report = harness.Report("inference", harness.options(__doc__ or ""))
    report.progress("training a model ...")
    rows = workload.model_rows(report.opts.count(20_000, 10_000))
    with tempfile.TemporaryDirectory(prefix="hft_bench-") as directory:
        path = Path(directory) / "model.txt"
        text = workload.train_model(path, rows)
        booster, fast = lightgbm.Booster(model_str=text), FastConfig(path, rows.shape[1])
    tables = build_tables(parse_model(text.encode(), "benchmark model"), range(rows.shape[1]))
    report.sense_jitter()
    ours = report.measure("compiled traversal", lambda: compiled(tables, rows))
    few = rows[: report.opts.count(5_000, 2_000)]
    predicted = report.measure("Booster.predict", lambda: booster_predict(booster, few))
    c_api = report.measure("C API, single row fast", lambda: fast.run(rows))
    fast.close()
    report.sense_jitter()
    _compare(ours[0][1], predicted[0][1], c_api[0][1])
    _add(report, ours, predicted, c_api)
    return report.finish()


def _compare(ours: np.ndarray, predicted: np.ndarray, c_api: np.ndarray) -> None:
    worst = max(np.abs(ours[: len(predicted)] - predicted).max(), np.abs(ours - c_api).max())
    if not worst <= TOLERANCE:
        raise RuntimeError(f"outputs differ by up to {worst}: what is fast must be right first")


def _add(report: harness.Report, ours: list[Any], predicted: list[Any], c_api: list[Any]) -> None:
    peer_fast = [float(np.percentile(spent, 50)) / 1e3 for spent, _ in c_api]
    peer = ("LightGBM C API, single row fast", peer_fast)
    report.add("inference_p50_us", [percentile(counts, 50.0) / 1e3 for counts, _ in ours], "us", peer)
    report.add("inference_p99_us", [percentile(counts, 99.0) / 1e3 for counts, _ in ours], "us")
    slow = [float(np.percentile(spent, 50)) / 1e3 for spent, _ in predicted]
    report.add("inference_booster_predict_p50_us", slow, "us", peer)
    report.note(f"inference: outputs of all three equal to {TOLERANCE}.")


if __name__ == "__main__":
    raise SystemExit(main())
