"""The slowest signals of a run, as they lie in ``Stats.table`` of the signals role. No numba here.

word 0 BAR    the least total of the table: a faster signal is none of them
     1 PLACE  the row that has it
     2 STAMP  odd while a row is written
     8 ...    SLOWEST_MAX rows of ``SLOW_DTYPE``, in no order; total 0: free
"""

import numpy as np

from hft_engine.records import SLOW_DTYPE
from hft_engine.shm import layout

BAR, PLACE, STAMP = range(3)
ROWS_WORD = 8
ROW_WORDS = SLOW_DTYPE.itemsize // layout.WORD
SLOWEST_MAX = 16
READ_ATTEMPTS_MAX = 100  # its writer may have stopped inside a row: then one row may be half of each of two

_END = ROWS_WORD + SLOWEST_MAX * ROW_WORDS
assert _END <= layout.TABLE_WORDS


def read_slowest(table: np.ndarray) -> np.ndarray:
    """SLOW_DTYPE[], the slowest first."""
    for _ in range(READ_ATTEMPTS_MAX):
        before = int(table[STAMP])
        rows: np.ndarray = table[ROWS_WORD:_END].copy().view(SLOW_DTYPE)
        if before % 2 == 0 and int(table[STAMP]) == before:
            break
    rows = rows[rows["total_ns"] > 0]
    return rows[np.argsort(-rows["total_ns"], kind="stable")]
