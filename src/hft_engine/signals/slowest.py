"""Keeping the slowest signals of a run: one comparison for a signal that is none of them."""

import numpy as np

from hft_engine.kernel import kernel
from hft_engine.shm.atomics import fence_release, store_release
from hft_engine.shm.histogram_view import RECORDING
from hft_engine.signals.slowest_table import BAR, PLACE, ROW_WORDS, ROWS_WORD, SLOWEST_MAX, STAMP


@kernel()
def _insert(
    table: np.ndarray, signals: np.ndarray, k: int, predictions: np.ndarray, i: int, total_ns: int
) -> None:
    """Take the row of the least total, then look which has the least."""
    row = ROWS_WORD + table[PLACE] * ROW_WORDS
    table[STAMP] |= 1
    fence_release()
    table[row] = total_ns
    table[row + 1] = signals[k]["sequence"]
    table[row + 2] = signals[k]["source_sequence"]
    table[row + 3] = signals[k]["instrument_id"]
    table[row + 4] = signals[k]["ts_recv_ns"]
    table[row + 5] = predictions[i]["ts_tick_ns"] - predictions[i]["ts_mono_ns"]
    table[row + 6] = predictions[i]["ts_feature_ns"] - predictions[i]["ts_tick_ns"]
    table[row + 7] = predictions[i]["ts_publish_ns"] - predictions[i]["ts_feature_ns"]
    place = 0
    for k in range(1, SLOWEST_MAX):
        if table[ROWS_WORD + k * ROW_WORDS] < table[ROWS_WORD + place * ROW_WORDS]:
            place = k
    table[PLACE], table[BAR] = place, table[ROWS_WORD + place * ROW_WORDS]
    store_release(table, STAMP, table[STAMP] + 1)


@kernel(forceinline=True)
def keep(table: np.ndarray, signals: np.ndarray, k: int, predictions: np.ndarray, i: int) -> None:
    """``signals[k]``, which ``predictions[i]`` caused and which is published, if it is one of the slowest."""
    if RECORDING:
        total_ns = signals[k]["ts_publish_ns"] - signals[k]["ts_mono_ns"]
        if total_ns > table[BAR]:
            _insert(table, signals, k, predictions, i, total_ns)
