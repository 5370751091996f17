"""Batches of 1 to 64 rows: ours beside LightGBM's own ways to predict a matrix, each called from Python.

``Booster.predict`` and ``LGBM_BoosterPredictForMat`` through ctypes with every argument prepared, both with one thread,
as an engine's stage has, and with as many as there are cores.
"""

import ctypes
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks import harness
from hft_engine.inference.tables import Tables
from hft_engine.inference.trees import evaluate_rows

SIZES = (1, 2, 4, 8, 16, 32, 64)
OURS = "ours"
_FLOAT64, _NORMAL, _ROW_MAJOR = 1, 0, 1  # of LightGBM's c_api.h
_ALL_THREADS = 0

Predict = Callable[[np.ndarray, np.ndarray], object]  # of rows, contiguous, into out


def ours(tables: Tables) -> Predict:
    context = tables.header, tables.columns, tables.nodes, tables.bits, tables.points, tables.row
    return lambda rows, out: evaluate_rows(*context, rows, out.reshape(-1, 1))


def booster_predict(booster: Any, threads: int) -> Predict:
    def predict(rows: np.ndarray, out: np.ndarray) -> None:
        out[:] = booster.predict(rows, num_threads=threads)

    return predict


def c_api(booster: Any, threads: int) -> Predict:
    from lightgbm import basic

    library: Any = vars(basic)["_LIB"]
    length = ctypes.c_int64()
    parameters = ctypes.c_char_p(f"num_threads={threads}".encode())

    def predict(rows: np.ndarray, out: np.ndarray) -> None:
        count, columns = rows.shape
        code = library.LGBM_BoosterPredictForMat(
            booster._handle, ctypes.c_void_p(rows.ctypes.data), _FLOAT64, count, columns, _ROW_MAJOR, _NORMAL,
            0, -1, parameters, ctypes.byref(length), ctypes.c_void_p(out.ctypes.data),
        )  # fmt: skip
        if code:
            raise RuntimeError(f"LGBM_BoosterPredictForMat: {library.LGBM_GetLastError()!r}")

    return predict


def row_us(predict: Predict, size: int, rows: np.ndarray, expected: np.ndarray) -> float:
    """us a row, median of all batches of ``size``. Raises RuntimeError for a wrong prediction."""
    out = np.zeros(len(rows))
    spent = []
    for first in range(0, len(rows) - size + 1, size):
        given, result = rows[first : first + size], out[first : first + size]
        began = time.perf_counter_ns()
        predict(given, result)
        spent.append(time.perf_counter_ns() - began)
    whole = len(rows) // size * size
    if not np.array_equal(out[:whole], expected[:whole]):
        raise RuntimeError("what is fast must be right first: a batch differs from Booster.predict")
    return float(np.median(spent)) / size / 1e3


def contenders(booster: Any, tables: Tables) -> Mapping[str, Predict]:
    return {
        OURS: ours(tables),
        "C API, one thread": c_api(booster, 1),
        "C API, all cores": c_api(booster, _ALL_THREADS),
        "Booster.predict, one thread": booster_predict(booster, 1),
        "Booster.predict, all cores": booster_predict(booster, _ALL_THREADS),
    }


def add_figures(
    report: harness.Report, booster: Any, tables: Tables, rows: np.ndarray, expected: np.ndarray
) -> None:
    """Of each size ours, beside the faster of LightGBM's ways with one thread, and with all cores."""
    ways = contenders(booster, tables)
    for size in SIZES:
        timed = {name: functools.partial(row_us, way, size, rows, expected) for name, way in ways.items()}
        runs = report.interleave(timed)
        mine = runs.pop(OURS)
        for threads in ("one thread", "all cores"):
            name = min((name for name in runs if threads in name), key=lambda name: np.median(runs[name]))
            label = threads.replace(" ", "_")
            report.add(f"inference_batch_{size}_{label}_row_us", mine, "us", (name, runs[name]))
